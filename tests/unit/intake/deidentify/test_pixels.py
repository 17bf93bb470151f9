"""Pixels stay what they are, and nothing that stands beside them is passed on."""

import contextlib
import io

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    MPEG2MPML,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from mesems_mri.errors import InputError, Reason
from mesems_mri.intake.deidentify.codestream import without_comments_jpeg, without_comments_jpeg_2000
from mesems_mri.intake.deidentify.pixels import burned_in, clean_pixels
from tests.identifier_search import search_text
from tests.unit.intake.planting import NAME, PERSON, mr_image

SECRET = NAME.encode()


def pixels(dataset: Dataset) -> np.ndarray:
    element, syntax = clean_pixels(dataset)
    assert element is not None
    assert syntax == ExplicitVRLittleEndian
    return np.frombuffer(element.value, "<u2").reshape(dataset.Rows, dataset.Columns)


def segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2) + payload


def jpeg(secret: bytes, exif: bytes = b"Exif\0", between: bytes = b"between ") -> bytes:
    return (
        b"\xff\xd8"
        + segment(0xE0, b"JFIF\0\1\2\0\0\1\0\1\0\0" + secret)
        + segment(0xE1, exif + secret)
        + segment(0xEE, b"Adobe\0\1\2\3\4\5\6" + secret)
        + segment(0xFE, secret)
        + segment(0xDB, b"table")
        + segment(0xDA, b"scan")
        + b"entropy\xff\0coded\xff\xd0data\xff\x7f"
        + segment(0xFE, between + secret)
        + segment(0xDA, b"scan")
        + b"more"
        + b"\xff\xd9"
    )


def tile(header: bytes, body: bytes, *, open_end: bool = False) -> bytes:
    size = 12 + len(header) + 2 + len(body)
    start = segment(0x90, b"\0\0" + (0 if open_end else size).to_bytes(4) + b"\0\1")
    return start + header + b"\xff\x93" + body


def jpeg_2000(secret: bytes, *, open_end: bool = False) -> bytes:
    main = b"\xff\x4f" + segment(0x51, b"size") + segment(0x64, secret)
    first = tile(segment(0x64, secret), b"\xff\x01coded")
    return main + first + tile(b"", b"\xff\x64coded", open_end=open_end) + b"\xff\xd9"


NOTHING = bytes(len(SECRET))
CODESTREAMS = {
    "JPEG": (without_comments_jpeg, jpeg(SECRET), jpeg(NOTHING, bytes(5), bytes(8))),
    "JPEG 2000": (without_comments_jpeg_2000, jpeg_2000(SECRET), jpeg_2000(NOTHING)),
    "JPEG 2000 with an open end": (
        without_comments_jpeg_2000,
        jpeg_2000(SECRET, open_end=True),
        jpeg_2000(NOTHING, open_end=True),
    ),
}


@pytest.mark.parametrize("kind", CODESTREAMS)
def test_comments_of_a_codestream_become_zeros(kind: str) -> None:
    clean, stream, expected = CODESTREAMS[kind]
    assert search_text(stream, PERSON)
    assert clean(stream + SECRET) == expected
    assert clean(expected) == expected


@pytest.mark.parametrize("kind", CODESTREAMS)
def test_cut_codestream_is_refused(kind: str) -> None:
    clean, stream, _ = CODESTREAMS[kind]
    for size in range(len(stream) - 1):
        with pytest.raises(ValueError, match=r"end|damaged|no JPEG"):
            clean(stream[:size])


@given(st.binary(max_size=80))
def test_garbage_is_refused_or_cut_and_never_runs_on(garbage: bytes) -> None:
    for clean, start in ((without_comments_jpeg, b"\xff\xd8"), (without_comments_jpeg_2000, b"\xff\x4f")):
        with contextlib.suppress(ValueError):
            assert clean(start + garbage).endswith(b"\xff\xd9")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_uncompressed_pixels_are_the_same_in_every_transfer_syntax(syntax: UID) -> None:
    image = mr_image()
    expected = pixels(image)
    image.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        image.PixelData = expected.astype(">u2").tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer,
        image,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    assert np.array_equal(pixels(pydicom.dcmread(io.BytesIO(buffer.getvalue()))), expected)


