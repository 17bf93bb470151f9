"""Bring every image of a visit into the participant's space, resampled once."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mesems_mri.core.intensity import find_nawm, scale_to_nawm
from mesems_mri.dataset.bids import preproc_name, xfm_name
from mesems_mri.errors import Reason
from mesems_mri.files import write_json
from mesems_mri.images import nifti
from mesems_mri.images.brain import rigid_part
from mesems_mri.images.registration import register_rigid
from mesems_mri.images.resampling import field_of_view, resample_image
from mesems_mri.images.same_head import compare_heads
from mesems_mri.images.volume import SUBJECT_GRID, Volume
from mesems_mri.models.atlas import load_atlas
from mesems_mri.pipeline.visit import VisitFiles, log, not_evaluable, passed_on, usable, write_arrays
from mesems_mri.provenance import software_versions

BOX_MARGIN_MM = 6
"""Space kept around the brain when arrays are cropped."""


def register_visit(
    visit: VisitFiles, carried: Mapping[str, Any], *, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Register the images of a visit to each other and to the participant's anchor visit.

    The anchor is the first visit with a usable image; its space, rigidly aligned to MNI152, is the space of
    all visits. Every image is resampled exactly once, through the composed transform.

    Parameters
    ----------
    visit : VisitFiles
        The visit, already standardised.
    carried : mapping
        What the previous visit carried on: the anchor, once there is one.
    settings : mapping
        ``quality.min_covered_fraction`` of the configuration.

    Returns
    -------
    dict
        The record; preprocessed images, brain mask and transforms are written as products.
    """
    standardised = visit.read_record("standardise")
    if not usable(standardised):
        return passed_on(standardised, carried=dict(carried))
    reference = standardised["reference"]
    fixed, fixed_mask = _load(visit, standardised["images"][reference]["file"], standardised["brain_mask"])

    covered = standardised["covered_fraction"]
    too_little: dict[str, Any] = {}
    if covered < settings["quality"]["min_covered_fraction"]:
        what = f"{visit.name} {reference}: shows {covered:.0%} of the brain"
        too_little = not_evaluable(Reason.INCOMPLETE_COVERAGE, f"{what}; repeat it with full coverage")
    if too_little and not carried.get("anchor"):
        return too_little | {"carried": {}}  # half a brain cannot fix the participant's space

    if carried.get("anchor"):
        anchor = carried["anchor"]
        outcome = _align_to_anchor(visit, anchor, reference, fixed, fixed_mask)
        if outcome["reason"] and too_little:
            # So little of the brain cannot be told from another one; do not accuse the site of a mix-up.
            outcome |= too_little
        if outcome["reason"]:
            return outcome | {"carried": dict(carried)}
        subject_to_reference = np.asarray(outcome["matrix"]) @ np.asarray(anchor["subject_to_anchor"])
        alignment = outcome["alignment"]
    else:
        anchor = _become_anchor(visit, standardised, fixed_mask, fixed)
        carried = {"anchor": anchor}
        subject_to_reference = np.asarray(anchor["subject_to_anchor"])
        alignment = {"anchor": True}

    mask = resample_image(
        Volume(fixed_mask.astype(np.float32), fixed.affine),
        SUBJECT_GRID,
        subject_to_reference,
        order=1,
    )
    mask = mask > 0.5
    mask_path = visit.product("space-subject_desc-brain_mask.nii.gz")
    nifti.write_labels(mask_path, mask, SUBJECT_GRID.affine)
    write_json(
        mask_path.with_name(mask_path.name.replace(".nii.gz", ".json")),
        _sidecar([standardised["images"][reference]["source"]], Type="Brain"),
    )
    box, priors = load_priors(visit, anchor)
    images = {}
    for contrast, entry in standardised["images"].items():
        images[contrast] = (
            _bring(visit, contrast, entry, reference, fixed, fixed_mask, subject_to_reference)
            if entry["evaluable"]
            else {key: entry[key] for key in ("evaluable", "reason", "message", "source")}
        )
        if images[contrast]["evaluable"]:
            images[contrast] |= _write_preproc(
                visit, contrast, entry, images[contrast]["subject_to_image"], mask, box, priors
            )
            if contrast == reference:  # slices without an image inside the field of view count as not seen
                seen = images[contrast]["covered_fraction"]
                images[contrast]["covered_fraction"] = min(seen, standardised["covered_fraction"])
    return {
        "status": "done",
        "reason": None,
        "message": "",
        "reference": reference,
        "brain_mask": visit.relative(mask_path),
        "alignment": alignment,
        "images": images,
        "carried": dict(carried),
    }


