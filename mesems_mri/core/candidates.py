"""Candidates: foci that a detector considered and that are counted nowhere, each with its score and cause.

A detector has two operating points. What scores at least the upper one is counted; what scores at least the
lower one is a candidate, which a reader is offered. Every detector returns all foci it considered and did not
accept; the trial's lower operating point is applied once, by `Candidates.at_least`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import ndimage

from mesems_mri.core.by_label import highest_by_label
from mesems_mri.core.components import label_components
from mesems_mri.core.typing import Box, FloatArray, Labels, Mask

CAUSES = (
    "score_below_limit",
    "too_small",
    "below_noise",
    "no_t2_correlate",
    "vessel",
    "choroid_plexus",
    "csf_space",
    "brain_edge",
    "not_in_difference",
    "new_by_difference_only",
)
"""Closed list of the causes why a focus is not counted; `mesems_mri.dataset.reasons` has their words."""
MOSTLY_OUTSIDE = 0.5
"""A focus of which more lies where no lesion can lie is none."""
OFFERED_SCORE = 0.3
"""Highest score of such a focus: a reader is offered it, and no count holds it."""
_MOST_SHARED = 0.5
"""Share of a focus that better ones may hold; one with more is the same focus once again."""


@dataclass(frozen=True)
class Piece:
    """A focus that was considered.

    Attributes
    ----------
    inside : ndarray of bool, shape of the box
    around : tuple of slice
        Box of the whole array that `inside` is cut from.
    score : float
        0 to 1.
    cause : str
        One of `CAUSES`.
    """

    inside: Mask
    around: Box
    score: float
    cause: str


@dataclass(frozen=True, eq=False)
class Candidates:
    """Foci of one kind that were considered and are not counted.

    Attributes
    ----------
    dseg : ndarray of int32, shape (x, y, z)
        Numbered 1..n; no two share a voxel.
    scores : tuple of float
        Score of each, 0 to 1, in order of the numbers.
    causes : tuple of str
        The cause why each is not counted, one of `CAUSES`.

    Raises
    ------
    ValueError
        When there is not one score and one cause for each number, or a cause is unknown.
    """

    dseg: Labels
    scores: tuple[float, ...] = ()
    causes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        number = int(self.dseg.max(initial=0))
        if not number == len(self.scores) == len(self.causes):
            msg = (
                "dseg, scores and causes must be of one number of candidates, "
                f"got {number}, {len(self.scores)} and {len(self.causes)}"
            )
            raise ValueError(msg)
        if unknown := sorted(set(self.causes) - set(CAUSES)):
            msg = f"causes must be among {', '.join(CAUSES)}, got {', '.join(unknown)}"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Self:
        """Return no candidate on a grid."""
        return cls(np.zeros(shape, np.int32))

    def at_least(self, score: float) -> Self:
        """Return those that score at least so much, renumbered in the same order."""
        return self._chosen([own >= score for own in self.scores])

    def apart_from(self, counted: Mask) -> Self:
        """Return those that share no voxel with what is counted, renumbered in the same order."""
        touched = set(np.unique(self.dseg[counted]).tolist())
        return self._chosen([number not in touched for number in range(1, len(self) + 1)])

    def joined(self, others: Candidates) -> Candidates:
        """Return these and others of the same kind; of two that are one focus the better one is kept."""
        pieces = [piece for candidates in (self, others) for piece in candidates.pieces()]
        return gather(pieces, self.dseg.shape)

    def pieces(self) -> list[Piece]:
        """Cut every candidate out, in order of the numbers."""
        found = zip(ndimage.find_objects(self.dseg), self.scores, self.causes, strict=True)
        return [
            Piece(self.dseg[box] == number, box, score, cause)
            for number, (box, score, cause) in enumerate(found, start=1)
            if box is not None
        ]

    def _chosen(self, keep: Sequence[bool]) -> Self:
        kept = np.concatenate([[False], np.asarray(keep, bool)])
        numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
        return type(self)(
            numbers[self.dseg],
            tuple(score for score, chosen in zip(self.scores, keep, strict=True) if chosen),
            tuple(cause for cause, chosen in zip(self.causes, keep, strict=True) if chosen),
        )


def gather(pieces: Iterable[Piece], shape: tuple[int, ...], counted: Mask | None = None) -> Candidates:
    """Gather the foci that were considered into candidates.

    Parameters
    ----------
    pieces : iterable of Piece
        May overlap: where they do the better score wins, and a focus that is mostly the same as a better one
        is left out.
    shape : tuple of int
        Of the whole array.
    counted : ndarray of bool, shape (x, y, z), optional
        Foci of the same kind that are counted; what shares a voxel with them is left out.

    Returns
    -------
    Candidates
        Best first; of equal score in order of the pieces.
    """
    dseg = np.zeros(shape, np.int32)
    scores: list[float] = []
    causes: list[str] = []
    for piece in sorted(pieces, key=lambda piece: -piece.score):
        drawn = dseg[piece.around]
        free = piece.inside & (drawn == 0)
        if counted is not None and (counted[piece.around] & piece.inside).any():
            continue
        if not free.any() or free.sum() <= _MOST_SHARED * piece.inside.sum():
            continue
        scores.append(float(piece.score))
        causes.append(piece.cause)
        drawn[free] = len(scores)
    return Candidates(dseg, tuple(scores), tuple(causes))


def not_counted(dseg: Labels, scores: Sequence[float], counted: Mask, cause: str) -> Candidates:
    """Return the numbered foci that share no voxel with what is counted.

    Parameters
    ----------
    dseg : ndarray of int32, shape (x, y, z)
        All foci that were considered, numbered 1..n.
    scores : sequence of float
        Score of each, 0 to 1.
    counted : ndarray of bool, shape (x, y, z)
    cause : str
        Why they are not counted, one of `CAUSES`.

    Returns
    -------
    Candidates
        In the order of the numbers.
    """
    everything = Candidates(dseg, tuple(map(float, scores)), (cause,) * len(scores))
    return everything.apart_from(counted)


def components_as_candidates(mask: Mask, score: FloatArray, cause: str) -> Candidates:
    """Return the components of a mask, each with the highest score in it.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
    score : ndarray of float32, shape (x, y, z)
        0 to 1.
    cause : str
        Why they are not counted, one of `CAUSES`.

    Returns
    -------
    Candidates
        In C order of their first voxels.
    """
    dseg, number = label_components(mask)
    return Candidates(dseg, tuple(map(float, highest_by_label(score, dseg)[1:])), (cause,) * number)
