"""A simulated participant: head, site, dates and the course of the lesions."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mesems_mri.simulate.course import simulate_course
from mesems_mri.simulate.defects import LESION_FREE_PARTICIPANT
from mesems_mri.simulate.lesions import LesionMaker, LesionState
from mesems_mri.simulate.phantom import HeadModel, make_head
from mesems_mri.simulate.sites import Site

_HEAD_SPACING_MM = {True: 2.0, False: 1.0}
# Nothing that 8 mm3 voxels cannot show in the quick trial; what counts as a focus in the full one.
_SMALLEST_MM3 = {True: 70.0, False: 14.0}
_FIRST_DAY = dt.date(2020, 2, 3)
# New lesions in four weeks: quantiles of an exponential distribution of mean 0.8, so that every trial holds
# quiet and active people (the negative binomial of Sormani et al. 1999 in its simplest form).
_ACTIVITY = tuple(float(-0.8 * np.log(1 - p)) for p in (0.6, 0.85, 0.15, 0.4, 0.72, 0.28))
# Streams of random numbers of a participant; each visit has its own of the second and third.
_LIFE, _SCANS, _DAYS, _UNSCHEDULED, _STRANGER = 1, 2, 3, 4, 5


@dataclass(frozen=True, eq=False)
class Subject:
    """A participant while the visits are made; ``seed`` is that of the trial and the participant's index."""

    participant_id: str
    seed: tuple[int, int]
    quick: bool
    site: Site
    head: HeadModel
    maker: LesionMaker
    first_day: dt.date
    noise_scale: float
    sex: str
    age: int

    @property
    def smallest_mm3(self) -> float:
        """Smallest volume of an old lesion."""
        return _SMALLEST_MM3[self.quick]

    def day(self, week: int) -> dt.date:
        """Return the day of a visit: that of its week, up to two days early or late."""
        late = np.random.default_rng([*self.seed, _DAYS, week]).integers(-2, 3)
        return self.first_day + dt.timedelta(days=7 * week + int(late))

    def lesion_states(self, weeks: Sequence[int]) -> Iterator[LesionState]:
        """Yield the lesions at every scheduled visit."""
        index = self.seed[1]
        if index == LESION_FREE_PARTICIPANT:
            yield from (LesionState() for _ in weeks)
            return
        seeds = [np.random.SeedSequence([*self.seed, _LIFE, visit]) for visit in range(len(weeks))]
        activity = _ACTIVITY[index % len(_ACTIVITY)]
        yield from simulate_course(self.maker, weeks, activity, seeds, smallest_mm3=self.smallest_mm3)

    def scan_seed(self, visit: int, *, scheduled: bool) -> np.random.SeedSequence:
        """Return the source of noise, pose and motion of a visit."""
        return np.random.SeedSequence([*self.seed, _SCANS if scheduled else _UNSCHEDULED, visit])


def make_subject(seed: int, index: int, site: Site, *, quick: bool) -> Subject:
    """Make a participant."""
    rng = np.random.default_rng([seed, index])
    head = make_head(rng, spacing_mm=_HEAD_SPACING_MM[quick])
    return Subject(
        f"sub-{index + 1:02d}",
        (seed, index),
        quick,
        site,
        head,
        LesionMaker(head),
        first_day=_FIRST_DAY + dt.timedelta(days=int(rng.integers(0, 200))),
        noise_scale=float(rng.uniform(0.9, 1.1)),
        sex=str(rng.choice(["F", "F", "M"])),
        age=int(rng.integers(19, 51)),
    )


def make_wrong_head(subject: Subject) -> tuple[HeadModel, LesionMaker, LesionState]:
    """Make somebody else, with lesions: whom the scans of the wrong head show."""
    head = make_head(
        np.random.default_rng([*subject.seed, _STRANGER]), spacing_mm=_HEAD_SPACING_MM[subject.quick]
    )
    maker = LesionMaker(head)
    seed = np.random.SeedSequence([*subject.seed, _STRANGER, _LIFE])
    return head, maker, next(simulate_course(maker, [0.0], 0.0, [seed], smallest_mm3=subject.smallest_mm3))
