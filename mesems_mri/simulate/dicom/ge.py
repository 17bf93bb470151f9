"""GE images: signed 16-bit values and the private groups from 0009 to 0043."""

import gzip
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset

from mesems_mri.simulate.dicom import common
from mesems_mri.simulate.dicom.common import Study, clock_of, private
from mesems_mri.simulate.dicom.encode import decimal, element
from mesems_mri.simulate.dicom.siemens import image_order
from mesems_mri.simulate.dicom.timeline import SimulatedSeries

IMPLEMENTATION = ("1.2.840.113619.6.380", "GE_GENESIS_HDX_16")
_PLANE_CODES = {"Tra": 2, "Sag": 4, "Cor": 8}


def program(acquisition: SimulatedSeries) -> tuple[str, str, list[str], list[str], list[str]]:
    """Return name and inner name of the pulse sequence, ScanningSequence, SequenceVariant, ScanOptions."""
    contrast = acquisition.contrast
    if acquisition.kind == "localizer":
        return "fgre", "FGRE", ["GR"], ["SS"], ["FAST_GEMS", "FILTERED_GEMS"]
    if contrast == "T1w" and not acquisition.three_d:
        return "se", "SE", ["SE"], ["NONE"], ["FILTERED_GEMS", "SP"]
    if contrast == "T1w":
        return "BRAVO", "EFGRE3D", ["GR", "IR"], ["SS", "SP"], ["FAST_GEMS", "IR_GEMS", "EDR_GEMS"]
    if contrast == "FLAIR":
        return "fse-xl", "FSE", ["SE", "IR"], ["SK"], ["FAST_GEMS", "IR_GEMS", "FC", "FILTERED_GEMS"]
    return "frfse-xl", "FSE", ["SE"], ["SK"], ["FAST_GEMS", "FC", "FILTERED_GEMS"]


def header(study: Study, acquisition: SimulatedSeries) -> Dataset:
    """Return what the images of a series share."""
    scan = acquisition.main
    planes = scan.planes
    _, inner, scanning, variant, options = program(acquisition)
    tags = common.series_header(study, acquisition)
    tags.Manufacturer = "GE MEDICAL SYSTEMS"
    tags.ImageType = {
        "subtraction": ["DERIVED", "SECONDARY", "SUBTRACT"],
        "mpr": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"],
    }.get(acquisition.kind, ["ORIGINAL", "PRIMARY", "OTHER"])
    tags.ProtocolName = "MS FOLLOW UP"
    tags.update(common.sequence_tags(study, acquisition))
    tags.update(common.image_tags(planes, int(planes.pixels.max()), signed=True))
    if study.conventions.cue != "tags":
        tags.ContrastBolusAgent = ""
    tags.update(common.bolus_tags(study, acquisition))
    tags.ScanningSequence, tags.SequenceVariant, tags.ScanOptions = scanning, variant, options
    tags.EchoTrainLength = 12 if inner == "FSE" else 1
    tags.ReconstructionDiameter = decimal(planes.pixels.shape[2] * planes.pixel_mm[1])
    tags.ReceiveCoilName = study.conventions.coil
    tags.SAR = "0.4123"
    tags.SeriesTime = clock_of(acquisition.start, 0)
    tags.AcquisitionTime = tags.ContentTime = clock_of(acquisition.start, 0)
    tags.ImagesInAcquisition = acquisition.announced
    tags.SliceThickness = decimal(planes.thickness_mm)
    _add_identification(tags, study)
    _add_acquisition(tags, study, acquisition)
    _add_relationship(tags, acquisition)
    _add_study(tags, study)
    _add_series(tags, study, acquisition)
    _add_image(tags, acquisition)
    _add_parameters(tags, study)
    return tags


def _add_identification(tags: Dataset, study: Study) -> None:
    """Add the private group 0009."""
    private(
        tags,
        0x0009,
        0x10,
        "GEMS_IDEN_01",
        {
            0x01: ("LO", "GE_GENESIS_FF"),
            0x02: ("SH", study.conventions.station[:4]),
            0x04: ("SH", "SIGNA"),
            0x30: ("SH", study.plant("(0009,1030) GE service id", study.person.typed[:16])),
            0x31: ("SH", "9999"),
        },
    )


def _add_acquisition(tags: Dataset, study: Study, acquisition: SimulatedSeries) -> None:
    """Add the private group 0019."""
    name, inner, *_ = program(acquisition)
    planes = acquisition.main.planes
    private(
        tags,
        0x0019,
        0x10,
        "GEMS_ACQU_01",
        {
            0x0F: ("DS", "400.000000"),
            0x11: ("SS", int(acquisition.bolus is not None and study.conventions.cue == "tags")),
            0x17: ("SS", _PLANE_CODES[planes.plane]),
            0x18: ("LO", "I"),
            0x19: ("DS", decimal(planes.location(0))),
            0x1A: ("LO", "S"),
            0x1B: ("DS", decimal(planes.location(planes.complete - 1))),
            0x1E: ("DS", decimal(planes.pixels.shape[2] * planes.pixel_mm[1])),
            0x5A: ("FL", acquisition.seconds * 1e6),
            0x7E: ("SS", 1 if acquisition.kind == "localizer" else len(acquisition.scans)),
            0x9C: ("LO", name),
            0x9E: ("LO", inner),
            0x9F: ("SS", 3),
        },
    )


