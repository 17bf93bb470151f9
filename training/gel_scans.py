"""The scans that the classifier of enhancing lesions is trained on, and its folds.

Three patients have T1w before and after contrast; no other public patient here has. To them come two patients
who were scanned twice without contrast, and five of whom the same T1w is read twice, all in thick slices with
the skull on: nothing enhances between their T1w until normal enhancement is drawn in (`gel_lookalikes`).
Needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.core.distance import bounding_box
from mesems_mri.core.intensity import find_nawm, scale_to_nawm
from mesems_mri.core.matching import differential_bias, match_resolution
from mesems_mri.core.typing import FloatArray, Mask
from mesems_mri.images import nifti
from mesems_mri.images.anatomy import segment_anatomy
from mesems_mri.images.mni_alignment import align_to_mni
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.tissue import tissue_maps
from mesems_mri.images.volume import Grid, Volume
from training.gel_lesions import Pair

ENHANCED = ("patient07", "patient26", "TCGA-DU-7294")
"""With T1w before and after contrast; sensitivity is measured on them, each left out of one fold."""
SCANNED_TWICE = ("sub-01", "sub-12")
"""Without contrast, two visits."""
READ_TWICE = ("ms3seg01", "ms3seg02", "ms3seg03", "ms3seg04", "ms3seg05")
"""Without contrast, one visit: its T1w is taken twice."""
PATIENTS = (*ENHANCED, *SCANNED_TWICE, *READ_TWICE)
FOLDS: dict[str, tuple[str, ...]] = {
    "a": ("patient07", "ms3seg01", "ms3seg02"),
    "b": ("patient26", "ms3seg03"),
    "c": ("TCGA-DU-7294", "ms3seg04", "ms3seg05"),
}
"""Patients that each fold leaves out. Those scanned twice are in every fold, and in no benchmark."""
_FLAT_MM = 25.0
_MARGIN = 4


def real_data() -> Path:
    """Folder of the real scans."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("MESEMS_REAL_DATA", beside))


def scan_files(patient: str) -> dict[str, Path]:
    """Return the scans of a patient by contrast; besides, only `transform_files` are used."""
    if patient in SCANNED_TWICE:
        folder = real_data() / "open_ms" / "longitudinal" / patient.replace("sub-", "patient")
        names = {"pre": "study1_T1W", "post": "study2_T1W", "FLAIR": "study1_FLAIR", "T2w": "study1_T2W"}
    elif patient in READ_TWICE:
        folder = real_data() / "ms3seg" / patient.replace("ms3seg", "patient")
        names = {"pre": "T1w", "post": "T1w", "FLAIR": "FLAIR", "T2w": "T2w"}
    elif patient.startswith("TCGA"):
        folder, stem = real_data() / "tcga" / patient, f"{patient}_hdbet_native_"
        names = {"pre": f"{stem}t1", "post": f"{stem}t1c", "FLAIR": f"{stem}fla", "T2w": f"{stem}t2"}
    else:
        folder = real_data() / "open_ms" / "cross_sectional" / patient
        names = {
            c: f"{n}_space-MNI"
            for c, n in (("pre", "T1"), ("post", "T1POST"), ("FLAIR", "FLAIR"), ("T2w", "T2"))
        }
    return {c: folder / f"{name}.nii.gz" for c, name in names.items()}


def transform_files(patient: str) -> dict[str, tuple[tuple[Path, bool], ...]]:
    """Return the files that lead from the FLAIR to an image that lies elsewhere, in order; True: inverse."""
    if patient not in SCANNED_TWICE:
        return {}
    folder = scan_files(patient)["FLAIR"].parent
    own, other = (folder / f"study{n}_FLAIR_to_common_space.txt" for n in (1, 2))
    return {
        "pre": ((folder / "study1_T1W_intrastudy_to_FLAIR.txt", False),),
        "T2w": ((folder / "study1_T2W_intrastudy_to_FLAIR.txt", False),),
        "post": ((own, True), (other, False), (folder / "study2_T1W_intrastudy_to_FLAIR.txt", False)),
    }


def patient_files(patients: Iterable[str]) -> list[Path]:
    """List every file that is read of some patients."""
    files = set[Path]()
    for patient in patients:
        files |= set(scan_files(patient).values())
        files |= {path for steps in transform_files(patient).values() for path, _ in steps}
    return sorted(files)


def networks() -> dict[str, tuple[str, ...]]:
    """Return the patients that each network leaves out; ``gel`` is that of the package."""
    return {f"gel_fold_{name}": patients for name, patients in FOLDS.items()} | {"gel": ()}


def training_patients(network: str) -> tuple[str, ...]:
    """Return the patients that a network is trained on."""
    return tuple(p for p in PATIENTS if p not in networks()[network])


def fold_of(patient: str) -> str:
    """Return the network that has not seen a patient."""
    return next(name for name, left_out in networks().items() if patient in left_out)


