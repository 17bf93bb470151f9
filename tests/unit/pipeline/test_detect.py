"""Detection of the lesions of a visit: what is decided, carried on and left, with detectors of one voxel."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mesems_mri.config import ChangeRule, TrialConfig
from mesems_mri.core.candidates import Candidates
from mesems_mri.core.gel.evidence import ContrastEvidence
from mesems_mri.core.t2.change import T2Change
from mesems_mri.core.t2.segment import T2Segmentation
from mesems_mri.dataset.bids import POSTCONTRAST, OwnMask
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.detect import DetectRecord
from mesems_mri.dataset.records.parts import ChangePart, GelPart, ListedCandidate, T2Part
from mesems_mri.dataset.records.register import RegisterRecord
from mesems_mri.errors import InputError, Reason
from mesems_mri.files import read_json, write_json
from mesems_mri.images import nifti
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.pipeline import detect
from mesems_mri.pipeline.detect import detect_lesions
from mesems_mri.pipeline.detectors import t2_candidates
from mesems_mri.pipeline.own_masks import OwnMasks
from mesems_mri.pipeline.scene import Scene
from mesems_mri.pipeline.visit import VisitFiles, run_step, write_arrays
from tests.unit.pipeline.records import (
    earlier_visit,
    refused_image,
    register_record,
    registered_image,
)

SHAPE = (6, 5, 4)
BOX = tuple(slice(40, 40 + n) for n in SHAPE)
CONFIG = TrialConfig.from_part(
    TrialConfig(focus={"min_volume_mm3": 1.0, "min_diameter_mm": 0.5}).model_dump_json()  # type: ignore[arg-type]
)


def blob(*place: int, number: int = 1) -> np.ndarray:
    """Return a volume of zeros with one voxel set."""
    array = np.zeros(SHAPE, np.int32)
    array[place] = number
    return array


DOUBTFUL = blob(5, 4, 3)
OLD, NEW, GEL, HOLE = blob(1, 1, 1), blob(3, 3, 2), blob(1, 1, 1, number=1), blob(4, 1, 1)


@pytest.fixture
def visit(tmp_path: Path) -> VisitFiles:
    return VisitFiles(
        bids_dir=tmp_path / "bids",
        layout=Layout(tmp_path / "out"),
        participant_id="sub-1",
        session_id="ses-2",
    )


@pytest.fixture
def leave(visit: VisitFiles, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RegisterRecord]:
    """Leave the record of a registered visit, and detectors that find one voxel each."""
    written: dict[str, np.ndarray] = {}

    def scene_of(images: Any) -> Scene:
        zeros = np.zeros(SHAPE, np.float32)
        brain = np.ones(SHAPE, bool)
        return Scene(
            images=dict.fromkeys(images, zeros), entries=images, brain_mask=brain, priors={}, box=BOX
        )

    def masks(_: Any, images: Any, parts: Any, arrays: dict[str, np.ndarray], __: Any) -> list[str]:
        written.update(arrays)
        return [f"{name}.nii.gz" for name in arrays]

    change = T2Change(
        new=NEW,
        enlarging=np.zeros(SHAPE, np.int32),
        lesions=(OLD | NEW) > 0,
        score=(NEW * 0.8).astype(np.float32),
        candidates=NEW + DOUBTFUL * 2,
        candidate_scores=(0.81234, 0.21),
        candidate_causes=(None, "score_below_limit"),
    )
    segmentation = T2Segmentation(
        mask=HOLE > 0, score=(HOLE * 0.6).astype(np.float32), candidates=Candidates.none(SHAPE)
    )
    vein = Candidates(DOUBTFUL, (0.3,), ("vessel",))
    gel = (GEL, GelPart(precontrast=True, scores=(0.9,), rejected=()), vein)
    monkeypatch.setattr(detect, "open_scene", lambda _, registered: scene_of(registered.evaluable))
    monkeypatch.setattr(detect, "open_reference", lambda _, reference, *__: scene_of(reference.images))
    monkeypatch.setattr(detect, "write_masks", masks)
    monkeypatch.setattr(detect, "t2_probability", lambda _: np.zeros(SHAPE, np.float32))
    monkeypatch.setattr(detect, "segment_t2", lambda *_: segmentation)
    monkeypatch.setattr(detect, "visit_pair", lambda *given: given)
    monkeypatch.setattr(detect, "detect_change", lambda *_: change)
    monkeypatch.setattr(detect, "detect_gel", lambda *_: gel)
    monkeypatch.setattr(detect, "segment_holes", lambda *_: HOLE > 0)

    def write(**changes: Any) -> RegisterRecord:
        record = register_record(**changes)
        write_json(visit.record("register"), {"step": "register", **record.to_json()})
        return record

    return write


def reference(visit: VisitFiles, *, score: bool = True, **changes: Any) -> Any:
    """Leave the lesions of an earlier visit; return it."""
    earlier = earlier_visit("ses-1", **changes)
    arrays = {"t2": OLD > 0} | ({"t2_score": (OLD * 70).astype(np.uint8)} if score else {})
    write_arrays(visit.resolve(earlier.arrays), arrays)
    return earlier


def run(visit: VisitFiles, *history: Any, **more: Any) -> DetectRecord:
    return detect_lesions(visit, history, visit_type="scheduled", config=CONFIG, **more)


def arrays_of(visit: VisitFiles) -> dict[str, np.ndarray]:
    with np.load(visit.work("lesions.npz")) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.mark.usefixtures("leave")
def test_a_visit_that_was_not_registered_carries_on_what_it_was_given(
    visit: VisitFiles,
) -> None:
    refused = RegisterRecord(status="not_evaluable", reason="wrong_head", message="another head")
    write_json(visit.record("register"), refused.to_json())
    earlier = earlier_visit("ses-1")
    record = run(visit, earlier)
    assert (record.status, record.reason, record.message) == ("not_evaluable", "wrong_head", "another head")
    assert (record.detected, record.history) == (None, (earlier,))
    assert not visit.work("lesions.npz").exists()


def test_first_visit_has_lesions_and_no_change(visit: VisitFiles, leave: Callable[..., Any]) -> None:
    leave(images={c: registered_image(c) for c in ("T1w", POSTCONTRAST, "FLAIR")})
    record = run(visit)
    assert record.detected is not None
    parts = record.detected.parts
    assert parts.t2 == T2Part(contrast="FLAIR")
    assert parts.t2_change == ChangePart(reason="no_reference_visit")
    assert (parts.gel.evaluable, parts.black_hole.volume_mm3) == (True, 1.0)
    assert list(arrays_of(visit)) == [
        "t2_probability",
        "t2",
        "t2_score",
        "gel",
        "black_hole",
        "candidates_t2",
        "candidates_gel",
    ]
    assert record.detected.candidates == (ListedCandidate(kind="gel", number=1, score=0.3, cause="vessel"),)
    assert arrays_of(visit)["t2_score"].max() == 60
    assert record.history is not None
    (this,) = record.history
    assert (this.session_id, this.t2_evaluable, list(this.images)) == (
        "ses-2",
        True,
        ["T1w", POSTCONTRAST, "FLAIR"],
    )


def test_swapped_t1w_are_not_counted_and_said(
    visit: VisitFiles, leave: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(images={c: registered_image(c) for c in ("T1w", POSTCONTRAST, "FLAIR")})
    swapped = ContrastEvidence(vote="pre", darker_mm3=5200.0, brighter_mm3=40.0)
    monkeypatch.setattr(detect, "contrast_evidence", lambda _: swapped)
    record = run(visit)
    assert record.detected is not None
    parts = record.detected.parts
    assert (parts.gel.reason, parts.black_hole.reason) == ("contrast_unconfirmed", "contrast_unconfirmed")
    assert "5.2 ml of vessels" in (parts.gel.message or "")
    assert parts.t2.evaluable
    assert "gel" not in arrays_of(visit)
    assert record.history is not None
    assert not record.history[-1].gel_evaluable
    # without a T1w before contrast there is nothing to compare
    leave(images={c: registered_image(c) for c in (POSTCONTRAST, "FLAIR")})
    alone = run(visit).detected
    assert alone is not None
    assert alone.parts.gel.evaluable


def test_change_is_read_against_the_reference_visit(visit: VisitFiles, leave: Callable[..., Any]) -> None:
    leave()
    record = run(visit, reference(visit))
    assert record.detected is not None
    change = record.detected.parts.t2_change
    assert change == ChangePart(
        reference_session_id="ses-1", contrast="FLAIR", candidate_scores=(0.8123, 0.21)
    )
    arrays = arrays_of(visit)
    assert list(arrays) == [
        "t2_probability",
        "t2",
        "t2_score",
        "new",
        "enlarging",
        "change_score",
        "change_candidates",
        "candidates_change",
        "candidates_t2",
    ]
    # what this visit alone shows and the difference does not is no lesion, but is offered to a reader
    assert record.detected.candidates == (
        ListedCandidate(kind="change", number=1, score=0.21, cause="score_below_limit"),
        ListedCandidate(kind="t2", number=1, score=0.6, cause="not_in_difference"),
    )
    np.testing.assert_array_equal(arrays["candidates_change"] > 0, DOUBTFUL > 0)
    np.testing.assert_array_equal(arrays["candidates_t2"] > 0, HOLE > 0)
    # the lesions of the reference visit are carried on, with their score
    np.testing.assert_array_equal(arrays["t2"], (OLD | NEW) > 0)
    assert (arrays["t2_score"][1, 1, 1], arrays["t2_score"][3, 3, 2]) == (70, 0)
    assert record.history is not None
    assert [earlier.session_id for earlier in record.history] == ["ses-1", "ses-2"]


def test_change_is_told_what_the_network_said_at_both_visits(
    visit: VisitFiles, leave: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave()
    monkeypatch.setattr(detect, "t2_probability", lambda _: np.full(SHAPE, 0.8, np.float32))
    told: list[Any] = []
    found = detect.detect_change

    def detect_change(pair: Any, config: Any) -> Any:
        told.append(pair[-1])
        return found(pair, config)

    monkeypatch.setattr(detect, "detect_change", detect_change)
    earlier = reference(visit)
    run(visit, earlier)
    # masks that somebody gave come without a probability
    assert told == [None]
    with np.load(visit.resolve(earlier.arrays)) as archive:
        arrays = dict(archive)
    write_arrays(visit.resolve(earlier.arrays), arrays | {"t2_probability": np.full(SHAPE, 51, np.uint8)})
    run(visit, earlier)
    now, then = told[1]
    np.testing.assert_allclose(now, 0.8)
    np.testing.assert_allclose(then, 0.2)


@pytest.mark.parametrize(
    ("flair", "reason", "said"),
    [
        (None, "missing_scan", "no FLAIR"),
        (refused_image("wrong_head"), "wrong_head", "the FLAIR was refused (wrong_head)"),
        (registered_image(covered_fraction=0.5), "incomplete_coverage", "the FLAIR shows 50% of the brain"),
    ],
)
def test_a_flair_that_cannot_be_read_is_not_replaced_by_another_contrast(
    visit: VisitFiles, leave: Callable[..., Any], flair: Any, reason: str, said: str
) -> None:
    contrasts = ("T1w", POSTCONTRAST, "T2w", "PDw")
    images: dict[Any, Any] = {c: registered_image(c) for c in contrasts}
    leave(images=images | ({"FLAIR": flair} if flair else {}))
    record = run(visit, reference(visit))
    assert record.detected is not None
    parts = record.detected.parts
    assert {part.reason for part in (parts.t2, parts.t2_change, parts.black_hole)} == {reason}
    assert (parts.t2.contrast, parts.black_hole.volume_mm3) == (None, None)
    assert said in (parts.t2.message or "")
    assert "send a whole FLAIR" in (parts.t2.message or "")
    # enhancing lesions need a T2-type image, and T2w is one
    assert parts.gel.evaluable
    assert set(arrays_of(visit)) == {"gel", "candidates_gel"}
    assert record.history is not None
    assert not record.history[-1].t2_evaluable


def test_without_a_t2_contrast_nothing_but_a_reason_is_left(
    visit: VisitFiles, leave: Callable[..., Any]
) -> None:
    leave(images={"T1w": registered_image("T1w"), "FLAIR": refused_image("unreadable_file")})
    record = run(visit, reference(visit))
    assert record.detected is not None
    assert {part.reason for part in record.detected.parts} == {"unreadable_file", "no_postcontrast"}
    assert arrays_of(visit) == {}
    assert record.detected.candidates is None
    assert record.history is not None
    assert (record.history[1].t2_evaluable, list(record.history[1].images)) == (False, ["T1w"])


def test_half_an_image_is_no_reference_for_later_visits(visit: VisitFiles, leave: Callable[..., Any]) -> None:
    leave(
        images={
            "FLAIR": registered_image(),
            POSTCONTRAST: registered_image(POSTCONTRAST, covered_fraction=0.5),
        }
    )
    record = run(visit)
    assert record.detected is not None
    assert record.detected.parts.gel == GelPart(reason="incomplete_coverage")
    assert record.history is not None
    assert list(record.history[0].images) == ["FLAIR"]


def draw(visit: VisitFiles, desc: str, array: np.ndarray) -> Path:
    """Write a mask of one's own in subject space, as a reader would."""
    whole = np.zeros(SUBJECT_GRID.shape, np.uint8)
    whole[BOX] = array > 0
    folder = visit.layout.out_dir.parent / "masks"
    agent = "ce-gadolinium_" if desc == "enhancing" else ""
    name = f"{agent}space-subject_label-L_desc-{desc}_mask.nii.gz"
    nifti.write_labels(Layout(folder).product(*visit.key, name), whole, SUBJECT_GRID.affine)
    return folder


