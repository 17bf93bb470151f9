"""Stable pairs from real scans: one head scanned twice, and once more with lesions put in.

    python -m tests.real.stable REAL_DATA BIDS_DIR [CASE ...]

The FLAIR, T1w and T2w of every raw visit of ``open_ms`` become a participant with three visits. ``ses-1``
is the scan as it was sent. ``ses-2`` is the same head scanned again: denoised (Buades et al. 2005, non-
local means), moved by a known rigid transform of up to 8 mm and 8 degrees, sampled in slices of another
thickness, multiplied by another coil bias, and given Rician noise of its own, as strong as that of the
scan. ``ses-3`` is scanned once more, with other motion, bias and noise, and holds five implants of 70 mm3
and more. Nothing changes between the first two visits, so every new or enlarging lesion of ``ses-2`` is
false; the implants are the only change of ``ses-3``.

Where an implant may lie is read off the atlas through a plain affine alignment, not off a detector; the
denoised FLAIR decides whether the place is normal white matter.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Image
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage.restoration import denoise_nl_means

from mesems_mri.images.brain import extract_brain
from mesems_mri.images.nifti import read_image
from mesems_mri.images.volume import Volume
from tests.real.arrange import _describe, _name, _write_sessions, _write_truth, _write_tsv

Array = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]

_SUFFIXES = {"FLAIR": "FLAIR", "T1W": "T1w", "T2W": "T2w"}
_PROFILE = (np.arange(5) - 2) / 4
"""Places through a slice at which the head is sampled, in units of its thickness..."""
_PROFILE_WEIGHT = np.exp(-0.5 * (2.3548 * _PROFILE) ** 2)
"""... and their weights: a Gaussian profile whose full width at half maximum is the thickness."""


@dataclass(frozen=True)
class Case:
    """One visit of the collection, and the slices it is scanned in again.

    Parameters
    ----------
    patient, visit : str
        ``01`` and ``1`` for ``patient01/study1_*``.
    thickness_mm : float
        Slice thickness of the repeated scans.
    seed : int
        Decides motion, bias, noise and places of the implants.
    draw : str
        Appended to the name, where one visit makes several cases.
    """

    patient: str
    visit: str
    thickness_mm: float
    seed: int
    draw: str = ""

    @property
    def name(self) -> str:
        """Name of the participant without ``sub-``."""
        return f"{self.patient}v{self.visit}{self.draw}"


CASES = (
    Case("01", "1", 3.0, 11),
    Case("01", "2", 4.0, 12),
    Case("04", "1", 4.0, 13),
    Case("09", "2", 4.0, 14),
    Case("12", "1", 4.0, 15),
    Case("12", "2", 3.0, 16),
    Case("20", "2", 4.0, 17),
)
"""All raw visits with a FLAIR; one of them, 12v2, keeps its slice thickness."""
_SECOND_DIFFERENCES = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
# White matter away from its borders, in MNI mm.
_PLACES_MM = np.array(
    [
        [-25, -24, 34],
        [25, -24, 34],
        [-24, 26, 20],
        [24, 26, 20],
        [-26, -46, 32],
        [26, -46, 32],
        [-30, -8, 32],
        [30, -8, 32],
        [-20, 42, 8],
        [20, 42, 8],
        [-24, 4, 36],
        [24, 4, 36],
    ],
    dtype=float,
)
IMPLANTS = 5
MIN_IMPLANT_MM3 = 70.0


class Lesion(Protocol):
    """What can be put into a scan."""

    @property
    def centre_mm(self) -> npt.NDArray[np.float64]:
        """Its place in the scanner space of the scan it is put into."""
        ...

    def share(self, affine: Affine, shape: tuple[int, ...]) -> Array:
        """Return the share of every voxel that the lesion fills."""
        ...

    def gain(self, suffix: str) -> float:
        """Return the change of the core on ``FLAIR``, ``T2W`` or ``T1W``, as a share of what is there."""
        ...

    def record(self) -> dict[str, object]:
        """Describe the lesion for the table of the implants."""
        ...


def arrange_stable(
    real_data: Path,
    bids_dir: Path,
    cases: Iterable[Case] = CASES,
    draw: Callable[[Volume, Case], Sequence[Lesion]] | None = None,
) -> None:
    """Write the participants of the cases as raw BIDS.

    The implants are listed in ``derivatives/implants`` and drawn in ``derivatives/truth``, as truth for
    ``mesems-mri evaluate``; there the truth of ``ses-2`` is that nothing changed.

    Parameters
    ----------
    real_data : Path
        Folder with ``open_ms``.
    bids_dir : Path
        Folder to write.
    cases : iterable of Case
        Which visits.
    draw : callable, optional
        Draws the lesions of a case into its denoised FLAIR; default: the five implants of this module.
    """
    _describe(bids_dir, "open_ms visits, scanned again", "CC-BY-4.0")
    rows = []
    for case in cases:
        participant_id = f"sub-{case.name}"
        _write_sessions(bids_dir, participant_id, (0, 28, 56))
        rows.append({"participant_id": participant_id})
        if (bids_dir / "derivatives" / "implants" / f"{participant_id}.json").is_file():
            continue  # written last: an interrupted call goes on where it was
        folder = real_data / "open_ms" / "longitudinal" / f"patient{case.patient}"
        _arrange_case(folder, bids_dir, case, draw or _implants)
    _write_tsv(bids_dir / "participants.tsv", rows)


def _arrange_case(
    folder: Path, bids_dir: Path, case: Case, draw: Callable[[Volume, Case], Sequence[Lesion]]
) -> None:
    stems = [stem for stem in _SUFFIXES if (folder / f"study{case.visit}_{stem}.nii.gz").is_file()]
    flair, _ = read_image(folder / f"study{case.visit}_FLAIR.nii.gz")
    clean = {}
    for stem in stems:
        volume, _ = read_image(folder / f"study{case.visit}_{stem}.nii.gz")
        anat = bids_dir / f"sub-{case.name}" / "ses-1" / "anat"
        anat.mkdir(parents=True, exist_ok=True)
        target = anat / f"sub-{case.name}_ses-1_{_SUFFIXES[stem]}.nii.gz"
        target.unlink(missing_ok=True)
        target.symlink_to((folder / f"study{case.visit}_{stem}.nii.gz").resolve())
        clean[stem] = (*_denoise(volume.array), volume.affine)
    lesions = draw(Volume(clean["FLAIR"][0], flair.affine), case)
    records = [lesion.record() for lesion in lesions]
    implants = bids_dir / "derivatives" / "implants"
    implants.mkdir(parents=True, exist_ok=True)
    truth_dir = bids_dir / "derivatives" / "truth"
    for number, session in enumerate(("ses-2", "ses-3"), start=2):
        rng = np.random.default_rng([case.seed, number])
        centre = flair.affine[:3, :3] @ (np.array(flair.shape) / 2) + flair.affine[:3, 3]
        motion = _motion(rng, centre)
        for stem in stems:
            array, sigma, affine = clean[stem]
            if session == "ses-3":
                array = _with_implants(array, affine, stem, lesions)
            scan, grid = _scan_again(array, affine, motion, case.thickness_mm, sigma, rng)
            anat = bids_dir / f"sub-{case.name}" / session / "anat"
            _write(anat / f"sub-{case.name}_{session}_{_SUFFIXES[stem]}.nii.gz", scan, grid)
            if stem == "FLAIR":
                share = np.zeros(scan.shape, np.float32)
                for lesion in lesions if session == "ses-3" else ():
                    share = np.maximum(share, lesion.share(np.linalg.inv(motion) @ grid, scan.shape))
                visit = (f"sub-{case.name}", session)
                _write_truth(truth_dir, *visit, _name("change"), share >= 0.5, grid)
                # A small lesion between two thick slices fills half of none, and may be seen all the same.
                partial = (share > 0.1) & (share < 0.5)
                _write_truth(truth_dir, *visit, _name("ignore"), partial, grid)
        if session == "ses-3":
            for record, lesion in zip(records, lesions, strict=True):
                record["centre_ses3_mm"] = [
                    round(float(c), 2) for c in motion[:3, :3] @ lesion.centre_mm + motion[:3, 3]
                ]
    (implants / f"sub-{case.name}.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def _denoise(array: Array) -> tuple[Array, float]:
    """Remove the noise slice by slice; return the clean scan and the noise sigma."""
    top = float(np.percentile(array, 99.5))
    scaled = np.asarray(array / top, np.float32)
    middle = scaled[..., scaled.shape[2] // 2 - 4 : scaled.shape[2] // 2 + 4]
    # Immerkaer 1996: what is left of a slice by two second differences is noise; the median spares edges.
    left = ndimage.convolve(middle, _SECOND_DIFFERENCES[..., None])[middle > 0.2]
    sigma = float(1.4826 * np.median(np.abs(left)) / 6)
    clean = np.stack(
        [
            denoise_nl_means(
                scaled[..., k], patch_size=5, patch_distance=4, h=0.8 * sigma, sigma=sigma, fast_mode=True
            )
            for k in range(scaled.shape[2])
        ],
        axis=2,
    )
    return np.asarray(clean * top, np.float32), sigma * top


def _motion(rng: np.random.Generator, centre_mm: npt.NDArray[np.float64]) -> Affine:
    """Draw a rigid motion (old scanner mm -> new scanner mm): up to 8 degrees about an axis, up to 8 mm."""
    axis, shift = rng.standard_normal(3), rng.standard_normal(3)
    turn = axis / np.linalg.norm(axis) * np.deg2rad(rng.uniform(3, 8))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    matrix[:3, 3] = centre_mm - matrix[:3, :3] @ centre_mm
    matrix[:3, 3] += shift / np.linalg.norm(shift) * rng.uniform(3, 8)
    return matrix


def _scan_again(
    array: Array,
    affine: Affine,
    motion: Affine,
    thickness_mm: float,
    sigma: float,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.uint16], Affine]:
    """Scan a moved head in slices of another thickness: slice profile, coil bias, Rician noise."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    extent = np.array(array.shape) * spacing
    step = np.array([spacing[0] * 1.04, spacing[1] * 1.04, thickness_mm])
    shape = np.ceil(extent / step).astype(int)
    grid = np.eye(4)
    grid[:3, :3] = affine[:3, :3] / spacing * step
    middle = affine[:3, :3] @ ((np.array(array.shape) - 1) / 2) + affine[:3, 3]
    grid[:3, 3] = middle - grid[:3, :3] @ ((shape - 1) / 2)
    coefficients = ndimage.spline_filter(array, 3, output=np.float32)
    to_old = np.linalg.inv(affine) @ np.linalg.inv(motion) @ grid
    # The scan has the profile of its own slices; only what the new one is thicker is added.
    extra_mm = float(np.sqrt(max(thickness_mm**2 - spacing[2] ** 2, 0.0)))
    scan = np.zeros(shape, np.float32)
    for place, weight in zip(_PROFILE, _PROFILE_WEIGHT / _PROFILE_WEIGHT.sum(), strict=True):
        offset = to_old[:3, 3] + to_old[:3, 2] * (place * extra_mm / thickness_mm)
        scan += weight * ndimage.affine_transform(
            coefficients,
            to_old[:3, :3],
            offset=offset,
            output_shape=tuple(shape),
            order=3,
            prefilter=False,
            output=np.float32,
        )
        if extra_mm == 0:
            scan /= weight
            break
    index = [
        np.linspace(-1, 1, n).reshape([-1 if a == b else 1 for b in range(3)]) for a, n in enumerate(shape)
    ]
    slope, bow = rng.uniform(-0.12, 0.12, 3), rng.uniform(-0.1, 0.1, 3)
    bias = np.exp(sum(s * i + b * i**2 for s, b, i in zip(slope, bow, index, strict=True)))
    gain = rng.uniform(0.7, 1.4)
    noise = rng.normal(0.0, sigma, (2, *shape)).astype(np.float32)
    magnitude = gain * np.hypot(np.maximum(scan, 0) * bias + noise[0], noise[1])
    return np.clip(np.rint(magnitude), 0, 65535).astype(np.uint16), grid


