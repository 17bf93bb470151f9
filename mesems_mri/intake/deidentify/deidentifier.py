"""De-identify DICOM headers, and every text derived from them.

After DICOM PS3.15 Annex E: Basic Application Confidentiality Profile with the options Retain Device
Identity, Clean Descriptors and Retain Longitudinal Temporal Information Modified Dates. Stricter than these,
since a name can be typed anywhere: only the attributes of an allow-list are kept (`profile.py` beside this
module), texts are reduced to the words of another (`vocabulary.py`), serial numbers replaced by a keyed mark.
"""

import contextlib
import datetime as dt
import hashlib
import hmac
import math
import re
import string
import struct
import uuid
import warnings
from collections.abc import Callable, Iterable

import pydicom.config
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import UID

from mesems_mri.intake.contrast_words import CONTRAST
from mesems_mri.intake.deidentify.allow_list import allow_listed_code, allow_listed_text
from mesems_mri.intake.deidentify.defacing import CLEAN_FEATURES, read_defacing
from mesems_mri.intake.deidentify.persons import REMOVED, PersonIdentifiers
from mesems_mri.intake.deidentify.pixels import clean_pixels
from mesems_mri.intake.deidentify.profile import (
    KNOWN_CODES,
    METHODS,
    CleaningRule,
    emptied_attributes,
    retained_attributes,
)
from mesems_mri.intake.deidentify.vocabulary import DEVICES, WORDS

_MAX_WHOLE = 99_999
"""A larger whole number is no measure of an MR image; record numbers and dates are larger."""
_MIN_SIZE, _MAX_SIZE = 1e-6, 1e5
"""A binary number outside of these may be text that was stored as a number."""
_FIRST_YEAR, _LAST_YEAR = 1925, 2199
_NUMERAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?")
_TIME = re.compile(r"([01]\d|2[0-3])((:?)[0-5]\d(\3[0-5]\d(\.\d{1,6})?)?)?")
_DATE = re.compile(r"(\d{4})([-./]?)(\d\d)\2(\d\d)(?:[T ]?(\d[\d:.]*))?(?:[+-]\d{4}|Z)?")
_DATE_IN_TEXT = re.compile(r"(?<![\d.])(?:19|20)\d\d(?P<between>[-/.]?)\d\d(?P=between)\d\d(?!\d)")
_UID_IN_TEXT = re.compile(r"(?<![\d.])[012](?:\.\d+){5,}(?!\d)")
_MAIL_IN_TEXT = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_SOFTWARE = re.compile(
    r"syngo[ _]MR[ _][A-Z]{1,2}\d{2,3}[A-Z]?"  # Siemens
    r"|(?:MR[ _]?Software[ _]release:)?[A-Z]{0,2}\d{2}\.\d(?:_[A-Z]{1,2}\d{0,2}){1,2}_\d{4}\.[a-z]|LX"  # GE
    r"|\d{1,2}(?:\.\d){1,3}"  # Philips
)
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_TEXT_BYTES = {"FL": 8, "FD": 16}
"""Smallest number of bytes that, all printable, are text stored as numbers."""
_TEXT = string.printable
_SHORT_STRING, _LONG_STRING = 16, 64
_IMPLEMENTATION_UID = "2.25.178404837361386205836247116925338129513"