def test_masks_of_ones_own_take_the_place_of_the_detectors(
    visit: VisitFiles, leave: Callable[..., Any]
) -> None:
    leave(images={c: registered_image(c, slice_thickness_mm=1.0) for c in (POSTCONTRAST, "FLAIR")})
    draw(visit, "T2", OLD | NEW)
    folder = draw(visit, "enhancing", GEL)
    record = run(visit, reference(visit, score=False), masks_dir=folder)
    assert record.detected is not None
    parts = record.detected.parts
    assert parts.t2 == T2Part(contrast="FLAIR", given=True)
    assert parts.t2_change == ChangePart(reference_session_id="ses-1", contrast="FLAIR")
    assert parts.gel == GelPart(precontrast=True, rejected=(), given=True)
    assert parts.black_hole.reason == "missing_scan"
    assert record.detected.candidates is None  # no detector was asked
    arrays = arrays_of(visit)
    assert list(arrays) == ["t2", "new", "enlarging", "gel"]
    np.testing.assert_array_equal(arrays["new"] > 0, NEW > 0)
    assert arrays["gel"].max() == 1


def test_a_mask_that_is_missing_makes_its_part_not_evaluable(
    visit: VisitFiles, leave: Callable[..., Any]
) -> None:
    leave(images={c: registered_image(c) for c in ("T1w", POSTCONTRAST, "FLAIR")})
    folder = draw(visit, "enhancing", GEL)
    record = run(visit, reference(visit), masks_dir=folder)
    assert record.detected is not None
    parts = record.detected.parts
    assert (parts.t2.reason, parts.t2_change.reason, parts.black_hole.reason) == ("missing_scan",) * 3
    assert parts.t2.message is not None
    assert "sub-1/ses-2: no space-..._label-L_desc-T2_mask.nii.gz" in parts.t2.message
    # the order of the keys is that of every version so far
    assert list(parts.to_json()["t2_change"]) == ["evaluable", "reference_session_id", "reason"]
    assert parts.gel.evaluable


