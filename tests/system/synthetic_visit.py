"""A synthetic visit with its prior: enough of a head to read, in one grid, made in a second."""

from dataclasses import dataclass, field

import nibabel as nib
import numpy as np
from scipy import ndimage

Mask = np.ndarray
CONTRASTS = ("FLAIR", "T1w", "ce-T1w", "T2w")
_GREY = {
    "scalp": (120, 190, 200, 110),
    "csf": (25, 40, 40, 240),
    "grey": (130, 105, 110, 130),
    "white": (105, 150, 155, 95),
    "t2": (205, 105, 110, 190),
    "gel": (200, 110, 235, 185),
}
"""Brightness of the tissues on FLAIR, T1w, ce-T1w, T2w."""


@dataclass(frozen=True)
class Planted:
    """A lesion: where (mm from the middle), how large (radius in mm), what it is."""

    at: tuple[float, float, float]
    radius: float
    kind: str = "t2"
    origin: str = "counted"
    t2_status: str | None = None
    gd_status: str | None = None
    region: str = "deep_white_matter"
    score: float = 0.9
    prior_radius: float = 0


PLANTED = (
    Planted((-24, 22, 22), 5.0, t2_status="new", region="periventricular", score=0.97),
    Planted(
        (26, -20, 24), 6.5, t2_status="enlarging", prior_radius=4.0, region="periventricular", score=0.91
    ),
    Planted((-30, -28, 14), 4.0, t2_status="new", region="juxtacortical", score=0.84),
    Planted((-30, -28, 14), 3.2, "gel", gd_status="new", region="juxtacortical", score=0.88),
    Planted((34, 14, 26), 3.4, "gel", gd_status="persistent", prior_radius=3.4, score=0.79),
    Planted((20, 38, 10), 3.0, origin="offered", t2_status="new", score=0.41),
    Planted((-18, -44, 28), 2.8, origin="offered", t2_status="new", region="infratentorial", score=0.33),
)
UNMARKED = (-34.0, 2.0, 30.0)
"""A lesion that no detector has found: for the reader to add."""


@dataclass
class SyntheticVisit:
    """Images by name, the mask of each planted lesion, and the grid.

    Parameters
    ----------
    spacing : float
        Edge of a voxel in mm.
    axes : str
        Orientation of the grid.
    prior : bool
        With the previous visit and the difference image.
    seed : int
    """

    spacing: float = 2.0
    axes: str = "RAS"
    prior: bool = True
    seed: int = 1
    images: dict[str, np.ndarray] = field(default_factory=dict)
    masks: list[Mask] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape = tuple(round(mm / self.spacing) for mm in (152, 188, 140))
        middle = (np.array(shape) - 1) / 2
        self.affine = np.diag([self.spacing] * 3 + [1.0])
        self.affine[:3, 3] = -middle * self.spacing
        mm = np.indices(shape).astype(np.float32)
        mm = (mm - middle.astype(np.float32)[:, None, None, None]) * np.float32(self.spacing)
        rng = np.random.default_rng(self.seed)
        tissue = _tissue(mm, shape, rng)
        self.masks = [_ball(mm, p.at, p.radius) for p in PLANTED]
        for visit in ("current", "prior") if self.prior else ("current",):
            for number, contrast in enumerate(CONTRASTS):
                image = np.zeros(shape, np.float32)
                for name, mask in tissue.items():
                    image[mask] = _GREY[name][number]
                for lesion in PLANTED:
                    radius = lesion.radius if visit == "current" else lesion.prior_radius
                    if radius:
                        image[_ball(mm, lesion.at, radius)] = _GREY[lesion.kind][number]
                if visit == "current":
                    image[_ball(mm, UNMARKED, 4.5)] = _GREY["t2"][number]
                image = ndimage.gaussian_filter(image, 0.9 / self.spacing)
                noise = ndimage.gaussian_filter(rng.standard_normal(shape).astype(np.float32), 0.7)
                image += noise * 12 * (image > 5)
                self.images[f"{visit}_{contrast}"] = np.clip(image, 0, 400).astype(np.int16)
        if self.prior:
            after, before = (self.images[f"{v}_FLAIR"].astype(np.int16) for v in ("current", "prior"))
            self.images["difference_FLAIR"] = ndimage.gaussian_filter(
                (after - before).astype(np.float32), 0.6
            )
        turn = nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(self.axes)
        )
        self.affine = self.affine @ nib.orientations.inv_ornt_aff(turn, shape)
        self.images = {n: nib.orientations.apply_orientation(a, turn) for n, a in self.images.items()}
        self.masks = [nib.orientations.apply_orientation(m, turn) for m in self.masks]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.masks[0].shape

    def voxel(self, at: tuple[float, float, float]) -> list[int]:
        """Voxel of a place in mm."""
        return [round(v) for v in (np.linalg.inv(self.affine) @ [*at, 1])[:3]]

    def mm(self, voxel: list[float]) -> list[float]:
        """Place of a voxel in mm."""
        return [round(float(v), 1) for v in (self.affine @ [*voxel, 1])[:3]]


def _ball(mm: np.ndarray, at: tuple[float, float, float], radius: float) -> Mask:
    wave = 0.8 * np.sin(mm[0] * 0.9 + at[1]) + 0.6 * np.cos(mm[1] * 1.1 + at[0])
    squares = sum((mm[a] - at[a]) ** 2 for a in range(3))
    return np.sqrt(squares) + wave * (radius / 6) < radius


def _tissue(mm: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Mask]:
    x, y, z = mm
    folds = ndimage.zoom(rng.standard_normal([max(2, s // 4) for s in shape]), 4, order=1)
    folds = np.pad(folds, [(0, max(0, s - f)) for s, f in zip(shape, folds.shape, strict=True)], mode="edge")
    folds = ndimage.gaussian_filter(folds[: shape[0], : shape[1], : shape[2]], 1)
    reach = np.sqrt((x / 66) ** 2 + (y / 82) ** 2 + (z / 62) ** 2)
    horns = (np.abs(np.abs(x) - 9 - 0.1 * np.abs(y)) < 5) & (np.abs(y) < 32) & (np.abs(z - 14) < 9)
    brain = reach + folds * 0.03 < 0.90
    white = (reach + folds * 0.09 < 0.74) & ~horns & (np.abs(x) > 1)
    tissue = {
        "csf": reach < 0.94,
        "grey": brain & ~horns & (np.abs(x) > 1),
        "white": white,
        "scalp": (reach > 1) & (reach < 1.1),
    }
    nose = (np.abs(x) < 8) & (y > 84) & (y < 93) & (np.abs(z + 20) < 14)
    ear = (
        (np.abs(x - 72) < 4) & (np.abs(y) < 9) & (np.abs(z + 8) < 14)
    )  # on the participant's right side alone
    tissue["scalp"] |= nose | ear
    return tissue
