"""The registry of codes: every code of the closed lists has its words, once."""

import pytest

from mesems_mri.core import candidates
from mesems_mri.dataset.columns import CANDIDATE_COLUMNS, VISIT_METRICS_COLUMNS
from mesems_mri.dataset.reasons import CAUSES, FLAGS, QUERIES, REASONS, CodeText, QueryCode, registry
from mesems_mri.errors import Reason


def test_every_code_is_there_once() -> None:
    assert list(REASONS) == list(Reason)
    assert list(QUERIES) == list(QueryCode)
    rows = list(registry())
    assert tuple(CAUSES) == candidates.CAUSES
    assert len(rows) == len(Reason) + len(FLAGS) + len(QueryCode) + len(CAUSES)
    assert len({(kind, code) for kind, code, _ in rows}) == len(rows)


@pytest.mark.parametrize(("kind", "code", "text"), list(registry()), ids=lambda value: str(value)[:30])
def test_words_are_whole(kind: str, code: str, text: CodeText) -> None:
    assert 0 < len(text.short) <= 28
    assert text.what[0].isupper()
    assert text.to_do
    assert text.to_do[0].isupper()


def test_columns_take_their_words_from_the_registry() -> None:
    assert VISIT_METRICS_COLUMNS["gel_reason"].levels == {str(code): t.short for code, t in REASONS.items()}
    assert VISIT_METRICS_COLUMNS["qc_flags"].levels == {code: t.what for code, t in FLAGS.items()}
    assert CANDIDATE_COLUMNS["why_not_counted"].levels == {code: t.what for code, t in CAUSES.items()}
