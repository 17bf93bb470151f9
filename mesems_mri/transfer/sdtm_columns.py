"""Variables of the CDISC SDTM-shaped domains (SDTM v1.4, SDTMIG v3.2; NV, PR, AG, SUPPAG, DI)."""

from dataclasses import dataclass
from typing import Literal

from mesems_mri.dataset.columns import EVALUATED


@dataclass(frozen=True)
class Variable:
    """A variable of a domain.

    Parameters
    ----------
    label : str
        At most 40 characters, as SAS transport v5 has them.
    kind : str
        ``Char`` or ``Num``.
    length : int
        Bytes of a ``Char`` in the XPT file, always the same, so that bundles can be stacked; a longer text is
        refused.
    """

    label: str
    kind: Literal["Char", "Num"] = "Char"
    length: int = 8


_STUDY = Variable("Study Identifier", length=64)
_DOMAIN = Variable("Domain Abbreviation", length=2)
_SUBJECT = Variable("Unique Subject Identifier", length=200)
_LINK = Variable("Link ID", length=64)
_DEVICE = Variable("Sponsor Device Identifier", length=16)
_STATUS = Variable("Completion Status", length=8)
_REASON = Variable("Reason Not Done", length=40)
_VISIT = {
    "VISITNUM": Variable("Visit Number", "Num"),
    "VISIT": Variable("Visit Name", length=72),
}
_DATE = Variable("Date/Time of Collection", length=10)
_DAY = Variable("Study Day of Collection", "Num")

NV: dict[str, Variable] = {
    "STUDYID": _STUDY,
    "DOMAIN": _DOMAIN,
    "USUBJID": _SUBJECT,
    "NVSEQ": Variable("Sequence Number", "Num"),
    "NVLNKID": _LINK,
    "NVTESTCD": Variable("Short Name of Nervous System Test", length=8),
    "NVTEST": Variable("Name of Nervous System Test", length=40),
    "NVCAT": Variable("Category for Nervous System Test", length=40),
    "NVLOC": Variable("Location Used for the Measurement", length=8),
    "NVMETHOD": Variable("Method of Test or Examination", length=8),
    "NVORRES": Variable("Result or Finding in Original Units", length=20),
    "NVORRESU": Variable("Original Units", length=8),
    "NVSTRESC": Variable("Character Result/Finding in Std Format", length=20),
    "NVSTRESN": Variable("Numeric Result/Finding in Standard Units", "Num"),
    "NVSTRESU": Variable("Standard Units", length=8),
    "NVSTAT": _STATUS,
    "NVREASND": _REASON,
    "NVEVAL": Variable("Evaluator", length=40),
    "NVEVALID": Variable("Evaluator Identifier", length=80),
    **_VISIT,
    "NVDTC": _DATE,
    "NVDY": _DAY,
    "NVLOBXFL": Variable("Last Observation Before Exposure Flag", length=1),
}
PR: dict[str, Variable] = {
    "STUDYID": _STUDY,
    "DOMAIN": _DOMAIN,
    "USUBJID": _SUBJECT,
    "SPDEVID": _DEVICE,
    "PRSEQ": Variable("Sequence Number", "Num"),
    "PRLNKID": _LINK,
    "PRTRT": Variable("Reported Name of Procedure", length=8),
    "PRPRESP": Variable("Pre-specified", length=1),
    "PROCCUR": Variable("Occurrence", length=1),
    "PRSTAT": _STATUS,
    "PRREASND": _REASON,
    "PRLOC": Variable("Location of Procedure", length=8),
    **_VISIT,
    "PRSTDTC": Variable("Start Date/Time of Procedure", length=10),
    "PRSTDY": Variable("Study Day of Start of Procedure", "Num"),
}
AG: dict[str, Variable] = {
    "STUDYID": _STUDY,
    "DOMAIN": _DOMAIN,
    "USUBJID": _SUBJECT,
    "AGSEQ": Variable("Sequence Number", "Num"),
    "AGLNKID": _LINK,
    "AGTRT": Variable("Reported Agent Name", length=40),
    "AGCAT": Variable("Category for Agent", length=20),
    "AGPRESP": Variable("AG Pre-Specified", length=1),
    "AGOCCUR": Variable("AG Occurrence", length=1),
    "AGSTAT": _STATUS,
    "AGREASND": Variable("Reason Procedure Agent Not Collected", length=40),
    "AGDOSE": Variable("Dose per Administration", "Num"),
    "AGDOSU": Variable("Dose Units", length=8),
    "AGROUTE": Variable("Route of Administration", length=16),
    **_VISIT,
    "AGSTDTC": Variable("Start Date/Time of Agent", length=10),
    "AGSTDY": Variable("Study Day of Start of Agent", "Num"),
}
SUPPAG: dict[str, Variable] = {
    "STUDYID": _STUDY,
    "RDOMAIN": Variable("Related Domain Abbreviation", length=2),
    "USUBJID": _SUBJECT,
    "IDVAR": Variable("Identifying Variable", length=8),
    "IDVARVAL": Variable("Identifying Variable Value", length=8),
    "QNAM": Variable("Qualifier Variable Name", length=8),
    "QLABEL": Variable("Qualifier Variable Label", length=40),
    "QVAL": Variable("Data Value", length=8),
    "QORIG": Variable("Origin", length=8),
    "QEVAL": Variable("Evaluator", length=16),
}
DI: dict[str, Variable] = {
    "STUDYID": _STUDY,
    "DOMAIN": _DOMAIN,
    "SPDEVID": _DEVICE,
    "DISEQ": Variable("Sequence Number", "Num"),
    "DIPARMCD": Variable("Device Identifier Element Short Name", length=8),
    "DIPARM": Variable("Device Identifier Element Name", length=40),
    "DIVAL": Variable("Device Identifier Element Value", length=120),
}
DOMAIN_VARIABLES = {"nv": NV, "pr": PR, "ag": AG, "suppag": SUPPAG, "di": DI}
DOMAIN_LABELS = {
    "nv": "Nervous System Findings",
    "pr": "Procedures",
    "ag": "Procedure Agents",
    "suppag": "Supplemental Qualifiers for AG",
    "di": "Device Identifiers",
}