class Deidentifier:
    """De-identify the headers, sidecars and texts of one participant.

    Parameters
    ----------
    key : bytes
        Pseudonymisation key of the trial, see :func:`mesems_mri.intake.deidentify.keys.open_keys`.
    participant_id : str
        Pseudonym of the person in the trial; it becomes patient name and identifier.
    offset_days : int
        Days that are added to every date, negative.
    known_words : iterable of str
        Words of this trial that name nobody: labels of sites and visits, models and serial numbers of
        scanners, words of series descriptions.
    """

    def __init__(
        self, key: bytes, participant_id: str, offset_days: int, *, allowed_words: Iterable[str] = ()
    ) -> None:
        if offset_days >= 0:
            msg = "the offset of the dates is not negative; give the one of the participant's key"
            raise ValueError(msg)
        known = list(allowed_words)
        label = participant_id.removeprefix("sub-")
        self.participant_id = participant_id
        self._key = key
        self._offset = dt.timedelta(days=offset_days)
        self._identity = PersonIdentifiers([*known, participant_id, label])
        words = {word.lower() for text in known for word in re.findall(r"[A-Za-z]+", text)}
        self._whole = frozenset(text.strip() for text in known)
        self._words = WORDS | CONTRAST | words
        self._device_words = DEVICES | WORDS | words
        self._rules: dict[CleaningRule, Callable[[str], str]] = {
            CleaningRule.CODE: self.code,
            CleaningRule.WORDS: self.words,
            CleaningRule.DEVICE: self.device,
            CleaningRule.SERIAL: self.serial,
            CleaningRule.UID: self.uid,
            CleaningRule.DATE: self.date,
            CleaningRule.TIME: self.time,
        }

    @property
    def names(self) -> frozenset[str]:
        """All identifying texts seen so far: persons, addresses, numbers, the birth date."""
        return self._identity.texts

    def learn(self, dataset: Dataset) -> None:
        """Register the identifying texts of a header; :meth:`scrub` finds them from then on."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._identity.learn(dataset)

    def learn_text(self, text: str, kind: str = "name") -> None:
        """Register a text as an identifier: a ``name``, ``place``, ``number`` or ``birth`` date."""
        self._identity.learn_text(text, kind)

    def dataset(self, dataset: Dataset) -> Dataset:
        """Return a de-identified header, with or without its image.

        Parameters
        ----------
        dataset : Dataset
            As read; it is not changed.

        Returns
        -------
        Dataset
            A new one, with file meta information of its own and an empty preamble. It is in Explicit VR
            Little Endian unless its pixels are compressed.

        Raises
        ------
        InputError
            If the pixels cannot be separated from what may be written beside them.
        """
        self.learn(dataset)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cleaned = self._cleaned(dataset)
            pixels, syntax = clean_pixels(dataset)
        if pixels is None:
            cleaned.pop("PixelData", None)
        else:
            cleaned["PixelData"] = pixels
        cleaned.PatientName = self.participant_id
        cleaned.PatientID = self.participant_id
        for keyword in (
            "PatientBirthDate",
            "PatientSex",
            "ReferringPhysicianName",
            "AccessionNumber",
            "StudyID",
        ):
            setattr(cleaned, keyword, "")
        cleaned.PatientIdentityRemoved = "YES"
        cleaned.LongitudinalTemporalInformationModified = "MODIFIED"
        defacing = read_defacing(dataset)  # before it was sent; nothing here removes a face
        methods = [*METHODS, CLEAN_FEATURES] if defacing else METHODS
        cleaned.DeidentificationMethod = [f"PS3.15 {name.removesuffix(' Option')}" for _, name in METHODS]
        cleaned.DeidentificationMethodCodeSequence = Sequence(
            [_coded("DCM", code, meaning) for code, meaning in methods]
        )
        if defacing:
            cleaned.RecognizableVisualFeatures = "NO"
            cleaned.DeidentificationMethod = [*cleaned.DeidentificationMethod, defacing.name or "defaced"]
        meta = getattr(dataset, "file_meta", None) or Dataset()
        cleaned.file_meta = FileMetaDataset()
        for keyword in ("SOPClassUID", "SOPInstanceUID"):
            # one that is damaged stands in the file meta information too
            known = str(cleaned.get(keyword) or self.uid(str(meta.get(f"MediaStorage{keyword}", ""))))
            setattr(cleaned, keyword, known)
            setattr(cleaned.file_meta, f"MediaStorage{keyword}", known)
        cleaned.file_meta.TransferSyntaxUID = syntax
        cleaned.file_meta.ImplementationClassUID = UID(_IMPLEMENTATION_UID)
        cleaned.file_meta.ImplementationVersionName = "MESEMS_MRI"
        cleaned.preamble = bytes(128)
        return cleaned

    def uid(self, uid: str) -> str:
        """Return the pseudonym of a UID, the same for the same key; UIDs of the standard are retained.

        Examples
        --------
        >>> Deidentifier(b"key", "sub-01", -60000).uid("1.2.840.10008.5.1.4.1.1.4")
        '1.2.840.10008.5.1.4.1.1.4'
        """
        uid = uid.strip(" \0")
        if not uid or UID(uid, pydicom.config.IGNORE).name != uid:
            return uid
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', uid)[:16], version=4).int}"

    def date(self, text: str) -> str:
        """Shift a date, in DICOM's form or in that of ISO 8601; the time of day after it stays.

        Returns
        -------
        str
            In the same form, without a time zone; empty if it is no date of 1925 to 2199, since that is
            something else or was shifted before.
        """
        match = _DATE.fullmatch(text.strip(" \0"))
        if not match:
            return ""
        year, between, month, day, time = match.groups()
        try:
            shifted = dt.date(int(year), int(month), int(day)) + self._offset
        except (ValueError, OverflowError):
            return ""
        clock = self.time(time) if time else ""
        if not _FIRST_YEAR <= int(year) <= _LAST_YEAR or (time and not clock):
            return ""
        form = f"{shifted.year:04}{between}{shifted.month:02}{between}{shifted.day:02}"
        return form + ("T" if between and clock else "") + clock

    def time(self, text: str) -> str:
        """Return a time of day, or nothing if it is none."""
        text = text.strip(" \0")
        return text if _TIME.fullmatch(text) and not self._identity.found_in(text) else ""

    def number(self, text: str) -> str:
        """Return a decimal number as it is written, or nothing if it is none or may be something else."""
        text = text.strip(" \0")
        if not _NUMERAL.fullmatch(text):
            return ""
        size = abs(float(text))
        whole = size == int(size) if math.isfinite(size) else True
        return "" if (whole and size > _MAX_WHOLE) or self._identity.found_in(text) else text

    def code(self, text: str) -> str:
        """Return a coded value if it is one of the standard or of a vendor, else nothing."""
        return allow_listed_code(text) or ""

    def words(self, text: str) -> str:
        """Reduce free text, e.g. a series description or a file name, to allow-listed words."""
        if text.strip() in self._whole:
            return text.strip()
        reduced, complete = self._reduced(text, self._words)
        # initials and numbers alone, of which the words are gone, say nothing any more
        return reduced if complete or re.search(r"[A-Za-z]{2}|[A-Za-z]\d|\d[A-Za-z]", reduced) else ""

    def device(self, text: str) -> str:
        """Reduce the name of a device to allow-listed words; a keyed mark (``~3f9a20cc``) marks a loss."""
        text = text.strip(" \0")
        if not text or text in self._whole:
            return text
        if "\\" in text:
            return "\\".join(self.device(part) for part in text.split("\\"))
        if _SOFTWARE.fullmatch(text) and not self._identity.found_in(text):
            return text
        reduced, complete = self._reduced(text, self._device_words)
        return reduced if complete else f"{reduced} {self._mark(text)}".strip()

    def serial(self, text: str) -> str:
        """Replace a serial number by a keyed mark; the same number always gives the same."""
        text = text.strip(" \0")
        return text if not text or text in self._whole else self._mark(text)

    def scrub(self, text: str) -> str:
        """De-identify a text of this package, e.g. a line of a log or a message.

        Names, addresses, numbers and the birth date gathered so far, and mail addresses, become ``[---]``;
        UIDs are replaced and dates shifted as in the images. What the site typed goes through :meth:`words`
        instead, since it may hold names that stand nowhere else. A text can be scrubbed twice.
        """
        text = _MAIL_IN_TEXT.sub(REMOVED, text)
        text = _UID_IN_TEXT.sub(lambda match: self.uid(match[0]), text)
        text = self._identity.remove_from(text)
        return _DATE_IN_TEXT.sub(lambda match: self.date(match[0]) or REMOVED, text)

    def contains_identifier(self, text: str) -> bool:
        """Return whether a text holds a registered identifier."""
        return self._identity.found_in(text)

    def birth_hash(self, birth_date: str) -> str:
        """Return a keyed hash of a birth date, by which a participant is recognised at the next visit."""
        digits = re.sub(r"\D", "", birth_date)[:8]
        return self._digest("birth", f"{self.participant_id}\0{digits}").hex()[:32] if digits else ""

    def _digest(self, purpose: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}\0{text}".encode("utf-8", "surrogateescape"), hashlib.sha256)

    def _mark(self, text: str) -> str:
        return f"~{self._digest('mark', text).hex()[:8]}"

    def _reduced(self, text: str, vocabulary: frozenset[str]) -> tuple[str, bool]:
        reduced, complete = allow_listed_text(text, vocabulary)
        if self._identity.found_in(reduced):
            return allow_listed_text(self._identity.remove_from(reduced, " "), vocabulary)[0], False
        return reduced, complete

    def _cleaned(self, dataset: Dataset) -> Dataset:
        cleaned = Dataset()
        rules, empty = retained_attributes(), emptied_attributes()
        for tag in sorted(dataset.keys()):
            rule = rules.get(tag)
            if rule is None:
                if tag in empty:
                    with contextlib.suppress(KeyError):
                        cleaned.add_new(tag, dictionary_VR(tag), None)
                continue
            try:
                element = self._element(dataset[tag], rule)
            except Exception:  # a damaged element: pydicom raises what its parts raise; it goes
                continue
            if element is not None:
                cleaned[tag] = element
        return cleaned

    def _element(self, element: DataElement, rule: CleaningRule) -> DataElement | None:
        """Return an element with a value that is harmless, None if there is none."""
        tag, vr, value = element.tag, element.VR, element.value
        if rule is CleaningRule.PIXELS or vr not in dictionary_VR(tag).split(" or "):
            return None
        if rule in (CleaningRule.ITEMS, CleaningRule.CODED):
            items = (
                [self._cleaned(item) for item in value] if rule is CleaningRule.ITEMS else _known_codes(value)
            )
            return DataElement(tag, vr, Sequence(items)) if items or not len(value) else None
        if value is None or value == "":
            return DataElement(tag, vr, None)
        values = list(value) if isinstance(value, MultiValue | list | tuple) else [value]
        if rule is CleaningRule.NUMBER:
            cleaned = self._numbers(vr, values) if len(values) <= _most(tag) else []
        else:
            texts = [self._rules[rule](str(one))[: _length(vr)].strip() for one in values]
            # the place of a word in ImageType means something, so that a strange one leaves its place
            cleaned = [
                text or ("OTHER" if rule is CleaningRule.CODE and len(texts) > 1 else "") for text in texts
            ]
            cleaned = cleaned if any(texts) else []
        if not cleaned:
            return None
        return DataElement(tag, vr, cleaned if len(cleaned) > 1 else cleaned[0])

    def _numbers(self, vr: str, values: list) -> list:
        """Return numbers as they are, none if one of them may be something else."""
        if vr in ("DS", "IS"):
            texts = [self.number(str(getattr(one, "original_string", one))) for one in values]
            return texts if all(texts) else []
        if vr == "AT":
            return values if all(dictionary_has_tag(one) for one in values) else []
        if vr not in _BINARY or not all(is_measure(one) for one in values):
            return []
        stored = struct.pack(f"<{len(values)}{_BINARY[vr]}", *values).decode("latin-1")
        text = len(stored) >= _TEXT_BYTES.get(vr, 4) and not stored.strip(_TEXT)
        if text or self._identity.found_in(stored):
            return []
        return [] if any(self._identity.found_in(str(one)) for one in values) else values


def is_measure(value: float) -> bool:
    """Return whether a number can be a measure: neither a record number nor text stored as a number."""
    if isinstance(value, int):
        return abs(value) <= _MAX_WHOLE
    return value == 0 or (_MIN_SIZE < abs(value) < _MAX_SIZE)


def _most(tag: int) -> float:
    """Return how many values an element can have."""
    last = dictionary_VM(tag).rpartition("-")[2]
    return math.inf if last.endswith("n") else int(last)


def _length(vr: str) -> int:
    return _SHORT_STRING if vr in ("SH", "CS") else _LONG_STRING


def _known_codes(items: Iterable[Dataset]) -> list[Dataset]:
    found = []
    for item in items:
        scheme, value = (str(item.get(k, "")).strip() for k in ("CodingSchemeDesignator", "CodeValue"))
        if meaning := KNOWN_CODES.get((scheme, value)):
            found.append(_coded(scheme, value, meaning))
    return found


def _coded(scheme: str, value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item
