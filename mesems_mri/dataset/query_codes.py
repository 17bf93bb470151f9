"""What a query to a site can be about: a closed list, in words."""

from dataclasses import dataclass
from enum import StrEnum


class QueryCode(StrEnum):
    """Closed list of what a query is about."""

    UNKNOWN_PARTICIPANT = "unknown_participant"
    SEVERAL_PARTICIPANTS = "several_participants"
    WRONG_SITE = "wrong_site"
    SEX_DIFFERS = "sex_differs"
    BIRTH_DATE_DIFFERS = "birth_date_differs"
    NO_SCAN_DATE = "no_scan_date"
    VISIT_UNCLEAR = "visit_unclear"
    OUTSIDE_WINDOW = "outside_window"
    DUPLICATE_SUBMISSION = "duplicate_submission"
    ALREADY_RECEIVED = "already_received"
    NOTHING_USABLE = "nothing_usable"
    UNREADABLE_FILES = "unreadable_files"
    UNSAFE_ARCHIVE = "unsafe_archive"
    MISSING_SEQUENCE = "missing_sequence"
    SEVERAL_CANDIDATES = "several_candidates"
    CONTRAST_UNCLEAR = "contrast_unclear"
    INTERRUPTED = "interrupted"
    MISSING_SLICES = "missing_slices"
    DUPLICATE_SLICES = "duplicate_slices"
    UNEVEN_SPACING = "uneven_spacing"
    MIXED_ORIENTATION = "mixed_orientation"
    MIXED_MATRIX = "mixed_matrix"
    SEVERAL_VOLUMES = "several_volumes"
    TOO_FEW_SLICES = "too_few_slices"
    NO_GEOMETRY = "no_geometry"
    GANTRY_TILT = "gantry_tilt"
    DAMAGED_PIXELS = "damaged_pixels"
    SHARED_UIDS = "shared_uids"
    SHORT_COVERAGE = "short_coverage"
    NAME_DIFFERS = "name_differs"
    CONVERSION_FAILED = "conversion_failed"
    BURNED_IN_TEXT = "burned_in_text"
    IDENTIFIER_LEFT = "identifier_left"
    PROTOCOL_DEVIATION = "protocol_deviation"
    PROTOCOL_UNKNOWN = "protocol_unknown"
    SCANNER_CHANGED = "scanner_changed"


@dataclass(frozen=True)
class CodeText:
    """A code in words.

    Parameters
    ----------
    what : str
        What is wrong; a colon and the details follow it.
    action : str
        What the site should do.
    blocking : bool
        Whether the visit waits for the answer, unless whoever opens the query says otherwise.
    """

    what: str
    action: str
    blocking: bool = True


