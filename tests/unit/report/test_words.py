"""Every code has words."""

import re
from pathlib import Path

from mesems_mri.dataset.columns import QC_FLAGS, REGIONS, SITE_QUALITY_COLUMNS
from mesems_mri.dataset.reasons import REASONS
from mesems_mri.errors import Reason
from mesems_mri.report.words import CAUSE_WORDS, QUALITY_WORDS, REGION_WORDS, flag_text, reason_text


def test_every_reason_says_what_happened_and_what_to_do() -> None:
    assert set(REASONS) == set(Reason)
    for text in REASONS.values():
        assert 0 < len(text.short) <= 24
        assert text.what.endswith(".")
        assert text.to_do.endswith(".")


def test_unknown_codes_are_shown_as_they_are() -> None:
    text = reason_text("some_new_reason")
    assert text
    assert text.short == "some new reason"
    assert flag_text("some_flag") == "some flag"
    assert reason_text(None) is None
    assert all(flag_text(flag) == words for flag, words in QC_FLAGS.items())


def test_every_cause_is_documented_and_has_words(repository: Path) -> None:
    text = (
        (repository / "docs" / "outputs.md").read_text(encoding="utf-8").split("### Causes of rejection")[1]
    )
    documented = re.findall(r"^\| `(\w+)` \|", text.split("###")[0], re.M)
    assert set(documented) == set(CAUSE_WORDS)


def test_regions_and_measures_have_words() -> None:
    assert set(REGION_WORDS) == set(REGIONS)
    assert set(QUALITY_WORDS) <= set(SITE_QUALITY_COLUMNS)
