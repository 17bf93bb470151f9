"""Conventions of the simulated sites: scanner, series names, order of scans, export."""

from dataclasses import dataclass
from typing import Literal

from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.simulate.dicom.people import COUNTRIES, Country

Manner = Literal["siemens", "siemens_xa", "philips", "ge"]
Cue = Literal["tags", "description", "order"]


@dataclass(frozen=True)
class SiteConventions:
    """Conventions of a site for scanning and export.

    Parameters
    ----------
    manner : str
        Whose headers it writes.
    country : Country
    cue : str
        What tells a scan after contrast from the one before: the tags of the bolus, only the description,
        or nothing but the order of time.
    export : str
        What a submission looks like: ``ima`` (flat, named by the console), ``cd`` (DICOMDIR), ``zip``,
        ``tree`` (a folder for each series).
    descriptions : dict of str to str
        Name of each series, by contrast and for ``localizer``, ``mpr`` and ``subtraction``.
    serial, station, software : str
        Of the scanner.
    coil : str
    agent : str
        Trade name of the contrast agent.
    agent_mmol_ml : float
        Its strength.
    """

    manner: Manner
    country: Country
    cue: Cue
    export: Literal["ima", "cd", "zip", "tree"]
    descriptions: dict[str, str]
    serial: str
    station: str
    software: str
    coil: str
    agent: str
    agent_mmol_ml: float


_CONVENTIONS = (
    SiteConventions(
        "siemens",
        COUNTRIES[0],
        "tags",
        "ima",
        {
            "localizer": "localizer",
            "T1w": "t1_mprage_sag_p2_iso",
            POSTCONTRAST: "t1_mprage_sag_p2_iso",
            "T2w": "t2_tse_tra_p2",
            "PDw": "pd+t2_tse_tra_p2",
            "FLAIR": "t2_spc_da-fl_sag_p2_iso",
            "mpr": "t1_mprage_sag_p2_iso_MPR_tra",
            "subtraction": "t1_mprage_sag_p2_iso_SUB",
        },
        "67123",
        "MRC67123",
        "syngo MR E11",
        "HeadNeck_20",
        "Dotarem",
        0.5,
    ),
    SiteConventions(
        "philips",
        COUNTRIES[1],
        "description",
        "cd",
        {
            "localizer": "Survey",
            "T1w": "sT1W_SE",
            POSTCONTRAST: "sT1W_SE_GADO",
            "T2w": "T2W_TSE",
            "PDw": "PDW_TSE",
            "FLAIR": "FLAIR_longTR",
            "mpr": "sT1W_SE_GADO MPR cor",
            "subtraction": "sT1W_SE SUB",
        },
        "17388",
        "ACHIEVA15",
        "3.2.3\\3.2.3.2",
        "SENSE-Head-8",
        "Gadovist",
        1.0,
    ),
    SiteConventions(
        "ge",
        COUNTRIES[2],
        "order",
        "zip",
        {
            "localizer": "3-Plane Loc",
            "T1w": "Ax T1 SE",
            POSTCONTRAST: "Ax T1 SE",
            "T2w": "Ax T2 FRFSE",
            "PDw": "Ax PD FSE",
            "FLAIR": "Ax T2 FLAIR",
            "mpr": "Cor MPR",
            "subtraction": "SUB Ax T1",
        },
        "0000000304MR15",
        "GEHDXT01",
        "24\\LX\\MR Software release:HD16.0_V03_1638.a",
        "8HRBRAIN",
        "Magnevist",
        0.5,
    ),
    SiteConventions(
        "siemens_xa",
        COUNTRIES[3],
        "tags",
        "tree",
        {
            "localizer": "AAHead_Scout",
            "T1w": "T1 MPRAGE sag przed KM",
            POSTCONTRAST: "T1 MPRAGE sag po KM",
            "T2w": "T2 TSE",
            "PDw": "PD TSE",
            "FLAIR": "T2 SPACE FLAIR sag",
            "mpr": "T1 MPRAGE sag po KM MPR tra",
            "subtraction": "T1 SUB",
        },
        "175614",
        "MRC175614",
        "syngo MR XA30",
        "Head_64",
        "Clariscan",
        0.5,
    ),
    SiteConventions(
        "philips",
        COUNTRIES[0],
        "description",
        "tree",
        {
            "localizer": "SmartBrain",
            "T1w": "T1W SE nativ",
            POSTCONTRAST: "T1W SE nach KM",
            "T2w": "T2W_TSE",
            "PDw": "PDW_TSE",
            "FLAIR": "FLAIR tra",
            "mpr": "T1W SE nach KM MPR",
            "subtraction": "T1W SE Subtraktion",
        },
        "42061",
        "INGENIA01",
        "5.4.1\\5.4.1.1",
        "dS HeadNeck",
        "Dotarem",
        0.5,
    ),
    SiteConventions(
        "ge",
        COUNTRIES[1],
        "tags",
        "tree",
        {
            "localizer": "LOC 3 PIANI",
            "T1w": "AX T1 pre",
            POSTCONTRAST: "AX T1 post",
            "T2w": "AX T2 PROPELLER",
            "PDw": "AX DP",
            "FLAIR": "AX FLAIR",
            "mpr": "MPR COR",
            "subtraction": "SOTTRAZIONE",
        },
        "000000SIGNA02",
        "GESIGNA02",
        "25\\LX\\MR Software release:DV25.0_R02_1549.b",
        "HNS Head",
        "Prohance",
        0.5,
    ),
)


def conventions_of(site_id: str, manufacturer: str) -> SiteConventions:
    """Return the conventions of a site: the first six have their own, later ones share them by maker.

    Parameters
    ----------
    site_id : str
        As the simulator names sites, ``S01`` and so on.
    manufacturer : str
        Of its scanner.
    """
    digits = "".join(letter for letter in site_id if letter.isdigit())
    index = (int(digits or 1) - 1) % len(_CONVENTIONS)
    conventions = _CONVENTIONS[index]
    if conventions.manner.startswith(manufacturer.lower()):
        return conventions
    return next(h for h in _CONVENTIONS if h.manner.startswith(manufacturer.lower()))
