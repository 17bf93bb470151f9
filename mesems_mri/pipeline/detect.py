"""Find T2 lesions, their change, enhancing lesions and black holes of one visit."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.core.gel.candidates import EnhancementThresholds
from mesems_mri.core.gel.detect import detect_enhancement
from mesems_mri.core.matching import match_resolution
from mesems_mri.core.t2.black_holes import segment_black_holes
from mesems_mri.core.t2.change import detect_t2_change
from mesems_mri.core.t2.growth import ChangeThresholds
from mesems_mri.core.t2.scan import Anatomy, T2Scan, VisitPair
from mesems_mri.core.t2.segment import segment_t2_lesions, thresholds_for
from mesems_mri.dataset.bids import POSTCONTRAST, T2_CONTRASTS, own_masks
from mesems_mri.errors import Reason
from mesems_mri.images import nifti
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.models.gel import classify_candidates
from mesems_mri.pipeline.masks import write_masks
from mesems_mri.pipeline.own_masks import OwnMasks
from mesems_mri.pipeline.scene import Scene, cropped, open_scene
from mesems_mri.pipeline.visit import VisitFiles, passed_on, usable, write_arrays

ARRAYS = "lesions.npz"
"""Masks of a visit on the brain box of subject space, for the steps after this one."""
_SURE_VENTRICLE = 0.9
"""Prior from which a voxel serves to measure the level of CSF."""


def detect_lesions(
    visit: VisitFiles,
    carried: Mapping[str, Any],
    *,
    visit_type: str,
    settings: Mapping[str, Any],
    masks_dir: Path | None = None,
) -> dict[str, Any]:
    """Detect the lesions of one visit, against its reference visit where there is one.

    Parameters
    ----------
    visit : VisitFiles
        The visit, already registered.
    carried : mapping
        What the previous visit carried on: the visits that may be a reference.
    visit_type : str
        ``scheduled``, ``unscheduled`` or ``repeat``; only scheduled visits become references.
    settings : mapping
        The rules ``focus``, ``t2`` and ``change``, ``enhancement.correlate_mm``, ``ring_gap_mm``,
        ``min_score``, and ``quality.min_covered_fraction`` of the configuration.
    masks_dir : Path, optional
        Folder with masks of one's own, which are taken instead; what has no mask is not evaluable.

    Returns
    -------
    dict
        The record; masks are written in space-subject and space-orig where they are evaluable.
    """
    registered = visit.read_record("register")
    history = carried.get("history", [])
    if not usable(registered):
        return passed_on(registered, carried={"history": history})
    scene = open_scene(visit, registered)
    rule = settings["quality"]
    t2_contrast, t2_reason = _pick_t2(registered["images"], rule["min_covered_fraction"])
    parts: dict[str, dict[str, Any]] = {}
    arrays: dict[str, np.ndarray] = {}
    own = masks_dir and OwnMasks(
        visit=visit,
        folder=masks_dir,
        files=own_masks(masks_dir, visit.participant_id, visit.session_id),
        images=registered["images"],
        box=scene.box,
        settings=settings,
    )

    if t2_contrast is None:
        parts["t2"] = {"evaluable": False, "reason": t2_reason}
        parts["t2_change"] = {"evaluable": False, "reason": t2_reason, "reference_session_id": None}
    elif own:
        parts["t2"] = own.t2(t2_contrast, arrays)
        parts["t2_change"] = _change_of_masks(visit, scene, own, parts["t2"], history, settings, arrays)
    else:
        parts["t2"] = {"evaluable": True, "reason": None, "contrast": t2_contrast}
        parts["t2_change"] = _t2_and_change(visit, scene, t2_contrast, history, settings, arrays)
    parts["gel"] = (
        own.enhancing(rule["min_covered_fraction"], arrays)
        if own
        else _enhancing(scene, registered["images"], settings, arrays)
    )
    parts["black_hole"] = _black_holes(scene, parts, settings, arrays)

    path = visit.work(ARRAYS)
    write_arrays(path, arrays)
    products = write_masks(visit, registered["images"], parts, arrays, scene.box)
    entry = {
        "session_id": visit.session_id,
        "visit_type": visit_type,
        "gel_evaluable": parts["gel"]["evaluable"],
        "t2_evaluable": parts["t2"]["evaluable"],
        "t2_contrast": t2_contrast,
        "arrays": visit.relative(path),
        "brain_mask": registered["brain_mask"],
        "images": {
            contrast: {key: image[key] for key in ("preproc", "slice_thickness_mm", "plane_normal")}
            for contrast, image in registered["images"].items()
            if image["evaluable"] and image["covered_fraction"] >= rule["min_covered_fraction"]
        },
    }
    return {
        "status": "done",
        "reason": None,
        "message": "",
        "parts": parts,
        "arrays": visit.relative(path),
        "products": products,
        "carried": {"history": [*history, entry]},
    }


def _pick_t2(images: Mapping[str, Mapping[str, Any]], min_covered: float) -> tuple[str | None, str | None]:
    """Choose the image T2 lesions are read on; when there is none, say why."""
    reason = str(Reason.NO_T2_TYPE)
    for contrast in T2_CONTRASTS:
        image = images.get(contrast)
        if image is None:
            continue
        if not image["evaluable"]:
            reason = image["reason"] if reason == Reason.NO_T2_TYPE else reason
        elif image["covered_fraction"] < min_covered:
            reason = str(Reason.INCOMPLETE_COVERAGE)
        else:
            return contrast, None
    return None, reason


def _t2_and_change(
    visit: VisitFiles,
    scene: Scene,
    contrast: str,
    history: list[dict[str, Any]],
    settings: Mapping[str, Any],
    arrays: dict[str, np.ndarray],
) -> dict[str, Any]:
    segmentation = segment_t2_lesions(
        _t2_scan(scene, contrast),
        Anatomy(
            scene.brain_mask,
            scene.nawm(contrast),
            scene.priors,
            SUBJECT_GRID.spacing_mm,
            scene.images.get("T1w"),
        ),
        replace(thresholds_for(contrast), **settings["t2"], **settings["focus"]),  # pyright: ignore[reportArgumentType]
    )
    arrays["t2"] = segmentation.mask
    arrays["t2_score"] = _as_percent(segmentation.score)
    found = _reference_visit(scene, history, settings["quality"]["min_covered_fraction"])
    if isinstance(found, Reason):
        return {"evaluable": False, "reason": str(found), "reference_session_id": None}
    reference, (common, *others) = found
    second = others[0] if others else None
    other = Scene(
        images={
            c: cropped(visit, reference["images"][c]["preproc"], scene.box) for c in (common, *others[:1])
        },
        entries=reference["images"],
        brain_mask=nifti.read_labels(visit.resolve(reference["brain_mask"]))[0][scene.box] > 0,
        priors=scene.priors,
        box=scene.box,
    )
    reference_lesions, reference_score = _lesions_of(visit, reference)
    change = detect_t2_change(
        VisitPair(
            current=_t2_scan(scene, common),
            reference=_t2_scan(other, common),
            current_lesions=segmentation.mask,
            reference_lesions=reference_lesions,
            anatomy=Anatomy(
                scene.brain_mask & other.brain_mask,
                scene.nawm(common) & other.nawm(common),
                scene.priors,
                SUBJECT_GRID.spacing_mm,
                scene.images.get("T1w"),
            ),
            support=(_t2_scan(scene, second), _t2_scan(other, second)) if second else None,
        ),
        ChangeThresholds(**settings["change"], **settings["focus"]),
    )
    arrays["new"] = change.new
    arrays["enlarging"] = change.enlarging
    arrays["change_score"] = _as_percent(change.score)
    arrays["change_candidates"] = change.candidates.astype(np.uint16)
    # A mask drawn on a better contrast is carried on; a worse one gives way to that of this visit.
    if T2_CONTRASTS.index(reference["t2_contrast"]) <= T2_CONTRASTS.index(contrast):
        arrays["t2"] = change.lesions
        arrays["t2_score"] = np.maximum(arrays["t2_score"], reference_score) * change.lesions
    else:
        arrays["t2"] = segmentation.mask | (change.new > 0) | (change.enlarging > 0)
    return {
        "evaluable": True,
        "reason": None,
        "reference_session_id": reference["session_id"],
        "contrast": common,
        "candidate_scores": [round(score, 4) for score in change.candidate_scores],
    }


def _t2_scan(scene: Scene, contrast: str) -> T2Scan:
    """Return a T2-type image of a visit as the detectors take it."""
    entry = scene.entries[contrast]
    return T2Scan(
        scene.images[contrast],
        contrast,  # pyright: ignore[reportArgumentType]
        entry["slice_thickness_mm"],
        tuple(entry["plane_normal"]),
    )


def _change_of_masks(
    visit: VisitFiles,
    scene: Scene,
    own: OwnMasks,
    t2: Mapping[str, Any],
    history: list[dict[str, Any]],
    settings: Mapping[str, Any],
    arrays: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Compare the masks of this visit with those of its reference visit."""
    refused = {"evaluable": False, "reference_session_id": None}
    if not t2["evaluable"]:
        return refused | {"reason": t2["reason"]}
    found = _reference_visit(scene, history, settings["quality"]["min_covered_fraction"])
    if isinstance(found, Reason):
        return refused | {"reason": str(found)}
    reference, (common, *_) = found
    reference_lesions, _ = _lesions_of(visit, reference)
    return own.change(common, reference, reference_lesions, arrays)


