"""Contrast phase of a series by its name: before or after contrast agent, in the languages of the sites.

A name is read word by word by the closed list of `mesems_mri.intake.contrast_words`. A contrast word with an
unknown word beside it says nothing: the unknown word may be a negation in a language that is not on the list.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from mesems_mri.intake import contrast_words as listed
from mesems_mri.intake.deidentify.letters import latin_letters

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DOTTED = re.compile(r"(?<![a-z])([a-z])\.\s?([a-z])(?:\.\s?([a-z])(?![a-z]))?(?![a-z])\.?")
# one letter stands for contrast agent only beside a sign or a slash
_SIGNED = r"(?:[ck]ontrast[a-z]*|gado[a-z]*|gad|gd|ce|km|mdc|kl|iv|c|k)"
_SIGNS = (
    (re.compile(rf"\+\s?/?\s?-\s?{_SIGNED}?(?![a-z])|{_SIGNED}\s?\+\s?/?\s?-"), " <both> "),
    (
        re.compile(r"(?<![a-z])w\s?/\s?wo?(?:/o)?(?![a-z])|(?<![a-z])w\s?/?\s?(?:and|&)\s?w/?o(?![a-z])"),
        " <both> ",
    ),
    (re.compile(r"(?<![a-z])w\s?/\s?o(?![a-z])"), " without "),
    (re.compile(rf"(?<![a-z])(?:s|u)\s?/\s?{_SIGNED}(?![a-z])"), " <pre> "),
    (re.compile(rf"(?<![a-z])(?:c|m)\s?/\s?{_SIGNED}(?![a-z])"), " <post> "),
    (re.compile(rf"\+\s?{_SIGNED}(?![a-z])|(?<![a-z]){_SIGNED}\s?\+"), " <post> "),
    (
        re.compile(rf"(?:(?<=[\s_(\[,])|^)-\s?{_SIGNED}(?![a-z-])|(?<![a-z]){_SIGNED}-(?=$|[\s_)\],.])"),
        " <pre> ",
    ),
)
_TOKEN = re.compile(r"<[a-z]+>|[a-z]+|\d+")
_LONGEST_FUSED = 40
PRE, POST, BOTH, UNKNOWN = "pre", "post", "both", "unknown"


class NamedPhase(NamedTuple):
    """Contrast phase as a name says it.

    Parameters
    ----------
    phase : str
        ``pre``, ``post``, or empty: the name says nothing, or cannot be understood.
    words : str
        The words of the closed list that say so.
    """

    phase: str
    words: str = ""


class _Claim(NamedTuple):
    phase: str
    first: int
    last: int


def plain_name(name: str) -> str:
    """Return a name in lower-case Latin letters without accents; ``preGd`` in two words.

    Examples
    --------
    >>> plain_name("T1 Før Kontrast"), plain_name("T1 χωρίς"), plain_name("preGd")
    ('t1 for kontrast', 't1 choris', 'pre gd')
    """
    composed = unicodedata.normalize("NFC", name)
    return latin_letters(_CAMEL.sub(" ", composed))


def phase_of_name(name: str) -> NamedPhase:
    """Return the contrast phase that a name says.

    Parameters
    ----------
    name : str
        Series Description, as the site wrote it.

    Returns
    -------
    NamedPhase
        Empty when it says neither, both, or when an unknown word stands beside what says ``post``.

    Examples
    --------
    >>> phase_of_name("t1_se_tra_ohne_KM"), phase_of_name("T1 met contrast")
    (NamedPhase(phase='pre', words='ohne km'), NamedPhase(phase='post', words='met contrast'))
    >>> phase_of_name("T1 blabla contrast")
    NamedPhase(phase='', words='')
    """
    plain = plain_name(name)
    plain = _DOTTED.sub(lambda m: "".join(part for part in m.groups() if part) + " ", plain)
    for pattern, token in _SIGNS:
        plain = pattern.sub(token, plain)
    tokens = [word for token in _TOKEN.findall(plain) for word in _words_of(token)]
    claims = list(_claims(tokens))
    phases = {claim.phase for claim in claims}
    if len(phases) != 1 or BOTH in phases:
        return NamedPhase("")
    if phases == {POST} and any(_beside_unknown(tokens, claim) for claim in claims):
        return NamedPhase("")
    said = [tokens[at].strip("<>") for claim in claims for at in range(claim.first, claim.last + 1)]
    return NamedPhase(phases.pop(), " ".join(dict.fromkeys(said)))


def _claims(tokens: Sequence[str]) -> Iterator[_Claim]:
    """Yield what each part of a name says; an agent that a preposition has spoken for says nothing alone."""
    spoken_for: set[int] = set()
    claims: list[_Claim] = []
    for at, token in enumerate(tokens):
        if token in ("<pre>", "<post>", "<both>"):
            claims.append(_Claim(token.strip("<>"), at, at))
        elif token in listed.PRE:
            claims.append(_Claim(PRE, at, at))
        elif token in listed.POST:
            claims.append(_negated(tokens, at) or _Claim(POST, at, at))
        elif claim := _of_preposition(tokens, at):
            spoken_for |= set(range(claim.first, claim.last + 1))
            claims.append(claim)
    for at, token in enumerate(tokens):
        if token in listed.AGENT and at not in spoken_for:
            first = at - 1 if at and tokens[at - 1] in listed.WITH else at
            behind = tokens[at + 1] if at + 1 < len(tokens) else ""
            # "contrast: no", "KM nicht gegeben"
            claims.append(_Claim(BOTH if behind in listed.WITHOUT else POST, first, at))
    yield from claims


def _negated(tokens: Sequence[str], at: int) -> _Claim | None:
    before = tokens[at - 1] if at else ""
    return _Claim(PRE, at - 1, at) if before in listed.WITHOUT | listed.BEFORE else None


def _of_preposition(tokens: Sequence[str], at: int) -> _Claim | None:
    """Return what ``without``, ``before`` or ``after`` says, with the agent that it goes with."""
    token = tokens[at]
    phase = (
        PRE
        if token in listed.WITHOUT or token in listed.BEFORE | listed.BEFORE_AGENT
        else POST
        if token in listed.AFTER | listed.AFTER_AGENT
        else ""
    )
    if not phase:
        return None
    ahead = _agent_ahead(tokens, at)
    if ahead is not None:
        with_too = any(word in listed.WITH for word in tokens[max(at - 2, 0) : at])
        joined = at and tokens[at - 1] in listed.AND
        return _Claim(BOTH if with_too and joined and token in listed.WITHOUT else phase, at, ahead)
    if token in listed.POSTPOSED and at and tokens[at - 1] in listed.AGENT:
        return _Claim(phase, at - 1, at)
    if token in listed.BEFORE | listed.AFTER:
        return _Claim(phase, at, at)
    if token in listed.WITHOUT_ALONE and at == len(tokens) - 1:
        return _Claim(phase, at, at)
    return None


def _agent_ahead(tokens: Sequence[str], at: int) -> int | None:
    """Return where the agent is that follows a preposition, with nothing but fillers between."""
    if at + 1 < len(tokens) and tokens[at + 1] in ("c", "k"):
        return at + 1
    for ahead in range(at + 1, len(tokens)):
        if tokens[ahead] in listed.AGENT | listed.POST:
            return ahead
        if tokens[ahead] not in listed.FILLERS:
            return None
    return None


def _beside_unknown(tokens: Sequence[str], claim: _Claim) -> bool:
    """Return whether an unknown word stands beside a claim; numbers and fillers lie between."""
    for places in (range(claim.first - 1, -1, -1), range(claim.last + 1, len(tokens))):
        for at in places:
            token = tokens[at]
            if token.isdigit() or token in listed.FILLERS:
                continue
            if token == UNKNOWN:
                return True
            break
    return False


@cache
def _words_of(token: str) -> tuple[str, ...]:
    """Return the listed words of a token: itself, those that it is fused of, or ``unknown``."""
    if token.isdigit() or token.startswith("<") or token in _all_words():
        return (token,)
    if len(token) == 1:
        return (token,)
    return _fused(token) or (UNKNOWN,)


@cache
def _all_words() -> frozenset[str]:
    return listed.CONTRAST | listed.NEUTRAL


@cache
def _fusible_words() -> frozenset[str]:
    return frozenset(word for word in _all_words() if len(word) > 2) | {"gd", "km", "ce", "kl", "wo"}


def _fused(token: str) -> tuple[str, ...]:
    """Split a token into the fewest listed words of which one is about contrast, e.g. ``prekm``."""
    if len(token) > _LONGEST_FUSED:
        return ()
    usable = _fusible_words()
    best: list[tuple[str, ...] | None] = [(), *[None] * len(token)]
    for end in range(1, len(token) + 1):
        for begin in range(end):
            head, word = best[begin], token[begin:end]
            if head is None or word not in usable:
                continue
            found, known = (*head, word), best[end]
            if known is None or len(found) < len(known):
                best[end] = found
    return best[-1] or ()
