"""Record of a defacing that was done before a series was sent, in words of closed lists only.

mri_reface writes its name and version into De-identification Method and the code 113102 (Clean Recognizable
Visual Features Option) with one of its own beside it; other tools write a name somewhere, or nothing.
"""

import re
from typing import Any, NamedTuple

from pydicom import Dataset
from pydicom.multival import MultiValue

CLEAN_FEATURES = ("113102", "Clean Recognizable Visual Features Option")
_TOOLS = {
    "mri_reface": r"mri.?reface",
    "mri_deface": r"mri.?deface(?!r)",
    "mridefacer": r"mri.?defacer",
    "pydeface": r"py.?deface",
    "afni_refacer": r"@?afni.?refacer(.?run)?",
    "quickshear": r"quick.?shear",
    "mask_face": r"mask.?face|face.?mask(ing)?",
    "mideface": r"mi.?deface",
    "fsl_deface": r"fsl.?deface",
    "deepdefacer": r"deep.?defacer",
    "spm_deface": r"spm.?deface",
    "bidsonym": r"bidsonym",
}
_TOOL = re.compile(
    "|".join(rf"(?P<{name}>(?<![a-z])(?:{words})(?![a-z]))" for name, words in _TOOLS.items()), re.IGNORECASE
)
_VERSION = re.compile(
    r"[\s_:,(-]*(?:version|ver\.?|v)?[\s_]*(\d{1,4}(?:\.\d{1,4}){1,3})(?![\d.])", re.IGNORECASE
)
_DONE = re.compile(r"(?<![a-z])(de.?faced|re.?faced|face.?masked|face.?removed)(?![a-z])", re.IGNORECASE)
_NOT_DONE = re.compile(
    r"(?<![a-z])(not|non|no|un|without|before|prior.?to|to.?be)[\W_]{0,3}(yet[\W_]+)?"
    r"(de.?fac(ed|ing)|re.?fac(ed|ing)|undefaced|face.?mask\w*)",
    re.IGNORECASE,
)
_TEXTS = ("DeidentificationMethod", "ImageComments", "DerivationDescription", "SeriesDescription")


class DefacingRecord(NamedTuple):
    """A defacing that the header records; the tool and its version are empty when it does not name them."""

    tool: str = ""
    version: str = ""

    @property
    def name(self) -> str:
        """Tool and version."""
        return " ".join(part for part in self if part)

    def as_sidecar(self) -> dict[str, Any]:
        """Return the record as entries of a BIDS sidecar."""
        code, meaning = CLEAN_FEATURES
        entry = {"CodeValue": code, "CodingSchemeDesignator": "DCM", "CodeMeaning": meaning}
        made: dict[str, Any] = {
            "Defaced": True,
            "RecognizableVisualFeatures": "NO",
            "DeidentificationMethodCodeSequence": [entry],
        }
        if self.tool:
            made |= {"DefacedBy": self.name, "DeidentificationMethod": [self.name]}
        return made


def read_defacing(header: Dataset) -> DefacingRecord | None:
    """Read the record of a defacing.

    Parameters
    ----------
    header : Dataset

    Returns
    -------
    DefacingRecord or None
        None when nothing says that the face was removed, or when the header says that it is recognisable.
    """
    features = _text(header, "RecognizableVisualFeatures").upper()
    if features == "YES":
        return None
    codes = _codes(header)
    texts = [_text(header, keyword) for keyword in _TEXTS]
    texts += [f"{scheme} {version}" for _, scheme, version in codes]
    texts = [text for text in texts if text and not _NOT_DONE.search(text)]
    for text in texts:
        if found := _TOOL.search(text):
            version = _VERSION.match(text, found.end())
            return DefacingRecord(found.lastgroup or "", version[1] if version else "")
    coded = any((code, scheme.upper()) == (CLEAN_FEATURES[0], "DCM") for code, scheme, _ in codes)
    if coded or features == "NO" or any(_DONE.search(text) for text in texts):
        return DefacingRecord()
    return None


def _codes(header: Dataset) -> list[tuple[str, str, str]]:
    try:
        items = list(header.get("DeidentificationMethodCodeSequence") or [])
    except Exception:  # a damaged sequence records nothing
        return []
    keywords = ("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion")
    return [
        (_text(item, keywords[0]), _text(item, keywords[1]), _text(item, keywords[2]))
        for item in items
        if isinstance(item, Dataset)
    ]


def _text(header: Dataset, keyword: str) -> str:
    try:
        found = header.get(keyword)
    except Exception:  # a damaged element says nothing
        return ""
    if found is None:
        return ""
    return " | ".join(
        str(part) for part in (found if isinstance(found, MultiValue | list) else [found])
    ).strip()
