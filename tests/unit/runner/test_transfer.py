"""A run that is asked to send: refused at once if it never could, tried again, its outcome told."""

import pytest

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.files import write_json
from mesems_mri.runner.transfer import check_transfer, clear_transfer_outcome, report_transfer
from tests.unit.runner.conftest import Trial

READY = TrialConfig.model_validate({"transfer": {"destination": "/inbox", "key_file": "/key"}})


@pytest.mark.parametrize("options", [{"level": "participant"}, {"until": "detect"}, {"reports_only": True}])
def test_part_of_a_run_is_not_sent(trial: Trial, options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="sends what a whole run has made"):
        check_transfer(trial.request(transfer=True, **options), READY)
    check_transfer(trial.request(**options), TrialConfig())


@pytest.mark.parametrize("missing", ["destination", "key_file"])
def test_missing_setting_is_named(trial: Trial, missing: str) -> None:
    settings = {"destination": "/inbox", "key_file": "/key"} | {missing: ""}
    config = TrialConfig.model_validate({"transfer": settings})
    with pytest.raises(UsageError, match=rf"transfer\.{missing} is empty"):
        check_transfer(trial.request(transfer=True), config)
    check_transfer(trial.request(transfer=True), READY)


def test_outcome_is_told_until_it_is_forgotten(layout: Layout) -> None:
    said: list[str] = []
    write_json(layout.transfer_outcome, {"outcome": "2 bundles sent"})
    report_transfer(layout, said.append)
    clear_transfer_outcome(layout)
    report_transfer(layout, said.append)
    assert said == ["transfer: 2 bundles sent"]
