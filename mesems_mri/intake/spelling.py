"""Spellings of patient IDs and of names of persons: what differs by spelling alone is the same."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from pydicom import Dataset
from pydicom.multival import MultiValue

from mesems_mri.dataset.schedule import SheetRow
from mesems_mri.intake.deidentify.letters import SPELT_OUT, latin_letters
from mesems_mri.intake.dicom.tags import sequence, text, value

_NAME_LETTERS = 5
"""In a run of so many letters or more, as a name has, "ue" may stand for "ü" written "u"."""
_TITLES = {"dr", "prof", "med", "mr", "mrs", "ms", "herr", "frau", "mme", "sig", "sr", "jr"}
_OTHER_FIELDS = ("OtherPatientIDs", "PatientName", "PatientComments", "AccessionNumber", "StudyDescription")
_MAX_WORDS = 4
_MIN_ID = 4
"""An ID with fewer letters and figures is no sign in the text of another field."""


def _plain(text_of: str) -> str:
    """Return a text without blanks and signs."""
    return re.sub(r"[\W_]", "", text_of)


def _folded(text_of: str) -> str:
    return unicodedata.normalize("NFC", text_of.casefold())


def _spellings(text_of: str) -> set[str]:
    """Return a text in base letters, as it is spelt: Müller as Mueller and as Muller."""
    folded = _folded(text_of)
    return {latin_letters(folded.translate(SPELT_OUT)), latin_letters(folded)}


def _reduced(spelt: str) -> str:
    """Return a spelling in which Mueller and Muller are the same; short codes stay as they are."""

    def reduce(run: re.Match[str]) -> str:
        return re.sub("([aou])e", r"\1", run[0]) if len(run[0]) >= _NAME_LETTERS else run[0]

    return re.sub(r"[^\W\d_]+", reduce, spelt)


def _without_zeros(spelt: str) -> str:
    """Return letters and figures of a text, each number without the zeros before it.

    Examples
    --------
    >>> _without_zeros("msc-001"), _without_zeros("msc 1")
    ('msc.1', 'msc.1')
    """
    parts = re.findall(r"\d+|[^\W\d_]+", spelt)
    return ".".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)


def _loosest(text_of: str) -> set[str]:
    return {_without_zeros(_reduced(one)) for one in _spellings(text_of)}


_KEYS: tuple[Callable[[str], set[str]], ...] = (
    lambda one: {one.casefold()},
    lambda one: {_plain(_folded(one))},
    lambda one: {_plain(spelt) for spelt in _spellings(one)},
    lambda one: {_plain(_reduced(spelt)) for spelt in _spellings(one)},
    _loosest,
)
"""From the strictest to the loosest; the first by which there is a participant decides."""


def participants_spelt(patient_id: str, schedule: Sequence[SheetRow]) -> tuple[list[str], bool]:
    """Return the participants of the schedule whose patient ID is the same but for its spelling.

    Parameters
    ----------
    patient_id : str
        As a header has it.
    schedule : sequence of SheetRow

    Returns
    -------
    list of str
        Several, if the closest spelling does not tell them apart; empty if there is none.
    bool
        Whether the spelling is that of the schedule, but for its case.
    """
    for strictness, keys in enumerate(_KEYS):
        wanted = keys(patient_id) - {""}
        found = sorted({row.participant_id for row in schedule if keys(row.dicom_patient_id) & wanted})
        if found:
            return found, strictness == 0
    return [], False


def participants_named(header: Dataset, schedule: Sequence[SheetRow]) -> dict[str, str]:
    """Return the participants whose patient ID stands in another field of a header.

    Parameters
    ----------
    header : Dataset
    schedule : sequence of SheetRow

    Returns
    -------
    dict of str to str
        The field by participant.
    """
    found: dict[str, str] = {}
    for keyword, told in _other_texts(header):
        words = re.findall(r"[^\W_]+", told)
        runs: set[str] = set()
        for first in range(len(words)):
            for last in range(first + 1, first + 1 + _MAX_WORDS):
                runs |= _loosest(" ".join(words[first:last]))
        for row in schedule:
            if len(_plain(row.dicom_patient_id)) >= _MIN_ID and _loosest(row.dicom_patient_id) & runs:
                found.setdefault(row.participant_id, keyword)
    return found


def trial_subject(header: Dataset, schedule: Sequence[SheetRow]) -> str:
    """Return the participant that ClinicalTrialSubjectID names; empty if it names none or several."""
    named = text(header, "ClinicalTrialSubjectID")
    found = participants_spelt(named, schedule)[0] if named else []
    return found[0] if len(found) == 1 else ""


def _other_texts(header: Dataset) -> Iterator[tuple[str, str]]:
    for keyword in _OTHER_FIELDS:
        held = value(header, keyword)
        several = list(held) if isinstance(held, MultiValue | list | tuple) else [held]
        yield from ((keyword, str(one)) for one in several if one is not None)
    for item in sequence(header, "OtherPatientIDsSequence"):
        yield "OtherPatientIDsSequence", text(item, "PatientID")


def same_person(names: Sequence[str]) -> bool:
    """Return whether names of persons differ by spelling, order or transliteration at most.

    Examples
    --------
    >>> same_person(["Müller^Anna", "ANNA MUELLER", "Muller^Anna^^Dr"])
    True
    """
    keys = [_person_keys(name) for name in names]
    return all(not known or not other or known & other for known in keys for other in keys)


def _person_keys(name: str) -> set[str]:
    """Return the words of each writing of a name, alphabetic or not, in a fixed order."""
    found = set()
    for writing in name.split("="):
        for spelt in _spellings(writing):
            reduced = re.sub("([aou])e", r"\1", spelt).replace("aa", "a")
            if words := sorted(set(re.findall(r"[^\W\d_]+", reduced)) - _TITLES):
                found |= {" ".join(words), "".join(words)}
    return found