def _lesions_of(visit: VisitFiles, reference: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the T2 lesions of the reference visit and their score in percent."""
    with np.load(visit.resolve(reference["arrays"])) as archive:
        lesions = archive["t2"] > 0
        # Masks that somebody gave have no score.
        score = archive["t2_score"] if "t2_score" in archive else np.zeros(lesions.shape, np.uint8)
        return lesions, score


def _as_percent(score: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(score, 0, 1) * 100).astype(np.uint8)


def _reference_visit(
    scene: Scene, history: list[dict[str, Any]], min_covered: float
) -> tuple[dict[str, Any], list[str]] | Reason:
    """Find the last earlier scheduled T2-evaluable visit with contrasts in common, the best one first."""
    here = [
        c for c in T2_CONTRASTS if c in scene.entries and scene.entries[c]["covered_fraction"] >= min_covered
    ]
    earlier = [entry for entry in history if entry["visit_type"] == "scheduled" and entry["t2_evaluable"]]
    for entry in reversed(earlier):
        if common := [contrast for contrast in here if contrast in entry["images"]]:
            return entry, common
    return Reason.NO_COMMON_CONTRAST if earlier else Reason.NO_REFERENCE_VISIT


def _enhancing(
    scene: Scene,
    images: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
    arrays: dict[str, np.ndarray],
) -> dict[str, Any]:
    entry = images.get(POSTCONTRAST)
    if entry is None:
        return {"evaluable": False, "reason": str(Reason.NO_POSTCONTRAST)}
    if not entry["evaluable"]:
        return {"evaluable": False, "reason": entry["reason"]}
    least = settings["quality"]["min_covered_fraction"]
    if entry["covered_fraction"] < least:
        return {"evaluable": False, "reason": str(Reason.INCOMPLETE_COVERAGE)}
    t2_images = {
        c: scene.images[c]
        for c in T2_CONTRASTS
        if c in scene.images and scene.entries[c]["covered_fraction"] >= least
    }
    if not t2_images:
        return {"evaluable": False, "reason": str(Reason.NO_T2_TYPE)}
    pre = (
        scene.images.get("T1w") if scene.entries.get("T1w", {}).get("covered_fraction", 0) >= least else None
    )
    post = scene.images[POSTCONTRAST]
    if pre is not None:
        post, pre = _same_resolution(scene, post, pre)
    enhancement = detect_enhancement(
        post,
        pre,
        t2_images=t2_images,
        brain_mask=scene.brain_mask,
        priors=scene.priors,
        nawm=scene.nawm(POSTCONTRAST) if pre is None else scene.nawm(POSTCONTRAST) & scene.nawm("T1w"),
        thresholds=EnhancementThresholds(
            correlate_reach_mm=settings["enhancement"]["correlate_mm"],
            gap_mm=settings["enhancement"]["ring_gap_mm"],
            min_score=settings["enhancement"]["min_score"],
            **settings["focus"],
        ),
        classify=classify_candidates,
        **scene.geometry(POSTCONTRAST),
    )
    arrays["gel"] = enhancement.dseg
    return {
        "evaluable": True,
        "reason": None,
        "precontrast": pre is not None,
        "scores": [round(float(score), 4) for score in enhancement.scores],
        "rejected": [
            {"voxel": [round(float(c) + s.start) for c, s in zip(r.centre, scene.box, strict=True)]}
            | {
                "volume_mm3": round(float(r.volume_mm3), 1),
                "score": round(float(r.score), 3),
                "cause": r.cause,
            }
            for r in enhancement.rejected
        ],
    }


def _same_resolution(scene: Scene, post: np.ndarray, pre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give both T1w the slice profile of the coarser one, each blurred along its own slice normal."""
    thickness_mm = {c: scene.entries[c]["slice_thickness_mm"] for c in (POSTCONTRAST, "T1w")}
    coarser_mm = max(thickness_mm.values())
    matched = [
        match_resolution(
            image,
            spacing_mm=SUBJECT_GRID.spacing_mm,
            plane_normal=tuple(scene.entries[contrast]["plane_normal"]),
            thickness_mm=thickness_mm[contrast],
            target_thickness_mm=coarser_mm,
        )
        for contrast, image in ((POSTCONTRAST, post), ("T1w", pre))
    ]
    return matched[0], matched[1]


def _black_holes(
    scene: Scene,
    parts: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
    arrays: dict[str, np.ndarray],
) -> dict[str, Any]:
    if not parts["t2"]["evaluable"]:
        return {"evaluable": False, "reason": parts["t2"]["reason"]}
    entry = scene.entries.get("T1w")
    if entry is None:
        return {"evaluable": False, "reason": str(Reason.MISSING_SCAN)}
    if entry["covered_fraction"] < settings["quality"]["min_covered_fraction"]:
        return {"evaluable": False, "reason": str(Reason.INCOMPLETE_COVERAGE)}
    if not parts["gel"]["evaluable"]:
        # An enhancing lesion is no black hole, and without a post-contrast scan nobody can tell.
        return {"evaluable": False, "reason": parts["gel"]["reason"]}
    holes = segment_black_holes(
        scene.images["T1w"],
        t2_mask=arrays["t2"],
        gel_mask=arrays["gel"] > 0,
        nawm=scene.nawm("T1w"),
        csf=scene.brain_mask & (scene.priors["lateral_ventricles"] > _SURE_VENTRICLE),
        **settings["focus"],
        **scene.geometry("T1w"),
    )
    arrays["black_hole"] = holes
    volume_mm3 = float(holes.sum()) * SUBJECT_GRID.voxel_volume_mm3
    return {"evaluable": True, "reason": None, "volume_mm3": round(volume_mm3, 1)}
