"""Inputs of the T2 detectors: the scan of a visit, and the anatomy of the head on the same grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from mesems_mri.core.typing import Box, FloatArray, Mask, Normal, Priors, Spacing, T2Contrast


@dataclass(frozen=True, eq=False)
class T2Scan:
    """T2-type scan of one visit.

    Attributes
    ----------
    image : ndarray of float32, shape (x, y, z)
        Bias-corrected, NAWM median 1.
    contrast : {"FLAIR", "T2w", "PDw"}
    slice_thickness_mm : float
        Of the acquisition.
    plane_normal : tuple of float
        Normal of the acquired slices, unit vector in array axes.
    """

    image: FloatArray
    contrast: T2Contrast
    slice_thickness_mm: float
    plane_normal: Normal

    def crop(self, box: Box) -> Self:
        """Return the part of the scan that lies in a box."""
        return type(self)(self.image[box], self.contrast, self.slice_thickness_mm, self.plane_normal)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Anatomy of a head on the grid of its scans.

    Attributes
    ----------
    brain_mask : ndarray of bool, shape (x, y, z)
        Of a pair of visits: the brain that both cover.
    nawm : ndarray of bool, shape (x, y, z)
        Normal-appearing white matter; of a pair of visits: of both.
    priors : dict of str to ndarray of float32, shape (x, y, z)
        Tissue probabilities, 0 to 1: ``white_matter``, ``cortex``, ``deep_grey``, ``lateral_ventricles``,
        ``csf``, ``choroid_plexus``, ``cerebellum``, ``brainstem``. They may be misplaced by some millimetres.
    spacing_mm : tuple of float
        Voxel size (mm).
    t1w : ndarray of float32, shape (x, y, z), or None
        Pre-contrast T1w of the (current) visit, NAWM median 1; tells fluid and cortex.
    """

    brain_mask: Mask
    nawm: Mask
    priors: Priors
    spacing_mm: Spacing
    t1w: FloatArray | None = None

    def crop(self, box: Box) -> Self:
        """Return the anatomy in a box, NAWM inside the brain only."""
        brain = self.brain_mask[box]
        return type(self)(
            brain,
            self.nawm[box] & brain,
            {name: prior[box] for name, prior in self.priors.items()},
            self.spacing_mm,
            None if self.t1w is None else self.t1w[box],
        )
