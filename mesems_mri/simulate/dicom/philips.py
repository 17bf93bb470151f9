"""Philips images: scaled values and the private groups 2001 and 2005, classic and enhanced.

A stored value SV means ``SV * slope + intercept`` on the screen and ``SV / scale slope`` in the units of the
receiver; the second is the signal of the simulation (Chenevert et al. 2014, Transl Oncol 7:65).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset

from mesems_mri.simulate.dicom import common
from mesems_mri.simulate.dicom.common import Study, clock_of, private
from mesems_mri.simulate.dicom.encode import decimal, element
from mesems_mri.simulate.dicom.geometry import Planes
from mesems_mri.simulate.dicom.siemens import image_order
from mesems_mri.simulate.dicom.timeline import SimulatedSeries

IMPLEMENTATION = ("1.3.46.670589.11.0.0.51.4.17.1", "MR DICOM VB17")
_LARGEST = 4000
_NAMES = {"Tra": "TRANSVERSAL", "Sag": "SAGITTAL", "Cor": "CORONAL"}


@dataclass(frozen=True, eq=False)
class Scaling:
    """Scaling between stored values, displayed values and the signal of a series."""

    slope: float
    scale_slope: float

    def stored(self, planes: Planes) -> NDArray[np.uint16]:
        """Return the stored values of a signal."""
        return np.rint(np.clip(planes.pixels, 0, None) * self.scale_slope).astype(np.uint16)


def scaling_of(acquisition: SimulatedSeries) -> Scaling:
    """Scale the largest signal of a series to 12 bits, as the scanner does."""
    largest = max(1, *(int(scan.planes.pixels.max()) for scan in acquisition.scans))
    scale = float(np.float32(_LARGEST / largest))
    return Scaling(slope=float(f"{(1.1 + acquisition.number % 700 / 1000) / scale:.9g}"), scale_slope=scale)


def program(acquisition: SimulatedSeries) -> tuple[str, list[str], list[str], list[str], list[str]]:
    """Return technique, ScanningSequence, SequenceVariant, ScanOptions and last words of ImageType."""
    contrast = acquisition.contrast
    if acquisition.kind == "localizer":
        return "FFE", ["GR"], ["SS"], ["FC"], ["M_FFE", "M", "FFE"]
    if contrast == "T1w" and acquisition.three_d:
        return "T1TFE", ["GR"], ["MP"], ["OTHER"], ["M_FFE", "M", "FFE"]
    if contrast == "T1w":
        return "SE", ["SE"], ["OSP"], ["SP"], ["M_SE", "M", "SE"]
    if contrast == "FLAIR":
        return "TIR", ["IR"], ["SK"], ["OTHER"], ["M_IR", "M", "IR"]
    return "TSE", ["SE"], ["SK"], ["FC"], ["M_SE", "M", "SE"]


def base_header(study: Study, acquisition: SimulatedSeries) -> Dataset:
    """Return what classic and enhanced images of a series share."""
    tags = common.series_header(study, acquisition)
    tags.Manufacturer = "Philips Medical Systems"
    tags.ProtocolName = acquisition.description.removesuffix(" RPT")
    tags.SeriesTime = clock_of(acquisition.start, 5)
    tags.ReceiveCoilName = study.conventions.coil
    tags.PerformedProcedureStepStartDate = common.day_of(study.start)
    tags.PerformedProcedureStepStartTime = clock_of(study.start, 0)
    tags.PerformedProcedureStepID = study.exam
    if study.conventions.cue != "tags":
        tags.ContrastBolusAgent = ""
    tags.update(common.bolus_tags(study, acquisition))
    return tags


def header(study: Study, acquisition: SimulatedSeries) -> Dataset:
    """Return what the classic images of a series share."""
    planes = acquisition.main.planes
    technique, scanning, variant, options, words = program(acquisition)
    scaling = scaling_of(acquisition)
    tags = base_header(study, acquisition)
    tags.ImageType = (
        ["DERIVED", "SECONDARY", "MPR"] if acquisition.derived else ["ORIGINAL", "PRIMARY", *words]
    )
    tags.update(common.sequence_tags(study, acquisition))
    tags.update(common.image_tags(planes, _LARGEST))
    tags.ScanningSequence, tags.SequenceVariant, tags.ScanOptions = scanning, variant, options
    tags.EchoTrainLength = 15 if technique in ("TSE", "TIR") else 1
    tags.TransmitCoilName = "B"
    tags.HighRRValue = tags.LowRRValue = tags.IntervalsAcquired = tags.IntervalsRejected = tags.HeartRate = 0
    tags.ReconstructionDiameter = decimal(planes.pixels.shape[2] * planes.pixel_mm[1])
    tags.TemporalPositionIdentifier = tags.NumberOfTemporalPositions = 1
    tags.RescaleIntercept, tags.RescaleSlope = "0", decimal(scaling.slope)
    tags.RescaleType = "normalized"
    _add_private(tags, study, acquisition, technique)
    tags.update(private_of_image(acquisition, scaling))
    return tags


def private_of_image(acquisition: SimulatedSeries, scaling: Scaling) -> Dataset:
    """Return the private elements that an enhanced object repeats for every frame."""
    tags = Dataset()
    private(
        tags,
        0x2001,
        0x10,
        "Philips Imaging DD 001",
        {
            0x01: ("FL", 0.0),
            0x02: ("IS", "0"),
            0x03: ("FL", 0.0),
            0x04: ("CS", ""),
            0x06: ("CS", "N"),
            0x07: ("CS", "U"),
            0x08: ("IS", "1"),
            0x0B: ("CS", _NAMES[acquisition.main.planes.plane]),
        },
    )
    private(
        tags,
        0x2005,
        0x10,
        "Philips MR Imaging DD 001",
        {
            0x04: ("CS", "NONE"),
            0x0D: ("FL", 0.0),
            0x0E: ("FL", scaling.scale_slope),
            0x11: ("CS", "M"),
            0x61: ("CS", "NO"),
            0x63: ("SS", 0),
            0x6E: ("CS", program(acquisition)[0]),
            0x6F: ("CS", "3D" if acquisition.three_d else "MS"),
            0xA0: ("FL", 0.0),
        },
    )
    return tags


def stack(acquisition: SimulatedSeries) -> Dataset:
    """Return the private description of the stack of slices, with their number."""
    item = Dataset()
    planes = acquisition.main.planes
    private(
        item,
        0x2001,
        0x10,
        "Philips Imaging DD 001",
        {
            0x2D: ("SS", planes.complete),
            0x32: ("FL", 0.0),
            0x33: ("CS", "RL"),
            0x35: ("SS", 1),
            0x36: ("CS", "PARALLEL"),
        },
    )
    private(
        item,
        0x2005,
        0x10,
        "Philips MR Imaging DD 001",
        {0x7B: ("CS", "AP"), 0x7E: ("FL", planes.spacing_mm), 0x81: ("CS", "RL")},
    )
    return item


def instances(
    study: Study, acquisition: SimulatedSeries
) -> Iterator[tuple[list[DataElement], NDArray[np.integer]]]:
    """Yield the elements and pixels of every classic image."""
    scaling = scaling_of(acquisition)
    pixels = [scaling.stored(scan.planes) for scan in acquisition.scans]
    for index, number, echo in image_order(acquisition):
        scan = acquisition.scans[echo]
        own = list(common.slice_elements(study, acquisition, scan, index, number))
        own += [
            element(0x00180081, "DS", decimal(scan.echo_ms)),
            element(0x00180086, "IS", "1" if acquisition.kind == "localizer" else str(echo + 1)),
            element(0x2001100A, "IS", str(index + 1)),
            element(0x2001100B, "CS", _NAMES[scan.planes.plane]),
        ]
        yield own, pixels[echo][index]


def _add_private(tags: Dataset, study: Study, acquisition: SimulatedSeries, technique: str) -> None:
    card = study.plant("(2001,10C8) Philips ExamCard name", f"MS FU {study.person.spoken}")
    private(
        tags,
        0x2001,
        0x10,
        "Philips Imaging DD 001",
        {
            0x10: ("CS", "NO"),
            0x12: ("CS", "N"),
            0x13: ("SL", 1),
            0x14: ("SL", len(acquisition.scans) if acquisition.kind != "localizer" else 1),
            0x17: ("SL", 1),
            0x18: (
                "SL",
                acquisition.announced // (1 if acquisition.kind == "localizer" else len(acquisition.scans)),
            ),
            0x1B: ("FL", acquisition.main.inversion_ms),
            0x1C: ("CS", "INV" if acquisition.main.inversion_ms else "NO"),
            0x20: ("LO", technique),
            0x22: ("FL", 1.2),
            0x23: ("FL", acquisition.main.flip_deg),
            0x5F: ("SQ", [stack(acquisition)]),
            0x60: ("SL", 3 if acquisition.kind == "localizer" else 1),
            0x63: ("CS", "CONVERTED"),
            0x7B: ("IS", str(acquisition.number)),
            0x81: ("IS", "1"),
            0xC8: ("LO", card),
        },
    )
    nested = Dataset()
    nested.PatientName = study.plant("(2005,1402) nested in a Philips sequence", study.person.dicom_name)
    private(tags, 0x2005, 0x14, "Philips MR Imaging DD 005", {0x02: ("SQ", [nested])})
