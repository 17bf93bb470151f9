"""Image quality measures by the definitions of MRIQC (Esteban et al., PLoS ONE 2017;12:e0184661).

As in MRIQC the centre of a tissue is its median, its spread the standard deviation (SNR, CNR) or the median
absolute deviation scaled to a normal distribution (CJV). A measure that cannot be computed (a missing tissue,
no air around the head because the skull was removed) is None, never a number that looks like one.
"""

import numpy as np

from mesems_mri.core.typing import Mask, RealArray

# Below this a spread or an energy is that of rounding, not of an image.
_NEGLIGIBLE = 1e-8
_MIN_VOXELS = 10
_NORMAL_MAD = 0.6744897501960817


def signal_to_noise(values: RealArray) -> float | None:
    """Return the signal-to-noise ratio inside one tissue: median / (sd * sqrt(n / (n - 1))).

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        Intensities of the tissue.

    Returns
    -------
    float or None
        Higher is better (Magnotta and Friedman, J Digit Imaging 2006;19:140). None with less than 10 voxels
        or without any spread.
    """
    count = values.size
    if count < _MIN_VOXELS:
        return None
    median, spread = float(np.median(values)), float(np.std(values, dtype=np.float64))
    if spread <= _NEGLIGIBLE * abs(median):
        return None
    return median / (spread * float(np.sqrt(count / (count - 1))))


def contrast_to_noise(white: RealArray, grey: RealArray, air: RealArray) -> float | None:
    """Return the contrast-to-noise ratio: |WM - GM| / sqrt(sd_air^2 + sd_WM^2 + sd_GM^2).

    Parameters
    ----------
    white, grey, air : ndarray of float, shape (n,)
        Intensities of white matter, grey matter and the air around the head.

    Returns
    -------
    float or None
        Higher is better (Magnotta and Friedman, J Digit Imaging 2006;19:140).
    """
    if min(white.size, grey.size, air.size) < _MIN_VOXELS:
        return None
    spread = float(np.sqrt(sum(np.var(values, dtype=np.float64) for values in (white, grey, air))))
    if spread <= 0:
        return None
    return abs(float(np.median(white)) - float(np.median(grey))) / spread


def coefficient_of_joint_variation(white: RealArray, grey: RealArray) -> float | None:
    """Return the coefficient of joint variation: (mad_WM + mad_GM) / |WM - GM|.

    Parameters
    ----------
    white, grey : ndarray of float, shape (n,)
        Intensities of white and grey matter.

    Returns
    -------
    float or None
        Lower is better; noise, motion and bias raise it (Ganzetti et al., Front Neuroinform 2016;10:10).
    """
    if min(white.size, grey.size) < _MIN_VOXELS:
        return None
    contrast = abs(float(np.median(white)) - float(np.median(grey)))
    if contrast <= 0:
        return None
    return (_mad(white) + _mad(grey)) / contrast


def entropy_focus_criterion(image: RealArray) -> float | None:
    """Return the entropy focus criterion, normalised by the largest possible entropy.

    Parameters
    ----------
    image : ndarray of float, any shape
        The whole image with the air around the head. Negative values count as zero.

    Returns
    -------
    float or None
        0 when all energy is in one voxel, 1 when it is spread evenly; ghosting and blurring by motion raise
        it (Atkinson et al., IEEE TMI 1997;16:903). None for an image without energy.
    """
    intensities = np.maximum(np.asarray(image, dtype=np.float64).ravel(), 0.0)
    count = intensities.size
    energy = float(np.sqrt(np.sum(intensities**2)))
    if energy <= 0 or count < 2:
        return None
    maximum = count * (1.0 / np.sqrt(count)) * np.log(1.0 / np.sqrt(count))
    share = intensities[intensities > 0] / energy  # x log x is 0 at 0
    return float(np.sum(share * np.log(share)) / maximum)


def foreground_background_energy_ratio(image: RealArray, air: Mask) -> float | None:
    """Return the energy of the head over that of the air around it (medians of squares).

    Parameters
    ----------
    image : ndarray of float, shape (x, y, z)
        The whole image.
    air : ndarray of bool, shape (x, y, z)
        Outside of the head; all else counts as head.

    Returns
    -------
    float or None
        Higher is better (Shehzad et al., Front Neurosci 2015, conference abstract 47). None when the
        background was set to zero.
    """
    if air.sum() < _MIN_VOXELS or (~air).sum() < _MIN_VOXELS:
        return None
    foreground = float(np.median(np.square(image[~air], dtype=np.float64)))
    background = float(np.median(np.square(image[air], dtype=np.float64)))
    if background <= _NEGLIGIBLE * foreground:
        return None
    return foreground / background


def quality_measures(
    image: RealArray,
    *,
    brain_mask: Mask,
    white_matter: Mask,
    grey_matter: Mask,
    csf: Mask,
    air: Mask | None,
) -> dict[str, float | None]:
    """Return the quality measures of one image.

    Parameters
    ----------
    image : ndarray of float, shape (x, y, z)
        Bias-corrected intensities; the measures do not depend on their unit.
    brain_mask : ndarray of bool, shape (x, y, z)
        The brain; tissue outside it is ignored.
    white_matter, grey_matter, csf : ndarray of bool, shape (x, y, z)
        Places where each tissue is certain.
    air : ndarray of bool, shape (x, y, z), or None
        Outside the head. None when the image has no air: skull-stripped, or set to zero around the head.

    Returns
    -------
    dict of str to float or None
        ``snr_wm``, ``snr_gm``, ``snr_csf``, ``snr`` (mean of the three that are there,
        MRIQC's total), ``cnr``, ``cjv``, ``efc``, ``fber``.

    Raises
    ------
    ValueError
        When a mask has another shape than the image.
    """
    masks = {"brain_mask": brain_mask, "white_matter": white_matter, "grey_matter": grey_matter, "csf": csf}
    if air is not None:
        masks["air"] = air
    for name, mask in masks.items():
        if mask.shape != image.shape:
            msg = f"{name} has shape {mask.shape}, the image {image.shape}"
            raise ValueError(msg)
    white = image[white_matter & brain_mask]
    grey = image[grey_matter & brain_mask]
    tissue_snr = {
        "snr_wm": signal_to_noise(white),
        "snr_gm": signal_to_noise(grey),
        "snr_csf": signal_to_noise(image[csf & brain_mask]),
    }
    known = [value for value in tissue_snr.values() if value is not None]
    outside = None if air is None else air & ~brain_mask
    has_air = outside is not None and bool(np.ptp(image[outside]) > 0 if outside.any() else False)
    measures: dict[str, float | None] = dict(tissue_snr)
    measures["snr"] = float(np.mean(known)) if known else None
    in_air = outside if has_air else None
    measures["cnr"] = None if in_air is None else contrast_to_noise(white, grey, image[in_air])
    measures["cjv"] = coefficient_of_joint_variation(white, grey)
    measures["efc"] = None if in_air is None else entropy_focus_criterion(image)
    measures["fber"] = None if in_air is None else foreground_background_energy_ratio(image, in_air)
    return measures


def _mad(values: RealArray) -> float:
    return float(np.median(np.abs(values - np.median(values)))) / _NORMAL_MAD
