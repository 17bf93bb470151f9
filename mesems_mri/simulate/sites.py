"""The sites of the simulated trial: scanner, protocol and slice geometry of each."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mesems_mri.simulate.tissue import ContrastAgent, PulseSequence

Plane = Literal["axial", "sagittal", "coronal"]


@dataclass(frozen=True)
class SliceGeometry:
    """The slices of a series.

    Parameters
    ----------
    plane : str
        ``axial``, ``sagittal`` or ``coronal``; the third array axis counts the slices.
    pixel_mm, slice_mm : float
        Size in the plane and thickness of a slice; slices touch.
    fov_mm : tuple of float
        Extent to the left and right, front and back, top and bottom of the head.
    profile : int
        Points per slice at which the head is sampled: 1 for a 3D sequence, more for a 2D sequence, whose
        excitation has a Gaussian profile of full width ``slice_mm`` at half maximum.
    """

    plane: Plane
    pixel_mm: float
    slice_mm: float
    fov_mm: tuple[float, float, float] = (184.0, 240.0, 184.0)
    profile: int = 1

    @property
    def world_axes(self) -> tuple[int, int, int]:
        """World axis (0 left-right, 1 back-front, 2 foot-head) along each array axis."""
        return {"axial": (0, 1, 2), "sagittal": (1, 2, 0), "coronal": (0, 2, 1)}[self.plane]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along the array axes."""
        return (self.pixel_mm, self.pixel_mm, self.slice_mm)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Even matrix that holds the field of view."""
        x, y, z = (
            2 * round(self.fov_mm[axis] / spacing / 2)
            for axis, spacing in zip(self.world_axes, self.spacing_mm, strict=True)
        )
        return x, y, z


@dataclass(frozen=True)
class Site:
    """A site: its scanner and protocol.

    Parameters
    ----------
    site_id, manufacturer, model : str
        As written to the tables and sidecars.
    field_t : float
        Field strength, tesla.
    sequences : dict of str to PulseSequence
        By contrast; the post-contrast T1w uses the sequence ``T1w``.
    geometry : dict of str to SliceGeometry
        By contrast; ``other`` for the rest.
    quick_geometry : SliceGeometry
        Of all series of the quick simulation.
    snr : float
        White-matter signal over the noise sigma, in every image.
    bias : tuple of float
        Coil bias: slope along x, y, z per 100 mm and loss of signal at 100 mm from the isocentre.
    flip : tuple of int
        Direction along each array axis, 1 or -1 against right, front and top.
    tilt_deg : tuple of float
        Obliqueness of the slices about x, y, z.
    contrast : ContrastAgent
        Usual dose and delay.
    """

    site_id: str
    manufacturer: str
    model: str
    field_t: float
    sequences: dict[str, PulseSequence]
    geometry: dict[str, SliceGeometry]
    quick_geometry: SliceGeometry
    snr: float
    bias: tuple[float, float, float, float]
    flip: tuple[int, int, int]
    tilt_deg: tuple[float, float, float]
    contrast: ContrastAgent

    def sequence(self, contrast: str) -> PulseSequence:
        """Return the sequence of a contrast, which is one for T1w before and after contrast."""
        return self.sequences[contrast.removeprefix("ce-gadolinium_")]

    def geometry_of(self, contrast: str, *, quick: bool) -> SliceGeometry:
        """Return the slices of a contrast."""
        if quick:
            return self.quick_geometry
        return self.geometry.get(contrast.removeprefix("ce-gadolinium_"), self.geometry["other"])


_MODEL_SITES = (
    Site(
        "S01",
        "Siemens",
        "Prisma",
        3.0,
        {
            "T1w": PulseSequence(2300, 3, 900, 9),
            "T2w": PulseSequence(5000, 85),
            "PDw": PulseSequence(5000, 12),
            "FLAIR": PulseSequence(9000, 95, 2500),
        },
        {
            "other": SliceGeometry("sagittal", 1.0, 1.0),
            "T2w": SliceGeometry("axial", 0.94, 3.0, (188.0, 240.0, 174.0), profile=3),
            "PDw": SliceGeometry("axial", 0.94, 3.0, (188.0, 240.0, 174.0), profile=3),
        },
        SliceGeometry("sagittal", 2.0, 2.0, (192.0, 240.0, 192.0)),
        snr=36,
        bias=(0.06, -0.05, 0.08, 0.16),
        flip=(1, 1, 1),
        tilt_deg=(-6.0, 1.0, 2.0),
        contrast=ContrastAgent(1.0, 10.0),
    ),
    Site(
        "S02",
        "Philips",
        "Achieva",
        1.5,
        {
            "T1w": PulseSequence(550, 12),
            "T2w": PulseSequence(4500, 100),
            "PDw": PulseSequence(4500, 15),
            "FLAIR": PulseSequence(8500, 110, 2450),
        },
        {
            "other": SliceGeometry("axial", 0.9, 3.0, (190.0, 236.0, 174.0), profile=3),
            "T1w": SliceGeometry("axial", 0.96, 3.0, (192.0, 242.0, 174.0), profile=3),
        },
        SliceGeometry("axial", 1.5, 3.0, (192.0, 240.0, 180.0), profile=2),
        snr=30,
        bias=(-0.05, 0.04, -0.07, 0.09),
        flip=(-1, 1, 1),
        tilt_deg=(-10.0, -1.5, -1.0),
        contrast=ContrastAgent(0.85, 15.0),
    ),
    Site(
        "S03",
        "GE",
        "Signa HDxt",
        1.5,
        {
            "T1w": PulseSequence(620, 14),
            "T2w": PulseSequence(4000, 92),
            "PDw": PulseSequence(4000, 17),
            "FLAIR": PulseSequence(8800, 125, 2250),
        },
        {
            "other": SliceGeometry("axial", 0.86, 4.0, (186.0, 232.0, 176.0), profile=4),
            "T1w": SliceGeometry("axial", 1.0, 4.0, (190.0, 240.0, 176.0), profile=4),
        },
        SliceGeometry("axial", 2.0, 4.0, (192.0, 240.0, 184.0), profile=2),
        snr=26,
        bias=(0.04, 0.07, 0.05, 0.13),
        flip=(-1, -1, 1),
        tilt_deg=(-15.0, 2.0, 1.5),
        contrast=ContrastAgent(1.1, 6.0),
    ),
)
"""Three geometries: 3D of 1 mm, 2D of 3 mm, 2D of 4 mm."""
_FURTHER_PLANES: tuple[Plane, ...] = ("coronal", "axial", "axial")


def make_sites(number: int, rng: np.random.Generator) -> list[Site]:
    """Return the three model sites, then sites like them with other noise, bias, tilt, plane and dose."""
    sites = list(_MODEL_SITES[:number])
    for index in range(len(sites), number):
        model = _MODEL_SITES[index % len(_MODEL_SITES)]
        plane = _FURTHER_PLANES[index % len(_MODEL_SITES)]
        sites.append(
            replace(
                model,
                site_id=f"S{index + 1:02d}",
                geometry=model.geometry | {"other": replace(model.geometry["other"], plane=plane)},
                quick_geometry=replace(model.quick_geometry, plane=plane),
                snr=float(rng.uniform(25, 40)),
                bias=(*rng.uniform(-0.08, 0.08, 3).tolist(), float(rng.uniform(0.1, 0.25))),
                tilt_deg=(float(rng.uniform(-15, 0)), *rng.uniform(-2, 2, 2).tolist()),
                contrast=ContrastAgent(float(rng.uniform(0.8, 1.15)), float(rng.uniform(5, 18))),
            )
        )
    return sites
