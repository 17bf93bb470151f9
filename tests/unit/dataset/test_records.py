"""Records of the steps: what is read and written again has the same bytes; what lacks a key is refused."""

import json
from typing import Any

import pytest

from mesems_mri.config import QualityRule
from mesems_mri.dataset.records.base import StepRecord, StoppedRecord, VisitKey, outcome_of
from mesems_mri.dataset.records.detect import DetectRecord
from mesems_mri.dataset.records.measure import MeasureRecord, RememberedVisits
from mesems_mri.dataset.records.register import Anchor, RegisterRecord
from mesems_mri.dataset.records.standardise import StandardiseRecord
from mesems_mri.dataset.records.visit import VisitRecord, VisitSummary
from tests.unit.pipeline import records as made

IDENTITY = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
DONE = {"status": "done", "reason": None, "message": ""}
WAITING = {"status": "not_evaluable", "reason": "open_query", "message": "sub-1/ses-2: waits"}
FAILED = {"status": "failed", "reason": "step_failed", "message": "sub-1/ses-2: detect failed (KeyError)"}
NO_IMAGE: dict[str, Any] = {
    "source": None,
    "evaluable": False,
    "reason": "intake_ambiguous",
    "message": "two",
}
READ = {
    "source": "a_FLAIR.nii.gz",
    "evaluable": True,
    "reason": None,
    "message": "",
    "flags": ["units_assumed"],
    "spacing_mm": [0.5, 0.5, 3.0],
    "slice_thickness_mm": 3.0,
    "acquisition": {"MagneticFieldStrength": 3, "ReceiveCoilName": ["head", 1]},
}
NO_BRAIN = READ | {"evaluable": False, "reason": "not_a_brain", "message": "none", "flags": []}
CORRECTED = READ | {"file": "w/FLAIR.nii", "quality": {"snr": 7.1, "fber": None}, "skull_stripped": False}
STANDARDISE = {
    "done": DONE
    | {
        "reference": "FLAIR",
        "brain_mask": "w/brain_mask.nii.gz",
        "tissue": "w/tissue.npz",
        "brain_volume_mm3": 1610199.8,
        "covered_fraction": 1.0,
        "to_mni": IDENTITY,
        "flags": ["partial_coverage"],
        "images": {"T1w": NO_BRAIN, "FLAIR": CORRECTED},
    },
    "waiting": WAITING | {"images": {}},
    "ambiguous": WAITING | {"images": {"T2w": NO_IMAGE | {"flags": []}, "FLAIR": READ}},
    "stopped": FAILED | {"carried": {}},
}
GOOD = {"similarity": 1.15, "similarity_left_alone": 1.1, "inverse_consistency_mm": 0.05, "flags": []}
BAD = GOOD | {"flags": ["not_inverse_consistent"]}
ANCHOR = {
    "session_id": "ses-1",
    "contrast": "FLAIR",
    "source": "a_FLAIR.nii.gz",
    "file": "w/FLAIR.nii",
    "brain_mask": "w/brain_mask.nii.gz",
    "subject_to_anchor": IDENTITY,
    "subject_to_mni": IDENTITY,
    "brain_prior": "w/brain_prior.npz",
}
REGISTERED = {
    "evaluable": True,
    "reason": None,
    "message": "",
    "source": "a_FLAIR.nii.gz",
    "file": "w/FLAIR.nii",
    "subject_to_image": IDENTITY,
    "alignment": {"reference": True},
    "grid": {"shape": [96, 120, 40], "affine": IDENTITY},
    "preproc": "p/FLAIR.nii.gz",
    "covered_fraction": 0.9876,
    "nawm_median": 338.875366,
    "slice_thickness_mm": 3.0,
    "plane_normal": [0.0, 0.1, 0.994987],
}
REFUSED = {"evaluable": False, "reason": "not_a_brain", "message": "none", "source": None}
MOVED = REFUSED | {"source": "a_T2w.nii.gz", "file": "w/T2w.nii", "alignment": BAD}
REGISTER = {
    "anchor": DONE
    | {
        "reference": "FLAIR",
        "brain_mask": "p/brain_mask.nii.gz",
        "tissue": "w/tissue_space-subject.npz",
        "alignment": {"anchor": True},
        "images": {
            "T1w": REFUSED,
            "T2w": MOVED,
            "FLAIR": REGISTERED,
            "PDw": REGISTERED | {"alignment": GOOD | {"head_score": 0.5, "mirrored_score": 0.2}},
        },
        "carried": {"anchor": ANCHOR},
    },
    "later": DONE
    | {
        "reference": "FLAIR",
        "brain_mask": "p/brain_mask.nii.gz",
        "tissue": "w/tissue_space-subject.npz",
        "alignment": GOOD | {"head_score": 0.8123},
        "images": {"FLAIR": REGISTERED},
        "carried": {"anchor": ANCHOR},
    },
    "other head": WAITING | {"alignment": BAD | {"head_score": 0.1}, "carried": {"anchor": ANCHOR}},
    "passed on": WAITING | {"carried": {"anchor": ANCHOR}},
    "no anchor yet": WAITING | {"carried": {}},
    "stopped": FAILED | {"carried": {"anchor": ANCHOR}},
}
VISIT = {
    "session_id": "ses-1",
    "visit_type": "scheduled",
    "gel_evaluable": False,
    "t2_evaluable": True,
    "arrays": "w/lesions.npz",
    "brain_mask": "p/brain_mask.nii.gz",
    "images": {"T2w": {"preproc": "p/2.nii.gz", "slice_thickness_mm": 3.0, "plane_normal": [0.0, 0.0, 1.0]}},
}
REJECTED = {"voxel": [34, 109, 107], "volume_mm3": 21.0, "score": 0.012, "cause": "vessel"}
FOUND = {"evaluable": True, "reason": None}


