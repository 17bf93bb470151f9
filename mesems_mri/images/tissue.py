"""Tissue maps of a head on a grid: what the anatomy network sees, and the plexus, which it does not tell."""

from typing import Final

import numpy as np
from scipy import ndimage

from mesems_mri.core.typing import Affine, FloatArray
from mesems_mri.images.anatomy import CLASSES, Anatomy
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Grid, Volume
from mesems_mri.models.atlas import load_atlas

TISSUES: Final = ("brain", *CLASSES[1:], "choroid_plexus")
"""Names of the maps."""
_BESIDE_MM: Final = 3.0


def tissue_maps(
    anatomy: Anatomy, to_mni: Affine, grid: Grid, xfm: Affine | None = None
) -> dict[str, FloatArray]:
    """Return the tissue maps of a head on a grid.

    Parameters
    ----------
    anatomy : Anatomy
        Of an image of this head.
    to_mni : ndarray of float64, shape (4, 4)
        RAS mm of that image to MNI RAS mm.
    grid : Grid
        Any.
    xfm : ndarray of float64, shape (4, 4), optional
        RAS mm of the grid to RAS mm of the image; the identity when None.

    Returns
    -------
    dict of str to ndarray of float32, shape of the grid
        Probability, 0 to 1, of each of `TISSUES`. ``lateral_ventricles`` holds the plexus;
        ``choroid_plexus`` is that of the atlas, moved to this head and kept to its ventricles.
    """
    to_image = np.eye(4) if xfm is None else xfm
    maps = {name: anatomy.on(grid, name, to_image) for name in TISSUES[:-1]}
    atlas = load_atlas()
    plexus = Volume(atlas.probability["choroid_plexus"], atlas.affine)
    size = [2 * round(_BESIDE_MM / step) + 1 for step in grid.spacing_mm]
    beside = ndimage.maximum_filter(maps["lateral_ventricles"], size)
    maps["choroid_plexus"] = resample_image(plexus, grid, to_mni @ to_image) * np.clip(2 * beside, 0, 1)
    return maps
