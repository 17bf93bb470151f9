"""Whatever is wrong with a bundle is found with the public key alone; each case has a twin that is valid."""

import hashlib
import io
import json
import os
import random
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesems_mri.errors import BundleError, ForbiddenColumnError, UsageError
from mesems_mri.transfer.archive import MAX_ARCHIVE_BYTES, MEMBERS, write_archive
from mesems_mri.transfer.keys import (
    fingerprint,
    make_keys,
    public_path,
    read_private_key,
    read_public_key,
    read_secret,
)
from mesems_mri.transfer.manifest import FILES, MANIFEST, SIGNATURE, BundleManifest
from mesems_mri.transfer.verify import verify_bundle
from tests.small_study import SmallStudy, small_study

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallStudy, Path]:
    study = small_study(tmp_path_factory.mktemp("study"))
    (bundle,) = study.build()
    return study, bundle


@pytest.fixture
def study(built: tuple[SmallStudy, Path]) -> SmallStudy:
    return built[0]


@pytest.fixture
def bundle(built: tuple[SmallStudy, Path], tmp_path: Path) -> Path:
    """A copy of the bundle to spoil."""
    folder = tmp_path / built[1].name
    folder.mkdir()
    for path in built[1].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def archive_of(bundle: Path) -> Path:
    path = bundle.with_name("bundle.tar")
    with path.open("wb") as stream:
        write_archive(bundle, stream)
    return path


def sign_again(study: SmallStudy, bundle: Path, **changes: Any) -> None:
    """Sign a changed manifest with the right key: what follows is found although the signature is good."""
    manifest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8")) | changes
    for entry in manifest["files"]:
        path = bundle / str(entry["name"])
        if entry["name"] in FILES and entry.get("refresh", True):
            entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            entry["bytes"] = path.stat().st_size
    content = json.dumps(manifest).encode()
    (bundle / MANIFEST).write_bytes(content)
    (bundle / SIGNATURE).write_bytes(read_private_key(study.key).sign(content))


# ---- valid ones


def test_folder_and_archive_are_verified_alike(study: SmallStudy, bundle: Path) -> None:
    manifest = verify_bundle(bundle, study.public_key)
    assert isinstance(manifest, BundleManifest)
    assert verify_bundle(archive_of(bundle), study.public_key) == manifest


def test_one_of_several_keys_is_enough(study: SmallStudy, bundle: Path) -> None:
    other = Ed25519PrivateKey.generate().public_key()
    assert verify_bundle(bundle, [other, study.public_key])
    with pytest.raises(BundleError, match="no signature of this manifest"):
        verify_bundle(bundle, [other])


def test_archive_is_the_same_bytes_and_names_nobody(bundle: Path, tmp_path: Path) -> None:
    first = archive_of(bundle).read_bytes()
    for path in bundle.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert archive_of(bundle).read_bytes() == first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == list(MEMBERS)
    assert {(m.mtime, m.uid, m.uname, m.mode) for m in members} == {(0, 0, "", 0o644)}


def test_signing_a_changed_manifest_again_is_valid(study: SmallStudy, bundle: Path) -> None:
    sign_again(study, bundle, software_version="9.9.9")
    assert verify_bundle(bundle, study.public_key).software_version == "9.9.9"


# ---- one bit


@pytest.mark.parametrize("name", MEMBERS)
def test_one_flipped_bit_is_found_in_folder_and_archive(study: SmallStudy, bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    at = random.Random(name).randrange(len(content))
    content[at] ^= 1 << at % 8
    (bundle / name).write_bytes(content)
    for path in (bundle, archive_of(bundle)):
        with pytest.raises(BundleError):
            verify_bundle(path, study.public_key)


def test_damaged_archives_are_refused_and_write_nothing_outside(study: SmallStudy, bundle: Path) -> None:
    sound = archive_of(bundle)
    content = sound.read_bytes()
    random_numbers = random.Random(6)
    last = len(content.rstrip(b"\0"))
    used = last + -last % 512 + 1024  # behind it there is nothing but zeros, of any number
    for _ in range(300):
        damaged = bytearray(content)
        kind = random_numbers.randrange(3)
        if kind == 0:
            damaged[random_numbers.randrange(used)] ^= 1 << random_numbers.randrange(8)
        elif kind == 1:
            del damaged[random_numbers.randrange(used) :]
        else:
            at = random_numbers.randrange(used)
            damaged[at:at] = random_numbers.randbytes(random_numbers.choice([1, 512, 1024]))
        sound.write_bytes(damaged)
        with pytest.raises(BundleError):
            verify_bundle(sound, study.public_key)
    assert sorted(path.name for path in sound.parent.iterdir()) == [bundle.name, "bundle.tar"]


# ---- the set of files


@pytest.mark.parametrize("name", MEMBERS)
def test_missing_file_is_refused(study: SmallStudy, bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"^{re.escape(name)}: is missing"):
        verify_bundle(bundle, study.public_key)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "nv.csv.bak", "lesions.CSV"])
