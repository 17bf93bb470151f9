"""Pixel data of an object without comments, trailing bytes and overlays; burned-in annotation."""

from collections.abc import Callable, Iterator

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from mesems_mri.errors import InputError, Reason
from mesems_mri.intake.deidentify import codestream

_UNCOMPRESSED = {
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    "1.2.840.10008.1.2.1.99",  # deflated: the whole header is, the pixels are not again
}
_HIGH_THROUGHPUT = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
_CLEANERS: dict[str, Callable[[bytes], bytes]] = {
    **dict.fromkeys([*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes], codestream.without_comments_jpeg),
    **dict.fromkeys([*JPEG2000TransferSyntaxes, *_HIGH_THROUGHPUT], codestream.without_comments_jpeg_2000),
}
_SCREENS = {"SCREEN SAVE", "SCREENSAVE", "SCREEN_SAVE", "SCREENSHOT", "CAPTURE", "REPORT", "GSPS"}
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_COLOURS = ("RGB", "YBR", "PALETTE")


def burned_in(header: Dataset) -> str:
    """Return the sign of burned-in annotation, which nothing here removes.

    Returns
    -------
    str
        The reason, in words; empty if nothing points to it.
    """
    if "YES" in _words(header, "BurnedInAnnotation"):
        return "its header says that annotation is burned into the pixels"
    secondary = "".join(_words(header, "SOPClassUID")).startswith(_SECONDARY_CAPTURE)
    if secondary or _words(header, "ConversionType"):
        return "it is a secondary capture"
    if not _SCREENS.isdisjoint(_words(header, "ImageType")):
        return "its image type says that it is a picture of a screen"
    if "".join(_words(header, "PhotometricInterpretation")).startswith(_COLOURS):
        return "it is in colour, as no MR image is"
    if any(_overlays_in_pixels(header)):
        return "an overlay is stored in unused bits of the pixels"
    return ""


def clean_pixels(dataset: Dataset) -> tuple[DataElement | None, UID]:
    """Return the pixels without comments, trailing bytes and overlays, and the transfer syntax they are in.

    Parameters
    ----------
    dataset : Dataset
        As read.

    Returns
    -------
    DataElement or None
        None if there are no pixels.
    UID
        Explicit VR Little Endian, or that of the pixels if they stay compressed.

    Raises
    ------
    InputError
        If the pixels are incomplete, or compressed in a way that cannot be looked through.
    """
    meta = getattr(dataset, "file_meta", None) or Dataset()
    syntax = UID(str(meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)))
    if "PixelData" not in dataset:
        return None, ExplicitVRLittleEndian
    clean = _CLEANERS.get(syntax)
    if clean is None and syntax not in _UNCOMPRESSED and syntax != RLELossless:
        known = "" if syntax.name == syntax else f" ({syntax.name})"
        msg = f"the pixels are compressed in a way that is not known{known}; send them uncompressed"
        raise InputError(msg, Reason.UNREADABLE_FILE)
    try:
        if clean is None:
            return DataElement(0x7FE00010, "OW", _native(dataset, syntax)), ExplicitVRLittleEndian
        count = int(dataset.get("NumberOfFrames") or 1)
        frames = [clean(frame) for frame in generate_frames(dataset.PixelData, number_of_frames=count)]
    # a damaged object: pydicom and its decoders raise what their parts raise, with values in the text
    except Exception as error:
        msg = f"the pixels of an image cannot be read ({type(error).__name__}); send the series again"
        raise InputError(msg, Reason.UNREADABLE_FILE) from None
    element = DataElement(0x7FE00010, "OB", encapsulate(frames, has_bot=False))
    element.is_undefined_length = True
    return element, syntax


def _native(dataset: Dataset, syntax: UID) -> bytes:
    """Return uncompressed pixels in little-endian order, as many bytes as the matrix needs."""
    pixels = dataset.PixelData
    if syntax == RLELossless:
        # in the compressed form nobody sees where a segment ends and something else begins
        pixels = bytes(get_decoder(RLELossless).as_buffer(dataset)[0])
    bits = int(dataset.BitsAllocated)
    count = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel") or 1)
    size = (count * int(dataset.get("NumberOfFrames") or 1) * bits + 7) // 8
    if len(pixels) < size:
        msg = "the pixels are incomplete"
        raise ValueError(msg)
    pixels = bytes(pixels[:size])
    if bits > 8 and syntax == ExplicitVRBigEndian:
        pixels = np.frombuffer(pixels, f">u{bits // 8}").astype(f"<u{bits // 8}").tobytes()
    if any(_overlays_in_pixels(dataset)):
        signed = bool(dataset.PixelRepresentation)
        pixels = _without_unused_bits(
            pixels, bits, int(dataset.BitsStored), int(dataset.HighBit), signed=signed
        )
    return pixels + bytes(len(pixels) % 2)


def _without_unused_bits(pixels: bytes, bits: int, stored: int, high: int, *, signed: bool) -> bytes:
    kind = np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
    values = np.frombuffer(pixels, kind)
    # up against the top and back again: the sign fills what lies above, and nothing is left below
    raised = np.left_shift(values, bits - 1 - high)
    return np.left_shift(np.right_shift(raised, bits - stored), high + 1 - stored).astype(kind).tobytes()


def _overlays_in_pixels(header: Dataset) -> Iterator[bool]:
    for group in range(0x6000, 0x6020, 2):
        position = header.get((group, 0x0102))
        data = (group, 0x3000) in header
        yield position is not None and not data and str(position.value) not in ("", "0", "None")


def _words(header: Dataset, keyword: str) -> tuple[str, ...]:
    try:
        value = header.get(keyword)
    except Exception:  # a damaged element says nothing
        return ()
    values = value if isinstance(value, MultiValue | list | tuple) else () if value is None else (value,)
    return tuple(text for one in values if (text := str(one).strip().upper()))
