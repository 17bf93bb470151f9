"""Pairs of visits made from one real scan, with new and growing T2 lesions drawn into the second one.

Each visit is the same head scanned anew: moved by a fraction of a voxel, in slices of its own thickness,
with bias field, contrast and noise of its own. Shapes are those of real lesions (`t2_scans.read_shapes`);
contrasts reach from what nobody sees to strong. Some pairs have no lesion, and most a second contrast.
Needs no torch, and shares nothing with the benchmark's generator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from mesems_mri.core.intensity import find_nawm
from mesems_mri.core.t2.scan import Anatomy, T2Scan, VisitPair
from mesems_mri.core.typing import FloatArray
from mesems_mri.images.anatomy import CLASSES
from training.t2_scans import RatedScan, as_float

SPACING_MM = (1.0, 1.0, 1.0)
SLAB = 80
"""Slices of 1 mm that a pair shows."""
_NORMAL = (0.0, 0.0, 1.0)
_T2W = {"white_matter": 1.0, "cortex": 1.35, "deep_grey": 1.15, "cerebellum": 1.3, "brainstem": 1.05}
_FLUID_T2W = 2.6


@dataclass(frozen=True, eq=False)
class DrawnPair:
    """A pair of visits, and the lesions that are new or have grown in the second one.

    Attributes
    ----------
    pair : VisitPair
        Without the probability of the network; lesions are those of the raters and the drawn ones.
    images : tuple of dict of str to ndarray of float32
        FLAIR and T1w of the current and of the reference visit, for the network.
    truth, ignored : ndarray of bool, shape (x, y, z)
        Filled by a drawn lesion to the half; less, but not nothing.
    """

    pair: VisitPair
    images: tuple[dict[str, FloatArray], dict[str, FloatArray]]
    truth: NDArray[np.bool_]
    ignored: NDArray[np.bool_]

    def with_probability(self, now: FloatArray, then: FloatArray) -> VisitPair:
        """Return the pair with what the network says of its visits."""
        return replace(self.pair, probability=(now, then))


def draw_pair(rng: np.random.Generator, scan: RatedScan, shapes: list[NDArray[np.bool_]]) -> DrawnPair:
    """Draw a pair from a scan of 1 mm.

    Parameters
    ----------
    rng : numpy.random.Generator
    scan : RatedScan
        Holds FLAIR and T1w.
    shapes : list of ndarray of bool
        Shapes of real lesions (1 mm).
    """
    scan = _slab(rng, scan)
    tissue: dict[str, FloatArray] = dict(zip(CLASSES[1:], as_float(scan.tissue), strict=True))
    tissue["choroid_plexus"] = np.zeros(scan.brain.shape, np.float32)
    flair, t1w = (scan.images[name].astype(np.float32) for name in ("FLAIR", "T1w"))
    lesions, contrast = _draw_lesions(rng, scan, tissue["white_matter"], shapes)
    level = flair + contrast * lesions
    brighter = np.maximum(level - flair, 0.0)
    darker = rng.uniform(0.05, 0.4)
    base_mm = float(rng.choice([1.0, 3.0, 3.0, 4.0]))
    other_mm = base_mm if rng.random() < 0.5 else float(rng.choice([1.0, 3.0, 4.0]))
    then = _scan_again(rng, {"FLAIR": flair, "T1w": t1w}, scan.brain, base_mm)
    now = _scan_again(
        rng,
        {"FLAIR": flair + brighter, "T1w": np.asarray(t1w * (1.0 - darker * lesions), np.float32)},
        scan.brain,
        other_mm,
    )
    support = None
    if rng.random() < 0.7:
        t2w = np.sum([level * tissue[name] for name, level in _T2W.items()], axis=0)
        t2w = t2w + _FLUID_T2W * (tissue["csf"] + tissue["lateral_ventricles"]) + 0.3 * (flair - 1.0)
        shares = (float(rng.uniform(0.5, 1.3)), 0.0)
        scans = []
        for share in shares:
            thick_mm = float(rng.choice([1.0, 3.0, 4.0]))
            image = np.asarray(t2w + share * brighter, np.float32)
            again = _scan_again(rng, {"T2w": image}, scan.brain, thick_mm)["T2w"]
            scans.append(T2Scan(again, "T2w", thick_mm, _NORMAL))
        support = scans[0], scans[1]
    nawm = np.logical_and(
        *(
            find_nawm(
                visit["FLAIR"],
                brain_mask=scan.brain,
                white_matter=tissue["white_matter"],
                contrast="FLAIR",
            )
            for visit in (now, then)
        )
    )
    for visit in (now, then):
        for name, image in visit.items():
            visit[name] = image / np.float32(np.median(image[nawm]))
    pair = VisitPair(
        current=T2Scan(now["FLAIR"], "FLAIR", other_mm, _NORMAL),
        reference=T2Scan(then["FLAIR"], "FLAIR", base_mm, _NORMAL),
        current_lesions=scan.lesions | (lesions >= 0.5),
        reference_lesions=scan.lesions,
        anatomy=Anatomy(scan.brain, nawm, tissue, SPACING_MM, now["T1w"]),
        support=support,
    )
    seen = brighter > 0.03
    return DrawnPair(pair, (now, then), (lesions >= 0.5) & seen, (lesions > 0.1) & ~((lesions >= 0.5) & seen))


def _slab(rng: np.random.Generator, scan: RatedScan) -> RatedScan:
    """Cut a slab out: a whole head tells little more and takes twice as long."""
    n = scan.brain.shape[2]
    start = int(rng.integers(n // 6, max(n - SLAB - n // 8, n // 6 + 1)))
    cut = (slice(None), slice(None), slice(start, start + SLAB))
    return RatedScan(
        {name: image[cut] for name, image in scan.images.items()},
        scan.tissue[(slice(None), *cut)],
        scan.brain[cut],
        scan.lesions[cut],
        scan.ignored[cut],
    )


def _draw_lesions(
    rng: np.random.Generator, scan: RatedScan, white: FloatArray, shapes: list[NDArray[np.bool_]]
) -> tuple[FloatArray, FloatArray]:
    """Draw new lesions in white matter and growth at the rim of old ones: share of a voxel, brightening."""
    share, contrast = (np.zeros(scan.brain.shape, np.float32) for _ in range(2))
    if rng.random() < 0.15:
        return share, contrast
    inner = (slice(14, -14),) * 2 + (slice(6, -6),)
    corner = np.array([14, 14, 6])
    anywhere = np.argwhere(white[inner] > 0.6) + corner
    rim = ndimage.binary_dilation(scan.lesions, iterations=2) & ~scan.lesions & (white > 0.3)
    beside = np.argwhere(rim[inner]) + corner
    for _ in range(int(rng.integers(3, 15))):
        places = beside if len(beside) and rng.random() < 0.3 else anywhere
        at = places[int(rng.integers(len(places)))]
        soft = _turn_shape(rng, shapes[int(rng.integers(len(shapes)))])
        if not 14.0 <= soft.sum() <= 700.0 or min(soft.shape) > 2 * min(at):
            continue
        low = at - np.array(soft.shape) // 2
        sides = zip(low, soft.shape, share.shape, strict=True)
        region = tuple(slice(max(a, 0), min(a + n, m)) for a, n, m in sides)
        part = soft[tuple(slice(w.start - a, w.stop - a) for w, a in zip(region, low, strict=True))]
        part = part * scan.brain[region]
        own = float(np.exp(rng.uniform(np.log(0.06), np.log(0.7))))
        contrast[region] = np.where(part > share[region], own, contrast[region])
        share[region] = np.maximum(share[region], part)
    # What is lesion already becomes no brighter.
    return share * ~scan.lesions, contrast


def _turn_shape(rng: np.random.Generator, shape: NDArray[np.bool_]) -> FloatArray:
    """Turn, scale and soften a shape."""
    scale = 1.0 / rng.uniform(0.7, 1.2)
    matrix = Rotation.from_rotvec(rng.normal(0.0, 0.6, 3)).as_matrix() * scale
    size = int(min(np.ceil(np.linalg.norm(shape.shape) / scale) + 4, 40))
    offset = (np.array(shape.shape) - 1) / 2 - matrix @ np.full(3, (size - 1) / 2)
    soft = ndimage.affine_transform(
        shape.astype(np.float32), matrix, offset, output_shape=(size,) * 3, order=1
    )
    return np.asarray(ndimage.gaussian_filter(soft, rng.uniform(0.4, 0.8)), np.float32)


def _scan_again(
    rng: np.random.Generator, images: dict[str, FloatArray], brain: NDArray[np.bool_], thickness_mm: float
) -> dict[str, FloatArray]:
    """Scan the images of a visit anew: rest of the motion, slices, bias field, contrast, noise."""
    shape = np.array(brain.shape)
    turn = Rotation.from_rotvec(np.deg2rad(rng.normal(0.0, 0.25, 3))).as_matrix()
    scanned = {}
    for name, image in images.items():
        shift = rng.normal(0.0, 0.15, 3)
        offset = (shape - 1) / 2 - turn @ ((shape - 1) / 2) + shift
        moved = ndimage.affine_transform(image, turn, offset, order=1, output=np.float32)
        sliced = _slices(rng, moved, thickness_mm, float(rng.uniform(0.02, 0.06)))
        ramp = sum(
            rng.normal(0.0, 0.04) * np.linspace(-1, 1, n).reshape([-1 if a == d else 1 for d in range(3)])
            for a, n in enumerate(shape)
        )
        sliced = (1.0 + rng.uniform(0.85, 1.2) * (sliced - 1.0)) * (1.0 + ramp)
        scanned[name] = np.asarray(np.where(brain, np.maximum(sliced, 0.0), 0.0), np.float32)
    return scanned


def _slices(rng: np.random.Generator, image: FloatArray, thickness_mm: float, noise: float) -> FloatArray:
    """Acquire slices with noise and interpolate them back to 1 mm."""
    n = image.shape[2]
    if thickness_mm <= 1.0:
        return np.asarray(image + noise * rng.standard_normal(image.shape, dtype=np.float32), np.float32)
    profile = ndimage.gaussian_filter1d(image, np.sqrt(thickness_mm**2 - 1.0) / 2.3548, axis=2)
    at = np.arange(rng.uniform(0.0, thickness_mm), n - 1, thickness_mm)
    slices = ndimage.map_coordinates(
        profile, np.meshgrid(*map(np.arange, image.shape[:2]), at, indexing="ij"), order=1
    )
    slices = slices + noise * rng.standard_normal(slices.shape, dtype=np.float32)
    place = np.clip(np.interp(np.arange(n), at, np.arange(len(at))), 0, len(at) - 1)
    low = np.minimum(place.astype(int), len(at) - 2)
    share = (place - low).astype(np.float32)
    return np.asarray(slices[..., low] * (1 - share) + slices[..., low + 1] * share, np.float32)
