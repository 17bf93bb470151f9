"""De-identify the output of the converter: the sidecar and the header of a NIfTI image."""

import gzip
import math
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mesems_mri.errors import InputError, Reason
from mesems_mri.intake.deidentify.deidentifier import Deidentifier, is_measure
from mesems_mri.intake.deidentify.vocabulary import word_set

NUMBERS = word_set("""
    AcquisitionDuration AcquisitionMatrixPE AcquisitionNumber BandwidthPerPixelPhaseEncode BaseResolution
    CompressedSensingFactor ContrastBolusDelay ContrastBolusTotalDose ContrastBolusVolume DeepLearning
    DwellTime EchoNumber EchoTime EchoTime1 EchoTime2 EchoTrainLength EffectiveEchoSpacing FlipAngle
    FrequencyEncodingSteps ImageOrientationPatientDICOM ImagingFrequency Interpolation2D Interpolation3D
    InversionTime MagneticFieldStrength MTState MultibandAccelerationFactor NonlinearGradientCorrection
    NumberOfAverages ParallelReductionFactorInPlane ParallelReductionFactorOutOfPlane PartialFourier
    PercentPhaseFOV PercentSampling PhaseEncodingSteps PhaseEncodingStepsNoPartialFourier
    PhaseEncodingStepsOutOfPlane PhaseOversampling PhaseResolution PhilipsRescaleIntercept
    PhilipsRescaleSlope PhilipsScaleSlope PixelBandwidth PixelSpacing RawImage ReconMatrixPE RefLinesPE
    RepetitionTime RepetitionTimeExcitation RepetitionTimeInversion RepetitionTimePreparation SAR
    SeriesNumber SliceThickness SliceTiming SpacingBetweenSlices SpoilingState TotalReadoutTime
    UsePhilipsFloatNotDisplayScaling VariableFlipAngleFlag WaterFatShift
""")
CODES = word_set("""
    BodyPart BodyPartExamined ContrastBolusIngredient ImageType ImageTypeText
    InPlanePhaseEncodingDirectionDICOM MatrixCoilMode Modality MRAcquisitionType
    ParallelAcquisitionTechnique PartialFourierDirection PatientPosition PhaseEncodingAxis
    PhaseEncodingDirection ResonantNucleus ScanOptions ScanningSequence SequenceVariant SpoilingType
""")
WORDS = word_set("""
    ContrastBolusAgent ContrastBolusRoute ImageOrientationText ProtocolName PulseSequenceName
    PulseSequenceType SequenceName SeriesDescription
""")
DEVICES = word_set("""
    CoilString Manufacturer ManufacturersModelName ReceiveCoilActiveElements ReceiveCoilName
    SoftwareVersions TransmitCoilName
""")
SERIALS = word_set("DeviceSerialNumber StationName")
TIMES = word_set("AcquisitionTime ContrastBolusStartTime")
_CONVERTER = {"ConversionSoftware": r"dcm2niix", "ConversionSoftwareVersion": r"v\d+\.\d+\.\d{8}"}


class _NiftiLayout(NamedTuple):
    """Offsets of the fields of a NIfTI header."""

    size: int
    bitpix: int
    dim: tuple[int, str]
    offset: tuple[int, str]
    texts: tuple[tuple[int, int], ...]
    """Fields of free text: data_type and db_name, descrip and aux_file, intent_name, unused bytes."""


_LAYOUTS = {
    348: _NiftiLayout(348, 72, (40, "8h"), (108, "f"), ((4, 32), (148, 252), (328, 344))),
    540: _NiftiLayout(540, 14, (16, "8q"), (168, "q"), ((240, 344), (508, 524), (525, 540))),
}


def clean_sidecar(content: Mapping[str, Any], deidentifier: Deidentifier) -> dict[str, Any]:
    """Return the de-identified sidecar of an image.

    Parameters
    ----------
    content : mapping
        As the converter wrote it.
    deidentifier : Deidentifier
        That of the participant.

    Returns
    -------
    dict
        The keys that the analysis and the protocol check need, in the same order; each value passes the rule
        of the DICOM attribute it comes from. Any other key is dropped.
    """
    rules: list[tuple[frozenset[str], Callable[[str], str]]] = [
        (CODES, deidentifier.code),
        (WORDS, deidentifier.words),
        (DEVICES, deidentifier.device),
        (SERIALS, deidentifier.serial),
        (TIMES, deidentifier.time),
    ]
    cleaned: dict[str, Any] = {}
    for key, value in content.items():
        if key in NUMBERS:
            if _is_number(value, deidentifier):
                cleaned[key] = value
        elif key in _CONVERTER:
            if isinstance(value, str) and re.fullmatch(_CONVERTER[key], value):
                cleaned[key] = value
        else:
            rule = next((rule for keys, rule in rules if key in keys), None)
            kept = _texts(value, rule) if rule else None
            if kept:
                cleaned[key] = kept
    return cleaned


def write_nifti(source: Path, target: Path) -> None:
    """Rewrite an image without free text and extensions in its header, by an atomic write.

    Parameters
    ----------
    source : Path
        A NIfTI-1 or NIfTI-2 image in one file, compressed or not.
    target : Path
        Compressed if its name ends in ``.gz``; it may be the source. Written under another name first.

    Raises
    ------
    InputError
        If it is no such image or is cut off.
    """
    try:
        content = source.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        content = _clean_nifti(content)
    except (OSError, EOFError, struct.error, ValueError) as error:
        msg = f"the converted image cannot be read ({type(error).__name__}); convert the series again"
        raise InputError(msg, Reason.UNREADABLE_FILE) from None
    if target.name.endswith(".gz"):
        content = gzip.compress(content, 6, mtime=0)
    temporary = target.with_name(f".{target.name}.part")
    temporary.write_bytes(content)
    temporary.replace(target)


def _clean_nifti(content: bytes) -> bytes:
    order, layout = _layout(content)
    header = bytearray(content[: layout.size])
    dim = struct.unpack_from(order + layout.dim[1], header, layout.dim[0])
    bits = struct.unpack_from(f"{order}h", header, layout.bitpix)[0]
    start = int(struct.unpack_from(order + layout.offset[1], header, layout.offset[0])[0])
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1 or bits < 1 or start < layout.size:
        msg = "the header is damaged"
        raise ValueError(msg)
    size = math.prod(dim[1 : dim[0] + 1]) * bits // 8
    voxels = content[start : start + size]
    if len(voxels) < size:
        msg = "the image is cut off"
        raise ValueError(msg)
    for first, end in layout.texts:
        header[first:end] = bytes(end - first)
    struct.pack_into(order + layout.offset[1], header, layout.offset[0], layout.size + 4)
    return bytes(header) + bytes(4) + voxels


def _layout(content: bytes) -> tuple[str, _NiftiLayout]:
    for order in "<>":
        layout = _LAYOUTS.get(struct.unpack_from(f"{order}i", content)[0])
        if layout:
            return order, layout
    msg = "this is no NIfTI image in one file"
    raise ValueError(msg)


def _is_number(value: Any, deidentifier: Deidentifier) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, list):
        return all(_is_number(one, deidentifier) for one in value)
    return (
        isinstance(value, int | float)
        and is_measure(value)
        and not deidentifier.contains_identifier(str(value))
    )


def _texts(value: Any, rule: Callable[[str], str]) -> str | list[str] | None:
    if isinstance(value, list):
        return [text for one in value if isinstance(one, str) and (text := rule(one))]
    if not isinstance(value, str):
        return None
    return "\\".join(text for part in value.split("\\") if (text := rule(part)))
