"""Acquisition parameters of a header, as far as protocols ask; None or empty where it is silent."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from mesems_mri.intake.dicom.agent import agent_said, bolus_places
from mesems_mri.intake.dicom.geometry import SeriesGeometry
from mesems_mri.intake.dicom.tags import moment, number, parse_clock, text
from mesems_mri.intake.protocol import Agent

_HALF_DAY = dt.timedelta(hours=12)


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """The scanner, named as in the header."""

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    software: str = ""

    @property
    def name(self) -> str:
        """Maker, model and serial number."""
        parts = [self.manufacturer, self.model, f"({self.serial})" if self.serial else ""]
        return " ".join(part for part in parts if part)

    def is_other_than(self, other: "Scanner") -> bool | None:
        """Return whether it is another scanner; None if the headers do not say enough.

        A new software writes maker and model otherwise (``Prisma_fit``, ``MAGNETOM Prisma Fit``), so the
        serial number decides where both have one.
        """
        if self.serial and other.serial:
            return self.serial.casefold() != other.serial.casefold()
        makers = [_plain(scanner.manufacturer).split()[:1] for scanner in (self, other)]
        models = [set(_plain(scanner.model).split()) for scanner in (self, other)]
        other_maker = all(makers) and makers[0] != makers[1]
        other_model = all(models) and not (models[0] <= models[1] or models[1] <= models[0])
        return True if other_maker or other_model else None


@dataclass(frozen=True, kw_only=True)
class Bolus:
    """The contrast agent as the header tells it.

    Parameters
    ----------
    said : bool
        The header names an agent, whichever.
    agent : Agent or None
        The one it names, if the protocol knows it.
    volume_ml, weight_kg : float or None
        Given, and the participant's.
    injected : datetime.time or None
        Clock time of the injection.
    """

    said: bool = False
    agent: Agent | None = None
    volume_ml: float | None = None
    weight_kg: float | None = None
    injected: dt.time | None = None

    @property
    def dose_mmol_kg(self) -> float | None:
        """Dose from volume, strength and weight."""
        if not (self.agent and self.volume_ml and self.weight_kg):
            return None
        return self.volume_ml * self.agent.mmol_per_ml / self.weight_kg


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """An acquisition in numbers.

    Parameters
    ----------
    scanner : Scanner
    field_strength_t : float or None
    dimension : str
        ``2D``, ``3D`` or empty.
    thickness_mm, gap_mm : float or None
        Of the slices.
    in_plane_mm : tuple of float or None
        Size of a pixel, as reconstructed.
    echo_time_ms, repetition_time_ms, inversion_time_ms, flip_angle_deg : float or None
    coil : str
        Name of the receive coil.
    began : datetime.datetime or None
        Start of the acquisition.
    bolus : Bolus
    """

    scanner: Scanner = Scanner()
    field_strength_t: float | None = None
    dimension: str = ""
    thickness_mm: float | None = None
    gap_mm: float | None = None
    in_plane_mm: tuple[float, float] | None = None
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    coil: str = ""
    began: dt.datetime | None = None
    bolus: Bolus = Bolus()

    @property
    def delay_min(self) -> float | None:
        """Minutes from the injection to the start of the scan; negative if the scan came first."""
        if self.bolus.injected is None or self.began is None:
            return None
        delay = self.began - dt.datetime.combine(self.began.date(), self.bolus.injected)
        if delay < -_HALF_DAY:  # midnight lies between
            delay += dt.timedelta(days=1)
        return delay.total_seconds() / 60


def read_acquisition(
    header: Dataset, geometry: SeriesGeometry | None = None, agents: Sequence[Agent] = ()
) -> Acquisition:
    """Read the acquisition parameters of a header.

    Parameters
    ----------
    header : Dataset
        Of a classic or an enhanced object.
    geometry : SeriesGeometry, optional
        As `describe_geometry` measured it on all slices; without one there is no gap.
    agents : sequence of Agent
        The contrast agents that a protocol knows.

    Returns
    -------
    Acquisition
    """
    dimension = text(header, "MRAcquisitionType").strip().upper()
    return Acquisition(
        scanner=read_scanner(header),
        field_strength_t=_positive(header, "MagneticFieldStrength"),
        dimension=dimension if dimension in ("2D", "3D") else "",
        thickness_mm=geometry.thickness_mm if geometry else _positive(header, "SliceThickness"),
        gap_mm=geometry.gap_mm if geometry else None,
        in_plane_mm=geometry.in_plane_mm if geometry else None,
        echo_time_ms=_positive(header, "EchoTime"),
        repetition_time_ms=_positive(header, "RepetitionTime"),
        inversion_time_ms=_positive(header, "InversionTime"),
        flip_angle_deg=_positive(header, "FlipAngle"),
        coil=_coil(header),
        began=moment(header),
        bolus=_bolus(header, agents),
    )


def read_scanner(header: Dataset) -> Scanner:
    """Read the scanner of a header."""
    return Scanner(
        manufacturer=text(header, "Manufacturer"),
        model=text(header, "ManufacturerModelName"),
        serial=text(header, "DeviceSerialNumber"),
        software=text(header, "SoftwareVersions"),
    )


def scanner_of_sidecar(sidecar: Mapping[str, Any]) -> Scanner:
    """Read the scanner from the sidecar that dcm2niix wrote."""
    parts = {
        "manufacturer": "Manufacturer",
        "model": "ManufacturersModelName",
        "serial": "DeviceSerialNumber",
        "software": "SoftwareVersions",
    }
    return Scanner(**{part: " ".join(str(sidecar.get(key) or "").split()) for part, key in parts.items()})


def same_software(one: Scanner, two: Scanner) -> bool | None:
    """Return whether two scans were made with the same software; None if a header does not say."""
    if not (one.software and two.software):
        return None
    # dcm2niix joins several versions by "_" where the header has "\\", and blanks by "_" too
    return _plain(one.software) == _plain(two.software)


def _plain(name: str) -> str:
    return re.sub(r"[\s\\_/;,.]+", " ", name).casefold().strip()


def _positive(header: Dataset, keyword: str) -> float | None:
    found = number(header, keyword)
    return found if found is not None and found > 0 else None


def _coil(header: Dataset) -> str:
    if found := text(header, "ReceiveCoilName"):
        return found
    try:  # a classic Siemens header names it in a private tag alone
        block = header.private_block(0x0051, "SIEMENS MR HEADER")
        return " ".join(str(block[0x0F].value).split())
    except Exception:  # absent, or damaged in whatever way
        return ""


def _bolus(header: Dataset, agents: Sequence[Agent]) -> Bolus:
    places = list(bolus_places(header))
    names = agent_said(header, agents).names
    named = " ".join(names).casefold()
    volumes = [
        volume
        for keyword in ("ContrastBolusTotalDose", "ContrastBolusVolume")
        for place in places
        if (volume := _positive(place, keyword)) is not None
    ]
    clocks = [text(place, "ContrastBolusStartTime") for place in places]
    return Bolus(
        said=bool(names),
        agent=next((a for a in agents if any(w.casefold() in named for w in a.words)), None),
        volume_ml=volumes[0] if volumes else None,
        weight_kg=_positive(header, "PatientWeight"),
        injected=next((clock for c in clocks if (clock := parse_clock(c)) is not None), None),
    )
