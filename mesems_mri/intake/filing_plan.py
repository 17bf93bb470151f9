"""Filing plan of an examination: what is filed, replaced or quarantined beside other images of the visit."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from mesems_mri.intake.contrast import POST, PRE
from mesems_mri.intake.folder import FiledImage


@dataclass(frozen=True)
class FilingPlan:
    """Filing decision for the images of an examination, by role.

    Parameters
    ----------
    unchanged : set of str
        Filed already.
    quarantined : set of str
        Kept in ``sourcedata``, as another image of the role stays.
    filed : set of str
    replaced : set of str
        What was filed before and is quarantined now.
    settled : set of str
        Those of `quarantined` about which nobody has to be asked: a stated rule decides.
    """

    unchanged: set[str] = field(default_factory=set)
    quarantined: set[str] = field(default_factory=set)
    filed: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Waiting:
    """Open blocking queries of earlier submissions about the visit.

    Parameters
    ----------
    any_query : bool
        Whether there is one.
    asked_again : bool
        Whether one is about a fault of what was sent, so that a whole examination is its repetition.
    roles : set of str
        Roles that they are about.
    """

    any_query: bool = False
    asked_again: bool = False
    roles: frozenset[str] = frozenset()


def plan_filing(
    new: Set[str],
    unchanged: Set[str],
    filed: Mapping[str, FiledImage],
    submission_id: str,
    study: Set[str],
    waiting: Waiting,
    named: Set[str] = frozenset(),
) -> FilingPlan:
    """Decide on filing, replacement and quarantine of new images where others of the visit are filed.

    The examinations of a visit are joined role by role: a role that is not filed is added, and what is filed
    stays as long as nothing replaces it. Replaced is an image of a role

    - that the site has named another one for, or that the same examination has filed;
    - that an open query of an earlier submission is about;
    - that a new series of the same study, or a repetition of everything that is filed, answers a query with;
    - that is the T1w of another examination than the post-contrast T1w: the two must match.

    Parameters
    ----------
    new, unchanged : set of str
        Roles of all images of the examination, and of those that are filed already.
    filed : dict of str to FiledImage
        What is there.
    submission_id : str
        The examination at hand: what it has filed itself before, it may replace.
    study : set of str
        Studies of the new images.
    waiting : Waiting
    named : set of str, optional
        Roles for which an answer names a series of this examination.

    Returns
    -------
    FilingPlan
    """
    same = set(new & unchanged)
    mine = {role for role in new if role in filed and filed[role].submission_id == submission_id}
    conflicts = (set(new) & set(filed)) - same - mine
    replaced = conflicts & (set(named) | waiting.roles)
    if waiting.any_query:
        replaced |= {role for role in conflicts if filed[role].study_id in study}
    if waiting.asked_again and set(new) >= set(filed):
        replaced = set(conflicts)
    aside = conflicts - replaced
    settled: set[str] = set()
    if PRE in aside and PRE not in named:
        if POST in new and POST not in aside:
            replaced, aside = replaced | {PRE}, aside - {PRE}
        elif POST not in new and is_pair(filed):
            settled = {PRE}
    return FilingPlan(same, aside, set(new) - same - aside, replaced, settled)


def is_pair(filed: Mapping[str, FiledImage]) -> bool:
    """Return whether the filed T1w is of the same examination as the filed post-contrast T1w."""
    if PRE not in filed or POST not in filed:
        return False
    return bool(filed[POST].submission_id) and filed[PRE].submission_id == filed[POST].submission_id