def no(reason: str) -> dict[str, Any]:
    return {"evaluable": False, "reason": reason}


def detected(t2: Any, change: Any, gel: Any, hole: Any, *candidates: Any) -> dict[str, Any]:
    parts = {"t2": t2, "t2_change": change, "gel": gel, "black_hole": hole}
    history = {"carried": {"history": [VISIT, VISIT | {"images": {}}]}}
    return (
        DONE
        | {"parts": parts, "arrays": "w/lesions.npz", "products": ["p/T2.nii.gz"]}
        | ({"candidates": [c for c in candidates if c]} if candidates else {})
        | history
    )


DETECT = {
    "detectors": detected(
        FOUND | {"contrast": "FLAIR"},
        FOUND | {"reference_session_id": "ses-1", "contrast": "T2w", "candidate_scores": [0.1, 1.0]},
        FOUND | {"precontrast": False, "scores": [0.879], "rejected": [REJECTED]},
        FOUND | {"volume_mm3": 12.5},
        {"kind": "gel", "number": 1, "score": 0.31, "cause": "vessel"},
    ),
    "no candidate": detected(
        FOUND | {"contrast": "FLAIR"},
        no("no_reference_visit") | {"reference_session_id": None},
        no("no_postcontrast"),
        no("missing_scan"),
        None,
    ),
    "first visit": detected(
        FOUND | {"contrast": "FLAIR"},
        no("no_reference_visit") | {"reference_session_id": None},
        FOUND | {"precontrast": True, "scores": [], "rejected": []},
        no("missing_scan"),
    ),
    "without a T2 contrast": detected(
        no("no_t2_type"),
        no("no_t2_type") | {"reference_session_id": None},
        no("no_postcontrast"),
        no("no_t2_type"),
    ),
    "own masks": detected(
        FOUND | {"contrast": "T2w", "given": True},
        FOUND | {"reference_session_id": "ses-1", "contrast": "T2w"},
        FOUND | {"precontrast": True, "rejected": [], "given": True},
        FOUND | {"volume_mm3": 0.0},
    ),
    "own masks, first visit": detected(
        FOUND | {"contrast": "T2w", "given": True},
        {"evaluable": False, "reference_session_id": None, "reason": "no_reference_visit"},
        no("no_postcontrast"),
        no("no_postcontrast"),
    ),
    "own masks, refused": detected(
        no("missing_scan") | {"message": "no mask", "given": True},
        {"evaluable": False, "reference_session_id": None, "reason": "missing_scan"},
        no("unreadable_file") | {"message": "not on the grid", "given": True},
        no("missing_scan"),
    ),
    "own masks, change refused": detected(
        FOUND | {"contrast": "FLAIR", "given": True},
        no("unreadable_file") | {"message": "not on the grid", "given": True, "reference_session_id": None},
        no("incomplete_coverage"),
        no("missing_scan"),
    ),
    "passed on": WAITING | {"carried": {"history": [VISIT]}},
    "stopped": FAILED | {"carried": {"history": [VISIT]}},
    "stopped at the first visit": FAILED | {"carried": {}},
}
REMEMBERED = {
    "visit_index": 1,
    "days": {"ses-1": 0, "ses-2": None},
    "scheduled": ["ses-1", "ses-2"],
    "gel_evaluable": {"ses-1": True},
    "foci": {"next_id": 13, "tracks": [{"lesion_id": 1, "volumes_mm3": {"ses-1": 137.0}}], "arrays": "f.npz"},
}
MEASURE = {
    "done": DONE | {"lesions": [{"lesion_id": 1, "x": None}], "products": ["a", "b"], "carried": REMEMBERED},
    "no lesion": DONE | {"lesions": [], "products": [], "carried": REMEMBERED},
    "candidates": DONE
    | {"lesions": [], "products": [], "candidates": [{"candidate_id": 1}], "carried": REMEMBERED},
    "no candidate": DONE | {"lesions": [], "products": [], "candidates": [], "carried": REMEMBERED},
    "first visit stopped": FAILED | {"carried": REMEMBERED | {"visit_index": 0, "foci": None}},
}
PUBLIC = {key: ANCHOR[key] for key in ANCHOR if key not in ("file", "brain_mask", "brain_prior")}
REPORTED = {
    "source": "a_FLAIR.nii.gz",
    "evaluable": True,
    "reason": None,
    "message": "",
    "flags": ["units_assumed"],
    "covered_fraction": 0.98,
    "quality": {"snr": 7.1},
}
METRICS = {
    "done": {
        "status": "done",
        "message": "",
        "visit_index": 1,
        "visit_metrics": {"participant_id": "sub-1", "gel_count": 2, "t2_reason": None},
        "lesions": [{"lesion_id": 1}],
        "lesions_from": "masks",
        "gel_rejected": [REJECTED],
        "candidates": [{"candidate_id": 1, "kind": "gel"}],
        "anchor": PUBLIC,
        "images": {"FLAIR": REPORTED},
        "quality_names": ["snr"],
        "preproc": {"FLAIR": "p/FLAIR.nii.gz"},
        "change_contrast": "FLAIR",
        "reference_preproc": "p/1/FLAIR.nii.gz",
        "registration": {"to the anchor": "(this visit is the anchor)"},
        "versions": {"numpy": "2.3.5"},
    }
}
METRICS["failed"] = METRICS["done"] | {
    "status": "failed",
    "message": "x",
    "lesions": [],
    "lesions_from": "detector",
    "gel_rejected": [],
    "candidates": None,
    "anchor": None,
    "images": {"FLAIR": REPORTED | {"evaluable": False, "reason": "artefact", "covered_fraction": None}},
    "preproc": {},
    "change_contrast": None,
    "reference_preproc": None,
}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "standardise": (StandardiseRecord, STANDARDISE),
    "register": (RegisterRecord, REGISTER),
    "detect": (DetectRecord, DETECT),
    "measure": (MeasureRecord, MEASURE),
    "visit": (VisitRecord, METRICS),
}
EXAMPLES = [
    pytest.param(kind, content, id=f"{step}: {name}")
    for step, (kind, examples) in KINDS.items()
    for name, content in examples.items()
]


