"""Real scans prepared for the T2 benchmarks, and stable pairs made from them.

The open_ms patients are brought to a 1 mm grid aligned to MNI152 (rigid for the raw visits of 01 and 12, as
they are for 07 and 26), bias-corrected (N4) and scaled so that normal-appearing white matter (NAWM) is 1.
"""

from __future__ import annotations

import os

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from mesems_mri.core.components import label_components
from mesems_mri.core.intensity import Contrast, find_nawm, scale_to_nawm
from mesems_mri.core.matching import match_resolution
from mesems_mri.models.atlas import load_atlas

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Spacing = tuple[float, float, float]

SPACING_MM: Spacing = (1.0, 1.0, 1.0)
CROSS_SECTIONAL = ("07", "26")
LONGITUDINAL = ("01", "12")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass
class Scan:
    """One contrast of one visit on the subject grid, NAWM median 1."""

    image: FloatArray
    nawm: BoolArray
    thickness_mm: float
    plane_normal: Spacing


@dataclass
class Case:
    """One patient, cropped to the brain."""

    name: str
    brain: BoolArray
    priors: dict[str, FloatArray]
    scans: dict[str, Scan] = field(default_factory=dict)
    lesions: BoolArray | None = None
    change: NDArray[np.int32] | None = None
    change_class: dict[int, str] = field(default_factory=dict)

    def changed(self, *classes: str) -> BoolArray:
        """Voxels of the components of the change mask that belong to one of the classes."""
        assert self.change is not None
        return np.isin(self.change, [k for k, name in self.change_class.items() if name in classes])


def load_case(name: str, real_data: Path, cache: Path) -> Case:
    """Prepare a patient, or read it from the cache (minutes the first time)."""
    path = cache / f"t2_{name}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        arrays = (_prepare_cross_sectional if name in CROSS_SECTIONAL else _prepare_longitudinal)(
            name, real_data
        )
        np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    stored = dict(np.load(path))
    brain = stored["brain"].astype(bool)
    box = tuple(
        slice(max(s.start - 3, 0), s.stop + 3) for s in ndimage.find_objects(brain.astype(np.uint8))[0]
    )
    atlas = load_atlas()
    to_atlas = np.linalg.inv(atlas.affine) @ stored["to_mni"]
    priors = {
        key: ndimage.affine_transform(
            p, to_atlas[:3, :3], to_atlas[:3, 3], output_shape=brain.shape, order=1
        )[box]
        for key, p in atlas.probability.items()
        if key not in ("soft_tissue", "skull", "eyes")
    }
    case = Case(name, brain[box], priors)
    for key in [k for k in stored if k.startswith("scan_")]:
        contrast: Contrast = key.split("_")[1]  # pyright: ignore[reportAssignmentType]
        image = stored[key][box]
        nawm = find_nawm(image, brain_mask=case.brain, white_matter=priors["white_matter"], contrast=contrast)
        geometry = stored[f"geometry_{key}"]
        case.scans[key.removeprefix("scan_")] = Scan(
            scale_to_nawm(image, nawm)[0], nawm, float(geometry[0]), tuple(geometry[1:].tolist())
        )
    if "lesions" in stored:
        case.lesions = stored["lesions"][box] > 0
    if "change" in stored:
        case.change = stored["change"][box].astype(np.int32)
        case.change_class = _read_classes(name)
    return case


def _read_classes(name: str) -> dict[int, str]:
    table = Path(__file__).parents[1] / "tests" / "real" / "change_sign.tsv"
    with table.open(encoding="utf-8") as lines:
        return {
            int(row["component"]): row["class"]
            for row in csv.DictReader(lines, delimiter="\t")
            if row["patient"] == name
        }


def _template():
    import ants
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=1)
    origin = template.affine[:3, 3]
    return ants.from_numpy(
        np.asarray(template.get_fdata(), np.float32),
        origin=[-float(origin[0]), -float(origin[1]), float(origin[2])],
        direction=np.diag([-1.0, -1.0, 1.0]),
    ), np.asarray(template.affine)


def _affine_to_template(template, moving) -> NDArray[np.float64]:
    """Matrix template mm -> moving mm, both LPS."""
    import ants

    found = ants.registration(fixed=template, moving=moving, type_of_transform="Affine", random_seed=1)
    transform = ants.read_transform(found["fwdtransforms"][0])
    parameters, centre = np.asarray(transform.parameters), np.asarray(transform.fixed_parameters)
    matrix = np.eye(4)
    matrix[:3, :3] = parameters[:9].reshape(3, 3)
    matrix[:3, 3] = parameters[9:] + centre - matrix[:3, :3] @ centre
    return matrix


