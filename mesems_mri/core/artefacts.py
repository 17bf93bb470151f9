"""Artefacts that repeat over an image: bands of slices, ghosts, spikes in k-space and single voxels.

Each measure is a share of the intensity of the brain, so that 0.15 is an artefact of 15 %; on images without
one it is what anatomy, noise and the crosstalk of slices leave.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from mesems_mri.core.typing import Float64Array, FloatArray, Mask

_PERIODS: Final = (2.0, 3.0, 4.0, 5.0, 6.0)
"""Slices from band to band; longer ones cannot be told from anatomy and from a bias field."""
_MIN_CYCLES_SEEN: Final = 5
"""Of a band; of fewer none can be told from steps of the anatomy."""
_MIN_PIXELS: Final = 100
_MIN_AREA: Final = 0.4
"""Of the slice that shows most of the brain."""
_MIN_SLICES: Final = 8
_FLOOR: Final = 0.05
_HEAD_LEVEL: Final = 0.25
_MIN_AIR: Final = 500
_MIN_SHIFT: Final = 0.08
"""Of the field of view; a ghost that moved by less lies on the head and its edge."""
_GHOST_GRID: Final = 64
"""Voxels along an axis on which ghosts are looked for, at least; a ghost is as smooth as the head."""
_MIN_SHOWN: Final = 0.02
"""Of the brain; less of a ghost that lies in the air says nothing."""
_SURE_GHOST: Final = 0.45
"""Share of the variance of the air from which its explanation by a ghost is in no doubt."""
_MIN_CYCLES: Final = 8
"""Stripes per field of view, from which a peak in k-space is no anatomy."""
_NEIGHBOURHOOD: Final = 9
_PEAK: Final = 3
_ISOLATED: Final = 5.0
"""A spike is higher than its surroundings in k-space by this factor."""


@dataclass(frozen=True)
class ArtefactMeasures:
    """Strength of the artefacts of one image, each as a share of the intensity of the brain.

    Parameters
    ----------
    banding : float
        Amplitude of bands across the slices, or across rows or columns; where every other slice is darker,
        by how much.
    ghost : float
        Intensity of a shifted copy of the brain in the air around the head, less where the copy explains
        less than half of the variance there; 0 where there is no air.
    spike : float
        Amplitude, in the head, of the strongest stripe pattern that is one isolated peak in k-space.
    """

    banding: float
    ghost: float
    spike: float


def measure_artefacts(image: FloatArray, brain_mask: Mask, *, slice_axis: int) -> ArtefactMeasures:
    """Measure the artefacts of an image.

    Parameters
    ----------
    image : ndarray of float32, shape (x, y, z)
        Intensities as they were read, before any correction of the bias field.
    brain_mask : ndarray of bool, shape (x, y, z)
        The brain.
    slice_axis : int
        Array axis along which slices are stacked.

    Returns
    -------
    ArtefactMeasures
        All 0 for an image without a positive brain.
    """
    inside = image[brain_mask]
    level = float(np.median(inside)) if inside.size else 0.0
    if level <= 0:
        return ArtefactMeasures(0.0, 0.0, 0.0)
    scaled = (image / np.float32(level)).astype(np.float32)
    factors = [max(1, n // _GHOST_GRID) for n in image.shape]
    small, small_brain = _averaged(scaled, factors), _averaged(brain_mask.astype(np.float32), factors) > 0.5
    return ArtefactMeasures(
        banding=max(_banding(np.moveaxis(scaled, a, 0), np.moveaxis(brain_mask, a, 0)) for a in range(3)),
        ghost=max(_ghost(small, small_brain, axis) for axis in range(3)),
        spike=_spike(np.moveaxis(scaled, slice_axis, 0)) / max(float(np.mean(small > _HEAD_LEVEL)), 0.1),
    )


def _banding(image: FloatArray, brain: Mask) -> float:
    """Return the amplitude of what repeats along the first axis, every few slices."""
    steps, pixels = [], []
    logs = np.log(np.maximum(image, _FLOOR))
    for here, there, both in zip(logs[1:], logs[:-1], brain[1:] & brain[:-1], strict=True):
        pixels.append(int(both.sum()))
        steps.append(float(np.median((here - there)[both])) if pixels[-1] >= _MIN_PIXELS else np.nan)
    # The ends of the stack show little brain, and may be cut or interpolated with nothing.
    steps = [s if n >= _MIN_AREA * max(pixels) else np.nan for s, n in zip(steps, pixels, strict=True)]
    known = np.flatnonzero(np.isfinite(steps))
    if len(known) < _MIN_SLICES:
        return 0.0
    run = np.array(steps[known[0] : known[-1] + 1])
    run[np.isnan(run)] = 0.0
    return max((_amplitude(run, p) for p in _PERIODS if len(run) >= _MIN_CYCLES_SEEN * p), default=0.0)


def _amplitude(steps: Float64Array, period: float) -> float:
    """Return the amplitude of one period in a profile of which the steps are given.

    The median over pairs of cycles keeps single slices, where anatomy changes, from making a band.
    """
    phase = np.exp(-2j * np.pi * np.arange(len(steps)) / period)
    response = abs(1 - np.exp(-2j * np.pi / period))
    # Steps that follow the profile smoothly have no part in it; what the filter makes of a wave is known.
    window = int(np.ceil(period)) | 1
    smooth = ndimage.uniform_filter1d(steps, window, mode="nearest")
    response *= 1 - np.sin(np.pi * window / period) / (window * np.sin(np.pi / period))
    wave = (steps - smooth) * phase
    n = int(2 * period)
    chunks = [wave[start : start + n].mean() for start in range(0, len(wave) - n + 1, max(1, n // 2))]
    middle = complex(np.median(np.real(chunks)), np.median(np.imag(chunks)))
    return float(2 * abs(middle) / response)


def _ghost(image: FloatArray, brain: Mask, axis: int) -> float:
    """Return the share of the brain that appears again in the air, shifted along an axis.

    The air is what no line along an axis of the image finds between two points of the head; of the air those
    lines are asked that cross the brain, so that neither face nor neck plays a part.
    """
    head = ndimage.binary_opening(image > _HEAD_LEVEL) | brain
    hull = _between(head, 0) | _between(head, 1) | _between(head, 2)
    hull = ndimage.binary_dilation(hull, iterations=2)
    n = image.shape[axis]
    crossed = np.moveaxis(brain, axis, 0).any(axis=0)
    air, at, values = (np.moveaxis(a, axis, 0)[:, crossed].astype(np.float32) for a in (~hull, brain, image))
    if air.sum() < _MIN_AIR:
        return 0.0
    source, y = at * values, air * np.clip(values, 0, 1)
    sums = [(air, at), (air, source), (air, source**2), (y, at), (y**2, at), (y, source)]
    count, sx, sxx, sy, syy, sxy = (_over_shifts(one, other) for one, other in sums)
    enough = count >= max(_MIN_AIR, _MIN_SHOWN * at.sum())
    least = int(np.ceil(_MIN_SHIFT * n))
    enough[:least] = enough[n - least + 1 :] = False
    if not enough.any():
        return 0.0
    count, sx, sxx, sy, syy, sxy = (v[enough] for v in (count, sx, sxx, sy, syy, sxy))
    covariance = np.maximum(sxy / count - sx * sy / count**2, 0)
    x_variance = np.maximum(sxx / count - (sx / count) ** 2, 1e-9)
    y_variance = np.maximum(syy / count - (sy / count) ** 2, 1e-9)
    explained = covariance**2 / (x_variance * y_variance)
    return float(np.max(covariance / x_variance * np.minimum(explained / _SURE_GHOST, 1)))


def _between(head: Mask, axis: int) -> Mask:
    """Return what lies between two points of the head on a line along an axis."""
    array = np.moveaxis(head, axis, 0)
    before = np.maximum.accumulate(array, axis=0)
    after = np.maximum.accumulate(array[::-1], axis=0)[::-1]
    return np.moveaxis(before & after, 0, axis)


def _over_shifts(one: FloatArray, other: FloatArray) -> Float64Array:
    """Return sum over p of one(p) * other(p - shift) for every circular shift along the first axis."""
    product = np.fft.rfft(one, axis=0) * np.conj(np.fft.rfft(other, axis=0))
    return np.fft.irfft(product.sum(axis=1), len(one))


def _averaged(array: FloatArray, factors: list[int]) -> FloatArray:
    """Average blocks of voxels; what is left at the end of an axis is repeated to a whole block."""
    pad = [(0, -n % f) for n, f in zip(array.shape, factors, strict=True)]
    x, y, z = np.pad(array, pad, mode="edge").shape
    i, j, k = factors
    blocks = np.pad(array, pad, mode="edge").reshape(x // i, i, y // j, j, z // k, k)
    return blocks.mean(axis=(1, 3, 5), dtype=np.float32)


def _spike(slices: FloatArray) -> float:
    """Return the amplitude of the strongest isolated peak in the k-space of the slices."""
    spectrum = np.abs(np.fft.fft2(slices)).astype(np.float32) * (2 / slices[0].size)
    strength = np.sqrt((spectrum**2).mean(axis=(1, 2), keepdims=True))
    shown = strength[:, 0, 0] > 0.1 * strength.max()
    spectrum, strength = spectrum[shown], strength[shown]
    typical = np.median(spectrum / strength, axis=0)
    around = ndimage.median_filter(typical, _NEIGHBOURHOOD, mode="wrap")
    cycles = [np.abs(np.fft.fftfreq(n) * n) for n in slices.shape[1:]]
    far = np.hypot(cycles[0][:, None], cycles[1][None, :]) >= _MIN_CYCLES
    best = 0.0
    for single, size in zip(spectrum, strength[:, 0, 0], strict=True):
        # The surroundings in this slice: those of all, and its own where it is noisier there.
        own = ndimage.uniform_filter(single, _NEIGHBOURHOOD, mode="wrap")
        peak = ndimage.uniform_filter(single, _PEAK, mode="wrap")
        outside = (own * _NEIGHBOURHOOD**2 - peak * _PEAK**2) / (_NEIGHBOURHOOD**2 - _PEAK**2)
        background = np.maximum(outside, around * size)
        isolated = far & (single > _ISOLATED * background)
        if isolated.any():
            best = max(best, float(single[isolated].max()))
    return best
