"""The words of the pages: what a reason means and what to do, what a status is called, what is cited."""

from dataclasses import dataclass

from mesems_mri.dataset.columns import QC_FLAGS
from mesems_mri.errors import Reason


@dataclass(frozen=True)
class ReasonText:
    """A reason in words.

    Parameters
    ----------
    short : str
        A few words, for the cell of a table.
    happened, to_do : str
        A sentence each.
    """

    short: str
    happened: str
    to_do: str


REASONS: dict[Reason, ReasonText] = {
    Reason.MISSING_SCAN: ReasonText(
        "scan missing", "The visit, or an image that is needed, is not there.", "Send the scan."
    ),
    Reason.UNREADABLE_FILE: ReasonText(
        "file unreadable",
        "The file is truncated, is no NIfTI image, or does not say how the head lies.",
        "Export it again.",
    ),
    Reason.NO_POSTCONTRAST: ReasonText(
        "no post-contrast scan",
        "There is no T1w after contrast, so enhancing lesions cannot be counted.",
        "Send it, or accept the gap.",
    ),
    Reason.NO_T2_TYPE: ReasonText(
        "no FLAIR, T2w or PDw", "There is no FLAIR, T2w or PDw on which lesions could be read.", "Send one."
    ),
    Reason.NO_COMMON_CONTRAST: ReasonText(
        "no common contrast",
        "This visit and the earlier ones share no contrast on which T2 lesions are read.",
        "Send the contrast of the earlier visits.",
    ),
    Reason.NO_REFERENCE_VISIT: ReasonText(
        "first visit",
        "This is the first visit that can be read; there is nothing to compare it with.",
        "Nothing to do.",
    ),
    Reason.WRONG_HEAD: ReasonText(
        "wrong head",
        "The head does not look like that of the participant's first visit.",
        "Check whose scan it is.",
    ),
    Reason.NOT_A_BRAIN: ReasonText(
        "not a brain", "No head was found in the image.", "Check which series was sent."
    ),
    Reason.REGISTRATION_FAILED: ReasonText(
        "registration failed",
        "The image could not be brought to the others.",
        "Look at both images; often it is motion or a head that is cut off.",
    ),
    Reason.INCOMPLETE_COVERAGE: ReasonText(
        "brain incomplete",
        "Part of the brain lies outside the image; a count would be too low without saying so.",
        "Repeat the scan with full coverage.",
    ),
    Reason.ARTEFACT: ReasonText(
        "artefact", "The image is constant, or too much of it is not a number.", "Export or scan it again."
    ),
    Reason.BELOW_PROTOCOL: ReasonText(
        "below protocol",
        "The acquisition does not meet the protocol.",
        "Compare the sequence with the protocol, and repeat the scan.",
    ),
    Reason.OPEN_QUERY: ReasonText(
        "open query",
        "A question to the site is not answered yet.",
        "Answer the query, close it, and run again.",
    ),
    Reason.INTAKE_AMBIGUOUS: ReasonText(
        "several files",
        "There are several files of one contrast and none is clearly the one to use.",
        "Name the one to use in intake.select of the configuration.",
    ),
    Reason.STEP_FAILED: ReasonText(
        "step failed",
        "A step of the analysis stopped with an error; the log of the visit says which.",
        "Run again with --only-failed; report it if it stays.",
    ),
    Reason.READER_REJECTED: ReasonText(
        "rejected by reader", "A reader has rejected the scan.", "See the reader's note."
    ),
}
"""Every reason code in words, with what to do about it."""


def reason_text(code: str | None) -> ReasonText | None:
    """Return a reason in words; one that a newer version wrote is shown as it is."""
    if not code:
        return None
    try:
        return REASONS[Reason(code)]
    except ValueError:
        plain = code.replace("_", " ")
        return ReasonText(plain, f"Reason: {plain}.", "See the documentation of the version that wrote it.")


def flag_text(code: str) -> str:
    """Return a flag of the quality check in words."""
    return QC_FLAGS.get(code, code.replace("_", " "))


QC_WORDS = {
    "pass": ("✓", "pass", "no flag"),
    "warn": ("▲", "warning", "usable, see the flags"),
    "fail": ("✕", "fail", "something is not evaluable"),
}
"""Sign, word and meaning of the quality status: never told by colour alone."""

RESULT_WORDS = {
    "PASS": ("✓", "PASS", "pass"),
    "FAIL": ("✕", "FAIL", "fail"),
    "UNKNOWN": ("?", "UNKNOWN", "unknown"),
}
"""Sign, word and class of what came out for an item of the protocol."""

REGION_WORDS = {
    "periventricular": "periventricular",
    "juxtacortical": "juxtacortical",
    "infratentorial": "infratentorial",
    "deep_white_matter": "deep white matter",
}

CONTRAST_WORDS = {
    "T1w": "T1w before contrast",
    "ce-gadolinium_T1w": "T1w after contrast",
    "T2w": "T2w",
    "PDw": "PDw",
    "FLAIR": "FLAIR",
}

CAUSE_WORDS = {
    "below_noise": "within the noise of this pair of scans",
    "no_t2_correlate": "nothing bright on FLAIR, T2w or PDw there",
    "vessel": "vessel",
    "choroid_plexus": "choroid plexus",
    "csf_space": "fluid outside the brain tissue",
    "brain_edge": "edge of the brain: dura, sinus, bone",
}
"""Why a candidate for enhancement was turned down."""

QUALITY_WORDS: dict[str, tuple[str, str, int]] = {
    "snr": ("SNR", "signal-to-noise ratio", 1),
    "cnr": ("CNR", "contrast-to-noise ratio of white and grey matter", 1),
    "cjv": ("CJV", "coefficient of joint variation: noise, motion, bias", -1),
    "efc": ("EFC", "entropy focus criterion: ghosting, blurring", -1),
    "fber": ("FBER", "energy of the foreground over that of the background", 1),
}
"""Quality measures: short name, long name, and 1 if higher is better, -1 if lower is."""

REFERENCES = (
    "Tustison NJ et al. N4ITK: improved N3 bias correction. IEEE Trans Med Imaging 2010;29:1310-1320.",
    "Yushkevich PA et al. Fast automatic segmentation of hippocampal subfields and medial temporal lobe "
    "subregions in 3 T and 7 T T2-weighted MRI (greedy). Alzheimers Dement 2016;12:P126-P127.",
    "Fonov V et al. Unbiased average age-appropriate atlases for pediatric studies. "
    "NeuroImage 2011;54:313-327.",
    "Esteban O et al. MRIQC: advancing the automatic prediction of image quality in MRI from unseen sites. "
    "PLoS ONE 2017;12:e0184661.",
    "Moraal B et al. Improved detection of active multiple sclerosis lesions: 3D subtraction imaging. "
    "Radiology 2010;255:154-163.",
    "Ganiler O et al. A subtraction pipeline for automatic detection of new appearing multiple sclerosis "
    "lesions in longitudinal studies. Neuroradiology 2014;56:363-374.",
    "Wattjes MP et al. 2021 MAGNIMS-CMSC-NAIMS consensus recommendations on the use of MRI in patients with "
    "multiple sclerosis. Lancet Neurol 2021;20:653-670.",
    "Okabe M, Ito K. Color universal design: how to make figures and presentations that are friendly to "
    "colorblind people. 2008.",
)
"""What the methods text cites, in order of appearance."""