def test_a_mask_on_another_grid_is_refused_with_its_name(visit: VisitFiles, tmp_path: Path) -> None:
    path = tmp_path / "T2.nii.gz"
    nifti.write_labels(path, np.ones((4, 4, 4), np.uint8), np.eye(4))
    own = OwnMasks(
        visit=visit,
        folder=tmp_path,
        files={"T2": OwnMask(path, "orig")},
        images={"FLAIR": registered_image()},
        box=BOX,
        config=CONFIG,
    )
    arrays: dict[str, np.ndarray] = {}
    part = own.t2("FLAIR", arrays)
    assert (part.reason, part.given, part.contrast, arrays) == ("unreadable_file", True, None, {})
    assert part.message is not None
    assert "T2.nii.gz is not on the grid of its image: the matrix is 4 x 4 x 4" in part.message


def test_a_failure_leaves_a_record_that_carries_on_what_was_given(visit: VisitFiles) -> None:
    carried = {"history": [earlier_visit("ses-1").to_json()]}
    record = run_step("detect", visit, lambda: run(visit), carried=carried)  # there is no record to read
    assert (record.status, record.reason) == ("failed", "step_failed")
    assert read_json(visit.record("detect"))["carried"] == carried

    def refuse() -> DetectRecord:
        msg = "sub-1/ses-2 FLAIR: cut"
        raise InputError(msg, Reason.UNREADABLE_FILE)

    assert run_step("detect", visit, refuse, carried=carried).status == "not_evaluable"
    assert list(read_json(visit.record("detect"))) == [
        "step",
        "status",
        "reason",
        "message",
        "carried",
        "files_sha256",
    ]