def load_priors(
    visit: VisitFiles, anchor: Mapping[str, Any]
) -> tuple[tuple[slice, ...], dict[str, np.ndarray]]:
    """Load the atlas in subject space, cropped to the brain.

    Parameters
    ----------
    visit : VisitFiles
        Any visit of the participant.
    anchor : mapping
        The anchor, as carried by the records.

    Returns
    -------
    box : tuple of slice
        The part of the subject grid that holds the brain.
    priors : dict of str to (X, Y, Z) float32
        Probability in 0-1 of each class, in the box.
    """
    with np.load(visit.resolve(anchor["priors"])) as archive:
        start, stop = archive["box"]
        priors = {
            name: archive[name].astype(np.float32) / np.float32(255)
            for name in archive.files
            if name != "box"
        }
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True)), priors


def _load(visit: VisitFiles, image: str, mask: str) -> tuple[Volume, np.ndarray]:
    volume, _ = nifti.read_image(visit.resolve(image))
    labels, _ = nifti.read_labels(visit.resolve(mask))
    return volume, labels > 0


def _become_anchor(
    visit: VisitFiles, standardised: Mapping[str, Any], mask: np.ndarray, volume: Volume
) -> dict[str, Any]:
    to_mni = np.asarray(standardised["to_mni"], np.float64)
    subject_to_anchor = np.linalg.inv(rigid_part(to_mni)).astype(np.float64)
    subject_to_mni = (to_mni @ subject_to_anchor).astype(np.float64)
    atlas = load_atlas()
    in_subject = {
        name: resample_image(Volume(probability, atlas.affine), SUBJECT_GRID, subject_to_mni, order=1)
        for name, probability in atlas.probability.items()
    }
    own_brain = resample_image(
        Volume(mask.astype(np.float32), volume.affine), SUBJECT_GRID, subject_to_anchor, order=1
    )
    inside = np.argwhere((in_subject["brain"] > 0.1) | (own_brain > 0.5))
    start = np.maximum(inside.min(axis=0) - BOX_MARGIN_MM, 0)
    stop = np.minimum(inside.max(axis=0) + 1 + BOX_MARGIN_MM, SUBJECT_GRID.shape)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    classes = {name: np.rint(prior[box] * 255).astype(np.uint8) for name, prior in in_subject.items()}
    path = visit.work("priors.npz")
    write_arrays(path, {"box": np.stack([start, stop]), **classes}, compress=False)
    reference = standardised["reference"]
    return {
        "session_id": visit.session_id,
        "contrast": reference,
        "source": standardised["images"][reference]["source"],
        "file": standardised["images"][reference]["file"],
        "brain_mask": standardised["brain_mask"],
        "subject_to_anchor": np.round(subject_to_anchor, 9).tolist(),
        "subject_to_mni": np.round(subject_to_mni, 9).tolist(),
        "priors": visit.relative(path),
    }


def _align_to_anchor(
    visit: VisitFiles, anchor: Mapping[str, Any], reference: str, moving: Volume, moving_mask: np.ndarray
) -> dict[str, Any]:
    fixed, fixed_mask = _load(visit, anchor["file"], anchor["brain_mask"])
    registration = register_rigid(fixed, moving, fixed_mask=fixed_mask, moving_mask=moving_mask)
    kinds = {contrast.removeprefix("ce-gadolinium_") for contrast in (anchor["contrast"], reference)}
    heads = compare_heads(
        fixed, moving, registration.matrix, fixed_mask, moving_mask, same_contrast=len(kinds) == 1
    )
    alignment = _summary(registration) | {"head_score": round(float(heads.score), 4)}
    where = f"{visit.name} {reference}"
    if not heads.same_head:
        message = (
            f"{where}: does not look like the head of {anchor['session_id']} (score {heads.score:.3f}); "
            "check whose scan this is"
        )
        log.warning("%s", message)
        return not_evaluable(Reason.WRONG_HEAD, message, alignment=alignment)
    if not registration.ok:
        message = f"{where}: could not be registered to {anchor['session_id']}; look at both images"
        log.warning("%s", message)
        return not_evaluable(Reason.REGISTRATION_FAILED, message, alignment=alignment)
    return {"reason": None, "matrix": registration.matrix, "alignment": alignment}


def _summary(registration: Any) -> dict[str, Any]:
    return {
        "similarity": round(float(registration.similarity), 5),
        "similarity_left_alone": round(float(registration.similarity_before), 5),
        "inverse_consistency_mm": round(float(registration.inverse_consistency_mm), 4),
        "flags": sorted(registration.flags),
    }


