"""Contrast agent by the bolus tags of a header: given, not given, or not said.

The one place that reads what sites and scanners write there: ``Gadovist``, ``NO CONTRAST``, ``0 ml``, ``kein
KM``.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydicom import Dataset

from mesems_mri.intake.contrast_name import PRE, phase_of_name
from mesems_mri.intake.deidentify.letters import latin_letters
from mesems_mri.intake.dicom.tags import number, sequence, text
from mesems_mri.intake.protocol import Agent

_NAMES = ("ContrastBolusAgent", "ContrastBolusIngredient")
_VOLUMES = ("ContrastBolusVolume", "ContrastBolusTotalDose")
_NOTHING_SAID = re.compile(r"(n/?a|nil|unknown|unspecified|not specified|-+|\?+|)", re.IGNORECASE)
_NO = re.compile(
    r"(no(ne|ne given|t given|thing|n)?|kein(e|er|s)?|nein|ohne|without|sans|aucun|sin|senza|nessuno|"
    r"ningun[oa]?|sem|nenhum|bez|brak|zadn[ay]|uden|utan|uten|ingen|geen|nativ\w*|native|false|0+|ei|yok|nu|ochi|kamia)",
    re.IGNORECASE,
)
_NO_VOLUME = re.compile(r"(?<![\d.,])0+([.,]0*)?\s*(ml|cc|mmol|mg)", re.IGNORECASE)
_GADOLINIUM = re.compile(
    r"(?<![a-z])(gd|gad|gadavist|gado[a-z]*|dotarem|magnevist|multihance|prohance|omniscan|clariscan|elucirem|vueway|artirem|"
    r"cyclolux|magnograf|dota(gita|graf|vision|spin|rem)|primovist|eovist|optimark|gddtpa|gddota|gd-?(dtpa|dota|bopta))"
    r"(?![a-z])"
)


class AgentSaid(NamedTuple):
    """Contrast agent as the bolus tags tell it.

    Parameters
    ----------
    given : bool or None
        None: they do not say, or contradict themselves.
    because : str
        In words of ours: nothing that somebody typed is repeated.
    names : tuple of str
        The names of agents as typed, but for those that say that none was given; to be looked up, not shown.
    """

    given: bool | None
    because: str = ""
    names: tuple[str, ...] = ()


def agent_of_text(typed: str, known: Sequence[Agent] = ()) -> bool | None:
    """Return whether a text names a contrast agent as given; None when it does not say.

    Only an agent that is known counts as given: a word that is not understood says nothing.

    Parameters
    ----------
    typed : str
        Contrast/Bolus Agent or Ingredient.
    known : sequence of Agent
        Agents of the protocol, besides the gadolinium chelates known by name.

    Examples
    --------
    >>> agent_of_text("Gadovist 1.0"), agent_of_text("kein KM"), agent_of_text("0 ml"), agent_of_text("KM")
    (True, False, False, None)
    """
    plain = latin_letters(typed).strip()
    if _NOTHING_SAID.fullmatch(plain):
        return None
    phase = phase_of_name(typed).phase
    if _NO.fullmatch(plain) or _NO_VOLUME.search(plain) or phase == PRE:
        return False
    words = [word.casefold() for agent in known for word in agent.words]
    named = _GADOLINIUM.search(plain) is not None or any(word in plain for word in words)
    return True if named and (phase or _GADOLINIUM.match(plain) or plain in words) else None


def agent_said(header: Dataset, known: Sequence[Agent] = ()) -> AgentSaid:
    """Return what the bolus tags of a header say.

    Parameters
    ----------
    header : Dataset
        Of a classic or an enhanced object.
    known : sequence of Agent

    Returns
    -------
    AgentSaid
    """
    typed = [text(header, keyword) for keyword in _NAMES]
    typed += [text(item, "CodeMeaning") for item in sequence(header, "ContrastBolusAgentSequence")]
    typed = [name for name in typed if name]
    said = {name: agent_of_text(name, known) for name in typed}
    names = tuple(name for name, given in said.items() if given is not False)
    volumes = [
        found
        for place in bolus_places(header)
        for key in _VOLUMES
        if (found := number(place, key)) is not None
    ]
    administered = text(header, "ContrastBolusAgentAdministered").upper()
    if administered == "NO" or (False in said.values() and not any(volume > 0 for volume in volumes)):
        return AgentSaid(False, "the bolus tags say that none was given")
    if False in said.values():
        return AgentSaid(None, "the bolus tags give a volume and say that none was given", names)
    if any(volume > 0 for volume in volumes):
        return AgentSaid(True, f"the bolus tags give {max(volumes):g} ml", names)
    if True in said.values() and volumes:
        return AgentSaid(None, "the bolus tags name an agent with a volume of 0", names)
    if True in said.values():
        return AgentSaid(True, "the bolus tags name a gadolinium agent", names)
    if names:
        return AgentSaid(None, "the bolus tags name no agent that is known", names)
    return AgentSaid(None, "no bolus tags")


def bolus_places(header: Dataset) -> Iterator[Dataset]:
    """Yield the parts of a header that can tell of a bolus."""
    coded = sequence(header, "ContrastBolusAgentSequence")
    yield header
    yield from coded
    for item in (header, *coded):
        yield from sequence(item, "ContrastAdministrationProfileSequence")
