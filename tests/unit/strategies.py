"""Hypothesis strategies: masks, moves and participants with known changes."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

CELL = (14, 12, 7)
"""Room of one lesion with its growth and a margin, so that lesions do not meet."""
CORE = (slice(5, 8), slice(3, 8), slice(2, 5))
GROWTH = ((slice(2, 5), slice(3, 8), slice(2, 5)), (slice(8, 11), slice(3, 7), slice(2, 5)))
ENHANCING = ((slice(5, 8), slice(3, 6), slice(2, 4)), (slice(12, 14), slice(3, 8), slice(2, 5)))
"""One focus inside the core; one apart from any T2 lesion."""


@dataclass(frozen=True)
class CellVisit:
    """One lesion's room at one visit: T2 lesion there, which sides have grown since, which foci enhance."""

    lesion: bool
    growth: tuple[bool, bool]
    enhancing: tuple[bool, bool]


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


def participants(cells: int = 3, visits: int = 4) -> st.SearchStrategy[list[list[CellVisit]]]:
    """Return for every visit the state of every cell."""
    pair = st.tuples(st.booleans(), st.booleans())
    cell = st.builds(CellVisit, st.booleans(), pair, pair)
    return st.lists(st.lists(cell, min_size=cells, max_size=cells), min_size=1, max_size=visits)
