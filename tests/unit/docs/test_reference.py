"""The pages that are written from the code are fresh, and the check of it can fail."""

from pathlib import Path

import pytest

from docs.tools import reference
from mesems_mri.config import TrialConfig
from mesems_mri.dataset.columns import (
    LEDGER_COLUMNS,
    PARTICIPANT_ENDPOINTS_COLUMNS,
    VISIT_METRICS_COLUMNS,
)


def test_stale_page_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    page = tmp_path / "columns.md"
    page.write_text(page.read_text().replace("`gel_count`", "`gel_number`"))
    assert reference.main(["--check"]) == 1
    assert "+| `gel_count`" in capsys.readouterr().out


def test_every_column_is_described() -> None:
    page = reference.columns_page()
    for columns in (VISIT_METRICS_COLUMNS, PARTICIPANT_ENDPOINTS_COLUMNS, LEDGER_COLUMNS):
        for name, column in columns.items():
            assert f"| `{name}` | {column.description} |" in page


def test_every_key_of_the_configuration_is_described() -> None:
    page = reference.configuration_page()
    for key, value in TrialConfig().model_dump().items():
        if isinstance(value, dict) and key != "periods":
            assert all(f"| `{key}.{child}` |" in page for child in value)
        else:
            assert f"| `{key}` |" in page


@pytest.mark.parametrize(
    ("key", "rule", "not_rule"),
    [
        ("change.min_growth_mm3", "detect", "register"),
        ("intake.header_repair", "standardise", "detect"),
        ("intake.select", "standardise", "detect"),
        ("quality.min_covered_fraction", "register", "standardise"),
        ("enhancement.join_mm", "measure", "register"),
        ("visits", "measure", "standardise"),
        ("periods", "compile_metrics", "detect"),
    ],
)
def test_rules_that_run_again_are_those_that_get_the_key(key: str, rule: str, not_rule: str) -> None:
    (row,) = [line for line in reference.configuration_page().splitlines() if line.startswith(f"| `{key}` |")]
    assert f"`{rule}`" in row
    assert f"`{not_rule}`" not in row


def test_hash_covers_thresholds() -> None:
    assert {"focus.min_volume_mm3", "change.min_nodule_mm", "quality.min_snr"} <= set(reference.hashed_keys())