@dataclass(frozen=True)
class _Implant:
    """A lesion to put in: a superellipsoid in scanner mm."""

    centre_mm: npt.NDArray[np.float64]
    semi_axes_mm: npt.NDArray[np.float64]
    exponent: float
    contrast: float

    def gain(self, suffix: str) -> float:
        """Return the change of the core: brighter on FLAIR and T2w, darker by less on the T1w."""
        return {"FLAIR": 1.0, "T2W": 0.9, "T1W": -0.4}[suffix] * self.contrast

    def record(self) -> dict[str, object]:
        """Return contrast and volume."""
        volume_mm3 = _volume(self.semi_axes_mm, self.exponent)
        return {"volume_mm3": round(volume_mm3, 1), "contrast": round(self.contrast, 3)}

    def share(self, affine: Affine, shape: tuple[int, ...]) -> Array:
        """Return the share of every voxel, counted at 3 x 3 x 7 points in it."""
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        reach = np.ceil((self.semi_axes_mm.max() + spacing) / spacing).astype(int)
        centre = np.rint(np.linalg.inv(affine) @ np.append(self.centre_mm, 1.0))[:3].astype(int)
        low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, shape)
        share = np.zeros(shape, np.float32)
        index = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1).astype(float)
        inside = np.zeros(index.shape[:3], np.float32)
        points = np.stack(
            np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in (3, 3, 7)), indexing="ij"), axis=-1
        ).reshape(-1, 3)
        for point in points:
            where = (index + point) @ affine[:3, :3].T + affine[:3, 3] - self.centre_mm
            inside += (np.abs(where / self.semi_axes_mm) ** self.exponent).sum(axis=-1) <= 1
        share[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = inside / len(points)
        return share


def _implants(flair: Volume, case: Case) -> list[_Implant]:
    """Choose places in normal white matter and draw the implants."""
    rng = np.random.default_rng([case.seed, 9])
    brain = extract_brain(flair)
    to_scan = np.linalg.inv(brain.to_mni)
    places = [(to_scan @ np.append(place, 1.0))[:3] for place in _PLACES_MM]
    smooth = ndimage.gaussian_filter(flair.array, 1.0 / np.asarray(flair.spacing_mm))
    levels = []
    for place in places:
        index = np.rint(np.linalg.inv(flair.affine) @ np.append(place, 1.0))[:3].astype(int)
        reach = np.ceil(5.0 / np.asarray(flair.spacing_mm)).astype(int)
        box = tuple(slice(i - r, i + r + 1) for i, r in zip(index, reach, strict=True))
        levels.append((float(np.median(smooth[box])), float(np.ptp(np.percentile(smooth[box], [2, 98])))))
    white = float(np.median([level for level, _ in levels]))
    # The most even places, with the level of white matter: no old lesion, no fluid.
    even = sorted(range(len(places)), key=lambda k: levels[k][1] + 3 * abs(levels[k][0] - white))
    lesions = []
    for k in sorted(even[:IMPLANTS]):
        volume_mm3 = float(rng.uniform(MIN_IMPLANT_MM3 + 10, 250))
        axes = np.exp(rng.normal(0, 0.15, 3))
        exponent = float(rng.uniform(1.8, 2.6))
        axes *= np.cbrt(volume_mm3 / _volume(axes, exponent))
        contrast = float(rng.uniform(0.25, 0.6))
        lesions.append(_Implant(places[k], axes, exponent, contrast))
    return lesions


def _volume(semi_axes_mm: npt.NDArray[np.float64], exponent: float) -> float:
    steps = (np.arange(64) + 0.5) / 32 - 1
    inside = sum(np.abs(g) ** exponent for g in np.meshgrid(steps, steps, steps)) <= 1
    return float(np.mean(inside) * 8 * np.prod(semi_axes_mm))


def _with_implants(array: Array, affine: Affine, stem: str, lesions: Iterable[Lesion]) -> Array:
    """Change an image inside the implants by a share of what is there."""
    changed = np.array(array)
    for lesion in lesions:
        changed *= 1 + lesion.gain(stem) * lesion.share(affine, array.shape)
    return changed


def _write(path: Path, array: npt.NDArray[np.uint16], affine: Affine) -> None:
    image = Nifti1Image(array, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)


def main(arguments: list[str]) -> None:
    """Write the stable pairs: ``REAL_DATA BIDS_DIR [CASE ...]``, a case being e.g. ``12v2``."""
    wanted = set(arguments[2:])
    cases = [case for case in CASES if not wanted or case.name in wanted]
    arrange_stable(Path(arguments[0]), Path(arguments[1]), cases)


if __name__ == "__main__":
    main(sys.argv[1:])
