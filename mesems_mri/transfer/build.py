"""Build the next bundle of each site, signed."""

import datetime as dt
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from mesems_mri import __version__
from mesems_mri.dataset.columns import SCHEMA_VERSION as TABLES_SCHEMA_VERSION
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.tables import check_forbidden
from mesems_mri.errors import BundleError, DatasetError, UsageError
from mesems_mri.provenance import PACKAGE_DIR
from mesems_mri.transfer.columns import TextTable
from mesems_mri.transfer.identifiers import patient_ids, refuse_identifiers
from mesems_mri.transfer.keys import read_private_key
from mesems_mri.transfer.manifest import FILES, MANIFEST, SCHEMA_VERSION, SIGNATURE, BundleManifest, FileEntry
from mesems_mri.transfer.outbox import Bundle, Outbox, locked
from mesems_mri.transfer.study import SiteStudy, read_study
from mesems_mri.transfer.tables import bundle_tables
from mesems_mri.transfer.verify import verify_bundle

_VISITS = ("done", "not_evaluable", "failed", "waiting")
_READ = ("automatic", "read", "adjudicated", "locked")


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """Request to build bundles, as ``mesems-mri transfer build`` makes it.

    Parameters
    ----------
    out_dir : Path
        Output folder of a run.
    key_file : str
        Private key; ``{site_id}`` in it is replaced, for a key for each site.
    bids_dir : Path or None
        Raw BIDS folder; None: that of the last run.
    sheet : Path or None
        Visit schedule of the trial, whose patient IDs must not leave the centre.
    sites : tuple of str
        Only these; empty for all.
    """

    out_dir: Path
    key_file: str
    bids_dir: Path | None = None
    sheet: Path | None = None
    sites: tuple[str, ...] = ()


def build(request: BuildRequest, say: Callable[[str], None]) -> list[Path]:
    """Build a bundle for every site with something new.

    A site whose bundle is refused stops no other one; the first error is raised at the end.

    Parameters
    ----------
    request : BuildRequest
    say : callable
        Takes one line.

    Returns
    -------
    list of Path
        Folders of the new bundles.

    Raises
    ------
    UsageError
        If there is no finished run or no such site, or the key cannot be used.
    BundleError, DatasetError
        If something must not leave the centre: a forbidden column, an identifier, an invalid table.
    """
    layout = Layout(request.out_dir.resolve())
    studies = read_study(layout, request.bids_dir)
    if unknown := sorted(set(request.sites) - {study.site_id for study in studies}):
        known = ", ".join(study.site_id for study in studies)
        msg = f"--site {unknown[0]}: no such site in {request.out_dir}; known are {known}"
        raise UsageError(msg)
    patients = patient_ids(request.sheet) if request.sheet else set()
    built, refused = [], []
    with locked(layout, say):
        for study in studies:
            if request.sites and study.site_id not in request.sites:
                continue
            key = read_private_key(key_path(request.key_file, study.site_id, layout))
            try:
                folder = _build_site(layout, study, key, patients, say)
            except DatasetError as error:  # one site must not block the others
                say(f"{study.site_id}: no bundle was built")
                refused.append(error)
                continue
            built += [folder] if folder else []
    if refused:
        raise refused[0]
    return built


def key_path(pattern: str, site_id: str, layout: Layout) -> Path:
    """Return the path of the private key of a site.

    Raises
    ------
    UsageError
        If it lies in the output folder, which is passed on.
    """
    path = Path(pattern.replace("{site_id}", site_id)).expanduser()
    if path.resolve().is_relative_to(layout.out_dir):
        msg = f"{path}: the private key lies in the output folder {layout.out_dir}; keep it outside of it"
        raise UsageError(msg)
    return path


def _build_site(
    layout: Layout, study: SiteStudy, key: Ed25519PrivateKey, patients: set[str], say: Callable[[str], None]
) -> Path | None:
    tables, contents = bundle_tables(study)
    for name, table in tables.items():
        check_forbidden(table.columns, name)
    refuse_identifiers({name: table for name, table in tables.items() if name != "dictionary.csv"}, patients)
    entries = tuple(_entry(name, contents[name], tables[name.replace(".xpt", ".csv")]) for name in FILES)
    outbox = Outbox(layout, study.site_id)
    tip = outbox.tip()
    if tip and tip.manifest.files == entries:
        when = f"{tip.manifest.folder_name} of {tip.manifest.created:%Y-%m-%d}"
        say(f"{study.site_id}: nothing new since {when}; nothing was built")
        return None
    manifest = _manifest(study, entries, tip)
    text = (json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()
    folder = outbox.place(manifest, hashlib.sha256(text).hexdigest())
    _write(outbox.folder / ".building", folder, text, contents, key)
    visits = len(study.metrics)
    say(f"{study.site_id}: built {folder} ({visits} visits, {sum(map(len, contents.values())) / 1e6:.1f} MB)")
    return folder


def _entry(name: str, content: bytes, table: TextTable) -> FileEntry:
    return FileEntry(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        rows=len(table.rows),
        columns=tuple(table.columns),
    )


def _manifest(study: SiteStudy, entries: tuple[FileEntry, ...], tip: Bundle | None) -> BundleManifest:
    read = Counter(row["read_status"] for row in study.metrics)
    try:
        return BundleManifest(
            schema_version=SCHEMA_VERSION,
            tables_schema_version=TABLES_SCHEMA_VERSION,
            study_id=study.study_id,
            site_id=study.site_id,
            sequence=tip.manifest.sequence + 1 if tip else 1,
            previous_sha256=tip.sha256 if tip else None,
            files=entries,
            software_version=__version__,
            model_versions=model_versions(),
            config_sha256=tuple(sorted({row["config_sha256"] for row in study.metrics})),
            visits={name: study.visits[name] for name in _VISITS},
            read_status={name: read[name] for name in _READ},
            created=dt.datetime.now(tz=dt.UTC).replace(microsecond=0),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the manifest"
        what = f"{where} {first['input']!r} cannot travel ({first['msg']})"
        msg = f"{study.site_id}: {what}; correct it and run again"
        raise BundleError(msg) from error


def model_versions() -> dict[str, str]:
    """Return the SHA-256 of the weights of each model of the package."""
    paths = [p for p in sorted((PACKAGE_DIR / "models").iterdir()) if p.suffix in (".onnx", ".gz")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _write(
    temporary: Path, folder: Path, manifest: bytes, contents: Mapping[str, bytes], key: Ed25519PrivateKey
) -> None:
    """Write a bundle under a temporary name, verify it as a receiver would, and rename it (atomic write)."""
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir(parents=True)
    for name, content in contents.items():
        write_durably(temporary / name, content)
    write_durably(temporary / MANIFEST, manifest)
    write_durably(temporary / SIGNATURE, key.sign(manifest))
    verify_bundle(temporary, key.public_key())
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(folder)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and flush it to disk (fsync) before returning."""
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
