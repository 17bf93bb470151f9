"""Agreement of the inner structure of a brain with the atlas that was aligned to it."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import ndimage

from mesems_mri.core.typing import Affine, Float64Array, FloatArray
from mesems_mri.images.preparation import blur_and_resample
from mesems_mri.images.volume import Volume
from mesems_mri.models.atlas import load_atlas

_AGREEMENT_SPACING_MM: Final = 3.0
_AGREEMENT_WINDOW: Final = 5


def local_agreement(volume: Volume, from_mni: Affine, names: Sequence[str]) -> float:
    """Return the mean local correlation of an image with the atlas fitted to it, inside the brain.

    Parameters
    ----------
    volume : Volume
        The image.
    from_mni : ndarray of float64, shape (4, 4)
        MNI RAS mm to RAS mm of the image.
    names : sequence of str
        Classes of the atlas that make up the brain.

    Returns
    -------
    float
        -1 to 1; 0 where there is nothing to compare.
    """
    atlas = load_atlas()
    index = np.argwhere(atlas.probability["brain"] > 0.5)
    low = atlas.affine[:3, :3] @ index.min(axis=0) + atlas.affine[:3, 3]
    high = atlas.affine[:3, :3] @ index.max(axis=0) + atlas.affine[:3, 3]
    shape = tuple(int(n) for n in np.ceil((high - low) / _AGREEMENT_SPACING_MM) + 1)
    grid = np.diag([*[_AGREEMENT_SPACING_MM] * 3, 1.0])
    grid[:3, 3] = low

    def on_grid(array: FloatArray, affine: Affine, order: int = 1) -> Float64Array:
        matrix = np.linalg.inv(affine) @ grid
        return ndimage.affine_transform(
            array, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=order
        ).astype(np.float64)

    classes = np.stack([on_grid(atlas.probability[name], atlas.affine) for name in names])
    image, affine = blur_and_resample(volume, _AGREEMENT_SPACING_MM)
    to_image = np.asarray(np.linalg.inv(from_mni) @ affine, dtype=np.float64)
    inside = classes.sum(axis=0) > 0.95
    inside &= on_grid(np.ones_like(image), to_image, order=0) > 0
    if np.count_nonzero(inside) < 200:
        return 0.0
    values = np.where(inside, on_grid(image, to_image), 0.0)
    columns = classes[:, inside]
    gram = np.einsum("in,jn->ij", columns, columns)
    gram += 1e-6 * columns.shape[1] * np.eye(len(columns))
    beta = np.linalg.solve(gram, np.einsum("in,n->i", columns, values[inside]))
    model = np.where(inside, np.einsum("i,ixyz->xyz", beta, classes), 0.0)

    def total(array: Float64Array) -> Float64Array:
        return ndimage.uniform_filter(array, _AGREEMENT_WINDOW, mode="constant") * _AGREEMENT_WINDOW**3

    count = np.maximum(total(inside.astype(np.float64)), 1.0)
    one, two = total(model), total(values)
    joint = total(model * values) - one * two / count
    spread = (total(model**2) - one**2 / count) * (total(values**2) - two**2 / count)
    counted = inside & (count > _AGREEMENT_WINDOW**3 / 2)
    flat = spread < 1e-12 * float(np.max(values[inside] ** 2, initial=1e-30)) ** 2
    correlation = np.where(flat, 0.0, joint / np.sqrt(np.where(flat, 1.0, spread)))
    return float(correlation[counted].mean()) if counted.any() else 0.0
