"""The key of a trial: for its owner alone, outside of the data, the same for everybody who asks at once."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mesems_mri.errors import UsageError
from mesems_mri.intake.deidentify.keys import default_folder, open_keys


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_key_is_made_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (tmp_path / "trial.key").mkdir(mode=0o700)
        (tmp_path / "trial.key").chmod(0o700)
        keys = open_keys(tmp_path / "trial.key")
    finally:
        os.umask(before)
    assert mode(keys.folder) == 0o700
    assert [mode(path) for path in keys.folder.iterdir()] == [0o600]


def test_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys = open_keys(tmp_path / "deep" / "trial.key")
    finally:
        os.umask(before)
    assert mode(keys.folder) == 0o700


def test_key_stays_the_same(tmp_path: Path) -> None:
    first, second = open_keys(tmp_path / "k"), open_keys(tmp_path / "k", create=False)
    assert first.secret == second.secret
    assert len(first.secret) == 32
    assert first.fingerprint == second.fingerprint
    assert open_keys(tmp_path / "other").secret != first.secret


def test_secret_is_not_printed(tmp_path: Path) -> None:
    keys = open_keys(tmp_path / "k")
    assert keys.secret.hex() not in repr(keys)
    assert str(keys.secret) not in repr(keys)
    assert keys.fingerprint not in keys.secret.hex()


@pytest.mark.parametrize("open_to", [0o040, 0o004, 0o020, 0o002, 0o010, 0o001])
@pytest.mark.parametrize("of_folder", [True, False])
def test_key_that_others_can_open_is_refused(tmp_path: Path, open_to: int, of_folder: bool) -> None:
    keys = open_keys(tmp_path / "k")
    path = keys.folder if of_folder else next(keys.folder.iterdir())
    path.chmod(mode(path) | open_to)
    with pytest.raises(UsageError, match=r"others can open it .*chmod"):
        open_keys(tmp_path / "k")
    path.chmod(mode(path) & ~open_to)
    assert open_keys(tmp_path / "k").secret == keys.secret


def test_key_inside_the_bids_folder_is_refused(tmp_path: Path) -> None:
    bids = tmp_path / "bids"
    bids.mkdir()
    for folder in (bids / "k", bids, bids / "sub-01" / ".." / "k"):
        with pytest.raises(UsageError, match="inside the BIDS folder"):
            open_keys(folder, bids)
    link = tmp_path / "link"
    link.symlink_to(bids, target_is_directory=True)
    with pytest.raises(UsageError, match="inside the BIDS folder"):
        open_keys(link / "k", bids)
    assert not list(bids.iterdir())
    assert open_keys(default_folder(bids), bids).folder == tmp_path / "bids.key"


def test_key_inside_any_bids_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text("{}")
    with pytest.raises(UsageError, match="inside the BIDS folder"):
        open_keys(tmp_path / "sourcedata" / "k")


def test_missing_key_is_not_replaced_by_another(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="missing"):
        open_keys(tmp_path / "k", create=False)
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize("content", ["", "00", "zz" * 32, "00" * 33])
def test_damaged_key_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = next(open_keys(tmp_path / "k").folder.iterdir())
    path.write_text(content)
    with pytest.raises(UsageError, match="expected 64 hexadecimal"):
        open_keys(tmp_path / "k")
    assert path.read_text() == content


def test_link_and_folder_are_no_key(tmp_path: Path) -> None:
    path = next(open_keys(tmp_path / "k").folder.iterdir())
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot be opened"):
        open_keys(tmp_path / "k")
    path.unlink()
    path.mkdir(mode=0o700)
    with pytest.raises(UsageError, match=r"cannot be opened|expected a file"):
        open_keys(tmp_path / "k")
    (tmp_path / "file").touch(mode=0o600)
    with pytest.raises(UsageError):
        open_keys(tmp_path / "file")


AT_ONCE = """
import os, pathlib, sys
from mesems_mri.intake.deidentify.keys import open_keys
for folder in sys.argv[1:]:
    start, go = os.pipe()
    for _ in range(8):
        if os.fork() == 0:
            os.close(go)
            os.read(start, 1)
            keys = open_keys(pathlib.Path(folder))
            os.write(1, f"{folder} {keys.secret.hex()} {keys.offset_days('01')}\\n".encode())
            os._exit(0)
    os.close(start)
    os.close(go)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


def test_programs_that_start_at_once_get_one_key(tmp_path: Path) -> None:
    folders = [str(tmp_path / f"k{attempt}") for attempt in range(6)]
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, *folders], capture_output=True, text=True, check=True, timeout=120
    )
    answers = done.stdout.splitlines()
    assert len(answers) == 8 * 6
    assert len(set(answers)) == 6, done.stderr
    for folder in folders:
        assert [path.name for path in Path(folder).iterdir()] == ["secret.hex"]


def test_offsets_differ_between_participants_and_hide_the_year(tmp_path: Path) -> None:
    keys = open_keys(tmp_path / "k")
    offsets = [keys.offset_days(f"sub-{number:03}") for number in range(200)]
    assert keys.offset_days("007") == keys.offset_days("sub-007")
    assert len(set(offsets)) > 180
    assert max(offsets) <= -55_152
    assert min(offsets) >= -55_152 - 3653
    assert open_keys(tmp_path / "other").offset_days("007") != keys.offset_days("007")
