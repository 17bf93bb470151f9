"""Classification of the series of a visit: the protocol role of each, and the reason."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mesems_mri.intake import contrast, weighting
from mesems_mri.intake.dicom.geometry import FaultCode, slice_faults
from mesems_mri.intake.dicom.series import Series, orientations
from mesems_mri.intake.dicom.tags import moment, quoted, text, words

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
    r"(?<![a-z])(locali[sz]er|loc|scout|survey|aahead|3.?plane|pilot|topogram|planscan|plan)(?![a-z])",
    re.IGNORECASE,
)
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
    """

    series: Series
    role: str
    reason: str
    candidate_of: str = ""
    unclear: str = ""
    doubt: str = ""


def classify_series(
    series: Sequence[Series], *, contrast_given: bool | None = None
) -> list[ClassifiedSeries]:
    """Classify every series of a visit.

    Parameters
    ----------
    series : sequence of Series
        All series of one visit.
    contrast_given : bool or None
        Whether contrast agent was to be given; None: not known.

    Returns
    -------
    list of ClassifiedSeries
        One for each series, in the order given; each image role at most once.
    """
    assigned = [_classify_alone(one) for one in series]
    assigned = _classify_phases(assigned, contrast_given)
    for role in IMAGE_ROLES:
        assigned = _select_one(role, assigned)
    return assigned


def _classify_alone(series: Series) -> ClassifiedSeries:
    """Classify a series without the others: all but the phase of contrast agent."""
    if series.copy_of:
        return ClassifiedSeries(series, OTHER, "a second copy: the same instance UIDs as another series sent")
    modality = text(series.header, "Modality").upper()
    if modality != "MR":
        return ClassifiedSeries(series, OTHER, f"modality {quoted(modality)}, expected MR")
    kind = series.slices[0].kind if series.slices else words(series.header, "ImageType")
    kinds = set(kind)
    if found := kinds & _LOCALIZER_WORDS:
        return ClassifiedSeries(series, LOCALIZER, f"ImageType {sorted(found)[0]}")
    if found := _LOCALIZER_NAME.search(series.description):
        return ClassifiedSeries(series, LOCALIZER, f"name says {quoted(found[0])}")
    if found := sorted(kinds & _DERIVED_WORDS):
        return ClassifiedSeries(
            series, DERIVED, f"ImageType {', '.join(found)}", candidate_of=_weighting_of(series)[0]
        )
    if found := sorted(kinds & _NOT_MAGNITUDE):
        return ClassifiedSeries(series, OTHER, f"ImageType {found[0]}: no magnitude image")
    if len(orientations(series.slices)) >= 3:
        return ClassifiedSeries(series, LOCALIZER, "slices in three or more orientations")
    if found := _DERIVED_NAME.search(series.description):
        return ClassifiedSeries(
            series, DERIVED, f"name says {quoted(found[0])}", candidate_of=_weighting_of(series)[0]
        )
    role, reason, doubt = _weighting_of(series)
    return ClassifiedSeries(series, role or OTHER, reason, doubt=doubt)


def _weighting_of(series: Series) -> tuple[str, str, str]:
    """Return role, reason and doubt by acquisition parameters and name; the parameters decide."""
    name, parameters = weighting.weighting_from_name(series), weighting.weighting_from_parameters(series)
    if name.role == "other":
        return OTHER, name.because, ""
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


def _classify_phases(assigned: list[ClassifiedSeries], contrast_given: bool | None) -> list[ClassifiedSeries]:
    at = [i for i, one in enumerate(assigned) if one.role == "T1w"]
    found = contrast.classify_phases([assigned[i].series for i in at], contrast_given)
    assigned = list(assigned)
    for i, phase in zip(at, found, strict=True):
        one = assigned[i]
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
    if len(kept) == 1 and len(flat) == len(candidates) - 1:
        return kept, "not taken: a 3D acquisition of the same contrast is there"
    return candidates, ""
