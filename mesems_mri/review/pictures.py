"""Images of a visit for the page: one grid, cropped to the head, headers without anything but geometry."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mesems_mri.core.gel.candidates import EnhancementThresholds
from mesems_mri.core.matching import match_intensity
from mesems_mri.core.outline import grow_focus
from mesems_mri.core.typing import Affine, FloatArray, Mask
from mesems_mri.dataset.bids import POSTCONTRAST, T2_CONTRASTS, Contrast
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import MesemsError
from mesems_mri.files import write_bytes
from mesems_mri.images import nifti
from mesems_mri.images.volume import spacing_of
from mesems_mri.review.masks import Crop
from mesems_mri.review.state import Kind, ReadState
from mesems_mri.review.visit import BRAIN_MASK, FoundVisit

SHOWN: Mapping[Contrast, str] = {
    "FLAIR": "FLAIR",
    "T1w": "T1w",
    POSTCONTRAST: "ce-T1w",
    "T2w": "T2w",
    "PDw": "PDw",
}
"""Names of the contrasts on the page, in the order in which they are shown."""
_MARGIN_MM = 15.0
_UNITS = 1000.0
"""Grey value of normal-appearing white matter."""
_KEPT_ARRAYS = 12
_NORMAL = 0.15
"""Normal-appearing white matter lies so near to its median, which is 1."""


class PictureError(MesemsError):
    """An image of a visit cannot be shown."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Image that a page shows.

    Parameters
    ----------
    name : str
        In the address; tells contrast and side alone.
    visit : str
        ``current``, ``prior`` or ``difference``.
    contrast : str
        As in `SHOWN`.
    sources : tuple of str
        Preprocessed images, relative to the output folder; of a difference the current one first.
    """

    name: str
    visit: str
    contrast: str
    sources: tuple[str, ...]


def list_pictures(visit: FoundVisit, prior: FoundVisit | None) -> list[Picture]:
    """List the images of a visit, those of the prior visit, and their difference."""
    found = []
    for side, shown in (("current", visit), ("prior", prior)):
        for contrast, word in SHOWN.items():
            if shown is not None and contrast in shown.preproc:
                found.append(
                    Picture(
                        name=f"{side}_{word}",
                        visit=side,
                        contrast=word,
                        sources=(shown.preproc[contrast],),
                    )
                )
    for contrast, word in SHOWN.items():
        if (
            prior
            and contrast in ("FLAIR", "T2w", "PDw")
            and {contrast} <= visit.preproc.keys() & prior.preproc.keys()
        ):
            sources = (visit.preproc[contrast], prior.preproc[contrast])
            found.append(
                Picture(name=f"difference_{word}", visit="difference", contrast=word, sources=sources)
            )
            break
    return found


def crop_of(layout: Layout, visit: FoundVisit) -> Crop:
    """Return the part of subject space that holds the head, by the brain mask of a visit."""
    grid = visit.grid
    assert grid is not None  # a visit without images is not read
    path = layout.product(*visit.key, BRAIN_MASK)
    whole = Crop(grid.shape, (0, 0, 0), grid.shape)
    if not path.is_file():
        return whole
    brain = nifti.read_labels(path)[0] > 0
    if brain.shape != grid.shape or not brain.any():
        return whole
    margin = [int(np.ceil(_MARGIN_MM / step)) for step in spacing_of(grid.matrix)]
    sides = [np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    start = [max(int(side[0]) - m, 0) for side, m in zip(sides, margin, strict=True)]
    stop = [min(int(side[-1]) + m + 1, n) for side, m, n in zip(sides, margin, grid.shape, strict=True)]
    return Crop(grid.shape, (start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def cropped_affine(matrix: Affine, crop: Crop) -> Affine:
    """Return the affine of the part that a page shows."""
    affine = matrix.copy()
    affine[:3, 3] += matrix[:3, :3] @ np.asarray(crop.start, float)
    return affine


class Gallery:
    """Images as the page gets them, made once and kept on disk.

    Parameters
    ----------
    layout : Layout
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._folder = layout.reading / "images"
        self._arrays: OrderedDict[tuple[object, ...], np.ndarray] = OrderedDict()
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def file(self, picture: Picture, visit: FoundVisit, crop: Crop) -> Path:
        """Return the file of an image; it is made when it is not there.

        Raises
        ------
        PictureError
            If the image is gone or not on the grid of the visit.
        """
        assert visit.grid is not None
        stamps = [self._stamp(source) for source in picture.sources]
        key = hashlib.sha256(repr((picture, stamps, crop)).encode()).hexdigest()
        path = self._folder / f"{key[:32]}.nii.gz"
        with self._lock:
            made = self._making.setdefault(key, threading.Lock())
        with made:  # of several windows that ask for an image one makes it
            if path.is_file():
                return path
            voxels = self._voxels(picture, visit, crop)
            limits = np.iinfo(np.int16)
            stored = np.clip(np.rint(voxels * _UNITS), limits.min, limits.max).astype(np.int16)
            write_bytes(path, nifti.image_bytes(stored, cropped_affine(visit.grid.matrix, crop)))
        return path

    def _voxels(self, picture: Picture, visit: FoundVisit, crop: Crop) -> FloatArray:
        current = self._image(picture.sources[0], crop)
        if len(picture.sources) == 1:
            return current
        prior = self._image(picture.sources[1], crop)
        brain = self.brain(visit, crop)
        return np.where(brain, current - match_intensity(prior, current, brain), 0).astype(np.float32)

    def brain(self, visit: FoundVisit, crop: Crop) -> Mask:
        """Return the brain mask of a visit; all of the image where there is none."""
        path = self._layout.product(*visit.key, BRAIN_MASK)
        if not path.is_file():
            return np.ones(crop.inner, bool)
        name = path.relative_to(self._layout.out_dir).as_posix()

        def read() -> np.ndarray:
            return nifti.read_labels(path)[0][crop.box] > 0

        return self._cached((name, self._stamp(name), crop), read)

    def grow(self, visit: FoundVisit, crop: Crop, kind: Kind, seed: tuple[int, int, int]) -> Mask:
        """Grow a finding from a voxel of the part that the page shows.

        Raises
        ------
        PictureError
            If the visit has no image on which such a lesion is seen.
        """
        assert visit.grid is not None
        brain = self.brain(visit, crop)
        if kind == "gel":
            level, normal = self._increase(visit, crop, brain)
        else:
            read_on = visit.metrics["t2_contrast"]
            there: list[Contrast] = [c for c in T2_CONTRASTS if c in visit.preproc]
            there.sort(key=lambda c: c != read_on)
            if not there:
                msg = "this visit has no T2-type image, on which a T2 lesion could be outlined"
                raise PictureError(msg)
            level = self._image(visit.preproc[there[0]], crop)
            normal = brain & (np.abs(level - 1.0) <= _NORMAL)
        return grow_focus(
            level,
            seed,
            allowed=brain,
            normal=normal,
            spacing_mm=spacing_of(visit.grid.matrix),
            share=EnhancementThresholds().outline_fraction,
        )

    def _increase(self, visit: FoundVisit, crop: Crop, brain: Mask) -> tuple[FloatArray, Mask]:
        if POSTCONTRAST not in visit.preproc:
            msg = "this visit has no T1w after contrast agent, on which an enhancing lesion could be outlined"
            raise PictureError(msg)
        post = self._image(visit.preproc[POSTCONTRAST], crop)
        if "T1w" not in visit.preproc:
            return post, brain & (np.abs(post - 1.0) <= _NORMAL)
        pre = self._image(visit.preproc["T1w"], crop)
        key = ("increase", visit.key, crop, self._stamp(visit.preproc[POSTCONTRAST]))
        increase = self._cached(key, lambda: match_intensity(post, pre, brain) - pre)
        return increase, brain & (np.abs(pre - 1.0) <= _NORMAL)

    def _image(self, source: str, crop: Crop) -> FloatArray:
        def read() -> FloatArray:
            try:
                volume, _ = nifti.read_image(self._layout.out_dir / source)
            except MesemsError as error:
                msg = "an image of this visit cannot be read; tell the manager"
                raise PictureError(msg) from error
            if volume.shape != crop.shape:
                msg = "an image of this visit is not on the grid of the others; tell the manager"
                raise PictureError(msg)
            return np.ascontiguousarray(volume.array[crop.box])

        return self._cached((source, self._stamp(source), crop), read)

    def _cached(self, key: tuple[object, ...], make: Callable[[], np.ndarray]) -> np.ndarray:
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        made = make()
        with self._lock:
            self._arrays[key] = made
            while len(self._arrays) > _KEPT_ARRAYS:
                self._arrays.popitem(last=False)
        return made

    def _stamp(self, source: str) -> tuple[int, int]:
        try:
            found = (self._layout.out_dir / source).stat()
        except FileNotFoundError as error:
            msg = "an image of this visit is gone; tell the manager"
            raise PictureError(msg) from error
        return found.st_mtime_ns, found.st_size


def segmentation_sha(state: ReadState) -> str:
    """Return the hash of the segmentation of a read."""
    content = [(f.label, f.kind, f.voxels) for f in state.findings.values()]
    return hashlib.sha256(repr((content, state.crop)).encode()).hexdigest()[:32]


def segmentation_bytes(state: ReadState, visit: FoundVisit, crop: Crop) -> bytes:
    """Draw the findings of a read as one image of two volumes: T2 lesions, and enhancing lesions."""
    assert visit.grid is not None
    drawn = np.zeros((2, int(np.prod(crop.shape))), np.uint16)
    for finding in state.findings.values():
        volume = drawn[int(finding.kind == "gel")]
        for start, length in finding.voxels:
            volume[start : start + length] = finding.label
    both = np.stack([volume.reshape(crop.shape)[crop.box] for volume in drawn], axis=-1)
    return nifti.image_bytes(both, cropped_affine(visit.grid.matrix, crop))
