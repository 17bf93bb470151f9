"""Hypothesis strategies: masks, moves and participants with known changes."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

CELL = (14, 12, 7)
"""Room of one lesion with its growth and a margin, so that lesions do not meet."""
CORE = (slice(5, 8), slice(3, 8), slice(2, 5))
GROWTH = ((slice(2, 5), slice(3, 8), slice(2, 5)), (slice(8, 11), slice(3, 7), slice(2, 5)))
"""Where the lesion grows: to either side, to the first one more."""
ENHANCING = ((slice(5, 8), slice(3, 6), slice(2, 4)), (slice(12, 14), slice(3, 8), slice(2, 5)))
"""One focus in the core; one beside the lesion, within 2 mm of it only if it has grown to the second side."""


@dataclass(frozen=True)
class CellVisit:
    """One lesion's room at one visit: T2 lesion there, which sides grow if they can, which foci enhance."""

    lesion: bool
    grows: tuple[bool, bool]
    enhancing: tuple[bool, bool]


@dataclass(frozen=True)
class CellTruth:
    """What is in one lesion's room at one visit."""

    lesion: bool
    new: bool
    sides: tuple[bool, bool]
    grown: tuple[bool, bool]
    enhancing: tuple[bool, bool]


Participant = list[list[CellTruth]]
"""By visit and cell; T2 change is against the visit before."""


def masks() -> st.SearchStrategy[np.ndarray]:
    """Return small random masks, the border included."""
    shapes = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)
    random = hnp.arrays(np.bool_, shapes)
    # few voxels give scattered ones; blocks give foci
    blocks = st.builds(
        lambda seed, n: _blocks(np.random.default_rng(seed), n), st.integers(0, 2**32 - 1), st.integers(1, 6)
    )
    return random | blocks


def _blocks(rng: np.random.Generator, n: int) -> np.ndarray:
    mask = np.zeros((12, 12, 9), dtype=bool)
    for _ in range(n):
        corner = [int(rng.integers(0, side)) for side in mask.shape]
        mask[tuple(slice(c, c + int(rng.integers(1, 5))) for c in corner)] = True
    return mask


def flips() -> st.SearchStrategy[tuple[int, ...]]:
    """Return the axes to flip."""
    return st.sets(st.sampled_from((0, 1, 2))).map(lambda axes: tuple(sorted(axes)))


def plane_normals() -> st.SearchStrategy[np.ndarray]:
    """Return plane normals, along an axis and oblique ones."""
    return st.sampled_from(
        [
            np.array(v, dtype=float)
            for v in ((0, 0, 1), (1, 0, 0), (0, 1, 0), (0.11, 0.23, 0.97), (-0.3, 0.8, 0.5))
        ]
    )


def move(array: np.ndarray, shift: tuple[int, int, int], flip: tuple[int, ...]) -> np.ndarray:
    """Shift an array into a larger one and flip it."""
    return np.flip(np.pad(array, [(s, 3 - s) for s in shift]), axis=flip)


def participants(cells: int = 3, visits: int = 4) -> st.SearchStrategy[Participant]:
    """Return participants whose lesions come, grow, enhance and go."""
    pair = st.tuples(st.booleans(), st.booleans())
    cell = st.builds(CellVisit, st.booleans(), pair, pair)
    return st.lists(st.lists(cell, min_size=cells, max_size=cells), min_size=1, max_size=visits).map(_follow)


def _follow(wishes: list[list[CellVisit]]) -> Participant:
    participant: Participant = []
    for k, visit in enumerate(wishes):
        cells = []
        for c, wish in enumerate(visit):
            before = participant[-1][c] if k else CellTruth(False, False, *[(False, False)] * 3)
            old = before.lesion and wish.lesion
            grown = tuple(
                old and grows and not there for grows, there in zip(wish.grows, before.sides, strict=True)
            )
            sides = tuple(old and (there or g) for there, g in zip(before.sides, grown, strict=True))
            new = k > 0 and wish.lesion and not before.lesion
            cells.append(CellTruth(wish.lesion, new, sides, grown, wish.enhancing))  # type: ignore[arg-type]
        participant.append(cells)
    return participant


def render(cells: list[CellTruth]) -> dict[str, np.ndarray]:
    """Draw a visit: T2 mask and numbered new, enlarging and enhancing foci."""
    shape = (CELL[0] * len(cells), *CELL[1:])
    names = ("t2_mask", "new", "enlarging", "gel")
    drawn = {name: np.zeros(shape, dtype=np.int32) for name in names}
    for c, truth in enumerate(cells):
        here = {name: drawn[name][c * CELL[0] : (c + 1) * CELL[0]] for name in names}
        if truth.lesion:
            here["t2_mask"][CORE] = 1
        if truth.new:
            here["new"][CORE] = c + 1
        for side in (0, 1):
            if truth.sides[side]:
                here["t2_mask"][GROWTH[side]] = 1
            if truth.grown[side]:
                here["enlarging"][GROWTH[side]] = 2 * c + side + 1
            if truth.enhancing[side]:
                here["gel"][ENHANCING[side]] = 2 * c + side + 1
    return drawn