CODES: dict[QueryCode, CodeText] = {
    QueryCode.UNKNOWN_PARTICIPANT: CodeText(
        "The patient ID of the scan is not in the visit sheet",
        "Check the patient ID; send the scan under the right one, or have the sheet corrected",
    ),
    QueryCode.SEVERAL_PARTICIPANTS: CodeText(
        "One submission holds scans of several people", "Send the scans of each participant by themselves"
    ),
    QueryCode.WRONG_SITE: CodeText(
        "The participant belongs to another site", "Check whose scan it is, and who sends it"
    ),
    QueryCode.SEX_DIFFERS: CodeText(
        "The sex in the header is not that of the participant",
        "Check whose scan it is; correct the header or the sheet",
    ),
    QueryCode.BIRTH_DATE_DIFFERS: CodeText(
        "The birth date in the header is not that of the earlier visits",
        "Check whose scan it is; correct the header",
    ),
    QueryCode.NO_SCAN_DATE: CodeText(
        "The header does not say when the scan was made", "Export the scan again with its date"
    ),
    QueryCode.VISIT_UNCLEAR: CodeText(
        "The day of the scan fits no visit of the participant, or several",
        "Say which visit it is, or have the sheet corrected",
    ),
    QueryCode.OUTSIDE_WINDOW: CodeText(
        "The scan was made outside the window of the visit",
        "Confirm the visit; plan the next one inside its window",
        blocking=False,
    ),
    QueryCode.DUPLICATE_SUBMISSION: CodeText(
        "The same images were sent before",
        "Nothing, if that was by mistake; else send the images that were meant",
        blocking=False,
    ),
    QueryCode.ALREADY_RECEIVED: CodeText(
        "Other images of this visit were accepted before; the new ones were not taken",
        "Say whether they are to replace the earlier ones, and why",
        blocking=False,
    ),
    QueryCode.NOTHING_USABLE: CodeText(
        "No MR image of the head was found", "Check the export; send the whole examination as DICOM"
    ),
    QueryCode.UNREADABLE_FILES: CodeText(
        "Some files cannot be read", "Export the examination again and send all of it", blocking=False
    ),
    QueryCode.UNSAFE_ARCHIVE: CodeText(
        "An archive was not unpacked",
        "Send a plain folder, or an archive of the DICOM files alone",
        blocking=False,
    ),
    QueryCode.MISSING_SEQUENCE: CodeText(
        "A sequence of the protocol is missing", "Send it, or say that it was not acquired"
    ),
    QueryCode.SEVERAL_CANDIDATES: CodeText(
        "Several series could be the same image of the protocol", "Say which series is to be used"
    ),
    QueryCode.CONTRAST_UNCLEAR: CodeText(
        "It cannot be told whether a T1-weighted series was acquired before or after contrast agent",
        "Say which series was acquired when",
    ),
    QueryCode.INTERRUPTED: CodeText(
        "A series has fewer images than the scanner planned", "Send all of it, or repeat the scan"
    ),
    QueryCode.MISSING_SLICES: CodeText("Slices are missing", "Send the whole series again"),
    QueryCode.DUPLICATE_SLICES: CodeText("Slices are there twice", "Send each image of the series once"),
    QueryCode.UNEVEN_SPACING: CodeText(
        "The distance between slices changes within a series", "Send the series as it was acquired"
    ),
    QueryCode.MIXED_ORIENTATION: CodeText(
        "The slices of a series do not lie in parallel", "Send the series as it was acquired"
    ),
    QueryCode.MIXED_MATRIX: CodeText(
        "The slices of a series differ in size", "Send the series as it was acquired"
    ),
    QueryCode.SEVERAL_VOLUMES: CodeText(
        "A series holds several volumes", "Say which one is to be used; send each as a series of its own"
    ),
    QueryCode.TOO_FEW_SLICES: CodeText(
        "A series has too few slices to be a volume", "Send all of it, or repeat the scan"
    ),
    QueryCode.NO_GEOMETRY: CodeText(
        "The header does not say where the slices of a series lie",
        "Export the series again from the scanner, as original DICOM",
    ),
    QueryCode.GANTRY_TILT: CodeText(
        "The slices of a series are shifted against each other", "Send the series as it was acquired"
    ),
    QueryCode.DAMAGED_PIXELS: CodeText(
        "Images of a series are damaged or cut short", "Export the series again and send all of it"
    ),
    QueryCode.SHARED_UIDS: CodeText(
        "Different images bear the same identifier", "Export the series again from the scanner"
    ),
    QueryCode.SHORT_COVERAGE: CodeText(
        "A series covers too little to hold a whole brain",
        "Send all of it, or repeat the scan over the whole brain",
        blocking=False,  # a run sees on the image whether the brain is in it
    ),
    QueryCode.NAME_DIFFERS: CodeText(
        "The name of a series is not what its acquisition parameters say; the parameters were followed",
        "Check the sequence; name it as the protocol does",
        blocking=False,
    ),
    QueryCode.CONVERSION_FAILED: CodeText(
        "A series could not be converted to an image", "Export the series again, uncompressed"
    ),
    QueryCode.BURNED_IN_TEXT: CodeText(
        "The images may show text that names the participant",
        "Send the images without annotation, or confirm that there is none",
    ),
    QueryCode.IDENTIFIER_LEFT: CodeText(
        "A text that may name the participant could not be removed", "Send the examination without it"
    ),
    QueryCode.PROTOCOL_DEVIATION: CodeText(
        "The acquisition is not to protocol",
        "Compare the sequence with the protocol; say whether it can be corrected",
        blocking=False,
    ),
    QueryCode.PROTOCOL_UNKNOWN: CodeText(
        "The header does not say what the protocol asks for", "State the values in writing", blocking=False
    ),
    QueryCode.SCANNER_CHANGED: CodeText(
        "The scanner or its software is not that of the participant's first visit",
        "Say whether it was replaced or updated, and since when; scan the participant on one scanner",
        blocking=False,
    ),
}
"""Every code in words, with what the site should do."""
