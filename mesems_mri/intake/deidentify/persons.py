"""Identifiers of a person: collected from headers, and found again in any other text."""

import contextlib
import datetime as dt
import re
from collections.abc import Iterable, Iterator

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.multival import MultiValue

from mesems_mri.intake.deidentify.letters import SPELT_OUT, latin_letters
from mesems_mri.intake.deidentify.vocabulary import CODES, DEVICES, WORDS, word_set

REMOVED = "[---]"
"""Stands where something identifying stood; without letters, so that no name is found in it again."""


_PLACES = word_set("""
    InstitutionName InstitutionAddress InstitutionalDepartmentName PatientAddress CountryOfResidence
    RegionOfResidence ReferringPhysicianAddress PersonAddress Occupation IssuerOfPatientID
""")
_NUMBERS = word_set("""
    PatientID OtherPatientIDs AccessionNumber StudyID AdmissionID ServiceEpisodeID RequestedProcedureID
    ScheduledProcedureStepID PerformedProcedureStepID PlacerOrderNumberImagingServiceRequest
    FillerOrderNumberImagingServiceRequest PatientTelephoneNumbers ReferringPhysicianTelephoneNumbers
    PersonTelephoneNumbers MedicalRecordLocator PatientBirthDateInAlternativeCalendar
""")
_TAGS = {
    **{tag_for_keyword(keyword): "place" for keyword in _PLACES},
    **{tag_for_keyword(keyword): "number" for keyword in _NUMBERS},
    tag_for_keyword("PatientBirthDate"): "birth",
}
_NOBODY = word_set("""
    anon anonymous anonymized anonymised deidentified unknown none null name names patient subject participant
    volunteer phantom test dicom nifti study trial site visit session sub ses mesems mri scan
""")
"""Words that stand for a name and name nobody."""
_ANY_PLACE = (
    _NOBODY
    | CODES
    | DEVICES
    | WORDS
    | word_set("""
    hospital university universita universitaet clinic klinik klinikum clinica ospedale hopital centre center
    centro zentrum department departement dipartimento institute institut istituto radiology radiologie
    radiologia neurology neurologie neurologia neuroradiology imaging medical medicine research brain street
    strasse avenue road platz piazza place
""")
)
"""Words of an address that stand in many texts and locate nobody."""
_MIN_LETTERS = 3
_BARE_LETTERS = 4
"""Parts of a name with fewer letters are found as words only, longer ones inside words too."""
_MIN_CODE = 4
_BARE_CODE = 6
_MIN_PLACE_WORD = 5
_IDEOGRAPHS = 0x2E80
_MIN_IDEOGRAPHS = 2
_MONTHS = (
    "jan(?:uary)?",
    "feb(?:ruary)?",
    "mar(?:ch)?",
    "apr(?:il)?",
    "may",
    "june?",
    "july?",
    "aug(?:ust)?",
    "sep(?:t(?:ember)?)?",
    "oct(?:ober)?",
    "nov(?:ember)?",
    "dec(?:ember)?",
)


class PersonIdentifiers:
    """Registered identifiers of a person, and their search in a text.

    Parameters
    ----------
    known_words : iterable of str
        Labels that name nobody, e.g. of participants and sites; they are never taken for a name.
    """

    def __init__(self, allowed_words: Iterable[str] = ()) -> None:
        labels = {fold(word)[0].strip() for word in allowed_words}
        self._labels = labels | {re.sub(r"[\W_]", "", label) for label in labels}
        self._gathered: set[tuple[str, str]] = set()
        self._patterns: tuple[re.Pattern[str], re.Pattern[str]] | None = None

    @property
    def texts(self) -> frozenset[str]:
        """All registered texts, as they were written."""
        return frozenset(text for _, text in self._gathered)

    def learn(self, dataset: Dataset) -> None:
        """Register persons, addresses, numbers and the birth date of a header, at any depth."""
        for kind, text in _identifying(dataset):
            self.learn_text(text, kind)

    def learn_text(self, text: str, kind: str = "name") -> None:
        """Register a text as identifying: a ``name``, ``place``, ``number`` or ``birth`` date."""
        text = text.replace("\0", " ").strip()
        if text and fold(text)[0] not in self._labels | _NOBODY and (kind, text) not in self._gathered:
            self._gathered.add((kind, text))
            self._patterns = None

    def found_in(self, text: str) -> bool:
        """Return whether a registered identifier stands in a text."""
        return bool(self._spans(text))

    def remove_from(self, text: str, replacement: str = REMOVED) -> str:
        """Replace all registered identifiers; repeated until none is found: a removal can expose a word."""
        while spans := self._spans(text):
            for start, end in reversed(spans):
                text = text[:start] + replacement + text[end:]
        return text

    def _spans(self, text: str) -> list[tuple[int, int]]:
        if not self._gathered:
            return []
        if self._patterns is None:
            found = {p for kind, one in self._gathered for p in self._patterns_of(kind, one)}
            self._patterns = (
                _any_of(p for p, alone in found if not alone),
                _any_of(p for p, alone in found if alone),
            )
        folded, origin = fold(text)
        inside, words = (
            [(origin[match.start()], origin[match.end() - 1] + 1) for match in pattern.finditer(folded)]
            for pattern in self._patterns
        )
        return inside or [span for span in words if _stands_alone(text, *span)]

    def _patterns_of(self, kind: str, text: str) -> Iterator[tuple[str, bool]]:
        """Yield patterns for folded text, each with whether what it finds must be a word of its own."""
        if kind == "birth":
            yield from ((pattern, False) for pattern in _birth_patterns(text))
        elif kind == "number":
            runs = re.findall(r"[^\W_]+", fold(text)[0])
            size = sum(map(len, runs))
            if size >= _MIN_CODE and "".join(runs) not in self._labels:
                yield _joined(runs, r"[\W_]{0,2}"), size < _BARE_CODE
        else:
            for spelling in _spellings(text):
                for part in re.split(r"[=,;\n]+" if kind == "place" else "=", spelling):
                    yield from self._name_patterns(part, place=kind == "place")

    def _name_patterns(self, text: str, *, place: bool) -> Iterator[tuple[str, bool]]:
        words = re.findall(r"[^\W_]+" if place else r"[^\W\d_]+", text)
        size = sum(map(len, words))
        # a clinic may be called like a scanner, and a scanner is no clinic
        innocent = self._labels | (_ANY_PLACE if place else _NOBODY)
        if len(words) > 1 and size >= _BARE_LETTERS and not (self._labels | _NOBODY).issuperset(words):
            for order in (words, words[::-1]):
                yield _joined(order, r"[\W_]{0,3}" if place else r"[\W\d_]{0,3}"), size < _BARE_CODE
        for word in words:
            ideographic = ord(word[0]) >= _IDEOGRAPHS
            letters = sum(char.isalpha() for char in word)
            shortest = _MIN_PLACE_WORD if place else _MIN_IDEOGRAPHS if ideographic else _MIN_LETTERS
            if letters >= shortest and word not in innocent:
                yield re.escape(word), letters < _BARE_LETTERS and not ideographic


