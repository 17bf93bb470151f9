"""Agreement of readers: between two of them, of one with himself, and with the automatic counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from mesems_mri.review.matching import Comparison
from mesems_mri.review.state import Finding


@dataclass(frozen=True, kw_only=True)
class FindingAgreement:
    """Agreement of two reads on the presence of lesions of one kind, over some visits.

    Parameters
    ----------
    visits, both, first_only, second_only, neither : int
    kappa : float or None
        Cohen's; None where it is not defined.
    same_count : int
        Visits with the same count.
    mean_difference : float or None
        Of the counts, first minus second.
    """

    visits: int
    both: int
    first_only: int
    second_only: int
    neither: int
    kappa: float | None
    same_count: int
    mean_difference: float | None


def cohens_kappa(both: int, first_only: int, second_only: int, neither: int) -> float | None:
    """Return Cohen's kappa of two yes-or-no ratings; None where chance alone would agree always.

    Examples
    --------
    >>> cohens_kappa(20, 5, 10, 15)
    0.4
    """
    n = both + first_only + second_only + neither
    if n == 0:
        return None
    observed = (both + neither) / n
    one, other = (both + first_only) / n, (both + second_only) / n
    expected = one * other + (1 - one) * (1 - other)
    return None if expected >= 1 else round((observed - expected) / (1 - expected), 6)


def weighted_kappa(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Return the kappa of two counts with quadratic weights; None where it is not defined."""
    if not first:
        return None
    one, other = np.asarray(first, float), np.asarray(second, float)
    expected = float(((one[:, None] - other[None]) ** 2).mean())
    return None if expected == 0 else round(1 - float(((one - other) ** 2).mean()) / expected, 6)


def is_active(finding: Finding | None, kind: str) -> bool:
    """Return whether a finding counts as an enhancing (``gel``) or a new or enlarging lesion (``t2``)."""
    return finding is not None and finding.kind == kind and finding.counts and finding.active


def finding_agreement(comparisons: Iterable[Comparison], kind: str) -> FindingAgreement:
    """Add up the agreement on active lesions of a kind.

    What neither read counts as active is a candidate that both were offered and rejected, or a lesion that
    both call stable.
    """
    table = np.zeros((2, 2), int)
    counts: list[tuple[int, int]] = []
    for comparison in comparisons:
        if kind in comparison.parts:
            continue
        pairs = [
            (is_active(unit.first, kind), is_active(unit.second, kind))
            for unit in comparison.units
            if unit.finding.kind == kind
        ]
        for one, other in pairs:
            table[int(one), int(other)] += 1
        counts.append((sum(one for one, _ in pairs), sum(other for _, other in pairs)))
    both, first_only, second_only, neither = (int(table[i]) for i in ((1, 1), (1, 0), (0, 1), (0, 0)))
    return FindingAgreement(
        visits=len(counts),
        both=both,
        first_only=first_only,
        second_only=second_only,
        neither=neither,
        kappa=cohens_kappa(both, first_only, second_only, neither),
        same_count=sum(one == other for one, other in counts),
        mean_difference=round(mean(one - other for one, other in counts), 3) if counts else None,
    )


@dataclass(frozen=True, kw_only=True)
class AgainstAutomatic:
    """Reads against what the run counted, of active lesions of one kind.

    Parameters
    ----------
    visits, read, automatic, agreed : int
    """

    visits: int
    read: int
    automatic: int
    agreed: int

    @property
    def sensitivity(self) -> float | None:
        """Share of the read lesions that the run counted."""
        return self.agreed / self.read if self.read else None

    @property
    def false_per_visit(self) -> float | None:
        """Lesions that the run counted and the read rejected, per visit."""
        return (self.automatic - self.agreed) / self.visits if self.visits else None


def against_automatic(
    reads: Iterable[tuple[Iterable[Finding], Iterable[Finding]]], kind: str
) -> AgainstAutomatic:
    """Compare reads with the run.

    Parameters
    ----------
    reads : iterable of (iterable of Finding, iterable of Finding)
        Findings as the run made them, and as the reader left them.
    kind : str
    """
    visits = read = automatic = agreed = 0
    for opened, left in reads:
        visits += 1
        counted = {f.finding_id for f in opened if f.origin == "counted" and is_active(f, kind)}
        now = {f.finding_id for f in left if is_active(f, kind)}
        read, automatic, agreed = read + len(now), automatic + len(counted), agreed + len(now & counted)
    return AgainstAutomatic(visits=visits, read=read, automatic=automatic, agreed=agreed)