def test_a_record_of_an_older_version_fails_the_step(visit: VisitFiles) -> None:
    older = register_record().to_json()
    del older["images"]["FLAIR"]["covered_fraction"]
    write_json(visit.record("register"), older)
    record = run_step("detect", visit, lambda: run(visit), carried={})
    assert record.status == "failed"
    assert "KeyError: 'covered_fraction'" in record.message


def test_candidates_of_a_score_below_the_limit_are_not_listed(
    visit: VisitFiles, leave: Callable[..., Any]
) -> None:
    leave()
    record = run(visit, reference(visit))
    strict = TrialConfig.from_part(
        CONFIG.model_copy(update={"change": ChangeRule(candidate_score=0.3)}).model_dump_json()
    )
    fewer = detect_lesions(visit, [reference(visit)], visit_type="scheduled", config=strict)
    assert record.detected is not None
    assert fewer.detected is not None
    kinds = [[c.kind for c in detected.candidates or ()] for detected in (record.detected, fewer.detected)]
    assert kinds == [["change", "t2"], ["t2"]]
    assert fewer.detected.parts == record.detected.parts


def test_t2_candidates_join_what_the_segmentation_rejected_and_what_is_not_carried_on() -> None:
    segmentation = SimpleNamespace(
        mask=(OLD + HOLE) > 0,
        score=(OLD * 0.9 + HOLE * 0.6).astype(np.float32),
        candidates=Candidates(NEW + DOUBTFUL * 2, (0.4, 0.02), ("score_below_limit",) * 2),
    )
    listed = t2_candidates(segmentation, OLD > 0, 0.05)  # type: ignore[arg-type]
    assert list(zip(listed.scores, listed.causes, strict=True)) == [
        (pytest.approx(0.6), "not_in_difference"),
        (0.4, "score_below_limit"),
    ]
    np.testing.assert_array_equal(listed.dseg, HOLE + NEW * 2)