def _add_relationship(tags: Dataset, acquisition: SimulatedSeries) -> None:
    """Add the private group 0021."""
    per_image = acquisition.main.planes.complete
    private(
        tags,
        0x0021,
        0x10,
        "GEMS_RELA_01",
        {0x35: ("SS", 1), 0x37: ("SS", 16), 0x4F: ("SS", per_image), 0x56: ("SL", int(acquisition.three_d))},
    )


def _add_study(tags: Dataset, study: Study) -> None:
    """Add the private group 0023, with a name inside a nested sequence."""
    nested = Dataset()
    nested.PerformedProcedureTypeDescription = study.plant(
        "(0023,1080) nested in a GE sequence", f"MR {study.person.spoken}"
    )
    private(tags, 0x0023, 0x10, "GEMS_STDY_01", {0x70: ("FD", 0.0), 0x74: ("SL", 0), 0x80: ("SQ", [nested])})


def _add_series(tags: Dataset, study: Study, acquisition: SimulatedSeries) -> None:
    """Add the private group 0025, with the compressed protocol."""
    number = acquisition.announced
    private(
        tags,
        0x0025,
        0x10,
        "GEMS_SERS_01",
        {
            0x06: ("SS", 115),
            0x07: ("SL", number),
            0x10: ("SL", 0),
            0x11: ("SS", 1),
            0x14: ("SL", 0),
            0x17: ("SL", 0),
            0x18: ("SL", 0),
            0x19: ("SL", number),
            0x1A: ("SH", study.conventions.station),
            0x1B: ("OB", _protocol_block(study, acquisition)),
        },
    )


def _add_image(tags: Dataset, acquisition: SimulatedSeries) -> None:
    """Add the private groups 0027 and 0029."""
    planes = acquisition.main.planes
    private(
        tags,
        0x0027,
        0x10,
        "GEMS_IMAG_01",
        {
            0x10: ("SS", 0),
            0x31: ("SS", 9 if acquisition.three_d else 7),
            0x32: ("SS", 115),
            0x35: ("SS", _PLANE_CODES[planes.plane]),
            0x40: ("SH", "I"),
            0x60: ("FL", float(planes.pixels.shape[2])),
            0x61: ("FL", float(planes.pixels.shape[1])),
            0x62: ("FL", 1.0),
        },
    )
    private(tags, 0x0029, 0x10, "GEMS_IMPS_01", {0x26: ("SS", 2), 0x34: ("SL", 16384), 0x35: ("SL", 0)})


def _add_parameters(tags: Dataset, study: Study) -> None:
    """Add the private group 0043."""
    private(
        tags,
        0x0043,
        0x10,
        "GEMS_PARM_01",
        {
            0x01: ("SS", 4),
            0x0A: ("SS", 1),
            0x2C: ("SS", 0),
            0x2D: ("SH", "sg"),
            0x2F: ("SS", 0),
            0x39: ("IS", ["0", "0", "0", "0"]),
            0x61: ("UI", study.uid("study")),
            0x62: ("SH", study.exam),
            0x81: ("LO", study.conventions.coil),
            0x83: ("DS", ["0.5", "1"]),
            0x8A: ("CS", "ROW"),
            0x95: (
                "LO",
                study.plant("(0043,1095) GE prescan text", f"{study.person.spoken} {study.accession}"),
            ),
            0x9A: ("IS", "1"),
        },
    )


def instances(
    study: Study, acquisition: SimulatedSeries
) -> Iterator[tuple[list[DataElement], NDArray[np.integer]]]:
    """Yield the elements and pixels of every image."""
    for index, number, echo in image_order(acquisition):
        scan = acquisition.scans[echo]
        pixels = scan.planes.pixels
        own = list(common.slice_elements(study, acquisition, scan, index, number))
        own += [
            element(0x00180081, "DS", decimal(scan.echo_ms)),
            element(0x00180086, "IS", "1" if acquisition.kind == "localizer" else str(echo + 1)),
            element(0x00271041, "FL", scan.planes.location(index)),
            element(0x00280106, "SS", int(pixels[index].min())),
            element(0x00280107, "SS", int(pixels[index].max())),
        ]
        yield own, pixels[index]


def _protocol_block(study: Study, acquisition: SimulatedSeries) -> bytes:
    """Return the compressed protocol: four bytes of length, then gzip, in which the console left a name."""
    scan = acquisition.main
    note = study.plant("(0025,101B) GE protocol block, compressed", f"{study.person.typed} {study.exam}")
    lines = {
        "POSITION": "Supine",
        "ENTRY": "Head First",
        "COIL": study.conventions.coil,
        "PLANE": "OBLIQUE",
        "SEDESC": acquisition.description,
        "IMODE": "3D" if acquisition.three_d else "2D",
        "TE": f"{scan.echo_ms:g}",
        "TR": f"{scan.repetition_ms:g}",
        "FLIPANG": f"{scan.flip_deg:g}",
        "NOSLC": str(scan.planes.complete),
        "SLTHICK": f"{scan.planes.thickness_mm:.2f}",
        "CONTRAST": "Yes" if acquisition.bolus and study.conventions.cue == "tags" else "No",
        "CONTAM": note,
    }
    text = "".join(f'{key} "{value}"\n' for key, value in lines.items())
    packed = gzip.compress(text.encode(), mtime=0)
    block = len(packed).to_bytes(4, "little") + packed
    return block + b"\0" * (len(block) % 2)
