"""Rigid registration of two scans of one head: co-registration and longitudinal registration.

greedy (Yushkevich et al., 2016, https://greedy.readthedocs.io) finds the six parameters by normalised
mutual information; everything around it here makes the answer the same in both directions, the same in
every process, and not worse than no registration.
"""

import hashlib
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Final

import numpy as np
from scipy import linalg, ndimage

from mesems_mri.core.typing import Affine, Float64Array, FloatArray, Mask
from mesems_mri.images.greedy import RegistrationScan, average_down, foreground, nearest_rigid, run_greedy
from mesems_mri.images.volume import Volume

_COARSE_MM: Final = 4.0
_FINE_MM: Final = 1.5
# One level at 4 mm, two below 2 mm: coarser levels of 4 mm slices made greedy diverge.
_COARSE_SCHEDULE: Final = "60"
_FINE_SCHEDULE: Final = "40x15"
_TURNED_DEG: Final = 20.0
_NEARBY_MM: Final = 12.0
_NEARBY_DEG: Final = 12.0
_HALF_BRAIN_MM: Final = 35.0
_BINS: Final = 32
_MAX_SAMPLES: Final = 60_000
_MIN_OVERLAP: Final = 0.25
# A turned start must beat the header by this much of (NMI - 1): headers are usually right.
_TURN_ADVANTAGE: Final = 1.05
# Beyond this ratio of (NMI - 1) to that of the turned heads before their optimisation, none is tried: on
# the real scans it was far above this when the header was right, and below it when the head was turned.
_SURELY_STRAIGHT: Final = 3.0
# The mean of both directions is kept unless another candidate is better by more than this of (NMI - 1).
_KEEP_MEAN: Final = 0.005
INVERSE_CONSISTENCY_LIMIT_MM: Final = 1.0
"""Mean distance inside the brain beyond which the two directions do not confirm each other."""


@dataclass(frozen=True, eq=False)
class RigidRegistration:
    """Rigid transform between two scans.

    Parameters
    ----------
    matrix : ndarray of float64, shape (4, 4)
        RAS mm of the fixed scan -> RAS mm of the moving scan, a rotation and a shift.
    similarity : float
        Normalised mutual information inside both masks, (H(f) + H(m)) / H(f, m), 1 to 2.
    similarity_before : float
        The same for the headers as they are (or for `initial`).
    inverse_consistency_mm : float
        Mean distance inside the brain between the two directions.
    ok : bool
        False: do not use it; `flags` says why.
    flags : tuple of str
        `registration_not_improved` (no better than the start), `large_rotation` (header more than 20 degrees
        off), `not_inverse_consistent`, `low_overlap`.
    """

    matrix: Affine
    similarity: float
    similarity_before: float
    inverse_consistency_mm: float
    ok: bool
    flags: tuple[str, ...]


def _inverse(matrix: Affine) -> Affine:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def halfway(one: Affine, other: Affine) -> Affine:
    """Return the rigid transform half-way between two, by the matrix logarithm."""
    step = linalg.expm(0.5 * np.real(linalg.logm(np.linalg.inv(one) @ other)))
    return nearest_rigid(one @ step)


