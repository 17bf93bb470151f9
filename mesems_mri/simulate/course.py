"""Course of the lesions of a simulated participant: they appear, enhance, grow, shrink and resolve.

The number of new lesions is Poisson with a rate that differs between people (Sormani et al. 1999, J Neurol
Sci 163:74). A new lesion enhances for 4 to 8 weeks, one in five for longer, and then shrinks (Meier et al.
2007, NeuroImage 36:1213). Monthly scans mostly showed less than a month (Harris et al. 1991, Ann Neurol
29:548); it is longer here so that a trial with few visits holds persistent lesions too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mesems_mri.simulate.lesions import Lesion, LesionMaker, LesionState


def simulate_course(
    maker: LesionMaker,
    weeks: Sequence[float],
    activity: float,
    seeds: list[np.random.SeedSequence],
    *,
    smallest_mm3: float,
) -> Iterator[LesionState]:
    """Yield the lesions of a participant at every visit.

    Parameters
    ----------
    maker : LesionMaker
        Draws the lesions.
    weeks : sequence of float
        Week of every visit, ascending.
    activity : float
        Expected number of new lesions in four weeks.
    seeds : list of SeedSequence
        One for every visit, so that a later visit never changes an earlier one.
    smallest_mm3 : float
        Smallest volume of an old lesion; an acute one, which shrinks later, has at least 1.5 times that.
    """
    state = LesionState()
    before = weeks[0] - 8.0
    for visit, (week, seed) in enumerate(zip(weeks, seeds, strict=True)):
        rng = np.random.default_rng(seed)
        if visit == 0:
            for _ in range(int(rng.integers(10, 17))):
                lesion = maker.make_lesion(state, rng, acute=False, smallest_mm3=smallest_mm3)
                state = LesionState((*state.lesions, lesion))
        else:
            state = _evolve(maker, state, before, week, activity, rng)
        interval = week - before
        for _ in range(min(4, int(rng.poisson(activity * interval / 4)))):
            lesion = maker.make_lesion(state, rng, acute=True, smallest_mm3=1.5 * smallest_mm3)
            # Most lesions of a long interval are seen when they are young, as in trials with monthly scans.
            onset = float(rng.uniform(max(before + 0.5, week - 7.0), week - 0.2))
            start_end = (onset, onset + _duration_weeks(rng))
            lesion = replace(
                lesion,
                onset_week=onset,
                enhancing_weeks=(start_end,),
                shrink_week=onset + float(rng.uniform(9, 14)),
                shrink_to=float(rng.uniform(0.76, 0.97)),
            )
            state = LesionState((*state.lesions, lesion))
        yield state
        before = week


def _evolve(
    maker: LesionMaker,
    state: LesionState,
    before: float,
    week: float,
    activity: float,
    rng: np.random.Generator,
) -> LesionState:
    """Let lesions of earlier visits grow, enhance again and resolve until this visit."""
    growing = min(2, int(rng.poisson(0.25 + 0.5 * activity)))
    for _ in range(growing):
        old = [le for le in state.lesions if le.exists(before) and not np.isfinite(le.nodule_week)]
        old = [le for le in old if not le.enhances(week) and np.prod(le.semi_axes_mm) < 120]
        if not old:
            break
        lesion = old[int(rng.integers(len(old)))]
        onset = float(rng.uniform(max(before + 0.5, week - 6.0), week - 0.2))
        if lesion.shrink_week > before:
            lesion = replace(lesion, shrink_week=np.inf, shrink_to=1.0)
        grown = maker.grow(state, lesion, onset, rng)
        if grown is not None:
            if rng.random() < 0.5:
                period = (onset, onset + _duration_weeks(rng))
                grown = replace(grown, enhancing_weeks=(*grown.enhancing_weeks, period), uptake="nodule")
            state = _replaced(state, grown)
    if rng.random() < 0.15:
        small = [le for le in state.lesions if le.onset_week < -100 and np.prod(le.semi_axes_mm) < 40]
        small = [le for le in small if not np.isfinite(le.nodule_week) and not np.isfinite(le.shrink_week)]
        if small:
            lesion = small[int(rng.integers(len(small)))]
            state = _replaced(state, replace(lesion, shrink_week=(before + week) / 2, shrink_to=0.0))
    if rng.random() < 0.2:
        old = [le for le in state.lesions if le.exists(week) and not le.enhances(week)]
        lesion = old[int(rng.integers(len(old)))]
        if not np.isfinite(lesion.nodule_week):
            start = float(rng.uniform(max(before + 0.5, week - 4.0), week - 0.2))
            periods = (*lesion.enhancing_weeks, (start, start + _duration_weeks(rng)))
            state = _replaced(state, replace(lesion, enhancing_weeks=periods))
    return state


def _duration_weeks(rng: np.random.Generator) -> float:
    """Return the duration of enhancement in weeks."""
    return float(rng.uniform(8, 16) if rng.random() < 0.2 else rng.uniform(4, 8))


def _replaced(state: LesionState, lesion: Lesion) -> LesionState:
    return LesionState(tuple(lesion if le.number == lesion.number else le for le in state.lesions))
