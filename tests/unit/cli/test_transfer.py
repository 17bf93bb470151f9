"""The commands of the transfer: what they say, and their exit codes."""

import os
from pathlib import Path

import pytest
from typer.core import TyperOption
from typer.main import get_group

from mesems_mri.cli.transfer import transfer_app
from mesems_mri.config import Access
from mesems_mri.files import write_text
from mesems_mri.runner import lock
from tests.command import mesems
from tests.small_study import small_study


def test_from_key_to_receipt(tmp_path: Path) -> None:
    study = small_study(tmp_path / "study")
    key, inbox = tmp_path / "site.key", tmp_path / "inbox"
    inbox.mkdir()
    assert "fingerprint" in mesems("transfer", "keygen", key).stdout
    assert "keys are never replaced" in mesems("transfer", "keygen", key, code=2).stderr
    assert "holds no bundle yet" in mesems("transfer", "status", study.out_dir, code=2).stderr
    assert "give --key" in mesems("transfer", "build", study.out_dir, code=2).stderr
    said = mesems("transfer", "build", study.out_dir, "--key", key).stdout
    assert "S01: built" in said
    said = mesems("transfer", "build", study.out_dir, "--key", key).stdout
    assert "S01: nothing new since S01_000001" in said
    assert "needs a destination" in mesems("transfer", "send", study.out_dir, code=2).stderr
    nowhere = ("--to", tmp_path / "nowhere", "--give-up-after", 0)
    assert "no such inbox" in mesems("transfer", "send", study.out_dir, *nowhere, code=4).stderr
    assert "S01: 1 pending" in mesems("transfer", "status", study.out_dir).stdout
    config = tmp_path / "trial.yaml"
    config.write_text(f"transfer: {{destination: {inbox}}}\n")
    said = mesems("transfer", "send", study.out_dir, "--config", config).stdout
    assert "S01_000001: delivered" in said
    (archive,) = inbox.iterdir()
    said = mesems("transfer", "verify", archive, "--public-key", f"{key}.pub").stdout
    assert "study MESEMS, site S01, number 1: valid" in said
    archive.write_bytes(archive.read_bytes().replace(b"periventricular", b"juxtacortical\0\0", 1))
    assert "lesions.csv" in mesems("transfer", "verify", archive, "--public-key", f"{key}.pub", code=3).stderr


@pytest.mark.parametrize("running", [True, False])
def test_nothing_is_built_while_a_run_is_on(tmp_path: Path, running: bool) -> None:
    study = small_study(tmp_path / "study")
    holder = lock._this_process()
    ticks = holder.ticks if running else 1  # of a process that has gone
    text = lock._text(lock.replace(holder, pid=os.getpid(), ticks=ticks))
    write_text(study.layout.run_lock, text)
    ended = mesems("transfer", "build", study.out_dir, "--key", study.key, code=2 if running else 0)
    assert ("a run is on" in ended.stderr) == running


@pytest.mark.parametrize("command", ["send", "status"])
def test_options_of_the_destination_are_those_of_the_configuration(command: str) -> None:
    options = {option.name: option for option in get_group(transfer_app).commands[command].params}
    for name, field in Access.model_fields.items():
        option = options[name]
        assert isinstance(option, TyperOption)
        assert (option.help, option.default) == (f"{field.description}.", field.default)