def test_run_length_pixels_are_unpacked() -> None:
    image = mr_image()
    expected = pixels(image)
    image.compress(RLELossless)
    assert np.array_equal(pixels(image), expected)
    (frame,) = generate_frames(image.PixelData, number_of_frames=1)
    image.PixelData = encapsulate([frame + SECRET])
    with pytest.raises(InputError, match="cannot be read"):
        clean_pixels(image)


@pytest.mark.parametrize(
    ("syntax", "stream"),
    [
        (JPEGLosslessSV1, jpeg(SECRET)),
        (JPEGLSLossless, jpeg(SECRET)),
        (JPEG2000Lossless, jpeg_2000(SECRET)),
    ],
)
def test_compressed_pixels_stay_compressed_without_comments(syntax: UID, stream: bytes) -> None:
    image = mr_image()
    image.file_meta.TransferSyntaxUID = syntax
    image.PixelData = encapsulate([stream])
    element, kept = clean_pixels(image)
    assert element is not None
    assert kept == syntax
    assert not search_text(element.value, PERSON)
    assert search_text(image.PixelData, PERSON)


def test_trailing_bytes_are_cut() -> None:
    image = mr_image()
    expected = pixels(image)
    image.PixelData += SECRET + b" "
    assert np.array_equal(pixels(image), expected)


@pytest.mark.parametrize("signed", [False, True])
def test_overlay_in_unused_bits_is_removed(signed: bool) -> None:
    image = mr_image()
    image.PixelRepresentation = int(signed)
    expected = pixels(image).copy()
    if signed:
        expected = ((expected.astype("<i2") << 4) >> 4).view("<u2")
    overlay = np.random.default_rng(1).integers(0, 16, expected.shape).astype("<u2") << 12
    image.PixelData = ((expected & 0x0FFF) | overlay).tobytes()
    assert not np.array_equal(pixels(image), expected)
    image.add_new(0x60000102, "US", 12)
    assert burned_in(image) == "an overlay is stored in unused bits of the pixels"
    assert np.array_equal(pixels(image), expected)


@pytest.mark.parametrize("what", ["short", "syntax", "named syntax", "garbage", "no matrix"])
def test_unreadable_pixels_are_refused_without_quoting_them(what: str) -> None:
    image = mr_image()
    if what == "short":
        image.PixelData = image.PixelData[:-2]
    elif what == "syntax":
        image.file_meta.TransferSyntaxUID = MPEG2MPML
    elif what == "named syntax":
        image.file_meta.TransferSyntaxUID = UID(NAME)
    elif what == "garbage":
        image.file_meta.TransferSyntaxUID = JPEG2000Lossless
        image.PixelData = encapsulate([SECRET])
    else:
        del image.Rows
    with pytest.raises(InputError) as caught:
        clean_pixels(image)
    assert caught.value.reason is Reason.UNREADABLE_FILE
    assert not search_text(str(caught.value), PERSON)


def test_header_without_pixels_has_none() -> None:
    image = mr_image()
    del image.PixelData
    assert clean_pixels(image) == (None, ExplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("BurnedInAnnotation", "YES"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7.4"),
        ("ConversionType", "WSD"),
        ("ImageType", ["DERIVED", "SECONDARY", "SCREEN SAVE"]),
        ("PhotometricInterpretation", "RGB"),
        ("PhotometricInterpretation", "YBR_FULL"),
    ],
)
def test_pixels_that_may_hold_text_are_flagged(keyword: str, value: str) -> None:
    image = mr_image()
    assert burned_in(image) == ""
    setattr(image, keyword, value)
    assert burned_in(image)


def test_images_of_the_trial_are_not_flagged() -> None:
    image = mr_image()
    image.BurnedInAnnotation, image.ImageType = "NO", ["DERIVED", "SECONDARY", "MPR"]
    image.add_new(0x60000102, "US", 0)
    image.add_new(0x60003000, "OW", bytes(12))
    assert burned_in(image) == ""
