"""Contrast phase of T1-weighted series: before or after contrast agent, and the evidence for it."""

import datetime as dt
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.tags import moment, number, parse_clock, quoted, sequence, text
from mesems_mri.intake.weighting import acquired_alike

PRE, POST = "T1w", "ce-gadolinium_T1w"
_NO_AGENT = re.compile(
    r"no(ne)?|n/?a|nil|not? given|without|unknown|0+|-+|ohne|sans|nativ\w*|", re.IGNORECASE
)
_B, _E = r"(?<![a-z])", r"(?![a-z])"
# Words of the languages of the sites, without accents; "before" and "without" count beside an agent only.
_AGENT = r"(contrast\w*|kontrast\w*|gd\w*|gado\w*|gad|ce|k\.?m\.?|mdc|pdc|kl|c)"
_BEFORE = r"(before|przed|vor|avant|antes|prima|pred|ennen|foer|for|fore)"
_WITHOUT = r"(non|no|without|w/?o|ohne|sans|senza|sin|bez|uden|uten|utan|ilman)"
_SAYS_PRE = re.compile(
    rf"{_B}pre(\W{{0,3}}{_AGENT})?{_E}|{_B}(nati[vw]\w*|natyw\w*|unenhanced|plain){_E}|"
    rf"{_B}({_BEFORE}|{_WITHOUT})\W{{0,3}}({_AGENT}|enhanced){_E}|"
    rf"(?<![a-z0-9])-\s?(c|gd|ce|km)(?![a-z0-9])",
    re.IGNORECASE,
)
_SAYS_POST = re.compile(
    rf"{_B}(post\w*|gd\w*|gado\w*|gad|ce|km|kontrast\w*|contrast\w*|enhanced|inj\w*|mdc|pdc|c\+){_E}|"
    rf"\+\s?(c|gd|ce|km|k|contrast)(?![a-z0-9])",
    re.IGNORECASE,
)
_BOLUS_TAGS = ("ContrastBolusAgent", "ContrastBolusIngredient")
_DOSE_TAGS = ("ContrastBolusVolume", "ContrastBolusTotalDose")


class ContrastPhase(NamedTuple):
    """Pre- or post-contrast, or unknown (empty), with the evidence."""

    role: str
    because: str


def phase_from_bolus(series: Series) -> ContrastPhase:
    """Return the phase from the bolus tags; a scan that began before the injection is pre-contrast.

    Absent tags say nothing: many scanners leave them empty after contrast agent too.

    Returns
    -------
    ContrastPhase
    """
    named = _agent(series)
    if not named:
        return ContrastPhase("", "no bolus tags")
    started, injected = moment(series.header), parse_clock(text(series.header, "ContrastBolusStartTime"))
    if started and injected is not None:
        day = dt.datetime.combine(started.date(), injected)
        if started < day:
            return ContrastPhase(PRE, "bolus tags: the scan began before the injection")
    return ContrastPhase(POST, f"bolus tags: {named}")


def phase_from_name(series: Series) -> ContrastPhase:
    """Return the phase from the name of the series.

    Returns
    -------
    ContrastPhase
        Empty when the name says neither, or both.
    """
    name = "".join(
        c for c in unicodedata.normalize("NFKD", series.description) if not unicodedata.combining(c)
    )
    pre, post = _SAYS_PRE.search(name), _SAYS_POST.search(_SAYS_PRE.sub(" ", name))
    if pre and not post:
        return ContrastPhase(PRE, f"name says {quoted(pre[0])}")
    if post and not pre:
        return ContrastPhase(POST, f"name says {quoted(post[0])}")
    return ContrastPhase("", "")


def classify_phases(t1w: Sequence[Series], contrast_given: bool | None) -> list[ContrastPhase]:
    """Return the contrast phase of each T1-weighted series of a visit.

    In this order: bolus tags, name, time. Bolus tags that all series of the visit have alike say nothing of
    the single one (some scanners fill them in for the whole examination), unless there is only one. A name
    that series with and without bolus tags share says nothing either.

    Parameters
    ----------
    t1w : sequence of Series
        All T1-weighted series of one visit.
    contrast_given : bool or None
        Whether the visit was to have contrast agent; None: not known.

    Returns
    -------
    list of ContrastPhase
        In the order given. An empty role: nothing tells, or tags and name contradict each other.
    """
    bolus, names = [phase_from_bolus(s) for s in t1w], [phase_from_name(s) for s in t1w]
    tells = len(t1w) == 1 or len({phase.role for phase in bolus}) > 1
    # a name that a series with bolus tags has too is that of the protocol, not of the phase
    shared = (
        {s.description for s, phase in zip(t1w, bolus, strict=True) if phase.role == POST} if tells else set()
    )
    found = []
    for series, tags, name in zip(t1w, bolus, names, strict=True):
        if not (tags.role and tells):
            common = series.description in shared and len(t1w) > 1
            found.append(ContrastPhase("", "") if common else name)
        elif name.role == PRE and tags.role == POST:
            found.append(ContrastPhase("", f"contradictory: {tags.because}, but {name.because}"))
        else:
            found.append(tags)
    return _phases_from_order(t1w, found, bolus, contrast_given)


def _phases_from_order(
    t1w: Sequence[Series],
    found: list[ContrastPhase],
    bolus: list[ContrastPhase],
    contrast_given: bool | None,
) -> list[ContrastPhase]:
    """Give series without a phase one by when they were acquired, relative to each other."""
    found = list(found)
    times = [moment(s.header) for s in t1w]
    left = [at for at, phase in enumerate(found) if not phase.role and not phase.because]
    known = [(times[at], phase.role) for at, phase in enumerate(found)]
    first_post = min((time for time, role in known if role == POST and time), default=None)
    last_pre = max((time for time, role in known if role == PRE and time), default=None)
    agent = contrast_given is True or any(phase.role == POST for phase in bolus)
    for at in left:
        time = times[at]
        if time and first_post and time != first_post:
            role, side = (PRE, "before") if time < first_post else (POST, "after")
            found[at] = ContrastPhase(role, f"time order: {side} the series with contrast agent")
        elif time and last_pre and not first_post and agent and time > last_pre:
            found[at] = ContrastPhase(POST, "time order: after the series without contrast agent")
    left = [at for at in left if not found[at].role]
    if len(left) == len(t1w) == 2 and agent and acquired_alike(*t1w):
        first, second = times
        if first and second and first != second:
            words = ("the first", "the second") if first < second else ("the second", "the first")
            for at, word in enumerate(words):
                role = PRE if word == "the first" else POST
                found[at] = ContrastPhase(role, f"time order: {word} of two T1w acquired alike")
    elif contrast_given is False or (len(left) == len(t1w) == 1 and not agent):
        for at in left:
            found[at] = ContrastPhase(PRE, "nothing tells of contrast agent")
    return found


def _agent(series: Series) -> str:
    header = series.header
    for keyword in _BOLUS_TAGS:
        word = text(header, keyword)
        if word and not _NO_AGENT.fullmatch(word.strip()):
            return f"{keyword} {quoted(word)}"
    for keyword in _DOSE_TAGS:
        if (number(header, keyword) or 0) > 0:
            return f"{keyword} {number(header, keyword):g}"
    for item in sequence(header, "ContrastBolusAgentSequence")[:1]:
        used = text(header, "ContrastBolusAgentAdministered").upper()
        if used != "NO":
            return f"ContrastBolusAgentSequence {quoted(text(item, 'CodeMeaning'))}"
    return ""
