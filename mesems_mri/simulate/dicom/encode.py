"""Write DICOM files fast: what all instances of a series share is encoded once, the rest spliced in.

pydicom encodes every element; only the assembly of the file is here, which `pydicom.dcmwrite` would do from
scratch for each of thousands of instances.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

PIXEL_DATA = 0x7FE00010
SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "rle": RLELossless,
    "deflated": DeflatedExplicitVRLittleEndian,
}
"""Transfer syntaxes by the name used here."""
Pieces = dict[int, bytes]
_ASCII = ["ISO_IR 6"]


@dataclass(frozen=True, eq=False)
class Envelope:
    """File meta information, preamble and padding around a data set.

    Parameters
    ----------
    syntax : str
        One of `SYNTAXES`.
    implementation_uid, implementation : str
        Who wrote the file.
    preamble : bytes
        At most 128 bytes before everything, which no reader looks at.
    meta : tuple of DataElement
        More elements of group 2.
    tail : bytes
        Content of a padding element behind the pixels.
    """

    syntax: str
    implementation_uid: str
    implementation: str
    preamble: bytes = b""
    meta: tuple[DataElement, ...] = ()
    tail: bytes = b""


def element(tag: int, vr: str, value: object) -> DataElement:
    """Return an element without having it validated."""
    return DataElement(tag, vr, value, validation_mode=IGNORE)


def decimal(value: float) -> str:
    """Write a number as a decimal string of at most 16 characters."""
    return f"{float(value):.9g}"


def decimals(values: Iterable[float]) -> list[str]:
    """Write numbers as decimal strings."""
    return [decimal(value) for value in values]


def write_series(
    header: Dataset,
    instances: Iterable[tuple[Iterable[DataElement], NDArray[np.integer]]],
    envelope: Envelope,
) -> Iterator[bytes]:
    """Encode the instances of a series.

    Parameters
    ----------
    header : Dataset
        What they share.
    instances : iterable
        For each its own elements, which replace shared ones, and its pixels: (rows, columns), or (frames,
        rows, columns).
    envelope : Envelope

    Yields
    ------
    bytes
        A file.
    """
    implicit = envelope.syntax == "implicit"
    charset = [header.get("SpecificCharacterSet", "ISO_IR 100")]
    shared = _encode(header, charset, implicit=implicit)
    tail = _encode([element(0xFFFCFFFC, "OB", envelope.tail)], charset) if envelope.tail else {}
    for own, pixels in instances:
        encoded = shared | _encode(own, charset, implicit=implicit)
        encoded[PIXEL_DATA] = _pixel_data(pixels, envelope.syntax)
        body = _join(encoded | tail)
        if envelope.syntax == "deflated":
            packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            body = packer.compress(body) + packer.flush()
            body += b"\0" * (len(body) % 2)
        yield b"".join((envelope.preamble.ljust(128, b"\0"), b"DICM", _meta(encoded, envelope), body))


def write_object(dataset: Dataset, envelope: Envelope, hide: tuple[int, ...] = ()) -> bytes:
    """Encode an object that has no pixels, or has them among its elements.

    Parameters
    ----------
    dataset : Dataset
    envelope : Envelope
    hide : tuple of int
        Tags that only the group of the file tells.
    """
    charset = [dataset.get("SpecificCharacterSet", "ISO_IR 100")]
    encoded = _encode(dataset, charset, implicit=envelope.syntax == "implicit")
    start = b"".join((envelope.preamble.ljust(128, b"\0"), b"DICM", _meta(encoded, envelope)))
    return start + _join({tag: piece for tag, piece in encoded.items() if tag not in hide})


def _encode(elements: Iterable[DataElement], charset: list[str], *, implicit: bool = False) -> Pieces:
    pieces: Pieces = {}
    for item in elements:
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, implicit
        write_data_element(buffer, item, charset)
        pieces[int(item.tag)] = buffer.getvalue()
    return pieces


def _join(pieces: Mapping[int, bytes]) -> bytes:
    return b"".join(pieces[tag] for tag in sorted(pieces))


def _meta(encoded: Pieces, envelope: Envelope) -> bytes:
    """Encode group 2 for a data set that is already encoded."""
    implicit = envelope.syntax == "implicit"
    named = tuple(_uid(encoded[tag], implicit=implicit) for tag in (0x00080016, 0x00080018))
    own = (element(0x00020002 + k, "UI", uid) for k, uid in enumerate(named))
    rest = _join(_shared_meta(envelope) | _encode(own, _ASCII))
    return b"\2\0\0\0UL\4\0" + len(rest).to_bytes(4, "little") + rest


@lru_cache(maxsize=8)
def _shared_meta(envelope: Envelope) -> Pieces:
    group = (
        element(0x00020001, "OB", b"\0\1"),
        element(0x00020010, "UI", SYNTAXES[envelope.syntax]),
        element(0x00020012, "UI", envelope.implementation_uid),
        element(0x00020013, "SH", envelope.implementation),
        *envelope.meta,
    )
    return _encode(group, _ASCII)


def _uid(piece: bytes, *, implicit: bool) -> str:
    return piece[8:].rstrip(b"\0").decode()


def _pixel_data(pixels: NDArray[np.integer], syntax: str) -> bytes:
    raw = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<"), copy=False)
    if syntax == "rle":
        frames = raw if raw.ndim == 3 else raw[None]
        value = encapsulate([pack_bits(frame) for frame in frames])
        # Of undefined length, as the frames are items that tell their own.
        return b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + value + b"\xfe\xff\xdd\xe0\0\0\0\0"
    value = raw.tobytes()
    value += b"\0" * (len(value) % 2)
    vr = b"" if syntax == "implicit" else b"OW\0\0"
    return b"\xe0\x7f\x10\x00" + vr + len(value).to_bytes(4, "little") + value


_RUN = re.compile(rb"(.)\1{2,127}", re.DOTALL)


def pack_bits(frame: NDArray[np.integer]) -> bytes:
    """Compress a frame: its high bytes, then its low ones, each row by itself (DICOM PS3.5 annex G)."""
    planes = frame.view(np.uint8).reshape((*frame.shape, frame.dtype.itemsize))
    segments = []
    for byte in reversed(range(frame.dtype.itemsize)):
        segment = b"".join(_pack_row(row.tobytes()) for row in planes[:, :, byte])
        segments.append(segment + b"\0" * (len(segment) % 2))
    starts = np.cumsum([64, *(len(segment) for segment in segments[:-1])])
    head = struct.pack(f"<{1 + len(segments)}I", len(segments), *starts)
    return head.ljust(64, b"\0") + b"".join(segments)


def _pack_row(row: bytes) -> bytes:
    """Write runs of three and more equal bytes as a count and a byte, what lies between as it is."""
    parts, done = [], 0
    for run in _RUN.finditer(row):
        parts += _literal(row[done : run.start()])
        parts.append(bytes((257 - (run.end() - run.start()), row[run.start()])))
        done = run.end()
    return b"".join(parts + _literal(row[done:]))


def _literal(content: bytes) -> list[bytes]:
    blocks = (content[start : start + 128] for start in range(0, len(content), 128))
    return [bytes((len(block) - 1,)) + block for block in blocks]