def fold(text: str) -> tuple[str, list[int] | range]:
    """Return a text without case and accents, and where each of its characters comes from.

    Examples
    --------
    >>> fold("MÜLLER")[0]
    'muller'
    """
    if text.isascii():
        return text.casefold(), range(len(text))
    folded: list[str] = []
    origin: list[int] = []
    for at, char in enumerate(text):
        for one in latin_letters(char.casefold()):
            folded.append(one)
            origin.append(at)
    return "".join(folded), origin


def _identifying(dataset: Dataset) -> Iterator[tuple[str, str]]:
    for tag in list(dataset.keys()):
        try:
            vr = dataset.get_item(tag).VR or dictionary_VR(tag)  # pyright: ignore[reportOptionalMemberAccess]
        except Exception:  # not in the dictionary, or damaged
            vr = "UN"
        kind = _TAGS.get(int(tag), "name" if vr == "PN" else "")
        if vr != "SQ" and not kind:
            continue
        try:
            value = dataset[tag].value
        except Exception:  # a damaged element: pydicom raises what its parts raise; it is not kept either
            continue
        if vr == "SQ":
            for item in value or ():
                yield from _identifying(item)
        elif value is not None:
            for text in value if isinstance(value, MultiValue | list | tuple) else (value,):
                yield kind, text.decode("latin-1") if isinstance(text, bytes) else str(text)


def _spellings(text: str) -> set[str]:
    """Return a text folded, with and without transliteration, and read as UTF-8 if taken for Latin-1."""
    texts = {text, text.casefold().translate(SPELT_OUT)}
    with contextlib.suppress(UnicodeError):
        texts.add(text.encode("latin-1").decode("utf-8"))
    folded = {fold(one)[0] for one in texts}
    return folded | {re.sub(r"([aou])e", r"\1", one) for one in folded if re.search(r"[aou]e", one)}


def _birth_patterns(text: str) -> Iterator[str]:
    digits = re.sub(r"\D", "", text)[:8]
    try:
        day = dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return
    y, m, d = f"{day:%Y}", f"{day:%m}", f"{day:%d}"
    for parts in ((y, m, d), (d, m, y), (m, d, y)):
        yield r"[\W_]{0,2}".join(parts)
    year, month, of_month = f"(?:{y[:2]})?{y[2:]}", f"0?{day.month}", f"0?{day.day}"
    for parts in ((year, month, of_month), (of_month, month, year), (month, of_month, year)):
        yield r"(?<!\d)" + r"[\W_]{1,2}".join(parts) + r"(?!\d)"
    name = _MONTHS[day.month - 1]
    # with the name of the month nothing else can be meant, whatever figures stand beside it
    yield rf"{of_month}[\W_]*(?:st|nd|rd|th)?[\W_]*{name}[\W_]*{year}"
    yield rf"{name}[\W_]*{of_month}(?:st|nd|rd|th)?[\W_]+{year}"


def _joined(words: list[str], between: str) -> str:
    return between.join(re.escape(word) for word in words)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern for any of the given ones, the longest tried first; for none if there are none."""
    return re.compile("|".join(sorted(patterns, key=lambda p: (-len(p), p))) or r"(?!)")


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Return whether a match is a word of its own: nothing like it beside it, or the case changes."""

    def joined(left: str, right: str) -> bool:
        if left.isdigit() or right.isdigit():
            return left.isdigit() and right.isdigit()
        return left.isalpha() and right.isalpha() and left.isupper() == right.isupper()

    before = start > 0 and joined(text[start - 1], text[start])
    after = end < len(text) and joined(text[end - 1], text[end])
    return not before and not after