def _bring(
    visit: VisitFiles,
    contrast: str,
    entry: Mapping[str, Any],
    reference: str,
    fixed: Volume,
    fixed_mask: np.ndarray,
    subject_to_reference: np.ndarray,
) -> dict[str, Any]:
    """Find the way of one contrast into subject space."""
    kept = {
        "evaluable": True,
        "reason": None,
        "message": "",
        "source": entry["source"],
        "file": entry["file"],
    }
    if contrast == reference:
        return kept | {"subject_to_image": subject_to_reference, "alignment": {"reference": True}}
    moving, _ = nifti.read_image(visit.resolve(entry["file"]))
    registration = register_rigid(fixed, moving, fixed_mask=fixed_mask, moving_mask=None)
    if not registration.ok:
        message = f"{visit.name} {contrast}: could not be registered to the {reference}; look at both images"
        log.warning("%s", message)
        refused = {"evaluable": False, "reason": str(Reason.REGISTRATION_FAILED), "message": message}
        return kept | refused | {"alignment": _summary(registration)}
    return kept | {
        "subject_to_image": registration.matrix @ subject_to_reference,
        "alignment": _summary(registration),
    }


def _write_preproc(
    visit: VisitFiles,
    contrast: str,
    entry: Mapping[str, Any],
    subject_to_image: np.ndarray,
    mask: np.ndarray,
    box: tuple[slice, ...],
    priors: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Resample, scale to NAWM and write one image with its transform; say how much of the brain it shows."""
    volume, _ = nifti.read_image(visit.resolve(entry["file"]))
    image = resample_image(volume, SUBJECT_GRID, subject_to_image)
    seen = field_of_view(volume, SUBJECT_GRID, subject_to_image)
    covered = covered_fraction(seen[box], priors["brain"])
    suffix = contrast.removeprefix("ce-gadolinium_")
    nawm = find_nawm(
        image[box],
        brain_mask=(mask & seen)[box],
        white_matter=priors["white_matter"],
        contrast=suffix,  # pyright: ignore[reportArgumentType]
    )
    _, median = scale_to_nawm(image[box], nawm)
    scaled = image / np.float32(median)
    path = visit.product(preproc_name(contrast))
    nifti.write_image(path, scaled, SUBJECT_GRID.affine)
    xfm = visit.product(xfm_name(contrast))
    nifti.write_xfm(xfm, subject_to_image)
    write_json(
        path.with_name(path.name.replace(".nii.gz", ".json")),
        _sidecar(
            [entry["source"]],
            SkullStripped=bool(entry["skull_stripped"]),
            NAWMMedian=round(float(median), 6),
            Interpolation="see mesems_mri.images.resampling",
        ),
    )
    return {
        "subject_to_image": np.round(subject_to_image, 9).tolist(),
        "grid": {"shape": list(volume.shape), "affine": volume.affine.tolist()},
        "preproc": visit.relative(path),
        "covered_fraction": round(covered, 4),
        "nawm_median": round(float(median), 6),
        "slice_thickness_mm": entry["slice_thickness_mm"],
        "plane_normal": _normal_in_subject(volume, subject_to_image),
    }


def covered_fraction(seen: np.ndarray, brain: np.ndarray) -> float:
    """Return how much of the brain an image shows.

    Parameters
    ----------
    seen : (X, Y, Z) bool
        Where the image has voxels.
    brain : (X, Y, Z) float
        Probability of brain by the atlas on the same grid. The visit's own brain mask will not do: it ends
        where the image ends.

    Returns
    -------
    float
        0 to 1.
    """
    expected = brain > 0.5
    return float(np.count_nonzero(seen & expected) / max(np.count_nonzero(expected), 1))


def _normal_in_subject(volume: Volume, subject_to_image: np.ndarray) -> list[float]:
    """Turn the slice normal into subject space, whose array axes are its world axes."""
    normal = np.linalg.inv(subject_to_image[:3, :3]) @ volume.world_plane_normal()
    return np.round(normal / np.linalg.norm(normal), 6).tolist()


def _sidecar(sources: list[str], **more: object) -> dict[str, Any]:
    return {
        "Sources": [f"bids:raw:{source}" for source in sources],
        "SpatialReference": "rigid alignment of the participant's anchor visit to MNI152NLin2009aSym, 1 mm",
        **more,
        "Software": software_versions(),
        "Seed": 0,
    }
