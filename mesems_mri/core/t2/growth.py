"""Counting rules of change: new lesions and enlarging lesions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_components, label_coordinates, label_foci
from mesems_mri.core.feret import largest_in_plane_diameter_mm
from mesems_mri.core.typing import Coordinates, Labels, Mask, Normal, Spacing

_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class ChangeThresholds:
    """Thresholds of change. Sigmas are the noise of the difference of this pair.

    Attributes
    ----------
    seed_sigma, grow_sigma : float
        A focus has a voxel above the first and grows down to the second.
    seed_rise, grow_rise : float
        Least rise in units of NAWM, whatever the noise.
    bright_sigma : float
        Sigmas of NAWM above which a voxel is hyperintense now.
    bright_z : float
        Excess now over the expected intensity of the tissue there, in units of its spread.
    surround_weight : float
        Weight of a surrounding wholly of white matter, in the units of ``accept``.
    accept : float
        Sum of the mean rise (sigmas), the mean excess now (units of its spread) and the weighted surrounding
        of a focus, at which its score is one half.
    accept_per_mm : float
        Addition to ``accept`` and ``supported_accept`` for every mm of the coarser slices beyond
        ``thin_slices_mm``: between thick slices much is guessed, which the noise of the difference hardly
        shows.
    thin_slices_mm : float
        Slices that need no more evidence.
    min_score : float
        Smallest score of a focus that is counted.
    supported_seed_sigma, supported_accept : float
        The same as ``seed_sigma`` and ``accept`` for the joined rise of two contrasts.
    support_sigma : float
        Mean rise (sigmas) that the second contrast must show in a focus that the first does not show clearly.
    faint_sigma, supported_faint_sigma : float
        Seeds of what is considered besides; they change no lesion that was there.
    faint_accept : float
        Addition to ``accept`` and ``supported_accept`` for a focus without any better seed.
    support_share : float
        Most that the second contrast may add, as a multiple of the rise of the first (sigmas).
    network_now, network_rise : float
        A voxel became lesion by the network when its probability is at least the first now, and higher by the
        second than at the reference visit within one voxel.
    network_score : float
        Score of a focus that the network alone shows; it is not counted.
    smooth_mm : float
        Gaussian sigma of the smoothing before subtraction.
    outline_fraction, outline_reach_mm : float
        A voxel below the first share of the strongest rise within the second is blur of the scan and of the
        smoothing, not lesion.
    min_growth_mm3 : float
        Smallest growth of an enlarging lesion.
    min_growth_fraction : float
        Growth in units of the reference lesion that counts as enlarging.
    min_nodule_mm : float
        In-plane diameter of a protruding nodule that counts as enlarging whatever its fraction.
    min_volume_mm3, min_diameter_mm : float
        Smallest focus.
    """

    seed_sigma: float = 5.5
    grow_sigma: float = 2.5
    seed_rise: float = 0.12
    grow_rise: float = 0.08
    bright_sigma: float = 1.5
    bright_z: float = 0.5
    surround_weight: float = 4.0
    accept: float = 9.0
    accept_per_mm: float = 1.0
    thin_slices_mm: float = 3.0
    min_score: float = 0.5
    supported_seed_sigma: float = 4.0
    supported_accept: float = 6.0
    support_sigma: float = 1.0
    faint_sigma: float = 3.5
    supported_faint_sigma: float = 3.0
    faint_accept: float = 1.0
    support_share: float = 2.0
    network_now: float = 0.35
    network_rise: float = 0.3
    network_score: float = 0.05
    smooth_mm: float = 0.7
    outline_fraction: float = 0.3
    outline_reach_mm: float = 2.0
    min_growth_mm3: float = 20.0
    min_growth_fraction: float = 0.5
    min_nodule_mm: float = 3.0
    min_volume_mm3: float = 14.0
    min_diameter_mm: float = 3.0


@dataclass(frozen=True)
class SliceGeometry:
    """Voxel size, plane normal (array axes), slice thickness of the coarser visit, smallest diameter (mm)."""

    spacing_mm: Spacing
    plane_normal: Normal
    thickness_mm: float
    min_diameter_mm: float = 3.0

    def label_foci(self, mask: Mask, min_volume_mm3: float) -> Labels:
        """Label the foci of a mask by `components.label_foci` in this geometry."""
        return label_foci(
            mask,
            spacing_mm=self.spacing_mm,
            plane_normal=self.plane_normal,
            slice_thickness_mm=self.thickness_mm,
            min_volume_mm3=min_volume_mm3,
            min_diameter_mm=self.min_diameter_mm,
        )


def classify_growth(
    growth: Mask,
    current_lesions: Mask,
    reference_lesions: Mask,
    geometry: SliceGeometry,
    limits: ChangeThresholds,
) -> tuple[Labels, Labels]:
    """Split growth into new foci and enlarging foci by the counting rules.

    Parameters
    ----------
    growth : ndarray of bool, shape (x, y, z)
        Voxels that became hyperintense.
    current_lesions, reference_lesions : ndarray of bool, shape (x, y, z)
        T2 lesions of the two visits.
    geometry : SliceGeometry
        Voxel size, plane and thickness of the coarser visit.
    limits : ChangeThresholds
        Thresholds of the rules.

    Returns
    -------
    tuple of two ndarray of int32, shape (x, y, z)
        ``new`` and ``enlarging`` dseg, each numbered 1..n.
    """
    one_voxel = ndimage.binary_dilation(reference_lesions, _ALL_NEIGHBOURS)
    components, n = label_components(growth)
    touching = np.zeros(n + 1, bool)
    touching[np.unique(components[one_voxel])] = True
    touching[0] = False
    apart = ~touching
    apart[0] = False
    # A new lesion is drawn as the lesion mask of this visit draws it, where that adds no old lesion.
    new = geometry.label_foci(apart[components], limits.min_volume_mm3)

    reference_dseg, _ = label_components(reference_lesions)
    outside = growth & ~reference_lesions & touching[components]
    candidates = geometry.label_foci(outside, limits.min_growth_mm3)
    accepted = np.zeros(int(candidates.max(initial=0)) + 1, bool)
    for label, coordinates in label_coordinates(candidates).items():
        accepted[label] = _enlarges(coordinates, reference_dseg, one_voxel, geometry, limits)
    enlarging = geometry.label_foci(accepted[candidates], limits.min_growth_mm3)
    return new, enlarging


def _enlarges(
    coordinates: Coordinates,
    reference_dseg: Labels,
    one_voxel: Mask,
    geometry: SliceGeometry,
    limits: ChangeThresholds,
) -> bool:
    """Return whether a growth focus makes its lesion an enlarging one: by its share, or as a nodule.

    One voxel of the coarser visit: its in-plane size is that of the grid here, so a layer one grid voxel
    thick around the lesion (``one_voxel``) is what a boundary shift alone can produce.
    """
    at = tuple(coordinates.T)
    surviving = coordinates[~one_voxel[at]]
    if not len(surviving):
        return False
    voxel_mm3 = float(np.prod(geometry.spacing_mm))
    mask = np.zeros(one_voxel.shape, bool)
    mask[at] = True
    parents = np.unique(reference_dseg[ndimage.binary_dilation(mask, _ALL_NEIGHBOURS)])
    parent_voxels = int(np.isin(reference_dseg, parents[parents > 0]).sum())
    growth_mm3 = len(coordinates) * voxel_mm3
    fraction = growth_mm3 / max(parent_voxels * voxel_mm3, voxel_mm3)
    nodule_mm = largest_in_plane_diameter_mm(
        surviving,
        spacing_mm=geometry.spacing_mm,
        plane_normal=geometry.plane_normal,
        slice_thickness_mm=geometry.thickness_mm,
    )
    return fraction >= limits.min_growth_fraction or nodule_mm >= limits.min_nodule_mm
