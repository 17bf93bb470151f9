"""Types of arrays, geometry and contrasts: one name and one dtype for each, used by all packages.

Names say what an array holds, dtypes how it is stored: images and maps are float32, what is computed from
positions in space is float64, masks are bool, dsegs int32.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
"""Image, probability map or distance map."""
Float64Array = NDArray[np.float64]
"""Points, parameters and other numbers in double precision."""
RealArray = NDArray[np.floating]
"""Image of any floating dtype."""
Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
"""Numbered foci (dseg): 0 is background."""
IntArray = NDArray[np.integer]
"""Labels or counts of any integer dtype."""
Coordinates = NDArray[np.intp]
"""Voxel indices, shape (n, 3)."""
Affine = NDArray[np.float64]
"""Matrix of shape (4, 4): array index to mm, or mm to mm."""

Spacing = tuple[float, float, float]
"""Voxel size along the array axes (mm)."""
Normal = tuple[float, float, float]
"""Normal of the acquired slices, in array axes."""
Vector = Sequence[float] | NDArray[np.floating]
"""Three numbers, one for each array axis."""
Box = tuple[slice, ...]
"""Part of an array, one slice for each axis."""
Priors = Mapping[str, NDArray[np.floating]]
"""Tissue probabilities, 0 to 1, by the name of the tissue."""

T2Contrast = Literal["FLAIR", "T2w", "PDw"]
Contrast = Literal["T1w", "ce-gadolinium_T1w", "T2w", "PDw", "FLAIR"]
