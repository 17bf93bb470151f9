"""Enhancing lesions, look-alikes and scanner faults drawn into real pairs of T1w, to train on.

The benchmark has a generator of its own (another shape law, point spread and contrast); neither knows the
other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from mesems_mri.core.typing import FloatArray, Mask

Index = tuple[slice, ...]
_REACH = 16
"""Half the side (mm) of the box a lesion is drawn in."""
_KINDS = ("nodule", "irregular", "ring", "open ring", "cluster")
_BRIGHT, _HARDLY_BRIGHT = (0.1, 0.9), (0.0, 0.1)
"""Range of what a T2 lesion adds to FLAIR, in units of NAWM."""
_FAINT_CORRELATE = 0.15
"""Share of the enhancing lesions whose T2 lesion is hardly bright, or not yet."""
_THICK_MM = 2.5
_AXIS = np.arange(-_REACH, _REACH + 1, dtype=np.float32)
_GRID = np.stack(np.meshgrid(_AXIS, _AXIS, _AXIS, indexing="ij"))


@dataclass(frozen=True)
class Pair:
    """Scans of one person on a 1 mm grid, each scaled to NAWM, with the tissue maps of the head."""

    name: str
    post: FloatArray
    pre: FloatArray
    t2_images: dict[str, FloatArray]
    brain_mask: Mask
    nawm: Mask
    priors: dict[str, FloatArray]
    thickness_mm: float = 1.0


def texture(
    rng: np.random.Generator, width_mm: float, shape: tuple[int, ...] = _GRID.shape[1:]
) -> FloatArray:
    """Draw smooth noise of unit spread."""
    field = ndimage.gaussian_filter(rng.normal(size=shape), width_mm)
    return (field / max(float(field.std()), 1e-6)).astype(np.float32)


def _body(rng: np.random.Generator, radius_mm: float) -> FloatArray:
    """Draw the distance (in radii, 1 at the surface) from the middle of an irregular ellipsoid."""
    turned = np.tensordot(Rotation.random(rng=rng).as_matrix(), _GRID, axes=1)
    axes = np.exp(rng.normal(0, 0.22, 3))
    axes *= radius_mm / np.cbrt(np.prod(axes))
    distance = np.sqrt(((turned / axes[:, None, None, None]) ** 2).sum(axis=0))
    rough = rng.uniform(0, 0.3)
    return (distance + rough * np.minimum(distance, 1) * texture(rng, rng.uniform(1.5, 3.5))).astype(
        np.float32
    )


def _enhancing_part(
    rng: np.random.Generator, kind: str, radius_mm: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw the enhancing part (0 to 1), the whole focus, and the distance from its middle in radii."""
    distance = _body(rng, radius_mm)
    edge = 0.5 / radius_mm
    whole = np.clip((1 - distance) / edge + 0.5, 0, 1)
    part = whole.copy()
    if kind in ("ring", "open ring"):
        wall = rng.uniform(1.2, 3.0) / radius_mm
        part *= np.clip((distance - (1 - wall)) / edge + 0.5, rng.uniform(0, 0.3), 1)
    if kind == "open ring":
        normal = rng.normal(size=3)
        normal /= np.linalg.norm(normal)
        height = np.tensordot(normal, _GRID, axes=1) / radius_mm
        opening = rng.uniform(-0.2, 0.5)
        part *= np.clip((opening - height) / edge + 0.5, 0, 1)
        # A part of a ring is the whole ring: what it encloses belongs to it.
        whole *= np.clip((opening - height) / edge + 0.5, 0, 1)
    if kind == "cluster":
        for _ in range(rng.integers(1, 3)):
            shift = rng.normal(0, 0.9 * radius_mm, 3)
            other = np.clip((1 - ndimage.shift(distance, shift, order=1, cval=9.0)) / edge + 0.5, 0, 1)
            part = np.maximum(part, other)
        whole = part
    if kind == "irregular":
        part *= np.clip(1 + 0.6 * texture(rng, rng.uniform(1.0, 2.5)), 0.1, 1.3)
    width = rng.uniform(0.35, 0.95, 3)
    return (
        ndimage.gaussian_filter(part.astype(np.float32), width),
        ndimage.gaussian_filter(np.asarray(whole, np.float32), width),
        distance,
    )


