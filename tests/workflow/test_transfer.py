"""A run that is asked to sends its bundles at its end, and says what came of it."""

import json
from pathlib import Path

import pytest
import yaml

from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.dataset.tables import read_table
from mesems_mri.transfer.keys import make_keys
from mesems_mri.transfer.verify import verify_bundle
from tests.command import hash_visits, mesems
from tests.demonstration import Demonstration


def test_run_ends_with_its_transfer(demo: Demonstration, tmp_path: Path) -> None:
    out_dir, inbox, config = tmp_path / "out", tmp_path / "inbox", tmp_path / "trial.yaml"
    demo.copied(out_dir)
    inbox.mkdir()
    public_key = make_keys(tmp_path / "key")
    before = hash_visits(out_dir)
    command = ("run", demo.bids_dir, out_dir, "group", "--config", config)

    def configure(destination: str) -> None:
        transfer = {"destination": destination, "key_file": str(tmp_path / "key")}
        config.write_text(yaml.safe_dump({"transfer": transfer}))

    configure("gopher://nowhere")
    said = mesems(*command, "--transfer", code=5).stdout
    assert "failed: send_transfer" in said
    assert "expected a folder, sftp://user@host/folder or https://host" in said
    configure(str(inbox))
    mesems(*command)
    assert list(inbox.iterdir()) == []
    said = mesems(*command, "--transfer").stdout
    assert "transfer: delivered, receipt to come: S01_000001, S02_000001, S03_000001" in said
    manifests = [verify_bundle(path, public_key) for path in sorted(inbox.iterdir())]
    visits = read_table(out_dir / "visit_metrics.tsv", VISIT_METRICS_COLUMNS)
    assert sum(m.entry("visit_metrics.csv").rows for m in manifests) == len(visits)
    assert hash_visits(out_dir) == before
    mesems("status", out_dir, "--json", tmp_path / "status.json")
    assert json.loads((tmp_path / "status.json").read_text())["total"]["sent"] == len(visits)
    assert "transfer: nothing new to send" in mesems(*command, "--transfer").stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "transfer.destination is empty"),
        (("participant",), "sends what a whole run has made"),
        (("--until", "detect"), "sends what a whole run has made"),
        (("--reports-only",), "sends what a whole run has made"),
    ],
)
def test_transfer_that_could_never_be_is_refused_before_the_run(
    demo: Demonstration, tmp_path: Path, arguments: tuple[str, ...], error: str
) -> None:
    ended = mesems("run", demo.simulated, tmp_path / "out", *arguments, "--transfer", code=2)
    assert error in ended.stderr
    assert not (tmp_path / "out").exists()
