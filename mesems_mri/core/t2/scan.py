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


@dataclass(frozen=True, eq=False, kw_only=True)
class VisitPair:
    """Two visits of one head on one grid, for the detection of change.

    Attributes
    ----------
    current, reference : T2Scan
        One contrast at the current and at the reference visit.
    current_lesions, reference_lesions : ndarray of bool, shape (x, y, z)
        T2 lesions of the two visits.
    anatomy : Anatomy
        Brain and NAWM of both visits, priors, and the T1w of the current visit.
    support : tuple of two T2Scan, or None
        Another T2-type contrast at the current and at the reference visit. A change that both contrasts show
        may be fainter: the noise of two series is independent, and so are flow and the edge of the fluid,
        which are no lesions.
    probability : tuple of two ndarray of float32, shape (x, y, z), or None
        Of a T2 lesion by the network, 0 to 1, at the current and at the reference visit.
    """

    current: T2Scan
    reference: T2Scan
    current_lesions: Mask
    reference_lesions: Mask
    anatomy: Anatomy
    support: tuple[T2Scan, T2Scan] | None = None
    probability: tuple[FloatArray, FloatArray] | None = None

    @property
    def coarser(self) -> T2Scan:
        """Scan of the thicker slices; of equals the current one."""
        return max((self.current, self.reference), key=lambda scan: scan.slice_thickness_mm)

    def crop(self, box: Box) -> Self:
        """Return the part of both visits that lies in a box."""
        return type(self)(
            current=self.current.crop(box),
            reference=self.reference.crop(box),
            current_lesions=self.current_lesions[box],
            reference_lesions=self.reference_lesions[box],
            anatomy=self.anatomy.crop(box),
            support=self.support and (self.support[0].crop(box), self.support[1].crop(box)),
            probability=self.probability and (self.probability[0][box], self.probability[1][box]),
        )
