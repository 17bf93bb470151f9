"""Look for planted strings in every byte that a program wrote: the proof that a de-identification holds.

Looks into file and folder names and into all bytes, also of what is packed: gzip, bzip2, xz, zip (nested,
with names and comments), deflated DICOM, compressed text of PNG, streams of PDF, base64 in HTML and JSON. A
planted string is found in any case, with any usual separator, in either order of its parts, in several
encodings and as HTML, JSON and URL escape it. It is independent: nothing of ``mesems_mri`` is used here.

>>> import tempfile, gzip
>>> folder = Path(tempfile.mkdtemp())
>>> _ = (folder / "x.gz").write_bytes(gzip.compress(b"for HANS MUELLER"))
>>> [(hit.planted, hit.where) for hit in search(folder, [Planted("name", "Mueller^Hans")])]
[('Mueller^Hans', 'x.gz > gzip')]
"""

import base64
import binascii
import bz2
import datetime as dt
import html
import io
import itertools
import json
import lzma
import re
import struct
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SEPARATORS = ("^", " ", "", "_", "-", ".", ",", ", ", "=", "\\", "/", "+", "|", "\t")
_DATE_SEPARATORS = ("", "-", ".", "/", "_", " ", ":")
_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le")
_MIN_PART = 5
"""Shorter parts of a name stand in compressed voxels by chance."""
_MAX_BYTES = 1 << 30
_MAX_DEPTH = 6
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")


@dataclass(frozen=True)
class Planted:
    """A planted string: a ``name`` with ``^`` between parts, a ``date`` as ``YYYYMMDD``, or a ``text``."""

    kind: str
    text: str


@dataclass(frozen=True)
class Hit:
    """Where a planted string was found: the path, then what it was unpacked from, and the bytes around."""

    planted: str
    where: str
    around: str


def search(root: Path, planted: Iterable[Planted]) -> list[Hit]:
    """Look for planted strings in a file or folder, in the names and in all bytes."""
    wanted = ways(planted)
    hits: list[Hit] = []
    for path in [root, *sorted(root.rglob("*"))] if root.is_dir() else [root]:
        if path != root or not root.is_dir():
            name = path.relative_to(root).as_posix() if path != root else path.name
            hits += _in_bytes(f"name of {name}", name.encode("utf-8", "surrogateescape"), wanted)
            if path.is_symlink():
                hits += _in_bytes(f"link {name}", str(path.readlink()).encode(), wanted)
            elif path.is_file():
                for where, content in unpacked(name, path.read_bytes()):
                    hits += _in_bytes(where, content, wanted)
    return hits


def search_text(text: str | bytes, planted: Iterable[Planted], where: str = "text") -> list[Hit]:
    """Look for planted strings in a text, e.g. what a program printed."""
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    wanted = ways(planted)
    return [hit for place, part in unpacked(where, content) for hit in _in_bytes(place, part, wanted)]


def ways(planted: Iterable[Planted]) -> dict[str, tuple[bytes, ...]]:
    """Return the bytes to look for, for each planted string all the ways it can be written, in lower case."""
    return {one.text: _ways(one) for one in planted}


@cache
def _ways(planted: Planted) -> tuple[bytes, ...]:
    every = {way for spelling in spellings(planted) for way in _encoded(spelling)}
    shortest: list[bytes] = []
    # what holds another one is found with it
    for way in sorted(every, key=lambda way: (len(way), way)):
        if not any(short in way for short in shortest):
            shortest.append(way)
    return tuple(shortest)


def spellings(planted: Planted) -> set[str]:
    """Return the texts that give a planted string away, without regard to case."""
    if planted.kind == "date":
        day = dt.datetime.strptime(planted.text, "%Y%m%d")
        y, m, d = f"{day:%Y}", f"{day:%m}", f"{day:%d}"
        full = {s.join(parts) for s in _DATE_SEPARATORS for parts in ((y, m, d), (d, m, y), (m, d, y))}
        words = {f"{day:%d %B %Y}", f"{day:%d %b %Y}", f"{day:%B %d, %Y}", f"{day:%d-%b-%Y}"}
        return full | words
    parts = [part for part in re.split(r"[\^=\s,]+", planted.text) if part]
    found = {planted.text}
    if planted.kind == "name":
        for order in itertools.permutations(parts, min(len(parts), 2)):
            found |= {separator.join(order) for separator in _SEPARATORS}
        found |= {part for part in parts if len(part) >= _MIN_PART}
        found |= {_transliterated(text) for text in found}
    else:
        found |= {separator.join(parts) for separator in _SEPARATORS}
        found.add(re.sub(r"\W", "", planted.text))
    return {text for text in found if len(text) >= _MIN_PART}