@pytest.mark.parametrize(("kind", "content"), EXAMPLES)
def test_a_record_is_written_as_it_was_read(kind: Any, content: dict[str, Any]) -> None:
    # with the order of the keys: the same bytes
    assert json.dumps(kind.from_json(content).to_json()) == json.dumps(content)


@pytest.mark.parametrize(
    ("kind", "content", "path"),
    [
        (StandardiseRecord, STANDARDISE["done"], ("to_mni",)),
        (StandardiseRecord, STANDARDISE["done"], ("images", "FLAIR", "quality")),
        (RegisterRecord, REGISTER["later"], ("images", "FLAIR", "covered_fraction")),
        (RegisterRecord, REGISTER["later"], ("carried", "anchor", "brain_prior")),
        (DetectRecord, DETECT["detectors"], ("parts", "gel")),
        (DetectRecord, DETECT["detectors"], ("parts", "t2_change", "reference_session_id")),
        (DetectRecord, DETECT["passed on"], ("status",)),
        (MeasureRecord, MEASURE["done"], ("products",)),
        (VisitRecord, METRICS["done"], ("gel_rejected",)),
    ],
)
def test_a_record_that_lacks_a_key_is_refused(
    kind: Any, content: dict[str, Any], path: tuple[str, ...]
) -> None:
    older = json.loads(json.dumps(content))
    place = older
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    with pytest.raises(KeyError, match=path[-1]):
        kind.from_json(older)


