"""Classic Siemens images (syngo MR E11): shadow headers and the private groups 0019, 0029 and 0051."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset

from mesems_mri.simulate.dicom import common, csa
from mesems_mri.simulate.dicom.common import Study, clock_of, private
from mesems_mri.simulate.dicom.encode import decimal, element
from mesems_mri.simulate.dicom.timeline import SimulatedScan, SimulatedSeries

IMPLEMENTATION = ("1.3.12.2.1107.5.2", "SIEMENS")
_NUMARIS, _COIL_ELEMENTS = "IMAGE NUM 4", "HE1-4;NE1,2"
_PLANES = {"Tra": "H", "Sag": "L", "Cor": "P"}


def program(acquisition: SimulatedSeries) -> tuple[str, str, list[str], list[str], list[str]]:
    """Return file and name of the pulse sequence, ScanningSequence, SequenceVariant and ScanOptions."""
    three_d, contrast = acquisition.three_d, acquisition.contrast
    if acquisition.kind == "localizer":
        return "gre", "*fl2d1", ["GR"], ["SP", "OSP"], []
    if contrast == "T1w" and acquisition.main.inversion_ms:
        return "tfl", "*tfl3d1_16ns", ["GR", "IR"], ["SK", "SP", "MP"], ["IR"]
    if contrast == "T1w":
        return "se", "*se2d1", ["SE"], ["SP", "OSP"], []
    if contrast == "FLAIR" and three_d:
        return "tse_vfl", "*spcir_278ns", ["SE", "IR"], ["SK", "SP", "MP"], ["IR", "PFP"]
    if contrast == "FLAIR":
        return "tse", "*tir2d1_16", ["SE", "IR"], ["SK", "SP", "MP", "OSP"], ["IR", "SAT1"]
    if three_d and len(acquisition.scans) == 1:
        return "tse_vfl", "*spc_282ns", ["SE"], ["SK", "SP"], ["PFP"]
    return (
        "tse",
        f"*tse{3 if three_d else 2}d{len(acquisition.scans)}_11",
        ["SE"],
        ["SK", "SP", "OSP"],
        ["SAT1"],
    )


def stored(acquisition: SimulatedSeries, scan: SimulatedScan) -> NDArray[np.integer]:
    """Return the stored values: the signal itself; a difference is moved up."""
    pixels = scan.planes.pixels.astype(np.int32)
    return np.clip(pixels + intercept(acquisition), 0, 65535).astype(np.uint16)


def intercept(acquisition: SimulatedSeries) -> int:
    """Return how far the values of a difference are moved up."""
    return 2048 if acquisition.kind == "subtraction" else 0


def header(study: Study, acquisition: SimulatedSeries) -> Dataset:
    """Return what the images of a series share."""
    scan = acquisition.main
    file, name, scanning, variant, options = program(acquisition)
    tags = common.series_header(study, acquisition)
    tags.Manufacturer = "SIEMENS"
    if acquisition.kind == "mpr":
        tags.ImageType = ["DERIVED", "SECONDARY", "MPR", "CSA MPR", "", "CSAPARALLEL", "M", "NORM", "DIS2D"]
    elif acquisition.kind == "subtraction":
        tags.ImageType = ["DERIVED", "PRIMARY", "SUBTRACT", "NONE", "SUB"]
    else:
        tags.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"]
    tags.ReferencedImageSequence = common.localizer_references(study, acquisition)
    tags.InstanceCreationDate, tags.InstanceCreationTime = tags.ContentDate, tags.ContentTime
    tags.update(common.sequence_tags(study, acquisition))
    tags.update(common.image_tags(scan.planes, int(stored(acquisition, scan).max())))
    tags.update(common.bolus_tags(study, acquisition))
    tags.ScanningSequence, tags.SequenceVariant, tags.ScanOptions = scanning, variant, options
    tags.SequenceName = name
    tags.EchoTrainLength = 1 if "tse" not in file else 11
    tags.TransmitCoilName = "Body"
    tags.SAR = "0.0421"
    tags.dBdt = "0"
    if acquisition.kind == "subtraction":
        tags.RescaleIntercept, tags.RescaleSlope = str(-intercept(acquisition)), "1"
        tags.RescaleType = "US"
    _add_acquisition(tags, acquisition)
    tags.PerformedProcedureStepStartDate = common.day_of(study.start)
    tags.PerformedProcedureStepStartTime = clock_of(study.start, 3)
    tags.PerformedProcedureStepID = study.start.strftime("MR%Y%m%d%H%M%S")
    if not acquisition.derived:
        _add_shadow_headers(tags, study, acquisition)
        _add_display_texts(tags, acquisition)
    return tags


def _add_acquisition(tags: Dataset, acquisition: SimulatedSeries) -> None:
    """Add the private group 0019."""
    private(
        tags,
        0x0019,
        0x10,
        "SIEMENS MR HEADER",
        {
            0x08: ("CS", _NUMARIS),
            0x09: ("LO", "1.0"),
            0x0B: ("DS", decimal(1000 * acquisition.seconds)),
            0x0F: ("SH", "Fast"),
            0x11: ("SH", "No"),
            0x12: ("SL", [0, 0, -1250]),
            0x13: ("SL", [0, 0, -1250]),
            0x14: ("IS", ["0", "0", "0"]),
            0x17: ("DS", "1"),
            0x18: ("IS", "5500"),
        },
    )


def _add_shadow_headers(tags: Dataset, study: Study, acquisition: SimulatedSeries) -> None:
    """Add the private group 0029: the shadow headers (CSA) of image and series."""
    patient = study.plant("(0029,1020) protocol in the CSA series header", study.person.spoken)
    settings = _settings(acquisition)
    file, *_ = program(acquisition)
    text = csa.protocol_text(tags.ProtocolName, file, study.conventions.coil, settings, patient)
    series = csa.pack(
        [
            ("UsedPatientWeight", "IS", (str(int(study.person.weight_kg)),)),
            ("PositivePCSDirections", "SH", ("+LPH",)),
            ("CoilString", "LO", (_COIL_ELEMENTS,)),
            ("GradientMode", "SH", ("Fast",)),
            ("MrPhoenixProtocol", "UN", (text,)),
        ]
    )
    private(
        tags,
        0x0029,
        0x10,
        "SIEMENS CSA HEADER",
        {
            0x08: ("CS", _NUMARIS),
            0x09: ("LO", common.day_of(study.start)),
            0x10: ("OB", _image_shadow(study, acquisition, 0)),
            0x18: ("CS", "MR"),
            0x19: ("LO", common.day_of(study.start)),
            0x20: ("OB", series + b"\0" * (len(series) % 2)),
        },
    )
    private(tags, 0x0029, 0x11, "SIEMENS MEDCOM HEADER2", {0x60: ("LO", "com")})


def _add_display_texts(tags: Dataset, acquisition: SimulatedSeries) -> None:
    """Add the private group 0051: the texts that the console shows."""
    planes = acquisition.main.planes
    rows, columns = planes.pixels.shape[1:]
    private(
        tags,
        0x0051,
        0x10,
        "SIEMENS MR HEADER",
        {
            0x08: ("CS", _NUMARIS),
            0x09: ("LO", "1.0"),
            0x0A: ("LO", f"TA {int(acquisition.seconds) // 60:02d}:{int(acquisition.seconds) % 60:02d}"),
            0x0B: ("LO", f"{rows}{'' if planes.three_d else 'p'}*{columns}"),
            0x0C: ("LO", f"FoV {rows * planes.pixel_mm[0]:.0f}*{columns * planes.pixel_mm[1]:.0f}"),
            0x0E: ("LO", planes.plane),
            0x0F: ("LO", _COIL_ELEMENTS),
            0x11: ("LO", "p2"),
            0x12: ("SH", "TP 0"),
            0x13: ("SH", "+LPH"),
            0x15: ("SH", "E"),
            0x16: ("LO", "p2 M/NORM/DIS2D"),
            0x17: ("SH", f"SL {planes.thickness_mm:.1f}"),
            0x19: ("LO", "A1"),
        },
    )


def instances(
    study: Study, acquisition: SimulatedSeries
) -> Iterator[tuple[list[DataElement], NDArray[np.integer]]]:
    """Yield the elements and pixels of every image; two echoes take turns, as they do on the scanner."""
    times = acquisition.times()
    pixels = [stored(acquisition, scan) for scan in acquisition.scans]
    for index, number, echo in image_order(acquisition):
        scan = acquisition.scans[echo]
        own = list(common.slice_elements(study, acquisition, scan, index, number))
        at = times[index] if index < len(times) else acquisition.start
        position = scan.planes.position(index)
        own += [
            element(0x00080032, "TM", clock_of(at)),
            element(0x00080033, "TM", clock_of(acquisition.start, 3)),
            element(0x00180081, "DS", decimal(scan.echo_ms)),
            element(0x00180086, "IS", "1" if acquisition.kind == "localizer" else str(echo + 1)),
            element(0x00191015, "FD", [float(p) for p in position]),
            element(0x00191016, "DS", decimal((at - acquisition.start).total_seconds())),
            element(0x0051100D, "SH", f"SP {_PLANES[scan.planes.plane]}{scan.planes.location(index):.1f}"),
        ]
        if not acquisition.derived:
            own.append(element(0x00291010, "OB", _image_shadow(study, acquisition, index)))
        yield own, pixels[echo][index]


def image_order(acquisition: SimulatedSeries) -> Iterator[tuple[int, int, int]]:
    """Yield slice, instance number and number of the image in the order of a series."""
    number = 0
    if acquisition.kind == "localizer":
        for part, scan in enumerate(acquisition.scans):
            for index in range(len(scan.planes.pixels)):
                number += 1
                yield index, number, part
        return
    for index in range(len(acquisition.main.planes.pixels)):
        for part in range(len(acquisition.scans)):
            number += 1
            yield index, number, part


def _settings(acquisition: SimulatedSeries) -> dict[str, object]:
    scan = acquisition.main
    rows, columns = scan.planes.pixels.shape[1:]
    settings: dict[str, object] = {
        "lContrasts": len(acquisition.scans) if acquisition.kind != "localizer" else 1,
        "alTR[0]": round(1000 * scan.repetition_ms),
        "alTE[0]": round(1000 * scan.echo_ms),
        "sSliceArray.lSize": 1 if scan.planes.three_d else scan.planes.complete,
        "sKSpace.lBaseResolution": columns,
        "sKSpace.lPhaseEncodingLines": rows,
        "sKSpace.lPartitions": scan.planes.complete,
        "sKSpace.lImagesPerSlab": scan.planes.complete,
        "sKSpace.ucDimension": 4 if acquisition.three_d else 2,
        "sPat.lAccelFactPE": 2,
        "sPat.lAccelFact3D": 1,
        "sPat.ucPATMode": 2,
        "lScanTimeSec": int(acquisition.seconds),
    }
    if scan.inversion_ms:
        settings["alTI[0]"] = round(1000 * scan.inversion_ms)
    return settings


def _image_shadow(study: Study, acquisition: SimulatedSeries, index: int) -> bytes:
    planes = acquisition.main.planes
    normal = np.cross(planes.across, planes.down)
    return csa.pack(
        [
            ("ProtocolSliceNumber", "IS", (str(index),)),
            ("RealDwellTime", "IS", ("5500",)),
            ("SliceMeasurementDuration", "DS", (f"{1000 * acquisition.seconds:.8f}",)),
            ("NumberOfImagesInMosaic", "US", ()),
            ("SliceNormalVector", "FD", tuple(f"{v:.8f}" for v in normal)),
            ("PhaseEncodingDirectionPositive", "IS", ("1",)),
            ("ImaCoilString", "LO", ("HE1-4;NE1,2",)),
            ("ImaPATModeText", "LO", ("p2",)),
            ("SlicePosition_PCS", "FD", tuple(f"{v:.8f}" for v in planes.position(index))),
            ("UsedChannelString", "UT", ("X" * 20,)),
        ]
    )