def _mask_points(scan: RegistrationScan, limit: int) -> Float64Array:
    """Return RAS mm of evenly taken voxels of the mask, homogeneous, shape (4, n)."""
    voxels = np.flatnonzero(scan.mask)
    voxels = voxels[:: max(1, len(voxels) // limit)]
    index = np.array(np.unravel_index(voxels, scan.mask.shape), dtype=np.float64)
    return scan.volume.affine @ np.vstack([index, np.ones(len(voxels))])


def _sample(scan: RegistrationScan, points_mm: Float64Array) -> tuple[FloatArray, Mask]:
    index = (np.linalg.inv(scan.volume.affine) @ points_mm)[:3]
    values = ndimage.map_coordinates(scan.volume.array, index, order=1, mode="nearest", output=np.float32)
    in_mask = ndimage.map_coordinates(scan.mask.astype(np.uint8), index, order=0, mode="constant") > 0
    return values, in_mask


def _mutual_information(one: FloatArray, other: FloatArray) -> float:
    counts, _, _ = np.histogram2d(one, other, bins=_BINS)
    joint = counts / counts.sum()

    def entropy(p: Float64Array) -> float:
        positive = p[p > 0]
        return float(-(positive * np.log(positive)).sum())

    together = entropy(joint.ravel())
    if together == 0:
        return 1.0
    return (entropy(joint.sum(axis=0)) + entropy(joint.sum(axis=1))) / together


def _similarity(
    fixed: RegistrationScan, moving: RegistrationScan, matrix: Affine, limit: int = _MAX_SAMPLES
) -> tuple[float, float]:
    """Return NMI where both masks overlap, mean of both directions, and the overlap (0 to 1)."""
    similarities, overlaps = [], []
    for here, there, xfm in ((fixed, moving, matrix), (moving, fixed, np.linalg.inv(matrix))):
        points = _mask_points(here, limit)
        own, _ = _sample(here, points)
        values, common = _sample(there, xfm @ points)
        overlaps.append(float(common.mean()))
        similarities.append(_mutual_information(own[common], values[common]) if common.sum() > 100 else 1.0)
    # A scan of half the head lies wholly inside the other: the larger overlap counts.
    return float(np.mean(similarities)), max(overlaps)


def _centre(scan: RegistrationScan) -> Float64Array:
    return _mask_points(scan, _MAX_SAMPLES)[:3].mean(axis=1)


def _turns() -> list[Float64Array]:
    """Return the 24 rotations by right angles, the identity first."""
    rotations = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            rotation = np.zeros((3, 3))
            rotation[range(3), order] = signs
            if np.linalg.det(rotation) > 0:
                rotations.append(rotation)
    return sorted(rotations, key=lambda rotation: -np.trace(rotation))


def _about_centres(rotation: Float64Array, fixed_centre: Float64Array, moving_centre: Float64Array) -> Affine:
    start = np.eye(4)
    start[:3, :3] = rotation
    start[:3, 3] = moving_centre - rotation @ fixed_centre
    return start


def _angle_deg(matrix: Affine) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))))


def _first_starts(fixed: RegistrationScan, moving: RegistrationScan, header: Affine) -> list[Affine]:
    """Return the header, the centres laid on each other, and the best heads turned about them."""
    centres = _centre(fixed), _centre(moving)
    turned = [_about_centres(rotation @ header[:3, :3], *centres) for rotation in _turns()]
    # Turned heads are ranked before any optimisation; only the most promising are tried.
    ranked = sorted(turned[1:], key=lambda start: -_score(fixed, moving, start, limit=4000))
    return [header, turned[0], *ranked[:3]]


def _nearby_starts(fixed: RegistrationScan, moving: RegistrationScan, header: Affine) -> list[Affine]:
    """Return the header shifted and turned a little each way, and the centres shifted for half a brain."""
    centre = _centre(fixed)
    centred = _about_centres(header[:3, :3], centre, _centre(moving))
    starts = []
    for axis, sign in product(range(3), (1.0, -1.0)):
        step = sign * np.eye(3)[axis]
        shift = np.eye(4)
        shift[:3, 3] = _NEARBY_MM * step
        turn = linalg.expm(np.cross(np.eye(3), np.radians(_NEARBY_DEG) * step))
        half_brain = np.eye(4)
        half_brain[:3, 3] = _HALF_BRAIN_MM * step
        starts += [header @ shift, header @ _about_centres(turn, centre, centre), centred @ half_brain]
    return starts


def _coarse_start(fixed: RegistrationScan, moving: RegistrationScan, starts: list[Affine]) -> Affine:
    """Return the best of what is found from several starts; the first two need no turned head.

    The others are tried unless the first two lead to far more than what any of the others begins with.
    """
    found = [run_greedy(fixed, moving, start, _COARSE_SCHEDULE) for start in starts[:2]]
    scores = [_score(fixed, moving, matrix) for matrix in found]
    straight = int(np.argmax(scores))
    others = max(_score(fixed, moving, start) for start in starts[2:])
    if scores[straight] - 1 > _SURELY_STRAIGHT * (others - 1):
        return found[straight]
    found += [run_greedy(fixed, moving, start, _COARSE_SCHEDULE) for start in starts[2:]]
    scores += [_score(fixed, moving, matrix) for matrix in found[2:]]
    best = int(np.argmax(scores))
    if best > 1 and scores[best] - 1 > _TURN_ADVANTAGE * (scores[straight] - 1):
        return found[best]
    return found[straight]


def _score(
    fixed: RegistrationScan, moving: RegistrationScan, matrix: Affine, limit: int = _MAX_SAMPLES
) -> float:
    similarity, overlap = _similarity(fixed, moving, matrix, limit)
    return similarity if overlap >= _MIN_OVERLAP else 1.0


def _both_directions(
    fixed: RegistrationScan, moving: RegistrationScan, start: Affine
) -> tuple[Affine, Affine, float]:
    """Return fixed -> moving as found forwards and backwards, and their mean distance (mm)."""
    forward = run_greedy(fixed, moving, start, _FINE_SCHEDULE)
    backward = _inverse(run_greedy(moving, fixed, _inverse(start), _FINE_SCHEDULE))
    return forward, backward, _mean_distance_mm(fixed, forward, backward)


