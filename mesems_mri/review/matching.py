"""Matching of the findings of two reads by overlap and distance, and where the two reads disagree."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from mesems_mri.images.volume import spacing_of
from mesems_mri.review.masks import coordinates_of, indices_of
from mesems_mri.review.state import Finding, ReadState
from mesems_mri.review.visit import ReadGrid

MAX_DISTANCE_MM = 5.0
"""Two findings that do not overlap are the same within this distance of their centres."""


@dataclass(frozen=True)
class Unit:
    """One lesion as two reads have it.

    Parameters
    ----------
    first, second : Finding or None
        None: the read has no such finding.
    disagreements : tuple of str
        ``presence``, ``status``, ``unsure``; empty when the reads agree.
    """

    first: Finding | None
    second: Finding | None
    disagreements: tuple[str, ...] = ()

    @property
    def finding(self) -> Finding:
        """The finding of the first read, else that of the second."""
        found = self.first or self.second
        assert found is not None  # a unit is made of at least one
        return found


@dataclass(frozen=True)
class Comparison:
    """Two reads of one visit, lesion by lesion.

    Parameters
    ----------
    units : tuple of Unit
        Every finding of either read.
    parts : tuple of str
        Parts of which one reader says that they are not evaluable, and the other says otherwise.
    """

    units: tuple[Unit, ...]
    parts: tuple[str, ...]

    @property
    def concordant(self) -> bool:
        """Presence, status and so every count are the same in both."""
        return not self.parts and not any(unit.disagreements for unit in self.units)


def match_findings(
    first: Sequence[Finding], second: Sequence[Finding], grid: ReadGrid
) -> list[tuple[Finding, Finding]]:
    """Match findings one to one.

    Two findings of one kind that stand for one ledger row or one candidate are the same; the rest is matched
    by overlap, and within `MAX_DISTANCE_MM` by the distance of the centres: as many pairs as possible, and
    among those the largest overlap.

    Returns
    -------
    list of (Finding, Finding)
    """
    pairs, left, right = _same_source(first, second)
    for kind in ("t2", "gel"):
        pairs += _by_place(
            [f for f in left if f.kind == kind], [f for f in right if f.kind == kind], grid=grid
        )
    return pairs


def _same_source(
    first: Iterable[Finding], second: Iterable[Finding]
) -> tuple[list[tuple[Finding, Finding]], list[Finding], list[Finding]]:
    """Pair what both reads got from the run; return the pairs and what is left of either."""

    def source(finding: Finding) -> tuple[object, ...]:
        if finding.origin == "reader":
            return ("reader", id(finding))
        return (finding.kind, finding.lesion_ids, finding.candidate_id)

    others = {source(f): f for f in second}
    pairs, left = [], []
    for finding in first:
        other = others.pop(source(finding), None)
        if other is None:
            left.append(finding)
        else:
            pairs.append((finding, other))
    return pairs, left, list(others.values())


def _by_place(
    first: Sequence[Finding], second: Sequence[Finding], *, grid: ReadGrid
) -> list[tuple[Finding, Finding]]:
    if not first or not second:
        return []
    indices = [[indices_of(f.voxels) for f in side] for side in (first, second)]
    spacing = np.asarray(spacing_of(grid.matrix))
    centres = [
        np.array([(coordinates_of(f.voxels, grid.shape) * spacing).mean(axis=0) for f in side])
        for side in (first, second)
    ]
    distance = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=-1)
    shared = np.array(
        [[np.intersect1d(a, b, assume_unique=True).size for b in indices[1]] for a in indices[0]]
    )
    union = np.array([[a.size + b.size for b in indices[1]] for a in indices[0]]) - shared
    allowed = (shared > 0) | (distance <= MAX_DISTANCE_MM)
    # One more pair outweighs every gain in overlap; without overlap the nearer one is better.
    gain = shared / union + 1e-3 / (1.0 + distance)
    weight = np.where(allowed, 2.0 * min(shared.shape) + 2.0 + gain, 0.0)
    rows, columns = linear_sum_assignment(weight, maximize=True)
    return [(first[i], second[j]) for i, j in zip(rows, columns, strict=True) if allowed[i, j]]


def compare_reads(first: ReadState, second: ReadState, grid: ReadGrid) -> Comparison:
    """Compare two reads of one visit.

    Parameters
    ----------
    first, second : ReadState
        Signed.
    grid : ReadGrid

    Returns
    -------
    Comparison
        Candidates that neither reader took are units without disagreement.
    """
    parts = tuple(sorted(first.parts.keys() ^ second.parts.keys()))
    one, other = list(first.findings.values()), list(second.findings.values())
    pairs = match_findings(one, other, grid)
    matched = {id(f) for pair in pairs for f in pair}
    units = [Unit(a, b, _disagreements(a, b)) for a, b in pairs]
    units += [Unit(f, None, _disagreements(f, None)) for f in one if id(f) not in matched]
    units += [Unit(None, f, _disagreements(None, f)) for f in other if id(f) not in matched]
    units.sort(key=lambda unit: (unit.finding.kind, unit.finding.voxels))
    return Comparison(tuple(units), parts)


def _disagreements(first: Finding | None, second: Finding | None) -> tuple[str, ...]:
    found = []
    present = [f is not None and f.counts for f in (first, second)]
    if present[0] != present[1]:
        found.append("presence")
    statuses = {(f.t2_status, f.gd_status) for f in (first, second) if f is not None}
    if all(present) and len(statuses) > 1:
        found.append("status")
    if any(f is not None and f.decision == "unsure" for f in (first, second)):
        found.append("unsure")
    return tuple(found)
