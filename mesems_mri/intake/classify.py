"""Classification of the series of a visit: the protocol role of each, and the reason."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from mesems_mri.intake import contrast, weighting
from mesems_mri.intake.deidentify.defacing import read_defacing
from mesems_mri.intake.dicom.geometry import FaultCode, slice_faults
from mesems_mri.intake.dicom.series import Series, orientations
from mesems_mri.intake.dicom.tags import moment, quoted, text, words
from mesems_mri.intake.protocol import Agent

IMAGE_ROLES = ("T1w", "ce-gadolinium_T1w", "T2w", "PDw", "FLAIR")
"""Roles that become images; the others are ``localizer``, ``derived`` and ``other``."""
LOCALIZER, DERIVED, OTHER = "localizer", "derived", "other"

_DERIVED_WORDS = {
    *("DERIVED", "SECONDARY", "MPR", "REFORMATTED", "RESAMPLED", "CSA RESAMPLED", "PROJECTION IMAGE"),
    *("MIP", "MNIP", "MINIP", "MAXIP", "SUBTRACT", "SUBTRACTION", "SUB", "ADD", "DIVISION"),
    *("ADC", "TRACEW", "FA", "MAP", "COMPUTED", "SYNTHETIC", "SCREEN SAVE", "COMBINED"),
}
# "mpr" in a name is no sign: sites call an MP-RAGE so
_DERIVED_NAME = re.compile(
    r"(?<![a-z])(mip|subtract\w*|reformat\w*|screen.?save|report|smartbrain)(?![a-z])", re.IGNORECASE
)
_NOT_MAGNITUDE = {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY"}
_LOCALIZER_NAME = re.compile(
    r"(?<![a-z])(locali[sz]er|loc|scout|survey|aahead|3.?plane|topogram|planscan)(?![a-z])", re.IGNORECASE
)
_PERHAPS_LOCALIZER_NAME = re.compile(r"(?<![a-z])(pilot|plan)(?![a-z])", re.IGNORECASE)
_LOCALIZER_SLICES = 15
"""A series of so few slices may be a localizer; one of more that is named ``pilot`` is of a pilot study."""
_LOCALIZER_WORDS = {"LOCALIZER", "SCOUT", "SURVEY"}
_REPEAT = re.compile(
    r"(?<![a-z])(rep|rpt|repeat\w*|repetition|wdh|wiederh\w*|redo|bis|2nd)(?![a-z])", re.IGNORECASE
)
_BROKEN = set(FaultCode) - {FaultCode.GANTRY_TILT}


@dataclass(frozen=True)
class ClassifiedSeries:
    """A series with its role.

    Parameters
    ----------
    series : Series
        The series.
    role : str
        One of `IMAGE_ROLES`, or ``localizer``, ``derived``, ``other``.
    reason : str
        Why: by which tags, which name, or which order in time; of one not taken, why not.
    candidate_of : str
        The role for which it was considered and not taken; empty otherwise.
    unclear : str
        ``several``: no rule tells which of several candidates is meant; ``phase``: nothing tells whether it
        was acquired before or after contrast agent. In both cases it was not taken.
    doubt : str
        Evidence against the role although it was given, for a query that does not block.
    votes : tuple of Vote
        Of a T1-weighted series, the evidence for its contrast phase.
    confirmed : bool
        False of a post-contrast scan that rests on its name or on the order in time alone.
    answered : bool
        The site has named it for its role.
    """

    series: Series
    role: str
    reason: str
    candidate_of: str = ""
    unclear: str = ""
    doubt: str = ""
    votes: tuple[contrast.Vote, ...] = ()
    confirmed: bool = True
    answered: bool = False


def classify_series(
    series: Sequence[Series],
    *,
    contrast_given: bool | None = None,
    mapped: Mapping[Series, str] | None = None,
    agents: Sequence[Agent] = (),
) -> list[ClassifiedSeries]:
    """Classify every series of a visit.

    Parameters
    ----------
    series : sequence of Series
        All series of one visit.
    contrast_given : bool or None
        Whether contrast agent was to be given; None: not known.
    mapped : mapping of Series to str, optional
        The role of series by the series map of the site, which decides before any rule; an empty role: the
        map names another series for it.
    agents : sequence of Agent
        Contrast agents of the protocol.

    Returns
    -------
    list of ClassifiedSeries
        One for each series, in the order given; each image role at most once.
    """
    mapped = mapped or {}
    parts = {weighting.body_part(one) for one in series if text(one.header, "Modality").upper() == "MR"}
    assigned = [_by_map(one, mapped[one]) if one in mapped else _classify_alone(one, parts) for one in series]
    assigned = _leave_out_reformats(assigned)
    assigned = _classify_phases(assigned, contrast_given, mapped, agents)
    for role in IMAGE_ROLES:
        if not any(mapped.get(one.series) == one.role == role for one in assigned):
            assigned = _select_one(role, assigned)
    return _leave_to_mapped(assigned, mapped)


def _leave_out_reformats(assigned: list[ClassifiedSeries]) -> list[ClassifiedSeries]:
    """Leave out reformats: the same 3D acquisition in another plane, or with thicker slices."""
    originals = {role: [one.series for one in assigned if one.role == role] for role in IMAGE_ROLES}
    return [
        replace(one, role=DERIVED, candidate_of=one.role, reason=f"{one.reason}; reformat of another series")
        if any(weighting.is_reformat_of(one.series, other) for other in originals.get(one.role, ()))
        else one
        for one in assigned
    ]


def _by_map(series: Series, role: str) -> ClassifiedSeries:
    if not role:
        return ClassifiedSeries(series, OTHER, "the series map of the site names another series")
    weighted = "T1w" if role in (contrast.PRE, contrast.POST) else role
    return ClassifiedSeries(series, weighted, "series map of the site")


def _leave_to_mapped(
    assigned: list[ClassifiedSeries], mapped: Mapping[Series, str]
) -> list[ClassifiedSeries]:
    """Leave a role to the series that the map names for it, whatever other series could be it."""
    taken = {one.role for one in assigned if one.role and mapped.get(one.series) == one.role}
    return [
        replace(
            one,
            role=OTHER,
            candidate_of=one.role if one.role in taken else one.candidate_of,
            unclear="",
            reason=f"{one.reason}; not taken: the series map of the site names another series",
        )
        if mapped.get(one.series) not in taken
        and (one.role in taken or (one.unclear == "several" and one.candidate_of in taken))
        else one
        for one in assigned
    ]


def _classify_alone(series: Series, body_parts: Collection[str]) -> ClassifiedSeries:
    """Classify a series without the others: all but the phase of contrast agent."""
    if series.copy_of:
        return ClassifiedSeries(series, OTHER, "a second copy: the same instance UIDs as another series sent")
    modality = text(series.header, "Modality").upper()
    if modality != "MR":
        return ClassifiedSeries(series, OTHER, f"modality {quoted(modality)}, expected MR")
    kind = series.slices[0].kind if series.slices else words(series.header, "ImageType")
    kinds = set(kind)
    if reason := _localizer_reason(series, kinds):
        return ClassifiedSeries(series, LOCALIZER, reason)
    role, reason, doubt = _weighting_of(series, body_parts)
    candidate_of = role if role in IMAGE_ROLES else ""
    # a series without its face is written as derived, and is no other image for it
    computed = kinds - {"DERIVED", "SECONDARY"} if read_defacing(series.header) else kinds
    if found := sorted(computed & _DERIVED_WORDS):
        return ClassifiedSeries(series, DERIVED, f"ImageType {', '.join(found)}", candidate_of=candidate_of)
    if found := sorted(kinds & _NOT_MAGNITUDE):
        return ClassifiedSeries(series, OTHER, f"ImageType {found[0]}: no magnitude image")
    if found := _DERIVED_NAME.search(series.description):
        return ClassifiedSeries(series, DERIVED, weighting.name_says(found[0]), candidate_of=candidate_of)
    return ClassifiedSeries(series, role or OTHER, reason, doubt=doubt)


def _localizer_reason(series: Series, kinds: set[str]) -> str:
    """Return why a series is a localizer; empty when it is none."""
    if found := kinds & _LOCALIZER_WORDS:
        return f"ImageType {sorted(found)[0]}"
    if found := _LOCALIZER_NAME.search(series.description):
        return weighting.name_says(found[0])
    few = series.frames < _LOCALIZER_SLICES or not weighting.weighting_from_parameters(series).role
    if few and (found := _PERHAPS_LOCALIZER_NAME.search(series.description)):
        return weighting.name_says(found[0])
    return "slices in three or more orientations" if len(orientations(series.slices)) >= 3 else ""


def _weighting_of(series: Series, body_parts: Collection[str]) -> tuple[str, str, str]:
    """Return role, reason and doubt by acquisition parameters and name; the parameters decide."""
    role, reason, doubt = _weighting_by_times(series)
    if role == OTHER:
        return role, reason, ""
    elsewhere, told = weighting.not_head(series, role, body_parts)
    if elsewhere:
        return OTHER, told, ""
    if told and role and not doubt:
        doubt = f"{told}, but {reason} is {role} of a head"
    return role, reason, doubt


def _weighting_by_times(series: Series) -> tuple[str, str, str]:
    name, parameters = weighting.weighting_from_name(series), weighting.weighting_from_parameters(series)
    if name.role == "other":
        return OTHER, name.because, ""
    if other := weighting.other_by_name(series, parameters.role):
        return OTHER, other, ""
    if name.role == "FLAIR" and parameters.role == "T2w" and weighting.could_be_flair(series):
        doubt = f"{name.because}, but the header has no inversion time ({parameters.because})"
        return "FLAIR", f"{name.because}; {parameters.because} without an inversion time", doubt
    if parameters.role and name.role and parameters.role != name.role:
        doubt = f"{name.because}, but {parameters.because} is {parameters.role}"
        return parameters.role, f"{parameters.because}; against the name", doubt
    if parameters.role:
        also = f"; {name.because}" if name.role else ""
        return parameters.role, f"{parameters.because}{also}", ""
    if name.role:
        told = parameters.because or "no acquisition parameters"
        return name.role, f"{name.because} ({told}, which decides nothing)", ""
    told = (
        f"{parameters.because} fit no contrast of the protocol"
        if parameters.because
        else "nothing tells its contrast"
    )
    return OTHER, told, ""


def _classify_phases(
    assigned: list[ClassifiedSeries],
    contrast_given: bool | None,
    mapped: Mapping[Series, str],
    agents: Sequence[Agent],
) -> list[ClassifiedSeries]:
    at = [i for i, one in enumerate(assigned) if one.role == "T1w"]
    named = {one: role for one, role in mapped.items() if role in (contrast.PRE, contrast.POST)}
    t1w = [assigned[i].series for i in at]
    found = contrast.classify_phases(t1w, contrast_given, mapped=named, agents=agents)
    assigned = list(assigned)
    for i, phase in zip(at, found, strict=True):
        one = replace(assigned[i], votes=phase.votes, confirmed=phase.confirmed)
        if phase.role:
            assigned[i] = replace(one, role=phase.role, reason=f"{one.reason}; {phase.because}")
        else:
            because = (
                phase.because or "neither bolus tags, nor name, nor time tell the phase of contrast agent"
            )
            assigned[i] = replace(
                one, role=OTHER, reason=f"{one.reason}; {because}", candidate_of="T1w", unclear="phase"
            )
    return assigned


def _select_one(role: str, assigned: list[ClassifiedSeries]) -> list[ClassifiedSeries]:
    """Leave a role to one series at most, by the first rule that tells it from the others."""
    at = [i for i, one in enumerate(assigned) if one.role == role]
    if len(at) < 2:
        return assigned
    left, assigned = at, list(assigned)
    for rule in (
        _prefer_complete,
        _prefer_certain(assigned),
        _prefer_named(role),
        _prefer_before_contrast(role),
        _prefer_corrected,
        _prefer_repetition,
        _prefer_matching(role, assigned),
        _prefer_3d,
    ):
        kept, because = rule([assigned[i].series for i in left])
        if 0 < len(kept) < len(left):
            for i in left:
                if assigned[i].series not in kept:
                    assigned[i] = replace(
                        assigned[i], role=OTHER, candidate_of=role, reason=f"{assigned[i].reason}; {because}"
                    )
            left = [i for i in left if assigned[i].series in kept]
        if len(left) == 1:
            others = f"{len(at) - 1} other{'s' if len(at) > 2 else ''} not taken"
            assigned[left[0]] = replace(assigned[left[0]], reason=f"{assigned[left[0]].reason}; {others}")
            return assigned
    for i in left:
        why = f"{assigned[i].reason}; one of {len(left)} candidates for {role}, between which no rule decides"
        assigned[i] = replace(assigned[i], role=OTHER, candidate_of=role, unclear="several", reason=why)
    return assigned


_SelectionRule = Callable[[list[Series]], tuple[list[Series], str]]


def _prefer_complete(candidates: list[Series]) -> tuple[list[Series], str]:
    whole = [s for s in candidates if not {f.code for f in slice_faults(s)} & _BROKEN]
    return whole, "not taken: slices are wrong or missing, and another candidate is complete"


def _prefer_certain(assigned: list[ClassifiedSeries]) -> _SelectionRule:
    """Make the rule that a series against which nothing speaks comes before one with a doubt."""
    doubted = {one.series for one in assigned if one.doubt}

    def rule(candidates: list[Series]) -> tuple[list[Series], str]:
        kept = [s for s in candidates if s not in doubted]
        return kept, "not taken: evidence speaks against it, and another candidate has none against it"

    return rule


def _prefer_named(role: str) -> _SelectionRule:
    """Make the rule that times alone do not stand against times and name: a DIR has those of a FLAIR."""
    wanted = "T1w" if role in (contrast.PRE, contrast.POST) else role

    def rule(candidates: list[Series]) -> tuple[list[Series], str]:
        named = [s for s in candidates if weighting.weighting_from_name(s).role == wanted]
        # one with the times of a named one is the same thing, whatever its name
        kept = [s for s in candidates if any(weighting.timed_alike(s, other) for other in named)]
        return kept, "not taken: another candidate is named so too"

    return rule


def _prefer_before_contrast(role: str) -> _SelectionRule:
    """Make the rule that of two acquired alike the one before contrast agent is taken."""

    def rule(candidates: list[Series]) -> tuple[list[Series], str]:
        if role in (contrast.PRE, contrast.POST):
            return candidates, ""
        kept = [s for s in candidates if not contrast.is_after_contrast(s)]
        alike = all(weighting.acquired_alike(s, candidates[0]) for s in candidates)
        return (kept, "not taken: acquired after contrast agent") if alike else (candidates, "")

    return rule


def _prefer_corrected(candidates: list[Series]) -> tuple[list[Series], str]:
    """Of one acquisition reconstructed several times take the one with most corrections."""
    moments = {moment(s.header) for s in candidates}
    if len(moments) != 1 or None in moments:
        return candidates, ""
    ranks = [_corrections(s) for s in candidates]
    kept = [s for s, rank in zip(candidates, ranks, strict=True) if rank == max(ranks)]
    return kept, "not taken: the same acquisition is there with more corrections (distortion, intensity)"


def _corrections(series: Series) -> int:
    kinds = set(words(series.header, "ImageType"))
    return 2 * bool(kinds & {"DIS3D", "DIS2D"}) + bool(kinds & {"NORM", "FILTERED"})


def _prefer_repetition(candidates: list[Series]) -> tuple[list[Series], str]:
    kept = [s for s in candidates if _REPEAT.search(s.description)]
    return (kept, "not taken: another one is named a repetition") if len(kept) == 1 else (candidates, "")


def _prefer_matching(role: str, assigned: list[ClassifiedSeries]) -> _SelectionRule:
    """Make the rule that a T1w and its counterpart with contrast agent were acquired alike."""
    partner = {"T1w": "ce-gadolinium_T1w", "ce-gadolinium_T1w": "T1w"}.get(role)
    partners = [one.series for one in assigned if one.role == partner]

    def rule(candidates: list[Series]) -> tuple[list[Series], str]:
        if not partners:
            return candidates, ""
        kept = [s for s in candidates if any(weighting.acquired_alike(s, other) for other in partners)]
        return kept, f"not taken: another one is acquired as the {partner} is"

    return rule


def _prefer_3d(candidates: list[Series]) -> tuple[list[Series], str]:
    kept = [s for s in candidates if text(s.header, "MRAcquisitionType") == "3D"]
    flat = [s for s in candidates if text(s.header, "MRAcquisitionType") == "2D"]
    named = {weighting.weighting_from_name(s).role for s in candidates}
    # named alike, or not named at all: else nothing says that the two are the same contrast
    if len(kept) == 1 and len(flat) == len(candidates) - 1 and len(named) == 1:
        return kept, "not taken: a 3D acquisition of the same contrast is there"
    return candidates, ""