def _mean_distance_mm(scan: RegistrationScan, one: Affine, other: Affine) -> float:
    points = _mask_points(scan, 5000)
    return float(np.linalg.norm(((one - other) @ points)[:3], axis=0).mean())


def register_rigid(
    fixed: Volume,
    moving: Volume,
    *,
    fixed_mask: Mask | None,
    moving_mask: Mask | None,
    initial: Affine | None = None,
) -> RigidRegistration:
    """Register two scans of one head by a rotation and a shift.

    Parameters
    ----------
    fixed, moving : Volume
        Any contrasts, grids and orientations.
    fixed_mask, moving_mask : ndarray of bool, shape (x, y, z), or None
        Brain masks on the grids of the scans; None: a crude foreground.
    initial : ndarray of float64, shape (4, 4), optional
        RAS mm of the fixed -> RAS mm of the moving scan to start from; the headers if None.

    Returns
    -------
    RigidRegistration
        The mean of both directions, or one direction, or the start, whichever aligns the brains best.
        Swapping the scans gives the inverse matrix; every process and core count gives the same bytes.

    Raises
    ------
    ValueError
        A mask of another shape than its scan, or empty.
    """
    scans = []
    for name, volume, mask in (("fixed", fixed, fixed_mask), ("moving", moving, moving_mask)):
        brain = foreground(volume) if mask is None else np.asarray(mask, dtype=bool)
        if brain.shape != volume.shape or not brain.any():
            msg = f"the {name} mask must have the shape {volume.shape} and not be empty, got {brain.shape}"
            raise ValueError(msg)
        scans.append((average_down(volume, brain, _FINE_MM), average_down(volume, brain, _COARSE_MM)))
    header = np.eye(4) if initial is None else np.asarray(initial, dtype=np.float64)
    # The pair is always worked on in the same order, so that swapping the scans inverts the matrix exactly.
    if _fingerprint(moving) < _fingerprint(fixed):
        swapped = _register_ordered(scans[1], scans[0], _inverse(header))
        return replace(swapped, matrix=_inverse(swapped.matrix))
    return _register_ordered(scans[0], scans[1], header)


def _fingerprint(volume: Volume) -> bytes:
    content = np.ascontiguousarray(volume.array).tobytes() + volume.affine.tobytes()
    return hashlib.sha256(content).digest()


def _register_ordered(
    fixed: tuple[RegistrationScan, RegistrationScan],
    moving: tuple[RegistrationScan, RegistrationScan],
    header: Affine,
) -> RigidRegistration:
    """Register two scans, each given fine and coarse."""
    (fine_fixed, coarse_fixed), (fine_moving, coarse_moving) = fixed, moving
    start = _coarse_start(coarse_fixed, coarse_moving, _first_starts(coarse_fixed, coarse_moving, header))
    forward, backward, apart_mm = _both_directions(fine_fixed, fine_moving, start)
    if apart_mm > INVERSE_CONSISTENCY_LIMIT_MM:
        # A direction has strayed: both start again from the best of many more starts.
        nearby = [start, forward, backward, *_nearby_starts(coarse_fixed, coarse_moving, header)]
        start = _coarse_start(coarse_fixed, coarse_moving, nearby)
        forward, backward, apart_mm = _both_directions(fine_fixed, fine_moving, start)

    before, _ = _similarity(fine_fixed, fine_moving, header)
    candidates = [halfway(forward, backward), forward, backward, start]
    scores = [_score(fine_fixed, fine_moving, matrix) for matrix in candidates]
    best = int(np.argmax(scores))
    if scores[best] - 1 <= (1 + _KEEP_MEAN) * (scores[0] - 1):
        best = 0
    matrix, similarity = candidates[best], scores[best]
    flags = []
    if similarity <= before:
        matrix, similarity = header, before
        flags.append("registration_not_improved")
    if _angle_deg(matrix @ np.linalg.inv(header)) > _TURNED_DEG:
        flags.append("large_rotation")
    if apart_mm > INVERSE_CONSISTENCY_LIMIT_MM:
        flags.append("not_inverse_consistent")
    _, overlap = _similarity(fine_fixed, fine_moving, matrix)
    if overlap < _MIN_OVERLAP:
        flags.append("low_overlap")
    ok = not {"not_inverse_consistent", "low_overlap"} & set(flags)
    return RigidRegistration(matrix, similarity, before, apart_mm, ok, tuple(flags))