def load_pair(patient: str, cache: Path) -> Pair:
    """Read a patient at 1 mm, both T1w at the resolution of the coarser, scaled to NAWM; kept in a cache."""
    path = cache / f"{patient}.npz"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        pair = _prepare(patient)
        parts = {"post": pair.post, "pre": pair.pre, **pair.t2_images}
        arrays = {name: image.astype(np.float32) for name, image in parts.items()}
        arrays |= {f"prior_{name}": np.rint(255 * p).astype(np.uint8) for name, p in pair.priors.items()}
        beside = path.with_suffix(".tmp.npz")
        np.savez(beside, brain_mask=pair.brain_mask, nawm=pair.nawm, thickness=pair.thickness_mm, **arrays)
        beside.rename(path)
    with np.load(path) as archive:
        priors = {
            name.removeprefix("prior_"): archive[name].astype(np.float32) / np.float32(255)
            for name in archive.files
            if name.startswith("prior_")
        }
        return Pair(
            patient,
            archive["post"],
            archive["pre"],
            {c: archive[c] for c in ("FLAIR", "T2w")},
            archive["brain_mask"],
            archive["nawm"],
            priors,
            float(archive["thickness"]),
        )


def _prepare(patient: str) -> Pair:
    volumes = {c: nifti.read_image(path)[0] for c, path in scan_files(patient).items()}
    steps = transform_files(patient)
    xfms = {c: _compose(steps.get(c, ())) for c in volumes}
    flair = volumes["FLAIR"]
    anatomy = segment_anatomy(flair)
    in_mni = patient in ("patient07", "patient26")
    to_mni = np.eye(4) if in_mni else align_to_mni(anatomy).to_mni
    grid = _grid_about(flair, anatomy.mask)
    images = {c: resample_image(volume, grid, xfms[c]) for c, volume in volumes.items()}
    mask = resample_image(Volume(anatomy.mask.astype(np.float32), flair.affine), grid, np.eye(4)) > 0.5
    seen = np.logical_and.reduce([images[c] > 0 for c in ("pre", "post", "FLAIR")])
    mask &= ndimage.binary_opening(ndimage.binary_fill_holes(seen), iterations=2)
    priors = tissue_maps(anatomy, to_mni, grid)
    thickness = {c: float(max(volume.spacing_mm)) for c, volume in volumes.items()}
    coarser = max(thickness["pre"], thickness["post"])
    normal = (0.0, 0.0, 1.0)
    for c in ("pre", "post"):
        images[c] = match_resolution(
            images[c],
            spacing_mm=(1.0, 1.0, 1.0),
            plane_normal=normal,
            thickness_mm=thickness[c],
            target_thickness_mm=coarser,
        )
    raw = patient not in ENHANCED
    flat = {c: _flat(image, mask, priors["white_matter"]) if raw else image for c, image in images.items()}
    white = {"brain_mask": mask, "white_matter": priors["white_matter"]}
    nawm = find_nawm(flat["pre"], contrast="T1w", **white) & find_nawm(
        flat["FLAIR"], contrast="FLAIR", **white
    )
    scaled = {c: (scale_to_nawm(image, nawm)[0] * mask).astype(np.float32) for c, image in flat.items()}
    return Pair(patient, scaled.pop("post"), scaled.pop("pre"), scaled, mask, nawm, priors, coarser)


def _flat(image: FloatArray, mask: Mask, white_matter: FloatArray) -> FloatArray:
    """Remove the slow change of white matter, as the bias correction of the package does at more cost."""
    white = mask & (white_matter > 0.8) & (image > 0)
    level = image / np.float32(np.median(image[white]))
    return level * differential_bias(level, np.ones_like(level), white, (1.0, 1.0, 1.0), _FLAT_MM)


def _compose(steps: Iterable[tuple[Path, bool]]) -> NDArray[np.float64]:
    """Return the RAS mm matrix of the steps, applied in order."""
    matrix = np.eye(4)
    for path, inverse in steps:
        own = _read_affine(path)
        matrix = (np.linalg.inv(own) if inverse else own) @ matrix
    return matrix


def _read_affine(path: Path) -> NDArray[np.float64]:
    """Read an affine transform of ITK (text; LPS mm) as a RAS mm matrix."""
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    numbers = np.array(lines["Parameters"].split(), float)
    centre = np.array(lines["FixedParameters"].split(), float)
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:] + centre - matrix[:3, :3] @ centre
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    return turn @ matrix @ turn


def _grid_about(volume: Volume, mask: Mask) -> Grid:
    """Return a grid of 1 mm about the brain, along the axes of the scanner, to the right, front and top."""
    scan = nib.as_closest_canonical(nib.Nifti1Image(mask.astype(np.uint8), volume.affine))
    affine, spacing = np.asarray(scan.affine), np.array(scan.header.get_zooms()[:3], float)
    box = bounding_box(np.asarray(scan.dataobj) > 0, margin=0)
    low = np.array([s.start for s in box]) - 0.5 - _MARGIN / spacing
    extent = np.array([s.stop - s.start for s in box]) * spacing + 2 * _MARGIN
    own = np.eye(4)
    own[:3, :3] = affine[:3, :3] / spacing
    own[:3, 3] = affine[:3, :3] @ low + affine[:3, 3] + own[:3, :3] @ np.full(3, 0.5)
    x, y, z = (int(np.ceil(length)) for length in extent)
    return Grid((x, y, z), own)
