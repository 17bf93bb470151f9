"""Encoding of a scan, not what was made of it: acquired resolution, acceleration, reconstruction."""

from dataclasses import dataclass
from typing import Final

from pydicom import Dataset

from mesems_mri.intake.dicom.geometry import SeriesGeometry
from mesems_mri.intake.dicom.tags import number, numbers, text, words

_AGREES: Final = 0.05
# Closed lists: nothing but their terms is ever shown. A reconstruction by a network is named by its product.
_DEEP_LEARNING: Final = {
    "AIR Recon DL": ("air recon dl", "air_recon_dl", "airrecondl", "air™ recon"),
    "Deep Resolve": ("deep resolve", "deep_resolve", "deepresolve"),
    "SmartSpeed AI": ("smartspeed ai", "smartspeed_ai", "smartspeed precise", "adaptive-cs-net"),
    "AiCE": ("aice", "advanced intelligent clear-iq"),
    "deep learning": ("deep learning", "deep_learning", "deeplearning", "dlr", "dl recon"),
}
_SEARCHED: Final = (
    "SeriesDescription",
    "ProtocolName",
    "SequenceName",
    "PulseSequenceName",
    "ImageComments",
    "DerivationDescription",
    "ScanOptions",
    "ImageType",
    "ReconstructionDescription",
    "FilterType",
    "ConvolutionKernel",
    "ParallelAcquisitionTechnique",
    "ImageTypeText",
)
_PRIVATE: Final = {
    # group, creator, element: texts in which makers name the reconstruction, or its strength
    (0x0043, "GEMS_PARM_01", 0xB7): "AIR Recon DL",
    (0x0021, "SIEMENS MR SDI 02", 0x75): "",
    (0x0051, "SIEMENS MR HEADER", 0x16): "",
    (0x700D, "TOSHIBA_MEC_MR3", 0x09): "",
}
_COMPRESSED: Final = ("CS", "COMPRESSED", "COMPRESSED_SENSING", "CSENSE", "CS-SENSE", "SPARSE")


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Encoding of a scan.

    Parameters
    ----------
    in_plane_mm : tuple of float or None
        Size of a pixel as acquired, in readout and phase direction; None where the header does not say.
    interpolated : bool
        The header says so, or the acquired pixels are larger than those of the image.
    acceleration : float or None
        Product of the factors of parallel imaging, in plane and through it.
    compressed_sensing : bool
        A technique of compressed sensing is named.
    deep_learning : str
        Product that reconstructed the image with a network; empty when none is named.
    """

    in_plane_mm: tuple[float, float] | None = None
    interpolated: bool = False
    acceleration: float | None = None
    compressed_sensing: bool = False
    deep_learning: str = ""


def read_encoding(header: Dataset, geometry: SeriesGeometry | None = None) -> Encoding:
    """Read the encoding of a scan.

    Parameters
    ----------
    header : Dataset
        Of a classic or an enhanced object.
    geometry : SeriesGeometry, optional
        As `describe_geometry` measured it.

    Returns
    -------
    Encoding
    """
    pixel = geometry.in_plane_mm if geometry else None
    acquired = _acquired_mm(header, geometry) if pixel and geometry else None
    smeared = bool(acquired and pixel and max(acquired) > (1 + _AGREES) * max(pixel))
    techniques = {*words(header, "ParallelAcquisitionTechnique"), *words(header, "ScanOptions")}
    return Encoding(
        in_plane_mm=acquired,
        interpolated=smeared or _says_interpolated(header),
        acceleration=_acceleration(header),
        compressed_sensing=text(header, "CompressedSensing").upper() == "YES"
        or bool(techniques & set(_COMPRESSED)),
        deep_learning=_deep_learning(header),
    )


def _acquired_mm(header: Dataset, geometry: SeriesGeometry) -> tuple[float, float] | None:
    """Return the pixel as acquired, never smaller than that of the image: readout may be oversampled."""
    assert geometry.in_plane_mm is not None
    if not (geometry.rows and geometry.columns):
        return None
    matrix = [n for n in numbers(header, "AcquisitionMatrix") if n > 0]
    readout = matrix[0] if len(matrix) == 2 else number(header, "MRAcquisitionFrequencyEncodingSteps")
    phase = matrix[1] if len(matrix) == 2 else number(header, "MRAcquisitionPhaseEncodingStepsInPlane")
    if not (readout and phase and readout > 0 and phase > 0):
        return None
    down, along = geometry.in_plane_mm
    sides = (geometry.rows * down, geometry.columns * along)
    # Headers mix up rows and columns: of a field of view that is no square the finer reading is taken.
    finest, options = min(down, along), []
    for of_readout, of_phase in (sides, sides[::-1]):
        first = max(of_readout / readout, finest)
        options.append((first, max(_phase_mm(header, sides, of_phase / phase, first), finest)))
    return min(options, key=max)


def _phase_mm(header: Dataset, sides: tuple[float, float], whole_mm: float, readout_mm: float) -> float:
    """Return the pixel in phase direction; of a smaller field of view that was filled up to a square."""
    share, sampled = number(header, "PercentPhaseFieldOfView"), number(header, "PercentSampling")
    square = abs(sides[0] - sides[1]) <= _AGREES * max(sides)
    if square and share and 0 < share < 100 and sampled and sampled > 0:
        part_mm, wanted_mm = whole_mm * share / 100, readout_mm * 100 / sampled
        if abs(part_mm - wanted_mm) <= _AGREES * wanted_mm:
            return part_mm
    return whole_mm


def _says_interpolated(header: Dataset) -> bool:
    options = words(header, "ScanOptions")
    return any(word.startswith(("ZIP", "INTERPOL")) for word in options) or bool(
        {"INTERPOLATED", "RESAMPLED"} & set(words(header, "ImageType"))
    )


def _acceleration(header: Dataset) -> float | None:
    in_plane = number(header, "ParallelReductionFactorInPlane")
    through = number(header, "ParallelReductionFactorOutOfPlane")
    if in_plane is None:
        in_plane = _private_factor(header)
    if in_plane is None and through is None:
        return 1.0 if text(header, "ParallelAcquisition").upper() == "NO" else None
    return round((in_plane or 1.0) * (through or 1.0), 3)


def _private_factor(header: Dataset) -> float | None:
    """Return the factor that classic headers keep in private tags: Siemens ``p2``, GE reciprocal factors."""
    siemens = _private(header, 0x0051, "SIEMENS MR HEADER", 0x11)
    found = [part[1:] for part in siemens.lower().replace(" ", "").split("s")[:1] if part.startswith("p")]
    if found and found[0].replace(".", "", 1).isdigit():
        return float(found[0])
    parts = _private(header, 0x0043, "GEMS_PARM_01", 0x83).strip("[]").replace(",", "\\").split("\\")
    try:
        factors = [1 / float(part) for part in parts if float(part) > 0]
    except ValueError:
        return None
    product_of = 1.0
    for factor in factors:
        product_of *= factor
    return round(product_of, 3) if factors else None


def _deep_learning(header: Dataset) -> str:
    said = " ".join(text(header, keyword) for keyword in _SEARCHED).casefold()
    for (group, creator, element), product_name in _PRIVATE.items():
        value = _private(header, group, creator, element).casefold()
        if value.strip(" '\"[]") in ("", "0", "none", "off", "no"):
            continue
        if product_name:
            return product_name
        said += f" {value}"
    padded = "".join(c if c.isalnum() or c in "_-™" else " " for c in said)
    for name, terms in _DEEP_LEARNING.items():
        if any(
            f" {term} " in f" {' '.join(padded.split())} " or (len(term) > 5 and term in said)
            for term in terms
        ):
            return name
    return ""


def _private(header: Dataset, group: int, creator: str, element: int) -> str:
    try:
        value = header.private_block(group, creator)[element].value
    except Exception:  # absent, or damaged in whatever way
        return ""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    parts = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
    return "\\".join(str(part) for part in parts)
