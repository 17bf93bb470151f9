"""Verification of a bundle with nothing but the public key of its signer."""

import csv
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from mesems_mri.dataset.tables import check_forbidden
from mesems_mri.errors import BundleError
from mesems_mri.transfer.archive import MAX_BYTES, MAX_FILE_BYTES, MEMBERS, extract_archive
from mesems_mri.transfer.keys import is_signed
from mesems_mri.transfer.manifest import MANIFEST, SIGNATURE, BundleManifest, FileEntry

_CHUNK = 2**20


def verify_bundle(bundle: Path, public_key: Ed25519PublicKey | Iterable[Ed25519PublicKey]) -> BundleManifest:
    """Verify a bundle: its files, its signature, and that the two belong together.

    Checked in this order: the folder holds exactly the plain files of a bundle, none too large; the detached
    Ed25519 signature (RFC 8032) over the bytes of ``manifest.json``; the manifest itself; of each file size,
    SHA-256 (FIPS 180-4), rows and columns (RFC 4180), and that no column would unblind the analysis. What the
    rows say, and whether this bundle is the next one of its site, is for the receiving side. The rows of an
    XPT file are not counted: they are those of the CSV beside it, and its SHA-256 is signed.

    Parameters
    ----------
    bundle : Path
        Folder of the bundle, or its archive.
    public_key : Ed25519PublicKey or iterable of them
        One of these must have signed it.

    Returns
    -------
    BundleManifest

    Raises
    ------
    BundleError
        If anything is not as it must be; the text is one sentence.
    ForbiddenColumnError
        If a table has a column that would unblind the analysis.
    """
    with ExitStack() as stack:
        if not bundle.is_dir():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mesems-mri-bundle-")))
            try:
                extract_archive(bundle, folder)
            except OSError as error:
                msg = f"{bundle}: cannot be read ({error.strerror}); give the folder or archive of a bundle"
                raise BundleError(msg) from error
        else:
            folder = bundle
        return _verify_folder(folder, public_key)


def manifest_sha256(folder: Path) -> str:
    """Return the SHA-256 of the manifest of a bundle, by which it is known everywhere."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def read_manifest(folder: Path) -> BundleManifest:
    """Read the manifest of a bundle without verifying it, e.g. to learn which site claims to have sent it.

    Raises
    ------
    BundleError
        If there is none, or it is none.
    """
    return parse_manifest(_read(folder, MANIFEST))


def _verify_folder(folder: Path, public_key: Ed25519PublicKey | Iterable[Ed25519PublicKey]) -> BundleManifest:
    _check_names(folder)
    content, signature = _read(folder, MANIFEST), _read(folder, SIGNATURE)
    keys = [public_key] if isinstance(public_key, Ed25519PublicKey) else list(public_key)
    if not any(is_signed(content, signature, key) for key in keys):
        msg = f"{SIGNATURE}: is no signature of this manifest by the key given; ask the sender for its key"
        raise BundleError(msg)
    manifest = parse_manifest(content)
    for entry in manifest.files:
        _check_file(folder / entry.name, entry)
    for entry in manifest.files:
        if entry.name.endswith(".xpt"):
            twin = manifest.entry(entry.name.replace(".xpt", ".csv"))
            if (entry.rows, entry.columns) != (twin.rows, twin.columns):
                msg = f"{entry.name}: other rows or columns than {twin.name} in the manifest; build it again"
                raise BundleError(msg)
    return manifest


def _check_names(folder: Path) -> None:
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name not in MEMBERS:
                msg = f"{entry.name!r}: is no file of a bundle, expected {', '.join(MEMBERS)}; remove it"
                raise BundleError(msg)
            found[entry.name] = entry.stat(follow_symlinks=False)
    for name in MEMBERS:
        if name not in found:
            msg = f"{name}: is missing from the bundle; get the whole bundle from the sender"
            raise BundleError(msg)
        if not stat.S_ISREG(found[name].st_mode):
            msg = f"{name}: is no plain file; get the bundle from the sender as it was built"
            raise BundleError(msg)
        if found[name].st_size > (limit := MAX_BYTES.get(name, MAX_FILE_BYTES)):
            msg = f"{name}: has {found[name].st_size} bytes, at most {limit} are allowed; ask the sender"
            raise BundleError(msg)


def _check_file(path: Path, entry: FileEntry) -> None:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while part := stream.read(_CHUNK):
            digest.update(part)
            size += len(part)
    if size != entry.bytes:
        msg = f"{entry.name}: has {size} bytes, the manifest says {entry.bytes}; get the bundle again"
        raise BundleError(msg)
    if digest.hexdigest() != entry.sha256:
        msg = f"{entry.name}: has another SHA-256 than the manifest says; get the bundle again"
        raise BundleError(msg)
    if path.suffix == ".csv":
        _check_table(path, entry)


def _check_table(path: Path, entry: FileEntry) -> None:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            lines = csv.reader(_lines(stream, entry.name), strict=True)
            columns = tuple(next(lines, ()))
            rows = 0
            for number, row in enumerate(lines, start=1):
                if len(row) != len(columns):
                    fields = f"{len(row)} fields, expected {len(columns)}"
                    msg = f"{entry.name}: row {number} has {fields}; build it again"
                    raise BundleError(msg)
                rows = number
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f"{entry.name}: is no table of comma-separated UTF-8 text ({error}); build the bundle again"
        raise BundleError(msg) from error
    if columns != entry.columns:
        msg = f"{entry.name}: has other columns than the manifest says; build the bundle again"
        raise BundleError(msg)
    if rows != entry.rows:
        msg = f"{entry.name}: has {rows} rows, the manifest says {entry.rows}; build the bundle again"
        raise BundleError(msg)
    check_forbidden(columns, entry.name)


def _lines(stream: TextIO, name: str) -> Iterator[str]:
    """Yield the lines of a table; one without end must not fill the memory."""
    while line := stream.readline(_CHUNK):
        if len(line) == _CHUNK:
            msg = f"{name}: has a line of more than {_CHUNK} characters; build the bundle again"
            raise BundleError(msg)
        yield line


def _read(folder: Path, name: str) -> bytes:
    try:
        with (folder / name).open("rb") as stream:
            content = stream.read(MAX_BYTES[name] + 1)
    except OSError as error:
        msg = f"{folder / name}: cannot be read ({error.strerror}); give the folder of a bundle"
        raise BundleError(msg) from error
    if len(content) > MAX_BYTES[name]:
        msg = f"{name}: has more than {MAX_BYTES[name]} bytes; get the bundle from the sender again"
        raise BundleError(msg)
    return content


def parse_manifest(content: bytes) -> BundleManifest:
    """Read a manifest from its bytes.

    Raises
    ------
    BundleError
        If it is none.
    """
    try:
        return BundleManifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        msg = f"{MANIFEST}: {where}: {first['msg']}; see docs/transfer.md"
        raise BundleError(msg) from error
