"""The one registry of codes: why something is not evaluable, what is flagged, what a site is asked.

Pages, column dictionaries and the documentation take their words from here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mesems_mri.errors import Reason


class QueryCode(StrEnum):
    """Closed list of what a query is about."""

    UNKNOWN_PARTICIPANT = "unknown_participant"
    PATIENT_ID_SPELLING = "patient_id_spelling"
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
    CONTRAST_UNCONFIRMED = "contrast_unconfirmed"
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
    SERIES_CHANGED = "series_changed"


@dataclass(frozen=True)
class CodeText:
    """A code in words.

    Parameters
    ----------
    short : str
        A few words, for the cell of a table.
    what : str
        What has happened; of a query a colon and the details follow it.
    to_do : str
        What to do about it.
    """

    short: str
    what: str
    to_do: str


@dataclass(frozen=True)
class FlagText(CodeText):
    """A flag in words.

    Parameters
    ----------
    short, what, to_do : str
        See `CodeText`.
    effect : str
        What it does to the counts.
    """

    effect: str


@dataclass(frozen=True)
class QueryText(CodeText):
    """A query code in words.

    Parameters
    ----------
    short, what, to_do : str
        See `CodeText`.
    blocking : bool
        Whether the visit waits for the answer, unless whoever opens the query says otherwise.
    """

    blocking: bool = True


REASONS: dict[Reason, CodeText] = {
    Reason.MISSING_SCAN: CodeText(
        "scan missing",
        "The visit, or an image that is needed, is not there; T2 lesions need a FLAIR.",
        "Send the scan.",
    ),
    Reason.UNREADABLE_FILE: CodeText(
        "file unreadable",
        "The file is truncated, is no NIfTI image, or does not say how the head lies.",
        "Export it again.",
    ),
    Reason.NO_POSTCONTRAST: CodeText(
        "no post-contrast scan",
        "There is no T1w after contrast, so enhancing lesions cannot be counted.",
        "Send it, or accept the gap.",
    ),
    Reason.NO_T2_TYPE: CodeText(
        "no FLAIR, T2w or PDw",
        "There is no FLAIR, T2w or PDw that could show lesions.",
        "Send the FLAIR; T2w or PDw serve for enhancing lesions alone.",
    ),
    Reason.NO_COMMON_CONTRAST: CodeText(
        "no common contrast",
        "This visit and the earlier ones share no contrast on which T2 lesions are read.",
        "Send the contrast of the earlier visits.",
    ),
    Reason.NO_REFERENCE_VISIT: CodeText(
        "first visit",
        "This is the first visit that can be read; there is nothing to compare it with.",
        "Nothing to do.",
    ),
    Reason.WRONG_HEAD: CodeText(
        "wrong head",
        "The head does not look like that of the participant's first visit; or one image of the visit shows "
        "another head than the others, or its mirror image.",
        "Check whose scan it is, and left and right; export it again.",
    ),
    Reason.NOT_A_BRAIN: CodeText(
        "not a brain", "No head was found in the image.", "Check which series was sent."
    ),
    Reason.REGISTRATION_FAILED: CodeText(
        "registration failed",
        "The image could not be brought to the others.",
        "Look at both images; often it is motion or a head that is cut off.",
    ),
    Reason.INCOMPLETE_COVERAGE: CodeText(
        "brain incomplete",
        "Part of the brain lies outside the image; a count would be too low without saying so.",
        "Repeat the scan with full coverage.",
    ),
    Reason.ARTEFACT: CodeText(
        "artefact", "The image is constant, or too much of it is not a number.", "Export or scan it again."
    ),
    Reason.BELOW_PROTOCOL: CodeText(
        "below protocol",
        "The acquisition does not meet the protocol.",
        "Compare the sequence with the protocol, and repeat the scan.",
    ),
    Reason.OPEN_QUERY: CodeText(
        "open query",
        "A question to the site is not answered yet.",
        "Answer the query, close it, and run again.",
    ),
    Reason.INTAKE_AMBIGUOUS: CodeText(
        "several files",
        "There are several files of one contrast and none is clearly the one to use.",
        "Name the one to use in intake.select of the configuration.",
    ),
    Reason.STEP_FAILED: CodeText(
        "step failed",
        "A step of the analysis stopped with an error; the log of the visit says which.",
        "Run again with --only-failed; report it if it stays.",
    ),
    Reason.READER_REJECTED: CodeText(
        "rejected by reader", "A reader has rejected the scan.", "See the reader's note."
    ),
    Reason.CONTRAST_UNCONFIRMED: CodeText(
        "contrast not confirmed",
        "Vessels and choroid plexus are brighter on the T1w before contrast than on the one after it: the "
        "two seem to be swapped.",
        "Ask the site which T1w was taken after the injection, and file them the other way round.",
    ),
}
"""Every reason for which something is not evaluable."""

FLAGS: dict[str, FlagText] = {
    "no_precontrast_t1": FlagText(
        "no precontrast t1",
        "No pre-contrast T1w: the enhancing lesions are to be confirmed by a reader",
        "A reader confirms every GEL",
        effect="Blood or fat that is bright anyway cannot be told from enhancement",
    ),
    "no_flair": FlagText(
        "no flair",
        "No FLAIR that can be read; there is a T2w or PDw",
        "Send the FLAIR",
        effect="T2 lesions, their change, black holes and CUA are counted from masks of one's own or not at "
        "all; the T2 correlate of a GEL is looked for on T2w or PDw, where fluid is bright too",
    ),
    "no_t1w": FlagText(
        "no t1w",
        "No T1w: no black holes and no region from it",
        "Send it",
        effect="No black holes; brain and lesions without its help",
    ),
    "scanner_change": FlagText(
        "scanner change",
        "Other scanner or coil than at the reference visit",
        "Look at the pictures before and now",
        effect="Volumes may shift; new lesions need a second look",
    ),
    "software_change": FlagText(
        "software change",
        "Other scanner software than at the reference visit",
        "Look at the pictures before and now",
        effect="Volumes may shift a little; new lesions need a second look",
    ),
    "field_strength_change": FlagText(
        "field strength change",
        "Other field strength than at the reference visit",
        "Look at the pictures before and now; keep a participant on one scanner",
        effect="Volumes shift; new lesions need a second look",
    ),
    "slice_thickness_change": FlagText(
        "slice thickness change",
        "Other slice thickness than at the reference visit",
        "Ask the site for the protocol",
        effect="Both visits are blurred to the thicker one: small lesions are missed",
    ),
    "header_repaired": FlagText(
        "header repaired",
        "Contradictory header, repaired as the configuration allows",
        "Compare with the site's viewer",
        effect="Left and right may be wrong",
    ),
    "units_assumed": FlagText(
        "units assumed",
        "The header names no unit of length; mm assumed",
        "Export again",
        effect="All volumes, if that is wrong",
    ),
    "units_converted": FlagText(
        "units converted",
        "The header's unit of length is not mm; converted",
        "Nothing",
        effect="None",
    ),
    "non_finite_voxels": FlagText(
        "non finite voxels",
        "NaN or infinity in the image, set to 0",
        "Export again",
        effect="None, unless inside the brain",
    ),
    "negative_values": FlagText(
        "negative values",
        "Negative values in the image",
        "Nothing",
        effect="None",
    ),
    "skull_stripped_input": FlagText(
        "skull stripped input",
        "Came without skull",
        "Send raw scans",
        effect="The brain is taken as it came; lesions cut off by the stripping are lost",
    ),
    "partial_coverage": FlagText(
        "partial coverage",
        "Part of the brain lies outside the image",
        "Look at the lowest and highest slices",
        effect="Lesions at the cut edge are missing",
    ),
    "low_snr": FlagText(
        "low snr",
        "Low signal-to-noise ratio in white matter",
        "Look at the images; repeat",
        effect="Faint lesions are missed",
    ),
    "artefact": FlagText(
        "artefact",
        "Bands of slices, a ghost or stripes over an image",
        "Look at the images; repeat the scan",
        effect="False lesions along the pattern, and missed ones below it; a reader confirms the counts",
    ),
    "series_unconfirmed": FlagText(
        "series unconfirmed",
        "An image is neither clearly of the same head as the others of its visit nor clearly of another one",
        "Compare it with the others, left and right too",
        effect="None, if it is the same head",
    ),
    "registration_not_improved": FlagText(
        "registration not improved",
        "No registration beat the position the scanner gave",
        "Look at the pictures before and now",
        effect="None, if the scans lie on each other",
    ),
    "large_rotation": FlagText(
        "large rotation",
        "Head turned far between the two images",
        "Check the orientation",
        effect="None",
    ),
    "not_inverse_consistent": FlagText(
        "not inverse consistent",
        "The two directions of a registration disagree; not used",
        "See registration_failed",
        effect="The contrast is not used",
    ),
    "low_overlap": FlagText(
        "low overlap",
        "The registered images share little of the brain; not used",
        "See registration_failed",
        effect="The contrast is not used",
    ),
    "nonstandard_orientation": FlagText(
        "nonstandard orientation",
        "Head far from the usual position",
        "Check the outline of the brain",
        effect="None, if the brain was found",
    ),
}
"""Every flag in ``qc_flags``: a closed list."""

QUERIES: dict[QueryCode, QueryText] = {
    QueryCode.UNKNOWN_PARTICIPANT: QueryText(
        "unknown participant",
        "The patient ID of the scan is not in the visit sheet",
        "Check the patient ID; send the scan under the right one, or have the sheet corrected",
    ),
    QueryCode.PATIENT_ID_SPELLING: QueryText(
        "patient ID spelling",
        "The patient ID of the scan is spelt otherwise than in the visit schedule",
        "Confirm the participant; send the next scan under the ID of the schedule",
        blocking=False,
    ),
    QueryCode.SEVERAL_PARTICIPANTS: QueryText(
        "several participants",
        "One submission holds scans of several people",
        "Send the scans of each participant by themselves",
    ),
    QueryCode.WRONG_SITE: QueryText(
        "wrong site", "The participant belongs to another site", "Check whose scan it is, and who sends it"
    ),
    QueryCode.SEX_DIFFERS: QueryText(
        "sex differs",
        "The sex in the header is not that of the participant",
        "Check whose scan it is; correct the header or the sheet",
    ),
    QueryCode.BIRTH_DATE_DIFFERS: QueryText(
        "birth date differs",
        "The birth date in the header is not that of the earlier visits",
        "Check whose scan it is; correct the header",
    ),
    QueryCode.NO_SCAN_DATE: QueryText(
        "no scan date",
        "The header does not say when the scan was made",
        "Export the scan again with its date",
    ),
    QueryCode.VISIT_UNCLEAR: QueryText(
        "visit unclear",
        "The day of the scan fits no visit of the participant, or several",
        "Say which visit it is, or have the sheet corrected",
    ),
    QueryCode.OUTSIDE_WINDOW: QueryText(
        "outside window",
        "The scan was made outside the window of the visit",
        "Confirm the visit; plan the next one inside its window",
        blocking=False,
    ),
    QueryCode.DUPLICATE_SUBMISSION: QueryText(
        "duplicate submission",
        "The same images were sent before",
        "Nothing, if that was by mistake; else send the images that were meant",
        blocking=False,
    ),
    QueryCode.ALREADY_RECEIVED: QueryText(
        "already received",
        "Other images of this visit were accepted before; the new ones were not taken",
        "Say whether they are to replace the earlier ones, and why",
        blocking=False,
    ),
    QueryCode.NOTHING_USABLE: QueryText(
        "nothing usable",
        "No MR image of the head was found",
        "Check the export; send the whole examination as DICOM",
    ),
    QueryCode.UNREADABLE_FILES: QueryText(
        "unreadable files",
        "Some files cannot be read",
        "Export the examination again and send all of it",
        blocking=False,
    ),
    QueryCode.UNSAFE_ARCHIVE: QueryText(
        "unsafe archive",
        "An archive was not unpacked",
        "Send a plain folder, or an archive of the DICOM files alone",
        blocking=False,
    ),
    QueryCode.MISSING_SEQUENCE: QueryText(
        "missing sequence",
        "A sequence of the protocol is missing",
        "Send it, or say that it was not acquired",
    ),
    QueryCode.SEVERAL_CANDIDATES: QueryText(
        "several candidates",
        "Several series could be the same image of the protocol",
        "Say which series is to be used",
    ),
    QueryCode.CONTRAST_UNCLEAR: QueryText(
        "contrast unclear",
        "It cannot be told whether a T1-weighted series was acquired before or after contrast agent",
        "Say which series was acquired when",
    ),
    QueryCode.CONTRAST_UNCONFIRMED: QueryText(
        "contrast unconfirmed",
        "That a scan was made after contrast agent is said by its name or by the order of the scans alone",
        "Confirm that contrast agent was given before it: which, how much, and when",
        blocking=False,
    ),
    QueryCode.INTERRUPTED: QueryText(
        "interrupted",
        "A series has fewer images than the scanner planned",
        "Send all of it, or repeat the scan",
    ),
    QueryCode.MISSING_SLICES: QueryText(
        "missing slices", "Slices are missing", "Send the whole series again"
    ),
    QueryCode.DUPLICATE_SLICES: QueryText(
        "duplicate slices", "Slices are there twice", "Send each image of the series once"
    ),
    QueryCode.UNEVEN_SPACING: QueryText(
        "uneven spacing",
        "The distance between slices changes within a series",
        "Send the series as it was acquired",
    ),
    QueryCode.MIXED_ORIENTATION: QueryText(
        "mixed orientation",
        "The slices of a series do not lie in parallel",
        "Send the series as it was acquired",
    ),
    QueryCode.MIXED_MATRIX: QueryText(
        "mixed matrix", "The slices of a series differ in size", "Send the series as it was acquired"
    ),
    QueryCode.SEVERAL_VOLUMES: QueryText(
        "several volumes",
        "A series holds several volumes",
        "Say which one is to be used; send each as a series of its own",
    ),
    QueryCode.TOO_FEW_SLICES: QueryText(
        "too few slices", "A series has too few slices to be a volume", "Send all of it, or repeat the scan"
    ),
    QueryCode.NO_GEOMETRY: QueryText(
        "no geometry",
        "The header does not say where the slices of a series lie",
        "Export the series again from the scanner, as original DICOM",
    ),
    QueryCode.GANTRY_TILT: QueryText(
        "gantry tilt",
        "The slices of a series are shifted against each other",
        "Send the series as it was acquired",
    ),
    QueryCode.DAMAGED_PIXELS: QueryText(
        "damaged pixels",
        "Images of a series are damaged or cut short",
        "Export the series again and send all of it",
    ),
    QueryCode.SHARED_UIDS: QueryText(
        "shared uids", "Different images bear the same identifier", "Export the series again from the scanner"
    ),
    QueryCode.SHORT_COVERAGE: QueryText(
        "short coverage",
        "A series covers too little to hold a whole brain",
        "Send all of it, or repeat the scan over the whole brain",
        blocking=False,  # a run sees on the image whether the brain is in it
    ),
    QueryCode.NAME_DIFFERS: QueryText(
        "name differs",
        "The name of a series is not what its acquisition parameters say; the parameters were followed",
        "Check the sequence; name it as the protocol does",
        blocking=False,
    ),
    QueryCode.CONVERSION_FAILED: QueryText(
        "conversion failed",
        "A series could not be converted to an image",
        "Export the series again, uncompressed",
    ),
    QueryCode.BURNED_IN_TEXT: QueryText(
        "burned in text",
        "The images may show text that names the participant",
        "Send the images without annotation, or confirm that there is none",
    ),
    QueryCode.IDENTIFIER_LEFT: QueryText(
        "identifier left",
        "A text that may name the participant could not be removed",
        "Send the examination without it",
    ),
    QueryCode.PROTOCOL_DEVIATION: QueryText(
        "protocol deviation",
        "The acquisition is not to protocol",
        "Compare the sequence with the protocol; say whether it can be corrected",
        blocking=False,
    ),
    QueryCode.PROTOCOL_UNKNOWN: QueryText(
        "protocol unknown",
        "The header does not say what the protocol asks for",
        "State the values in writing",
        blocking=False,
    ),
    QueryCode.SCANNER_CHANGED: QueryText(
        "scanner changed",
        "The scanner or its software is not that of the participant's first visit",
        "Say whether it was replaced or updated, and since when; scan the participant on one scanner",
        blocking=False,
    ),
    QueryCode.SERIES_CHANGED: QueryText(
        "series changed",
        "A series is no longer as the series map of the site describes it",
        "Say whether the sequence was changed for good; go back to the former one, or have the map corrected",
        blocking=False,
    ),
}
"""Every code of a query: a closed list."""


CAUSES: dict[str, CodeText] = {
    "score_below_limit": CodeText(
        "score below the limit",
        "Its score is below the one from which such a focus is counted.",
        "Look at it; it counts if a reader adds it.",
    ),
    "too_small": CodeText(
        "smaller than a focus",
        "Its volume or its diameter in the acquired plane is below that of a focus.",
        "Nothing to do; see the rule focus of the configuration.",
    ),
    "below_noise": CodeText(
        "within the noise",
        "It is brighter after contrast, but not beyond the noise of this pair of scans.",
        "Look whether it is bright on both sides of the slice.",
    ),
    "no_t2_correlate": CodeText(
        "no T2 correlate",
        "Little or nothing is bright on FLAIR, T2w or PDw at the place.",
        "Look at the T2-type images.",
    ),
    "vessel": CodeText(
        "vessel",
        "It is thin, long, or continued by a bright structure, as a vessel is.",
        "Follow it through the slices.",
    ),
    "choroid_plexus": CodeText(
        "choroid plexus",
        "It lies in or at a lateral ventricle, where choroid plexus enhances.",
        "Compare with the other side.",
    ),
    "csf_space": CodeText(
        "fluid outside the tissue",
        "It lies in or at fluid outside the brain tissue.",
        "Look whether it is a vessel in a sulcus.",
    ),
    "brain_edge": CodeText(
        "edge of the brain",
        "It lies within 3 mm of the edge of the brain, where dura, sinus and bone enhance.",
        "Look at the edge.",
    ),
    "not_in_difference": CodeText(
        "not in the difference",
        "It looks like a T2 lesion at this visit, is none of the reference visit's lesions, and the "
        "difference of the two visits does not show it as new.",
        "Compare the two visits.",
    ),
    "new_by_difference_only": CodeText(
        "in the difference only",
        "The difference of the two visits shows it as new, but this visit's own image shows no T2 lesion.",
        "Look whether it is an artefact.",
    ),
}
"""Every cause why a candidate is not counted: a closed list."""


def registry() -> Iterator[tuple[str, str, CodeText]]:
    """Yield every code: its kind (``reason``, ``flag``, ``query`` or ``cause``), the code, and its words."""
    for kind, texts in (("reason", REASONS), ("flag", FLAGS), ("query", QUERIES), ("cause", CAUSES)):
        for code, text in texts.items():
            yield kind, str(code), text