def draw_places(
    rng: np.random.Generator,
    pair: Pair,
    weight: FloatArray,
    number: int,
    apart_mm: float,
    taken: list[NDArray],
) -> list[NDArray]:
    """Draw at most so many places, weighed, apart from each other and from those that are taken."""
    inside = np.zeros(weight.shape, bool)
    inside[(slice(_REACH + 1, -_REACH - 1),) * 3] = True
    allowed = np.flatnonzero((weight > 0) & inside)
    odds = weight.ravel()[allowed].astype(np.float64)
    places: list[NDArray] = []
    for at in rng.choice(allowed, 40 * number, p=odds / odds.sum()):
        centre = np.array(np.unravel_index(at, weight.shape))
        if all(np.linalg.norm(centre - other) >= apart_mm for other in (*taken, *places)):
            places.append(centre)
        if len(places) == number:
            break
    return places


def as_acquired(drawn: Pair, plain: Pair, rng: np.random.Generator) -> Pair:
    """Give what was drawn into a pair the slices that the pair was acquired with.

    Parameters
    ----------
    drawn, plain : Pair
        With and without what was drawn.
    rng : numpy.random.Generator
        Decides where the slices lie.
    """
    if plain.thickness_mm < _THICK_MM:
        return drawn
    start = int(rng.integers(0, 2**31))

    def sliced(image: FloatArray, before: FloatArray) -> FloatArray:
        # The slices of all images lie alike.
        return before + _slices(np.random.default_rng(start), image - before, plain.thickness_mm, 2)

    return replace(
        drawn,
        pre=sliced(drawn.pre, plain.pre),
        post=sliced(drawn.post, plain.post),
        t2_images={c: sliced(image, plain.t2_images[c]) for c, image in drawn.t2_images.items()},
    )


def place_odds(pair: Pair) -> FloatArray:
    """Weigh the voxels by how often lesions lie there: periventricular, juxtacortical, posterior fossa."""
    priors, shape = pair.priors, pair.post.shape
    matter = np.zeros(shape, np.float32)
    for name, share in (
        ("white_matter", 1.0), ("deep_grey", 0.3), ("brainstem", 0.5), ("cerebellum", 0.3), ("cortex", 0.15)
    ):  # fmt: skip
        matter += share * priors[name]
    to_ventricle = ndimage.distance_transform_edt(priors["lateral_ventricles"] < 0.5)
    near = np.exp(-np.asarray(to_ventricle, np.float32) / 5.0)
    edge = ndimage.gaussian_filter(priors["cortex"], 1.5)
    bright = np.clip((ndimage.gaussian_filter(pair.t2_images["FLAIR"], 1.0) - 1.2) / 0.3, 0, 1)
    odds = matter * (
        0.3 + 2.0 * near + 1.2 * np.minimum(edge, 0.5) + 3.0 * bright * (priors["white_matter"] > 0.3)
    )
    depth = ndimage.distance_transform_edt(pair.brain_mask)
    odds[(depth < 4) | (pair.pre < 0.7) | (priors["lateral_ventricles"] > 0.5)] = 0
    return odds.astype(np.float32)


def _add_t2_lesion(
    rng: np.random.Generator,
    lesion: FloatArray,
    box: Index,
    gate: FloatArray,
    images: dict[str, FloatArray],
    strength_range: tuple[float, float] = _BRIGHT,
) -> None:
    """Brighten FLAIR and T2w, and darken both T1w, by one lesion (0 to 1)."""
    strength = rng.uniform(*strength_range)
    if "FLAIR" in images:
        images["FLAIR"][box] += strength * lesion * gate
    if "T2w" in images:
        images["T2w"][box] += strength * rng.uniform(0.8, 2.2) * lesion * gate
    dark = rng.uniform(0, 0.3) * (rng.random() < 0.7)
    for name in ("pre", "post"):
        images[name][box] *= 1 - dark * lesion * gate


