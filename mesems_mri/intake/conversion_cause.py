"""Causes for which a series is not converted: a closed list, each in words for the site.

What dcm2niix prints may hold values of the header, so that none of it is shown: it is only searched for the
messages that are known.
"""

from enum import StrEnum


class ConversionCause(StrEnum):
    """Closed list of causes."""

    COMPRESSION = "its compressed pixel data cannot be decoded; send it uncompressed"
    PIXELS = "its pixel data are missing, cut off or damaged; send it again"
    BITS = "its pixels are of a kind that is not read (bits or colours per pixel); send the grey-scale images"
    NO_IMAGE = "dcm2niix found no image in it"
    NOT_WRITTEN = "the converted image could not be written"
    FRAMES = "its frames cannot be taken apart or joined"
    DIMENSIONS = "its slices differ in their number of rows or columns"
    ORIENTATION = "its slices differ in their orientation"
    ECHO = "its slices differ in their echo time"
    REPETITION = "its slices differ in their repetition time"
    FLIP = "its slices differ in their flip angle"
    PHASE = "it holds magnitude and phase images"
    COIL = "its slices differ in their receive coil"
    PROTOCOL = "its slices differ in the name of their protocol"
    TRIGGER = "its slices differ in their trigger time"
    TIME = "its slices differ in the time of their study"
    SERIES = "its slices differ in their series UID"
    SPACING = "the distances of its slices are uneven"
    FOUR_D = "it holds several volumes"
    SEVERAL = "several images were made of it"
    OTHER_SIZE = "the image that was made has not the slices sent"
    ELSEWHERE = "the image that was made lies elsewhere than the slices do"
    NOT_STRAIGHT = "its slices do not lie straight one above the other"


_MESSAGES = (
    # the gravest first; only the first that is found is told
    (ConversionCause.COMPRESSION, "unsupported transfer syntax"),
    (ConversionCause.COMPRESSION, "unable to decompress dicom transfer syntax"),
    (ConversionCause.COMPRESSION, "unable to decode"),
    (ConversionCause.COMPRESSION, "catastrophic decompression error"),
    (ConversionCause.COMPRESSION, "unsupported compression"),
    (ConversionCause.COMPRESSION, "compressed image stored as"),
    (ConversionCause.COMPRESSION, "openjpeg failed"),
    (ConversionCause.COMPRESSION, "charls failed"),
    (ConversionCause.COMPRESSION, "decode_jpeg"),
    (ConversionCause.PIXELS, "is not enough bytes for"),
    (ConversionCause.PIXELS, "rle header"),
    (ConversionCause.PIXELS, "jpeg fragments"),
    (ConversionCause.PIXELS, "without image fragments"),
    (ConversionCause.PIXELS, "image size is zero bytes"),
    (ConversionCause.PIXELS, "file too short"),
    (ConversionCause.BITS, "unsupported dicom bit-depth"),
    (ConversionCause.NOT_WRITTEN, "disk full"),
    (ConversionCause.DIMENSIONS, "dimensions vary across slices"),
    (ConversionCause.ORIENTATION, "orientation varies"),
    (ConversionCause.PHASE, "some are phase"),
    (ConversionCause.TRIGGER, "trigger time varies"),
    (ConversionCause.ECHO, "echo varies"),
    (ConversionCause.REPETITION, "tr varies"),
    (ConversionCause.FLIP, "flip angle varies"),
    (ConversionCause.COIL, "coil varies"),
    (ConversionCause.PROTOCOL, "protocol name varies"),
    (ConversionCause.TIME, "study date/time"),
    (ConversionCause.SERIES, "series instance uid varies"),
    (ConversionCause.SPACING, "slices not equidistant"),
    (ConversionCause.SPACING, "unable to equalize slice distances"),
    (ConversionCause.NO_IMAGE, "unable to find any dicom images"),
    (ConversionCause.NO_IMAGE, "no valid dicom images were found"),
)


def known_cause(printed: str) -> ConversionCause | None:
    """Return the cause that dcm2niix names in what it printed; None when it names none that is known."""
    lower = printed.casefold()
    return next((cause for cause, message in _MESSAGES if message in lower), None)
