"""The command line of Snakemake that a request becomes."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from mesems_mri.errors import ExternalProgramError, UsageError
from mesems_mri.files import write_text
from mesems_mri.runner.command import snakemake_command
from mesems_mri.runner.reports import REPORT_RULES
from mesems_mri.runner.rules import workflow_folder
from tests.unit.runner.conftest import Trial


def after(command: list[str], option: str) -> list[str]:
    """Return the values of an option, up to the next one."""
    if option not in command:
        return []
    values = command[command.index(option) + 1 :]
    end = next((i for i, value in enumerate(values) if value.startswith("--")), len(values))
    return values[:end]


def config_of(command: list[str]) -> dict[str, object]:
    """Read the values that the command gives to the workflow."""
    pairs = (value.split("=", 1) for value in after(command, "--config"))
    return {key: json.loads(value) for key, value in pairs}


def test_whole_run(trial: Trial) -> None:
    command = snakemake_command(trial.request())
    assert command[:4] == [sys.executable, "-m", "snakemake", "group"]
    assert after(command, "--snakefile") == [str(workflow_folder() / "Snakefile")]
    assert "--nolock" in command
    assert config_of(command) == {"bids_dir": str(trial.bids_dir), "out_dir": str(trial.out_dir)}
    for option in ("--cores", "--until", "--forcerun", "--allowed-rules", "--dry-run"):
        assert option not in command


def test_options_of_the_request_reach_the_workflow(trial: Trial, tmp_path: Path) -> None:
    request = trial.request(
        level="participant",
        config_file=tmp_path / "trial.yaml",
        lesion_masks=tmp_path / "masks",
        participant_labels=("01",),
        session_labels=("2",),
        cores=3,
        transfer=True,
        snakemake_options=("--keep-incomplete",),
    )
    command = snakemake_command(request)
    assert command[3] == "participant"
    assert after(command, "--cores") == ["3"]
    assert command[-1] == "--keep-incomplete"
    assert config_of(command) == {
        "bids_dir": str(trial.bids_dir),
        "out_dir": str(trial.out_dir),
        "config_file": str(tmp_path / "trial.yaml"),
        "lesion_masks": str(tmp_path / "masks"),
        "participant_labels": ["01"],
        "transfer": True,
        "session_labels": ["2"],
    }


def test_visits_chosen_stand_for_the_labels(trial: Trial) -> None:
    command = snakemake_command(
        trial.request(session_labels=("2",)), visits={("sub-02", "ses-1"), ("sub-01", "ses-2")}
    )
    assert config_of(command)["visits"] == ["sub-01/ses-2", "sub-02/ses-1"]
    assert "session_labels" not in config_of(command)


def test_group_level_computes_no_visit(trial: Trial) -> None:
    command = snakemake_command(trial.request(level="group"))
    assert config_of(command)["visits"] == []
    allowed = after(command, "--allowed-rules")
    assert allowed[0] == "group"
    assert "compile_metrics" in allowed
    assert not {"standardise", "detect", "report"} & set(allowed)


def test_reports_only_allows_the_rules_of_pages(trial: Trial) -> None:
    command = snakemake_command(trial.request(level="group", reports_only=True))
    assert after(command, "--allowed-rules") == ["group", *REPORT_RULES]
    assert after(command, "--forcerun") == list(REPORT_RULES)
    assert config_of(command)["reports_only"] is True
    assert "visits" not in config_of(command)


def test_step_of_a_visit_ends_the_run_by_its_targets_and_another_rule_by_snakemake(trial: Trial) -> None:
    command = snakemake_command(trial.request(until="detect"))
    assert config_of(command)["until"] == "detect"
    assert "--until" not in command  # every visit follows from the one before it
    command = snakemake_command(trial.request(until="compile_ledger"))
    assert after(command, "--until") == ["compile_ledger"]
    assert "until" not in config_of(command)


def test_force_names_the_rule_or_the_files_of_the_visits(trial: Trial) -> None:
    request = trial.request(force="detect")
    assert after(snakemake_command(request), "--forcerun") == ["detect"]
    asked = {("sub-01", "ses-2"), ("sub-01", "ses-1")}
    assert after(snakemake_command(request, asked=asked), "--forcerun") == [
        ".mesems/sub-01/ses-1/detect.json",
        ".mesems/sub-01/ses-2/detect.json",
    ]
    study = trial.request(force="compile_metrics")
    assert after(snakemake_command(study, asked=asked), "--forcerun") == ["compile_metrics"]


def test_dry_run_forces_what_a_run_would_forget(trial: Trial, tmp_path: Path) -> None:
    again = {("sub-01", "ses-2")}
    command = snakemake_command(trial.request(), out_dir=tmp_path / "plan", again=again, dry_run=True)
    assert after(command, "--forcerun") == [".mesems/sub-01/ses-2/standardise.json"]
    assert command[-1] == "--dry-run"
    assert config_of(command)["out_dir"] == str(tmp_path / "plan")


@pytest.mark.parametrize(
    ("profile", "options", "limited"),
    [("default", (), True), ("default", ("--resources", "mem_mb=9"), False), ("slurm", (), False)],
)
def test_memory_is_limited_on_this_machine_only(
    trial: Trial, profile: str, options: tuple[str, ...], limited: bool
) -> None:
    command = snakemake_command(trial.request(profile=profile, snakemake_options=options))
    limits = [value for value in command if value.startswith("mem_mb=") and value != "mem_mb=9"]
    assert bool(limits) is limited


def test_profile_is_a_name_or_a_folder(trial: Trial, tmp_path: Path) -> None:
    own = tmp_path / "profile"
    write_text(own / "config.yaml", "executor: slurm\n")
    command = snakemake_command(trial.request(profile=str(own)))
    assert after(command, "--profile") == [str(own)]
    assert not any(value.startswith("mem_mb=") for value in command)
    with pytest.raises(UsageError, match="profile no-such: neither a folder nor one of default, slurm"):
        snakemake_command(trial.request(profile="no-such"))


def test_missing_snakemake_is_said(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ExternalProgramError, match="Snakemake is not installed"):
        snakemake_command(trial.request())