def unpacked(where: str, content: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield bytes as they are, and all that can be unpacked from them, with a name of where it was."""
    yield where, content
    if depth >= _MAX_DEPTH:
        return
    for name, inner in _inside(content):
        yield from unpacked(f"{where} > {name}", inner, depth + 1)


def _inside(content: bytes) -> Iterator[tuple[str, bytes]]:
    if content[:2] == b"\x1f\x8b":
        yield "gzip", _inflated(content, 31)
    if content[:3] == b"BZh":
        yield "bzip2", _attempted(bz2.BZ2Decompressor().decompress, content)
    if content[:6] == b"\xfd7zXZ\0":
        yield "xz", _attempted(lzma.LZMADecompressor().decompress, content)
    if b"PK\x05\x06" in content[-66000:]:
        yield from _zip(content)
    if content[128:132] == b"DICM" and _DEFLATED in content[:1024]:
        yield "deflated DICOM", _inflated(content[_end_of_meta(content) :], -15)
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png(content)
    if content[:5] == b"%PDF-":
        for number, match in enumerate(re.finditer(rb"stream\r?\n", content)):
            yield f"PDF stream {number}", _inflated(content[match.end() :], 15)
    if b";base64," in content or content[:1] in (b"{", b"["):
        for match in _BASE64.finditer(content):
            decoded = _attempted(base64.b64decode, match[0])
            if decoded:
                yield f"base64 at {match.start()}", decoded


def _zip(content: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile:
        return
    yield "comment of zip", archive.comment
    for member in archive.infolist():
        yield "name in zip", member.filename.encode() + b"\0" + member.comment + b"\0" + member.extra
        with archive.open(member) as file:
            yield f"member {member.filename}", file.read(_MAX_BYTES)


def _png(content: bytes) -> Iterator[tuple[str, bytes]]:
    at = 8
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        chunk = content[at + 8 : at + 8 + size]
        if kind == b"zTXt":
            yield "zTXt of PNG", _inflated(chunk.partition(b"\0")[2][1:], 15)
        elif kind == b"iTXt":
            flags, rest = chunk.partition(b"\0")[2][:2], chunk.partition(b"\0")[2][2:]
            text = rest.split(b"\0", 2)[-1]
            yield "iTXt of PNG", _inflated(text, 15) if flags[:1] == b"\1" else text
        elif kind == b"iCCP":
            yield "iCCP of PNG", _inflated(chunk.partition(b"\0")[2][1:], 15)
        at += 12 + size


def _end_of_meta(content: bytes) -> int:
    # group 0002 is explicit little endian and starts with its length: (0002,0000) UL 4
    return 144 + struct.unpack_from("<I", content, 140)[0]


def _inflated(content: bytes, window: int) -> bytes:
    parts: list[bytes] = []
    while content:
        machine = zlib.decompressobj(window)
        try:
            parts.append(machine.decompress(content, _MAX_BYTES))
        except zlib.error:
            break
        # several gzip members can follow each other
        content = machine.unused_data if window == 31 else b""
    return b"".join(parts)


def _attempted(unpack: object, content: bytes) -> bytes:
    try:
        return unpack(content)  # type: ignore[operator]
    except (ValueError, OSError, EOFError, lzma.LZMAError, binascii.Error):
        return b""


def _in_bytes(where: str, content: bytes, wanted: dict[str, tuple[bytes, ...]]) -> list[Hit]:
    hits = []
    lower = content.lower()
    for text, every in wanted.items():
        at = next((at for way in every if (at := lower.find(way)) >= 0), -1)
        if at >= 0:
            hits.append(Hit(text, where, content[max(0, at - 30) : at + 60].decode("latin-1")))
    return hits


def _encoded(text: str) -> set[bytes]:
    """Return the bytes of a text; bytes are compared without regard to the case of ASCII letters alone."""
    encoded: set[bytes] = set()
    for cased in {text, text.upper(), text.lower(), text.title()}:
        for encoding in _ENCODINGS:
            try:
                encoded.add(cased.encode(encoding))
            except UnicodeEncodeError:
                continue
        if not cased.isascii():
            encoded |= {
                json.dumps(cased)[1:-1].encode(),
                html.escape(cased).encode("ascii", "xmlcharrefreplace"),
                urllib.parse.quote(cased).encode(),
                urllib.parse.quote(cased, encoding="latin-1", errors="replace").encode(),
            }
    return {way.lower() for way in encoded}


def _transliterated(text: str) -> str:
    return text.translate(str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "é": "e", "è": "e"}))