def add_lesions(
    rng: np.random.Generator, pair: Pair, odds: FloatArray, *, number: int, silent: int, vessels: int
) -> tuple[Pair, NDArray[np.int32]]:
    """Draw enhancing lesions, T2 lesions that do not enhance, and vessels.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    pair : Pair
        Left as it is.
    odds : ndarray
        Of `place_odds`.
    number, silent, vessels : int
        How many of each.

    Returns
    -------
    pair : Pair
        With them.
    truth : ndarray of int32
        The enhancing lesions, numbered from 1.
    """
    images = {"pre": pair.pre.copy(), "post": pair.post.copy()}
    images |= {name: image.copy() for name, image in pair.t2_images.items()}
    truth = np.zeros(pair.post.shape, np.int32)
    for start in draw_places(rng, pair, odds, vessels, 0.0, []):
        add_vessel(rng, pair, start, images)
    places = draw_places(rng, pair, odds, number, 14.0, [])
    # T2 lesions lie anywhere, and every third where something else enhances: that alone makes no GEL.
    brightening = np.clip(ndimage.gaussian_filter(pair.post - pair.pre, 1.0) - 0.15, 0, 0.5)
    beside = draw_places(rng, pair, odds, silent - silent // 3, 11.0, places)
    beside += draw_places(rng, pair, odds * brightening, silent // 3, 11.0, [*places, *beside])
    for centre in beside:
        box, gate = _around(pair, centre)
        lesion = np.clip((1 - _body(rng, rng.uniform(2.0, 7.0))) / 0.2 + 0.5, 0, 1)
        _add_t2_lesion(rng, ndimage.gaussian_filter(lesion, 0.7), box, gate, images)
    for number_of, centre in enumerate(places, start=1):
        box, gate = _around(pair, centre)
        diameter_mm = float(np.exp(rng.uniform(np.log(2.8), np.log(15.0))))
        large = diameter_mm > 6.5
        kind = rng.choice(_KINDS, p=[0.25, 0.2, 0.25, 0.2, 0.1] if large else [0.6, 0.3, 0.03, 0.02, 0.05])
        part, whole, distance = _enhancing_part(rng, kind, diameter_mm / 2)
        contrast = float(np.exp(rng.uniform(np.log(0.13), np.log(1.1))))
        if rng.random() < 0.25:
            # Enhancement is often a small part of an old or large lesion.
            wide = _body(rng, diameter_mm / 2 + rng.uniform(2, 7))
            lesion = ndimage.shift(wide, rng.normal(0, 0.25 * diameter_mm, 3), order=1, mode="nearest") < 1
        else:
            lesion = distance < 1 + rng.uniform(-0.7, 2.8) / (diameter_mm / 2)
        lesion = ndimage.gaussian_filter(lesion.astype(np.float32), 0.7)
        bright = _HARDLY_BRIGHT if rng.random() < _FAINT_CORRELATE else _BRIGHT
        _add_t2_lesion(rng, lesion, box, gate, images, bright)
        fade = 1 + rng.uniform(-0.4, 0.4) * np.clip(1 - distance, 0, 1)
        images["post"][box] += contrast * part * fade * gate * np.clip(images["pre"][box], 0.6, 1.2)
        inside = (whole > 0.5 * float(whole.max())) & (gate > 0.5)
        truth[box][inside] = number_of
    return (
        replace(
            pair,
            post=images.pop("post"),
            pre=images.pop("pre"),
            t2_images=images,
        ),
        truth,
    )


def _around(pair: Pair, centre: NDArray) -> tuple[Index, FloatArray]:
    """Box round a voxel and how far each voxel there is tissue: CSF and what lies outside takes no part."""
    box = tuple(slice(x - _REACH, x + _REACH + 1) for x in centre)
    gate = np.clip((pair.pre[box] - 0.5) / 0.15, 0, 1) * pair.brain_mask[box]
    return box, gate.astype(np.float32)


def add_vessel(rng: np.random.Generator, pair: Pair, start: NDArray, images: dict[str, FloatArray]) -> None:
    """Draw a winding vein of 0.8 to 2.5 mm, sometimes with branches, through the parenchyma."""
    box, _ = _around(pair, start)
    lines = []
    for _ in range(rng.integers(1, 4)):
        heading = rng.normal(size=3)
        for sign in (-1, 1):
            at, towards = np.zeros(3), sign * heading / np.linalg.norm(heading)
            for _ in range(rng.integers(8, 40)):
                towards = towards + rng.normal(0, 0.18, 3)
                towards /= np.linalg.norm(towards)
                at = at + 0.7 * towards
                if np.abs(at).max() > _REACH - 1:
                    break
                lines.append(at)
        if rng.random() < 0.5:
            break
    fine = np.ones((2 * _REACH + 1,) * 3, bool)
    line = np.zeros(fine.shape, np.float32)
    corners = np.array(lines) + _REACH
    floor = np.floor(corners).astype(int)
    for corner in np.ndindex(2, 2, 2):
        share = np.abs(1 - np.array(corner) - (corners - floor)).prod(axis=1)
        np.add.at(line, tuple((floor + corner).T), share)
    thick = ndimage.gaussian_filter(line, rng.uniform(0.45, 1.1))
    thick /= np.quantile(thick[thick > 0.3 * thick.max()], 0.7)
    strength = float(np.exp(rng.uniform(np.log(0.2), np.log(1.2))))
    images["post"][box] += strength * np.clip(thick, 0, 1.2) * pair.brain_mask[box]
    # Flowing blood is dark on some scans before contrast, and on T2-type images.
    images["pre"][box] -= rng.uniform(-0.05, 0.15) * np.clip(thick, 0, 1)
    if rng.random() < 0.5:
        for name in set(images) - {"pre", "post"}:
            images[name][box] += rng.uniform(-0.2, 0.3) * np.clip(thick, 0, 1)


def degrade(
    rng: np.random.Generator, pair: Pair, truth: NDArray[np.int32]
) -> tuple[Pair, NDArray[np.int32], int]:
    """Make a pair worse in its own random way: slices, noise, position, gain, bias, gamma.

    Returns
    -------
    pair : Pair
        Degraded.
    truth : ndarray of int32
        As given.
    axis : int
        Array axis along which the slices are thick.
    """
    images = {"pre": pair.pre, "post": pair.post, **pair.t2_images}
    shape = pair.post.shape
    axis = int(rng.choice(3, p=[0.15, 0.15, 0.7]))
    if rng.random() < 0.6:
        angles = np.deg2rad(rng.normal(0, 0.25, 3))
        turn = Rotation.from_rotvec(angles).as_matrix()
        middle = np.array(shape) / 2
        shift = rng.normal(0, 0.35, 3)
        # One of the two moves; half the time the T2-type image with it.
        for name in (str(rng.choice(["post", "pre"])), *(["FLAIR"] if rng.random() < 0.5 else [])):
            if name in images:
                images[name] = ndimage.affine_transform(
                    images[name], turn, middle - turn @ middle + shift, order=1, mode="nearest"
                )
    if rng.random() < 0.25:
        # The brain sinks a little when the head is turned between the scans: no rigid transform undoes that.
        images["post"] = _bend(rng, images["post"], rng.uniform(0.2, 0.7))
    thin = pair.thickness_mm < _THICK_MM
    thick_t1 = rng.uniform(2.0, 6.5) if rng.random() < 0.5 * thin else 0.0
    thick_t2 = rng.uniform(2.0, 6.5) if rng.random() < 0.5 * thin else 0.0
    noise_t1 = rng.uniform(0, 0.08) if rng.random() < 0.55 else 0.0
    noise_t2 = rng.uniform(0, 0.13) if rng.random() < 0.55 else 0.0
    for name, image in images.items():
        is_t1 = name in ("pre", "post")
        thickness, noise = (thick_t1, noise_t1) if is_t1 else (thick_t2, noise_t2)
        if rng.random() < 0.3:
            image = ndimage.gaussian_filter(image, rng.uniform(0.2, 0.7))
        if thickness:
            image = _slices(rng, image, thickness, axis)
        if noise:
            image = image + noise * _noise(rng, shape, thickness or pair.thickness_mm, axis if thin else 2)
            if rng.random() < 0.3:
                # Noise of an image that was interpolated or filtered is smooth.
                image = ndimage.gaussian_filter(image, 0.5)
        if rng.random() < 0.5:
            level = np.maximum(image, 0) ** rng.uniform(0.85, 1.18)
            image = level
        if rng.random() < 0.5:
            ramp = sum(
                rng.normal(0, 0.06) * np.linspace(-1, 1, n).reshape([-1 if a == d else 1 for d in range(3)])
                for a, n in enumerate(shape)
            )
            image = image * (rng.uniform(0.9, 1.15) + ramp)
        images[name] = (image * pair.brain_mask).astype(np.float32)
    degraded = replace(pair, post=images.pop("post"), pre=images.pop("pre"), t2_images=images)
    return degraded, truth, axis


def _noise(rng: np.random.Generator, shape: tuple[int, ...], thickness_mm: float, axis: int) -> FloatArray:
    """Noise of unit spread; that of thick slices is the same in what is interpolated from one."""
    if thickness_mm < _THICK_MM:
        return rng.standard_normal(shape, dtype=np.float32)
    slices = round(shape[axis] / thickness_mm) + 1
    drawn = rng.standard_normal([slices if a == axis else n for a, n in enumerate(shape)], dtype=np.float32)
    at = np.linspace(0, slices - 1.001, shape[axis])
    low, share = at.astype(int), (at % 1).astype(np.float32)
    share = share.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.take(drawn, low, axis) * (1 - share) + np.take(drawn, low + 1, axis) * share


def _bend(rng: np.random.Generator, image: FloatArray, strength_mm: float) -> FloatArray:
    """Deform an image smoothly (1 mm voxels; ``strength_mm``: standard deviation along each axis)."""
    places = np.indices(image.shape, dtype=np.float32)
    for place in places:
        coarse = rng.normal(0, strength_mm, [n // 30 + 2 for n in image.shape])
        zoom = [n / m for n, m in zip(image.shape, coarse.shape, strict=True)]
        place += ndimage.zoom(coarse, zoom, order=2, grid_mode=True, mode="nearest").astype(np.float32)
    return ndimage.map_coordinates(image, places, order=1, mode="nearest")


def _slices(rng: np.random.Generator, image: FloatArray, thickness_mm: float, axis: int) -> FloatArray:
    """Acquire thick slices and interpolate them back."""
    along = np.moveaxis(image, axis, 0)
    profile = ndimage.uniform_filter1d(along, max(round(thickness_mm), 1), axis=0)
    profile = ndimage.gaussian_filter1d(profile, 0.25 * thickness_mm, axis=0)
    n = along.shape[0]
    centres = np.arange(rng.uniform(0, thickness_mm), n - 1, thickness_mm)
    slices = profile[np.rint(centres).astype(int)]
    at = np.clip(np.interp(np.arange(n), centres, np.arange(len(centres))), 0, len(centres) - 1)
    low = np.minimum(at.astype(int), len(centres) - 2)
    share = (at - low).astype(np.float32)[:, None, None]
    return np.moveaxis(slices[low] * (1 - share) + slices[low + 1] * share, 0, axis)