def test_extra_file_is_refused(study: SmallStudy, bundle: Path, name: str) -> None:
    (bundle / name).write_text("x")
    with pytest.raises(BundleError, match="is no file of a bundle"):
        verify_bundle(bundle, study.public_key)


def test_link_and_folder_are_no_files(study: SmallStudy, bundle: Path) -> None:
    kept = (bundle / "nv.csv").rename(bundle.with_name("elsewhere.csv"))
    (bundle / "nv.csv").symlink_to(kept)
    with pytest.raises(BundleError, match=r"nv\.csv: is no plain file"):
        verify_bundle(bundle, study.public_key)
    (bundle / "nv.csv").unlink()
    (bundle / "nv.csv").mkdir()
    with pytest.raises(BundleError, match=r"nv\.csv: is no plain file"):
        verify_bundle(bundle, study.public_key)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "nv.csv/../x", "x", ""])
def test_manifest_with_another_name_is_refused(study: SmallStudy, bundle: Path, name: str) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"][4]["name"] = name
    sign_again(study, bundle, files=manifest["files"])
    with pytest.raises(BundleError, match=r"^manifest\.json: files\.4\.name"):
        verify_bundle(bundle, study.public_key)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x"},
        {"name": "/tmp/x"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": MANIFEST},
        {"type": tarfile.DIRTYPE},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.XHDTYPE},
        {"type": tarfile.GNUTYPE_LONGNAME},
        {"name": "visit_metrics.csv"},
    ],
    ids=str,
)
def test_archive_with_anything_else_is_refused(
    study: SmallStudy, bundle: Path, change: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in MEMBERS:
            member = tarfile.TarInfo(name)
            content = (bundle / name).read_bytes()
            member.size = len(content)
            for key, value in change.items() if name == "lesions.csv" else ():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(BundleError, match=r"lesions\.csv is expected"):
        verify_bundle(path, study.public_key)
    assert not (tmp_path.parent / "x").exists()


def test_member_behind_the_last_one_is_refused(study: SmallStudy, bundle: Path) -> None:
    path = archive_of(bundle)
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("more"), io.BytesIO())
    with pytest.raises(BundleError, match="more than the files of a bundle"):
        verify_bundle(path, study.public_key)


# ---- size


def test_archive_of_2_gb_is_refused_unread(study: SmallStudy, tmp_path: Path) -> None:
    path = tmp_path / "large.tar"
    with path.open("wb") as stream:
        stream.truncate(2 * 2**30)  # takes no space
    with pytest.raises(BundleError, match=f"more than {MAX_ARCHIVE_BYTES} bytes"):
        verify_bundle(path, study.public_key)


@pytest.mark.parametrize(
    ("name", "size"), [(MANIFEST, 2**20 + 1), (SIGNATURE, 65), ("nv.csv", 256 * 2**20 + 1)]
)
def test_file_that_is_too_large_is_refused(study: SmallStudy, bundle: Path, name: str, size: int) -> None:
    with (bundle / name).open("ab") as stream:
        stream.truncate(size)
    with pytest.raises(BundleError, match=f"{re.escape(name)}: has {size} bytes, at most"):
        verify_bundle(bundle, study.public_key)


def test_memory_stays_bounded(study: SmallStudy, bundle: Path) -> None:
    # 200 MiB in one line, signed: what is verified may be as large as allowed, what is held may not
    (bundle / "queries.csv").write_bytes(b"x" * (200 * 2**20))
    sign_again(study, bundle)
    path = archive_of(bundle)
    (bundle / "queries.csv").unlink()
    program = (
        "import sys, resource, pathlib\n"
        "from mesems_mri.errors import BundleError\n"
        "from mesems_mri.transfer.keys import read_public_key\n"
        "from mesems_mri.transfer.verify import verify_bundle\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: verify_bundle(pathlib.Path(sys.argv[1]), read_public_key(pathlib.Path(sys.argv[2])))\n"
        "except BundleError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", program, str(path), str(public_path(study.key))]
    said, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    path.unlink()
    assert "queries.csv: has a line of more than" in said
    assert int(kilobytes) < 20 * 2**10


# ---- what the manifest says


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"schema_version": "2.0.0"}, "schema_version"),
        ({"sequence": 0}, "sequence"),
        ({"sequence": "1"}, "sequence"),
        ({"sequence": 2}, "the file"),
        ({"previous_sha256": "0" * 64}, "the file"),
        ({"site_id": "../S01"}, "site_id"),
        ({"study_id": ""}, "study_id"),
        ({"created": "2026-03-31T12:00:00"}, "created"),
        ({"visits": {"done": -1}}, "visits.done"),
        ({"visits": {"lost": 1}}, "visits.lost"),
        ({"arm": "A"}, "arm"),
        ({"files": []}, "the file"),
    ],
    ids=str,
)
def test_manifest_of_another_form_is_refused(
    study: SmallStudy, bundle: Path, changes: dict[str, Any], where: str
) -> None:
    sign_again(study, bundle, **changes)
    with pytest.raises(BundleError, match=rf"^manifest\.json: {re.escape(where)}"):
        verify_bundle(bundle, study.public_key)


