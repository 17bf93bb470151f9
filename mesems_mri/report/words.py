"""Words of the pages: reasons and flags, statuses, references."""

from mesems_mri.dataset.reasons import CAUSES, FLAGS, REASONS, CodeText
from mesems_mri.errors import Reason


def reason_text(code: str | None) -> CodeText | None:
    """Return a reason in words; one that a newer version wrote is shown as it is."""
    if not code:
        return None
    try:
        return REASONS[Reason(code)]
    except ValueError:
        plain = code.replace("_", " ")
        return CodeText(plain, f"Reason: {plain}.", "See the documentation of the version that wrote it.")


def flag_text(code: str) -> str:
    """Return a flag of the quality check in words."""
    return FLAGS[code].what if code in FLAGS else code.replace("_", " ")


QC_WORDS = {
    "pass": ("✓", "pass", "no flag"),
    "warn": ("▲", "warning", "usable, see the flags"),
    "fail": ("✕", "fail", "something is not evaluable"),
}
"""Sign, word and meaning of the quality status: never by colour alone."""

RESULT_WORDS = {
    "PASS": ("✓", "PASS", "pass"),
    "FAIL": ("✕", "FAIL", "fail"),
    "UNKNOWN": ("?", "UNKNOWN", "unknown"),
}
"""Sign, word and class of the result of an item of the protocol."""

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

CAUSE_WORDS = {code: text.short for code, text in CAUSES.items()}
"""Causes why a candidate is not counted."""

KIND_WORDS = {"t2": "T2 lesion", "change": "new or enlarging T2 lesion", "gel": "enhancing lesion"}
"""Kinds of candidates."""

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
"""References of the methods text, in order of appearance."""