def _prepare_cross_sectional(name: str, real_data: Path) -> dict[str, NDArray]:
    import ants

    folder = real_data / "open_ms" / "cross_sectional" / f"patient{name}"
    template, affine = _template()
    images = {
        key: ants.resample_image_to_target(
            ants.image_read(str(folder / f"{stem}_space-MNI.nii.gz")),
            template,
            interp_type="nearestNeighbor" if key == "lesions" else "linear",
        )
        for key, stem in {"FLAIR": "FLAIR", "T1w": "T1", "T2w": "T2", "lesions": "gt"}.items()
    }
    brain = (images["FLAIR"].numpy() > 0) & (images["T1w"].numpy() > 0)
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(brain))
    # These scans are in an older, smaller MNI space than the atlas.
    to_mni = np.linalg.inv(_LPS_TO_RAS @ _affine_to_template(template, images["T1w"]) @ _LPS_TO_RAS)
    arrays = {"brain": brain, "lesions": images["lesions"].numpy() > 0.5, "to_mni": to_mni @ affine}
    for contrast in ("FLAIR", "T1w", "T2w"):
        arrays[f"scan_{contrast}"] = images[contrast].numpy()
        arrays[f"geometry_scan_{contrast}"] = np.array([1.0, 0.0, 0.0, 1.0])
    return arrays


def _prepare_longitudinal(name: str, real_data: Path) -> dict[str, NDArray]:
    import ants

    folder = real_data / "open_ms" / "longitudinal" / f"patient{name}"
    template, affine = _template()
    common = ants.image_read(str(folder / "brainmask.nii.gz"))

    def chain(visit: int, stem: str) -> list[str]:
        first = [str(folder / f"study{visit}_FLAIR_to_common_space.txt")]
        return (
            first
            if stem == "FLAIR"
            else [*first, str(folder / f"study{visit}_{stem}_intrastudy_to_FLAIR.txt")]
        )

    def carry(image, transforms: list[str], grid, interpolator: str = "linear"):
        # Said explicitly: antspy inverts the first of two transforms by itself when their suffixes differ.
        return ants.apply_transforms(
            grid, image, transforms, interpolator=interpolator, whichtoinvert=[False] * len(transforms)
        )

    def correct(image, mask):
        return ants.n4_bias_field_correction(
            image, mask=mask, shrink_factor=4, convergence={"iters": [50, 50, 30], "tol": 1e-6}
        )

    t1w = carry(ants.image_read(str(folder / "study2_T1W.nii.gz")), chain(2, "T1W"), common) * common
    to_common = _affine_to_template(template, correct(t1w, common))
    u, _, vt = np.linalg.svd(to_common[:3, :3])
    rigid = np.eye(4)
    rigid[:3, :3] = u @ vt
    centre = np.array([0.0, 18.0, 10.0])
    rigid[:3, 3] = to_common[:3, :3] @ centre + to_common[:3, 3] - rigid[:3, :3] @ centre
    rigid_file = str(folder_of_transforms() / f"rigid_{name}.mat")
    ants.write_transform(
        ants.create_ants_transform(
            transform_type="AffineTransform",
            dimension=3,
            matrix=rigid[:3, :3],
            translation=rigid[:3, 3],
            center=np.zeros(3),
        ),
        rigid_file,
    )
    brain = carry(common, [rigid_file], template).numpy() > 0.5
    flairs = {}
    for visit in (1, 2):
        flairs[visit] = ants.image_read(str(folder / f"study{visit}_FLAIR.nii.gz"))
        covered = carry(flairs[visit] * 0 + 1, [rigid_file, *chain(visit, "FLAIR")], template)
        brain &= covered.numpy() > 0.99
    mask = template.new_image_like(brain.astype(np.float32))
    to_mni = _LPS_TO_RAS @ np.linalg.inv(to_common) @ rigid @ _LPS_TO_RAS
    arrays: dict[str, NDArray] = {"brain": brain, "to_mni": to_mni @ affine}
    for visit in (1, 2):
        for contrast, stem in {"FLAIR": "FLAIR", "T1w": "T1W", "T2w": "T2W"}.items():
            raw = ants.image_read(str(folder / f"study{visit}_{stem}.nii.gz"))
            moved = carry(raw, [rigid_file, *chain(visit, stem)], template)
            arrays[f"scan_{contrast}_{visit}"] = correct(moved, mask).numpy().astype(np.float32)
            first = np.asarray(ants.read_transform(chain(visit, "FLAIR")[0]).parameters)[:9].reshape(3, 3)
            normal = np.linalg.inv(first @ rigid[:3, :3]) @ raw.direction[:, 2] * np.array([-1.0, -1.0, 1.0])
            arrays[f"geometry_scan_{contrast}_{visit}"] = np.array(
                [raw.spacing[2], *(normal / np.linalg.norm(normal))]
            )
    changed = ants.image_read(str(folder / "gt.nii.gz"))
    components, _ = label_components(changed.numpy() > 0.5)
    numbered = changed.new_image_like(components.astype(np.float32))
    arrays["change"] = carry(numbered, [rigid_file], template, "nearestNeighbor").numpy().astype(np.int32)
    return arrays


