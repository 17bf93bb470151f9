"""One user without accounts: look, decide, add, sign, and the tables follow."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mesems_mri.dataset.columns import LEDGER_COLUMNS, VISIT_METRICS_COLUMNS
from mesems_mri.dataset.tables import read_table
from mesems_mri.images import nifti
from mesems_mri.review.app import create_app
from mesems_mri.review.events import MEANINGS
from mesems_mri.review.publish import MASKS
from mesems_mri.review.serve import open_single
from mesems_mri.review.service import ServiceOptions
from tests.unit.review.reading_study import HIDDEN, ReadingStudy, ball
from tests.unit.review.service import Browser


@pytest.fixture
def browser(own_study: ReadingStudy) -> Iterator[Browser]:
    desk = open_single(own_study.out_dir)
    browser = Browser(create_app(desk, ServiceOptions(hosts=("localhost",), secure=False)))
    browser.session()
    yield browser
    desk.store.close()


def metrics(out_dir: Path, name: str = "visit_metrics.tsv") -> dict[tuple[str, str], dict]:
    rows = read_table(out_dir / name, VISIT_METRICS_COLUMNS)
    return {(row["participant_id"], row["session_id"]): row for row in rows}


def task_of(browser: Browser, label: str) -> str:
    return next(task["task_id"] for task in browser.tasks if task["label"] == label)


def test_read_stands_in_the_tables(browser: Browser, own_study: ReadingStudy) -> None:
    visit = ("sub-001", "ses-w04")
    before = metrics(own_study.out_dir)
    page = browser.open(task_of(browser, " ".join(visit)))
    offered = page.find(kind="gel", origin="offered")
    page.do("decide", finding_id=offered["finding_id"], decision="accepted")
    page.do("decide", finding_id=page.find(kind="gel", origin="counted")["finding_id"], decision="rejected")
    grown = browser.post(f"{page.path}/grow", {"kind": "t2", "at": list(HIDDEN)}).json()
    assert grown["is_focus"]
    added = page.do("add", preview_id=grown["preview_id"], kind="t2", t2_status="new")["findings"]
    assert added[0]["origin"] == "reader"
    page.decide_rest()
    page.sign()
    now = metrics(own_study.out_dir)
    assert (now[visit]["gel_count"], now[visit]["t2_new_count"], now[visit]["cua_count"]) == (1, 2, 3)
    assert now[visit]["read_status"] == "read"
    assert metrics(own_study.out_dir, "visit_metrics_desc-automatic.tsv") == before
    assert {key: row for key, row in now.items() if key != visit} == {
        key: row for key, row in before.items() if key != visit
    }
    rows = read_table(own_study.layout.ledger("sub-001"), LEDGER_COLUMNS)
    assert sorted(r["decision"] for r in rows if r["session_id"] == "ses-w04") == [
        "accepted",
        "added",
        "added",
        "automatic",
        "automatic",
        "rejected",
    ]
    t2, _ = nifti.read_labels(own_study.layout.product(*visit, MASKS["t2"]))
    counted = [r for r in rows if r["session_id"] == "ses-w04" and r["focus"] == "t2"]
    for row in counted:
        assert (t2 == row["lesion_id"]).sum() == row["volume_mm3"]
    assert {row["lesion_id"] for row in counted} == set(np.unique(t2).tolist()) - {0}
    new = [row["lesion_id"] for row in counted if row["t2_status"] == "new"]
    drawn, _ = nifti.read_labels(
        own_study.layout.product(*visit, "space-subject_label-L_desc-readnew_mask.nii.gz")
    )
    assert (drawn.astype(bool) == np.isin(t2, new)).all()


def test_signed_read_can_be_changed_and_signed_again(browser: Browser, own_study: ReadingStudy) -> None:
    page = browser.open(task_of(browser, "sub-001 ses-w04"))
    page.decide_rest("rejected")
    page.sign()
    assert metrics(own_study.out_dir)["sub-001", "ses-w04"]["gel_count"] == 0
    page.do("decide", finding_id=page.find(kind="gel", origin="counted")["finding_id"], decision="accepted")
    assert page.task["state"] == "begun"
    page.sign()
    assert metrics(own_study.out_dir)["sub-001", "ses-w04"]["gel_count"] == 1


def test_outline_grows_where_the_reader_points(browser: Browser) -> None:
    page = browser.open(task_of(browser, "sub-001 ses-w04"))
    for kind in ("t2", "gel"):
        grown = browser.post(f"{page.path}/grow", {"kind": kind, "at": [20, 20, 21]}).json()
        voxels = sum(length for _, length in grown["voxels"])
        assert abs(voxels - ball(HIDDEN).sum()) <= 3
        assert (grown["is_focus"], grown["why_not"]) == (True, None)
    nothing = browser.post(f"{page.path}/grow", {"kind": "gel", "at": [8, 30, 8]}).json()
    assert (nothing["preview_id"], nothing["is_focus"]) == (None, False)
    assert browser.post(f"{page.path}/grow", {"kind": "gel", "at": [99, 0, 0]}).status_code == 400


def test_images_lie_on_one_grid_and_say_nothing_else(browser: Browser) -> None:
    page = browser.open(task_of(browser, "sub-001 ses-w04"))
    names = [image["name"] for image in page.task["images"]]
    assert names == [
        *(f"{side}_{contrast}" for side in ("current", "prior") for contrast in ("FLAIR", "T1w", "ce-T1w")),
        "difference_FLAIR",
    ]
    shown = [page.image(name) for name in names]
    assert len({(image.shape, image.affine.tobytes()) for image in shown}) == 1
    for image in shown:
        assert not image.header.extensions
        assert image.header["descrip"] == b""
    difference = np.asarray(shown[-1].dataobj)
    assert difference[ball(HIDDEN)].mean() > 300 > 50 > abs(np.median(difference))
    segmentation = page.segmentation()
    assert segmentation.shape == (*shown[0].shape, 2)
    gel = page.find(kind="gel", origin="counted")
    assert (segmentation[..., 1] == gel["label"]).sum() == gel["volume_mm3"]
    assert segmentation[..., 1][tuple(gel["slice"])] == gel["label"]


def test_edit_merge_split_undo_over_the_page(browser: Browser) -> None:
    page = browser.open(task_of(browser, "sub-001 ses-w04"))
    gel = page.find(kind="gel", origin="counted")
    page.do("edit", finding_id=gel["finding_id"], voxels=[[20000, 30], [20100, 5]])
    assert page.findings[gel["finding_id"]]["volume_mm3"] == 35.0
    one, other = (f["finding_id"] for f in page.findings.values() if f["t2_status"] == "stable")
    page.do("merge", finding_ids=[one, other])
    assert other not in page.findings
    page.do("split", finding_id=one)
    page.do("comment", finding_id=one, code="confluent")
    page.do("not_evaluable", part="gel", reason="artefact")
    assert page.task["parts"]["gel"]["reason"] == "artefact"
    for _ in range(5):
        page.do("undo")
    page.do("undo", status=400)
    fresh = browser.open(page.task["task_id"])
    assert fresh.findings == page.findings
    assert fresh.find(kind="gel", origin="counted")["volume_mm3"] == gel["volume_mm3"]


def test_stale_page_overwrites_nothing(browser: Browser) -> None:
    task_id = task_of(browser, "sub-001 ses-w04")
    one, other = browser.open(task_id), browser.open(task_id)
    gel = one.find(kind="gel", origin="counted")["finding_id"]
    one.do("decide", finding_id=gel, decision="accepted")
    said = other.do("decide", status=409, finding_id=gel, decision="rejected")
    assert said["revision"] == one.task["revision"]
    assert "another window" in said["detail"]
    other.load()
    assert other.findings[gel]["decision"] == "accepted"


def test_meaning_of_the_signature_and_open_decisions(browser: Browser) -> None:
    page = browser.open(task_of(browser, "sub-001 ses-w04"))
    page.do("sign", status=400, meaning="whatever")
    said = page.do("sign", status=400, meaning=MEANINGS["assisted"])
    assert said["detail"] == "2 findings are not decided yet; decide before you sign"


def test_rerun_carries_the_work_over(browser: Browser, own_study: ReadingStudy) -> None:
    from tests.unit.review.reading_study import SECOND, Lesion

    page = browser.open(task_of(browser, "sub-001 ses-w04"))
    gel = page.find(kind="gel", origin="counted")
    page.do("decide", finding_id=gel["finding_id"], decision="rejected")
    new = page.find(t2_status="new", origin="counted")
    page.do("comment", finding_id=new["finding_id"], code="faint")
    page.do(
        "edit", finding_id=page.find(volume_mm3=203.0)["finding_id"], voxels=[[20000, 30]]
    ) if False else None
    grown = browser.post(f"{page.path}/grow", {"kind": "t2", "at": list(HIDDEN)}).json()
    page.do("add", preview_id=grown["preview_id"], kind="t2", t2_status="new")
    # The run is repeated: the GEL has another number and outline, the new lesion is not found any more.
    own_study.lesions = {
        "ses-w00": own_study.lesions["ses-w00"],
        "ses-w04": (*SECOND[:2], Lesion(9, "gel", (28, 28, 13), 2.0, "stable", "new", 2)),
    }
    own_study.write()
    page.load()
    moved = page.find(kind="gel", origin="counted")
    assert moved["decision"] == "rejected"
    assert moved["finding_id"] != gel["finding_id"]
    gone = page.find(gone=True)
    assert (gone["comment"], gone["origin"], gone["needs_decision"]) == ("faint", "reader", True)
    assert page.find(origin="reader", gone=False)["decision"] == "accepted"
    page.do("decide", finding_id=gone["finding_id"], decision="rejected")
    page.decide_rest()
    page.sign()
    row = metrics(own_study.out_dir)["sub-001", "ses-w04"]
    assert (row["gel_count"], row["t2_new_count"]) == (0, 1)


def test_rerun_of_the_tables_keeps_the_read(browser: Browser, own_study: ReadingStudy) -> None:
    page = browser.open(task_of(browser, "sub-001 ses-w04"))
    page.decide_rest("rejected")
    page.sign()
    before = metrics(own_study.out_dir)
    own_study.write()
    assert metrics(own_study.out_dir) == before


def test_other_host_and_other_site_are_refused(browser: Browser) -> None:
    browser.host = "evil.example"
    assert browser.get("/api/session").status_code == 400
    browser.host = "localhost"
    task = browser.tasks[0]["task_id"]
    body = {"revision": 0, "act": "undo"}
    path = f"/api/tasks/{task}/events"
    assert browser.post(path, body, Origin="http://evil.example").status_code == 403
    assert browser.post(path, body, **{"X-CSRF-Token": "x"}).status_code == 403


def test_added_lesion_has_one_number_through_the_visits(own_study: ReadingStudy) -> None:
    own_study.sessions = ("ses-w00", "ses-w04", "ses-w12")
    own_study.participants = 1
    own_study.write()
    desk = open_single(own_study.out_dir)
    browser = Browser(create_app(desk, ServiceOptions(hosts=("localhost",), secure=False)))
    browser.session()

    def read(session: str, *places: tuple[int, int, int]) -> None:
        page = browser.open(task_of(browser, f"sub-001 {session}"))
        for place in places:
            grown = browser.post(f"{page.path}/grow", {"kind": "t2", "at": list(place)}).json()
            page.do("add", preview_id=grown["preview_id"], kind="t2", t2_status="new")
        page.decide_rest()
        page.sign()

    elsewhere = (12, 12, 28)  # a candidate, bright on the image
    read("ses-w12", elsewhere, HIDDEN)
    read("ses-w04", HIDDEN)
    read("ses-w12")  # once more
    rows = read_table(own_study.layout.ledger("sub-001"), LEDGER_COLUMNS)
    added = {(r["session_id"], r["x"]): r for r in rows if r["decision"] == "added"}
    numbers = {key: row["lesion_id"] for key, row in added.items()}
    assert numbers["ses-w04", 0.0] == numbers["ses-w12", 0.0]
    assert numbers["ses-w12", -8.0] != numbers["ses-w12", 0.0]
    assert len(numbers) == 3
    assert added["ses-w12", 0.0]["first_seen_session_id"] == "ses-w04"
    desk.store.close()
