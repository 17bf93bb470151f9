"""The real pairs of T1w that the classifier of enhancing lesions is trained on, and its folds.

There are three: no other public patient here has T1w before and after contrast. To them come two patients
who were scanned twice without contrast, in thick slices with the skull on: what differs between their T1w is
noise, position, slices and a year of disease, and no enhancement. Needs no torch.
"""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.core.intensity import find_nawm, scale_to_nawm
from mesems_mri.core.matching import match_resolution
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.register import RegisteredVisit
from mesems_mri.models.atlas import load_atlas
from mesems_mri.pipeline.scene import open_scene
from mesems_mri.pipeline.visit import VisitFiles
from training import gel_lesions

PATIENTS = ("patient07", "patient26", "TCGA-DU-7294")
"""With T1w before and after contrast; accuracy is measured on them, each left out of one fold."""
SCANNED_TWICE = ("sub-01", "sub-12")
"""Without contrast, `ses-1` and `ses-2`; in every fold, and in no benchmark of enhancing lesions."""


def real_data() -> Path:
    """Folder of the real scans."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("MESEMS_REAL_DATA", beside))


def scan_files(patient: str) -> dict[str, Path]:
    """Return the scans of a patient by contrast; nothing else of the patient is used."""
    if patient in SCANNED_TWICE:
        folder = real_data() / "open_ms" / "longitudinal" / patient.replace("sub-", "patient")
        names = {"pre": "study1_T1W", "post": "study2_T1W", "FLAIR": "study1_FLAIR", "T2w": "study1_T2W"}
        return {c: folder / f"{name}.nii.gz" for c, name in names.items()}
    if patient.startswith("TCGA"):
        folder, stem = real_data() / "tcga" / patient, f"{patient}_hdbet_native_"
        names = {"pre": "t1", "post": "t1c", "FLAIR": "fla", "T2w": "t2"}
        return {c: folder / f"{stem}{name}.nii.gz" for c, name in names.items()}
    folder = real_data() / "open_ms" / "cross_sectional" / patient
    names = {"pre": "T1", "post": "T1POST", "FLAIR": "FLAIR", "T2w": "T2"}
    return {c: folder / f"{name}_space-MNI.nii.gz" for c, name in names.items()}


def training_patients(without: str | None) -> tuple[str, ...]:
    """Return the patients of a fold: all but the one held out."""
    return tuple(p for p in (*PATIENTS, *SCANNED_TWICE) if p != without)


def registered_visit(visit: VisitFiles) -> RegisteredVisit:
    """Return the images of a visit in subject space.

    Raises
    ------
    ValueError
        If the run could not register it.
    """
    registered = visit.register_record().registered
    if registered is None:
        msg = f"{visit.name} was not registered; look at its record"
        raise ValueError(msg)
    return registered


def load_scanned_twice(participant_id: str, bids_dir: Path, out_dir: Path) -> gel_lesions.Pair:
    """Read the T1w of two visits as if one were before and the other after contrast.

    Parameters
    ----------
    participant_id : str
        One of `SCANNED_TWICE`.
    bids_dir, out_dir : Path
        What ``python -m tests.real.arrange`` wrote, and what ``mesems-mri run`` made of it.

    Returns
    -------
    Pair
        The second visit as post-contrast image, T2-type images of the first, in the participant's space.
    """
    layout = Layout(out_dir)
    visits = [
        VisitFiles(bids_dir=bids_dir, layout=layout, participant_id=participant_id, session_id=session_id)
        for session_id in ("ses-1", "ses-2")
    ]
    scenes = [open_scene(visit, registered_visit(visit)) for visit in visits]
    thickness = [scene.entries["T1w"].slice_thickness_mm for scene in scenes]
    pre, post = (
        match_resolution(
            scene.images["T1w"],
            spacing_mm=(1.0, 1.0, 1.0),
            plane_normal=scene.entries["T1w"].plane_normal,
            thickness_mm=own,
            target_thickness_mm=max(thickness),
        )
        for scene, own in zip(scenes, thickness, strict=True)
    )
    mask = scenes[0].brain_mask & scenes[1].brain_mask
    nawm = scenes[0].nawm("T1w") & scenes[1].nawm("T1w") & mask
    images = {"pre": pre, "post": post} | {c: scenes[0].images[c] for c in ("FLAIR", "T2w")}
    scaled = {c: scale_to_nawm(image, nawm)[0] * mask for c, image in images.items()}
    priors = scenes[0].priors
    return gel_lesions.Pair(participant_id, scaled.pop("post"), scaled.pop("pre"), scaled, mask, nawm, priors)


def load_pair(patient: str) -> gel_lesions.Pair:
    """Read a patient: 1 mm, both T1w at the resolution of the coarser, scaled to NAWM."""
    scans = {c: nib.as_closest_canonical(nib.load(path)) for c, path in scan_files(patient).items()}
    post = scans["post"]
    shape = tuple(int(np.ceil(n * s)) for n, s in zip(post.shape, post.header.get_zooms()[:3], strict=True))
    affine = np.asarray(post.affine).copy()
    affine[:3, :3] = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    images, thickness = {}, {}
    for contrast, scan in scans.items():
        to_scan = np.linalg.inv(scan.affine) @ affine
        volume = scan.get_fdata(dtype=np.float32)
        thickness[contrast] = float(max(scan.header.get_zooms()[:3]))
        images[contrast] = ndimage.affine_transform(
            volume, to_scan[:3, :3], to_scan[:3, 3], output_shape=shape, order=1
        )
    mask = ndimage.binary_fill_holes(images["post"] > 0) & (images["pre"] > 0)
    mask = ndimage.binary_opening(mask, iterations=2)
    box = tuple(slice(max(s.start - 4, 0), s.stop + 4) for s in ndimage.find_objects(mask.astype(int))[0])
    images, mask = {c: np.ascontiguousarray(image[box]) for c, image in images.items()}, mask[box]
    affine[:3, 3] = affine[:3, :3] @ [s.start for s in box] + affine[:3, 3]
    priors = _priors(mask, affine, in_mni=not patient.startswith("TCGA"))
    for contrast in ("pre", "post"):
        images[contrast] = match_resolution(
            images[contrast],
            spacing_mm=(1.0, 1.0, 1.0),
            plane_normal=(0, 0, 1),
            thickness_mm=thickness[contrast],
            target_thickness_mm=max(thickness["pre"], thickness["post"]),
        )
    white = {"brain_mask": mask, "white_matter": priors["white_matter"]}
    nawm = find_nawm(images["pre"], contrast="T1w", **white)
    nawm &= find_nawm(images["FLAIR"], contrast="FLAIR", **white)
    scaled = {c: scale_to_nawm(image, nawm)[0] * mask for c, image in images.items()}
    return gel_lesions.Pair(patient, scaled.pop("post"), scaled.pop("pre"), scaled, mask, nawm, priors)


def _priors(mask: NDArray[np.bool_], affine: NDArray, *, in_mni: bool) -> dict[str, NDArray[np.float32]]:
    """Bring the atlas to a brain: as it lies when in MNI space, else by centre and extent of the brain."""
    atlas = load_atlas()
    to_atlas = np.linalg.inv(atlas.affine)
    if not in_mni:
        points = [np.argwhere(mask), np.argwhere(np.asarray(atlas.probability["brain"]) > 0.5)]
        worlds = [nib.affines.apply_affine(a, p) for a, p in zip((affine, atlas.affine), points, strict=True)]
        scale = worlds[1].std(axis=0) / worlds[0].std(axis=0)
        to_mni = np.diag([*scale, 1.0])
        to_mni[:3, 3] = worlds[1].mean(axis=0) - scale * worlds[0].mean(axis=0)
        to_atlas = to_atlas @ to_mni
    index = to_atlas @ affine
    return {
        name: ndimage.affine_transform(
            np.asarray(p, np.float32), index[:3, :3], index[:3, 3], output_shape=mask.shape, order=1
        )
        for name, p in atlas.probability.items()
    }