def folder_of_transforms() -> Path:
    """Folder for the transforms that ants wants to read from files."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix="t2_cases_"))


def rescan(
    scan: Scan,
    *,
    thickness_mm: float,
    seed: int,
    noise: float = 0.012,
    bias: float = 0.04,
    residual_mm: float = 0.25,
) -> Scan:
    """Scan the same head again: moved, other slices, new noise, new bias, registered back.

    The head is turned by up to 4 degrees and moved by up to 4 mm, sampled in slices of ``thickness_mm``,
    multiplied by a smooth field, given noise (in units of NAWM), and carried back by the known transform with
    a registration error of ``residual_mm``.
    """
    rng = np.random.default_rng(seed)
    image = match_resolution(
        scan.image,
        spacing_mm=SPACING_MM,
        plane_normal=(0.0, 0.0, 1.0),
        thickness_mm=scan.thickness_mm,
        target_thickness_mm=thickness_mm,
    )
    centre = (np.array(image.shape) - 1) / 2.0
    turn = Rotation.from_euler("xyz", rng.uniform(-4, 4, 3), degrees=True).as_matrix()
    shift = rng.uniform(-4, 4, 3)
    step = np.array([0.9, 0.9, thickness_mm])
    shape = np.ceil((np.array(image.shape) + 12) / step).astype(int)
    middle = (shape - 1) / 2.0
    # native index i -> subject: turn @ (step * (i - middle)) + shift + centre
    to_subject = turn @ np.diag(step)
    native = ndimage.affine_transform(
        image, to_subject, centre + shift - to_subject @ middle, output_shape=tuple(shape), order=3
    )
    coarse = rng.normal(0.0, 1.0, (3, 3, 3))
    fielded = ndimage.zoom(coarse, shape / 3.0, order=3)[: shape[0], : shape[1], : shape[2]]
    native = np.abs(native * np.exp(bias * fielded) + rng.normal(0.0, noise, native.shape))
    error = rng.normal(0.0, 1.0, 3)
    error *= residual_mm / np.linalg.norm(error)
    back = np.linalg.inv(to_subject)
    again = ndimage.affine_transform(
        native.astype(np.float32),
        back,
        middle - back @ (centre + shift + error),
        output_shape=image.shape,
        order=1,
    )
    level = np.median(again[scan.nawm])
    normal = turn[:, 2]
    return Scan((again / level).astype(np.float32), scan.nawm, thickness_mm, tuple(normal.tolist()))


def implant(scan: Scan, case: Case, *, n: int, seed: int, avoid: BoolArray) -> tuple[Scan, BoolArray]:
    """Add lesions of 3 to 10 mm and 15 to 50 % contrast in white matter, blurred like the scan's slices."""
    rng = np.random.default_rng(seed)
    free = case.brain & (case.priors["white_matter"] > 0.9)
    free &= ndimage.distance_transform_edt(~avoid) > 8.0
    added = np.zeros(scan.image.shape, np.float32)
    truth = np.zeros(scan.image.shape, bool)
    for _ in range(n):
        places = np.argwhere(free)
        if not len(places):
            break
        centre = places[rng.integers(len(places))]
        radii = rng.uniform(1.5, 5.0) * rng.uniform(0.8, 1.2, 3)
        grid = np.indices(scan.image.shape, dtype=np.float32) - centre.reshape(3, 1, 1, 1)
        power = rng.uniform(1.6, 3.0)
        inside = sum(np.abs(g / r) ** power for g, r in zip(grid, radii, strict=True)) <= 1.0
        truth |= inside
        added += inside * np.float32(rng.uniform(0.15, 0.5))
        free &= np.sqrt((grid**2).sum(axis=0)) > 12.0
    blurred = ndimage.gaussian_filter(added, 0.5)
    blurred = match_resolution(
        blurred,
        spacing_mm=SPACING_MM,
        plane_normal=scan.plane_normal,
        thickness_mm=1.0,
        target_thickness_mm=max(scan.thickness_mm, 1.0),
    )
    return Scan(scan.image + blurred, scan.nawm, scan.thickness_mm, scan.plane_normal), truth