@dataclass(frozen=True)
class NvTest:
    """A test of NV, of which each visit has a result.

    Parameters
    ----------
    code, name : str
        NVTESTCD and NVTEST; terms of ours, as CDISC lists none for them.
    category : str
        NVCAT.
    column : str
        Of ``visit_metrics.csv``.
    units : str
        ``mm3``; empty for a count.
    """

    code: str
    name: str
    category: str
    column: str
    units: str = ""

    @property
    def part(self) -> str:
        """Part of the evaluation that decides whether the result is evaluable."""
        return next(part for part, columns in EVALUATED.items() if self.column in columns)


_GEL, _T2, _CUA, _VOLUME = (
    "GADOLINIUM-ENHANCING LESIONS",
    "T2 LESION CHANGE",
    "COMBINED UNIQUE ACTIVE LESIONS",
    "VOLUMES",
)
NV_TESTS = (
    NvTest("GELCNT", "Gd-Enhancing Lesions", _GEL, "gel_count"),
    NvTest("GELNEW", "New Gd-Enhancing Lesions", _GEL, "gel_new_count"),
    NvTest("GELPERS", "Persistent Gd-Enhancing Lesions", _GEL, "gel_persistent_count"),
    NvTest("GELREENH", "Re-Enhancing Lesions", _GEL, "gel_re_enhancing_count"),
    NvTest("GELVOL", "Volume of Gd-Enhancing Lesions", _GEL, "gel_volume_mm3", "mm3"),
    NvTest("T2NEW", "New T2 Lesions", _T2, "t2_new_count"),
    NvTest("T2ENL", "Enlarging T2 Lesions", _T2, "t2_enlarging_count"),
    NvTest("T2NEWVOL", "Volume of New T2 Lesions", _T2, "t2_new_volume_mm3", "mm3"),
    NvTest("T2ENLVOL", "Volume of Growth of T2 Lesions", _T2, "t2_enlarging_volume_mm3", "mm3"),
    NvTest("CUACNT", "Combined Unique Active Lesions", _CUA, "cua_count"),
    NvTest("T2CNT", "T2 Lesions", _VOLUME, "t2_lesion_count"),
    NvTest("T2VOL", "Volume of T2 Lesions", _VOLUME, "t2_lesion_volume_mm3", "mm3"),
    NvTest("BHVOL", "Volume of T1 Black Holes", _VOLUME, "black_hole_volume_mm3", "mm3"),
    NvTest("BRAINVOL", "Volume of the Brain", _VOLUME, "brain_volume_mm3", "mm3"),
)
"""Tests of a visit in NV, in order."""
