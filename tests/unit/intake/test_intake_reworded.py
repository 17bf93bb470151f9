"""The words of a query are for people: worded anew, they change nothing of what an intake does."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mesems_mri.dataset import query as query_words
from mesems_mri.dataset.queries import TABLE, Query, answer_query, close_query, new_query, read_queries
from mesems_mri.dataset.query_answers import Answer, AnswerKind, fitting_answers
from mesems_mri.dataset.query_images import waits_for_image
from mesems_mri.dataset.query_table import read_with_log, write_queries
from mesems_mri.dataset.reasons import QUERIES
from mesems_mri.intake import assess
from mesems_mri.intake import visit as intake_visit
from mesems_mri.intake.deidentify.keys import open_keys
from mesems_mri.intake.receipt_store import read_receipts
from mesems_mri.report.qualification import about, qualify, queries_of
from tests.unit.dataset.test_queries import make_older
from tests.unit.intake.scans import FLAIR, T1
from tests.unit.intake.test_flow import Trial, name, repeat, write_scan


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


WORDS = {"what", "action"}
"""Fields of a query in words."""


def reword(monkeypatch: pytest.MonkeyPatch) -> None:
    """Word every message in another way: those of the codes, and what is said beside them."""

    def worded_anew(*arguments: Any, words: str = "", action: str = "", **options: Any) -> Query:
        said = f"in other words, FLAIR, {words[::-1]}: T1w" if words else ""
        return new_query(*arguments, words=said, action=action[::-1], **options)

    for code, text in QUERIES.items():
        anew = replace(text, what=f"Anew: FLAIR, {text.what[::-1]}", to_do=text.to_do[::-1])
        monkeypatch.setitem(query_words.QUERIES, code, anew)
    for module in (assess, intake_visit):
        monkeypatch.setattr(module, "new_query", worded_anew)


def asked(trial: Trial) -> list[dict[str, Any]]:
    """Return the table of queries without the words."""
    return [
        {name: value for name, value in vars(query).items() if name not in WORDS}
        for query in read_queries(trial.bids)
    ]


def seen(trial: Trial) -> dict[str, Any]:
    """Return all that an intake has left, but for the words of queries."""
    receipts, queries = read_receipts(trial.bids), read_queries(trial.bids)
    found = qualify(receipts, queries)
    return {
        "queries": asked(trial),
        "images": trial.images(),
        "series": trial.rows(),
        "receipts": [
            (r.submission_id, r.missing, r.items, [(i.name, i.result) for i in r.identity]) for r in receipts
        ],
        "items": [
            [query.query_id for query in about(item, queries_of(receipt, queries))]
            for receipt in receipts
            for item in receipt.items
        ],
        "qualified": (found.qualified, len(found.missing), [query.query_id for query in found.settled]),
    }


def send_again_and_again(trial: Trial, protocol: Path, between: Callable[[], None] = lambda: None) -> Any:
    """Send a visit with faults, a series that answers one of them, the whole visit anew, and all again."""
    first = trial.examination(trial.submission())
    (first / "a" / "0007.dcm").unlink()
    shutil.rmtree(first / "b")
    write_scan(first / "b", "T1", series=3, BurnedInAnnotation="YES", **T1)
    write_scan(first / "z", "PD", series=8, slices=9, RepetitionTime=3000, EchoTime=15, ScanningSequence="SE")
    (first / "empty.dcm").touch()
    flair = trial.submission()
    write_scan(flair / "a", "FLAIR", series=12, **FLAIR)
    whole = repeat(trial)
    states = []

    def send(sent: Path) -> None:
        trial.run_intake(sent, protocol=protocol)
        states.append(seen(trial))
        between()

    for sent in (first, first, flair, flair, first):
        send(sent)
    close(trial, "burned_in_text")
    for sent in (first, whole, whole, flair, first):
        send(sent)
    close(trial)
    send(whole)
    return states


def close(trial: Trial, code: str = "") -> None:
    """Close queries; answer those that wait for an image, which nobody can close."""
    for query in read_queries(trial.bids):
        if query.status != "open" or code not in ("", query.code):
            continue
        if waits_for_image(trial.bids, query):
            fitting = fitting_answers(query.code)
            kind = AnswerKind.ACCEPT if AnswerKind.ACCEPT in fitting else AnswerKind.NOT_ACQUIRED
            answer_query(trial.bids, query.query_id, Answer(kind), by="Centre", reason="agreed")
        else:
            close_query(trial.bids, query.query_id, by="Centre", reason="agreed")


def close_as_an_older_version_did(trial: Trial, code: str) -> None:
    """Close queries whatever image waits for them."""
    before, entries = read_with_log(trial.bids)
    closed = {"status": "closed", "closed": "2024-03-05", "closed_by": "Centre", "reason": "agreed"}
    table = [replace(query, **closed) if query.code == code else query for query in before]
    write_queries(trial.bids, table, before, entries, by="Centre", today=None)


def statuses(state: dict[str, Any], code: str) -> list[tuple[str, str]]:
    return [(query["role"], query["status"]) for query in state["queries"] if query["code"] == code]


def test_queries_are_asked_answered_and_not_asked_again(trial: Trial, repository: Path) -> None:
    states = send_again_and_again(trial, repository / "config" / "protocol.yaml")
    first, again, answered, answered_again, first_again, agreed, whole, *_, last = states
    assert first == again
    assert statuses(first, "missing_slices") == [("FLAIR", "open")]
    assert statuses(first, "burned_in_text") == [("T1w", "open")]
    assert statuses(answered, "missing_slices") == [("FLAIR", "closed")]
    assert statuses(answered, "burned_in_text") == [("T1w", "open")]
    # sent again, nothing is asked but why
    new = [query for query in first_again["queries"] if query not in answered["queries"]]
    assert {(query["code"].value, query["blocking"]) for query in new} == {("duplicate_submission", False)}
    assert answered_again["images"] == first_again["images"] == answered["images"]
    assert name("T1w") in agreed["images"]
    assert name("T1w") not in first["images"]
    assert statuses(whole, "already_received") == [("", "open")]
    assert len({query["query_id"] for query in last["queries"]}) == len(last["queries"])
    assert last["qualified"][0]
    assert any(last["items"])


def test_a_reworded_message_changes_nothing_else(tmp_path: Path, repository: Path) -> None:
    """Compare three trials: one as it is, one worded anew, and one worded anew in between."""
    protocol = repository / "config" / "protocol.yaml"
    open_keys(tmp_path / "key", create=True)
    results, words = [], []
    for folder in ("as_it_is", "anew", "changing"):
        (tmp_path / folder).mkdir()
        trial = Trial(tmp_path / folder)
        shutil.copytree(tmp_path / "key", tmp_path / folder / "bids.key")  # so that all are called the same
        with pytest.MonkeyPatch.context() as monkeypatch:
            if folder == "anew":
                reword(monkeypatch)
            between = partial(reword, monkeypatch) if folder == "changing" else lambda: None
            results.append(send_again_and_again(trial, protocol, between))
        words.append((trial.bids / TABLE).read_text(encoding="utf-8"))
    as_it_is, anew, changing = results
    assert anew == as_it_is
    assert changing == as_it_is
    assert len(set(words)) == 3


@pytest.mark.parametrize("anew", [False, True])
def test_older_queries_are_not_asked_again(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, repository: Path, anew: bool
) -> None:
    protocol = repository / "config" / "protocol.yaml"
    sent = trial.examination(trial.submission())
    (sent / "a" / "0007.dcm").unlink()
    shutil.rmtree(sent / "b")
    write_scan(sent / "b", "T1", series=3, BurnedInAnnotation="YES", **T1)
    trial.run_intake(sent, protocol=protocol)
    close_as_an_older_version_did(trial, "burned_in_text")
    before = seen(trial)
    make_older(trial.bids)
    if anew:
        reword(monkeypatch)
    trial.run_intake(sent, protocol=protocol)
    after = seen(trial)
    assert after["queries"] == before["queries"]
    assert after["images"] == sorted([*before["images"], name("T1w")])
    assert after["items"] == before["items"]
