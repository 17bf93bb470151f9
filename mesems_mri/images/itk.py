"""Images as ITK takes them, for greedy and N4: axes turned round, LPS instead of RAS.

ITK runs on one thread (`mesems_mri.__init__` sets it), so that no result depends on the number of cores.
"""

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from mesems_mri.core.typing import Affine, RealArray, Spacing


def to_itk(array: NDArray[np.generic], affine: Affine) -> SimpleITK.Image:
    """Convert an array to an ITK image.

    Parameters
    ----------
    array : ndarray, shape (x, y, z)
        Any dtype that ITK knows.
    affine : ndarray of float64, shape (4, 4)
        Voxel -> RAS mm, without shear.
    """
    lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing([float(v) for v in spacing])
    image.SetOrigin([float(v) for v in lps[:, 3]])
    image.SetDirection([float(v) for v in (lps[:, :3] / spacing).ravel()])
    return image


def from_itk(image: SimpleITK.Image) -> RealArray:
    """Return the voxels of an ITK image, shape (x, y, z)."""
    return SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)


def unplaced(spacing_mm: Spacing) -> Affine:
    """Return an affine along the LPS axes at the origin, for images of which only the voxel size matters."""
    x, y, z = spacing_mm
    return np.diag([-x, -y, z, 1.0])