def spoil_rows(entry: dict[str, Any]) -> None:
    entry["rows"] += 1


def spoil_columns(entry: dict[str, Any]) -> None:
    entry["columns"] = entry["columns"][::-1]


@pytest.mark.parametrize("spoil", [spoil_rows, spoil_columns])
@pytest.mark.parametrize("name", FILES)
def test_rows_and_columns_must_be_those_of_the_manifest(
    study: SmallStudy, bundle: Path, name: str, spoil: Callable[[dict[str, Any]], None]
) -> None:
    files = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))["files"]
    spoil(files[FILES.index(name)])  # type: ignore[arg-type]
    sign_again(study, bundle, files=files)
    with pytest.raises(BundleError, match=r"rows|columns"):
        verify_bundle(bundle, study.public_key)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'a,b\n1,"2\n', "is no table"),
        (b"a,b\n1\n", "row 1 has 1 fields, expected 2"),
        (b"a,b\n1,\xff\n", "is no table"),
        (b"", "other columns"),
        (b"a,b\n" + b"x" * 200_000 + b",1\n", "is no table"),
    ],
)
def test_what_is_no_table_is_refused(study: SmallStudy, bundle: Path, content: bytes, error: str) -> None:
    (bundle / "queries.csv").write_bytes(content)
    sign_again(study, bundle)
    with pytest.raises(BundleError, match=rf"queries\.csv: .*{error}"):
        verify_bundle(bundle, study.public_key)


def test_signed_forbidden_column_is_refused(study: SmallStudy, bundle: Path) -> None:
    files = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))["files"]
    files[2] |= {"columns": ["participant_id", "Treatment Group"], "rows": 1}
    (bundle / "queries.csv").write_text("participant_id,Treatment Group\nsub-001,A\n")
    sign_again(study, bundle, files=files)
    with pytest.raises(ForbiddenColumnError, match=r"queries\.csv: the column 'Treatment Group'"):
        verify_bundle(bundle, study.public_key)


# ---- keys


def test_keys_are_for_their_owner_and_never_replaced(tmp_path: Path) -> None:
    public = make_keys(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert fingerprint(read_public_key(public_path(tmp_path / "key"))) == fingerprint(public)
    for keep in ("key", "key.pub"):
        other = tmp_path / f"only-{keep}"
        other.mkdir()
        (other / keep).write_bytes((tmp_path / keep).read_bytes())
        with pytest.raises(UsageError, match="keys are never replaced"):
            make_keys(other / "key")
        assert [path.name for path in other.iterdir()] == [keep]


def test_other_kinds_of_keys_are_refused(tmp_path: Path) -> None:
    run_openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", tmp_path / "ec")
    run_openssl("pkey", "-in", tmp_path / "ec", "-pubout", "-out", tmp_path / "ec.pub")
    (tmp_path / "ec").chmod(0o600)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    for read, name in ((read_private_key, "ec"), (read_public_key, "ec.pub")):
        with pytest.raises(UsageError, match="another kind of key, expected Ed25519"):
            read(tmp_path / name)
        with pytest.raises(UsageError, match="in PEM form"):
            read(tmp_path / "text")
        with pytest.raises(UsageError, match="cannot be read"):
            read(tmp_path / "nothing")
    with pytest.raises(UsageError, match="others can open the token"):
        (tmp_path / "text").chmod(0o644)
        read_secret(tmp_path / "text", "token")


# ---- openssl and sha256sum alone


def run_openssl(*arguments: object) -> str:
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def documented_check() -> str:
    """Return the commands of the documentation that check a bundle without this program."""
    page = (ROOT / "docs" / "transfer.md").read_text(encoding="utf-8")
    return re.search(r"## The same check without mesems-mri\n.*?```\n(.*?)```", page, re.S)[1]  # type: ignore[index]


def check_by_hand(bundle: Path, public_key: Path) -> int:
    script = documented_check().replace("site.pub", str(public_key))
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=bundle, check=False).returncode


def test_documented_commands_accept_what_we_accept(study: SmallStudy, bundle: Path) -> None:
    assert check_by_hand(bundle, public_path(study.key)) == 0


@pytest.mark.parametrize("name", MEMBERS)
def test_documented_commands_find_a_flipped_bit(study: SmallStudy, bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert check_by_hand(bundle, public_path(study.key)) != 0


def test_documented_commands_find_another_key(bundle: Path, tmp_path: Path) -> None:
    make_keys(tmp_path / "other")
    assert check_by_hand(bundle, tmp_path / "other.pub") != 0
