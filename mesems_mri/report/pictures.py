"""Pictures of a page: slices, rows of slices, and the lesions they show."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Panel:
    """One slice.

    Parameters
    ----------
    title : str
        Caption; also the text alternative of the picture.
    uri : str
        The picture as ``data:`` URI.
    width, height : float
        Extent in voxels, and in display units of the outlines.
    outlines : dict of str to str
        SVG path by kind (a key of `figures.COLOURS`).
    labels : tuple of (float, float, str)
        Text at a place.
    frame : tuple of float
        Rectangle (x, y, width, height) to mark; empty for none.
    candidates : tuple of (float, float, str)
        Text at a place, shown with the candidates.
    """

    title: str
    uri: str
    width: float
    height: float
    outlines: dict[str, str] = field(default_factory=dict)
    labels: tuple[tuple[float, float, str], ...] = ()
    frame: tuple[float, ...] = ()
    candidates: tuple[tuple[float, float, str], ...] = ()


@dataclass(frozen=True)
class PictureRow:
    """Pictures side by side, with a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class FocusPictures:
    """A lesion in the gallery: its row of the ledger, its place, and one row of pictures per plane."""

    row: Mapping[str, Any]
    place: Panel
    planes: tuple[PictureRow, ...]
    note: str = ""


@dataclass(frozen=True)
class CandidatePictures:
    """A candidate: its row of the table of candidates, and pictures of it side by side."""

    row: Mapping[str, Any]
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """All pictures of a visit."""

    overviews: tuple[PictureRow, ...] = ()
    gallery: tuple[FocusPictures, ...] = ()
    candidates: tuple[CandidatePictures, ...] = ()
    registration: tuple[PictureRow, ...] = ()
    sent: tuple[PictureRow, ...] = ()