def test_an_unknown_contrast_is_refused() -> None:
    with pytest.raises(ValueError, match="contrast must be one of"):
        RegisterRecord.from_json(REGISTER["later"] | {"reference": "DWI"})


def test_only_a_visit_that_is_done_has_content() -> None:
    assert RegisterRecord.from_json(REGISTER["passed on"]).registered is None
    assert RegisterRecord.from_json(REGISTER["other head"]).alignment is not None
    later = RegisterRecord.from_json(REGISTER["later"])
    assert later.registered is not None
    assert (later.done, list(later.registered.evaluable)) == (True, ["FLAIR"])
    first = RegisterRecord.from_json(REGISTER["anchor"]).registered
    assert first is not None
    assert (first.alignment, list(first.evaluable)) == (None, ["FLAIR", "PDw"])
    assert DetectRecord.from_json(DETECT["stopped"]).detected is None


def test_the_outcome_is_read_from_any_record() -> None:
    assert outcome_of(FAILED | {"carried": {"of": "a later version"}}) == StepRecord(**FAILED)
    assert outcome_of({"status": "done"}).done


def test_what_a_stopped_step_was_given_is_carried_on_unchanged() -> None:
    carried = {"history": [{"a key": "of another version"}]}
    assert StoppedRecord(**WAITING, carried=carried).to_json() == WAITING | {"carried": carried}


def test_first_visit_remembers_nothing() -> None:
    assert RememberedVisits.from_carried({}) == RememberedVisits()
    assert Anchor.from_carried({}) is None
    known = RememberedVisits.from_carried(REMEMBERED)
    assert known.gel_references == ("ses-1",)


def test_tables_read_the_record_of_an_older_version() -> None:
    older = {
        key: METRICS["done"][key] for key in ("status", "message", "visit_index", "visit_metrics", "lesions")
    }
    assert VisitSummary.from_json(older).anchor is None


@pytest.mark.parametrize(("covered", "enough"), [(0.8999, False), (0.9, True), (1.0, True)])
def test_one_rule_decides_what_covers_enough(covered: float, enough: bool) -> None:
    rule = QualityRule(min_covered_fraction=0.9)
    assert made.registered_image(covered_fraction=covered).covers(rule) is enough
    brain = made.standardise_record().brain
    assert brain is not None
    assert type(brain)(**{**vars(brain), "covered_fraction": covered}).covers(rule) is enough


def test_a_visit_is_named_by_participant_and_session() -> None:
    key = VisitKey("sub-1", "ses-2")
    assert (key.name, key) == ("sub-1/ses-2", ("sub-1", "ses-2"))
