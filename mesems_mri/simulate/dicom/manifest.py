"""Manifest of the simulated DICOM: planted identifiers and the expected role of every series.

The manifest lies beside the DICOM folder, never inside it, as it holds all that must not get out.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mesems_mri.files import read_json, write_json
from mesems_mri.simulate.dicom.people import Person, Staff, plain_letters


@dataclass(frozen=True, order=True)
class PlantedIdentifier:
    """A string that must be in no output.

    Parameters
    ----------
    kind : str
        ``name``, ``birth_date``, ``address``, ``phone``, ``patient_id``, ``accession``, ``physician``,
        ``institution``; ``visit_date`` for what is to be shifted rather than removed.
    text : str
    participant_id : str
        Whose it is; empty for the staff of a site.
    """

    kind: str
    text: str
    participant_id: str = ""


@dataclass(frozen=True, order=True)
class PlantedPlace:
    """A place where something was planted, and the text there."""

    site_id: str
    participant_id: str
    session_id: str
    place: str
    text: str


@dataclass(frozen=True)
class SeriesTruth:
    """Expected classification of a series.

    Parameters
    ----------
    site_id, participant_id, session_id, submission : str
        Whose it is; `submission` is the folder or zip relative to the DICOM folder.
    series_uid, description : str
        As in the header.
    role : str
        ``T1w``, ``ce-gadolinium_T1w``, ``T2w``, ``PDw``, ``FLAIR``, ``localizer``, ``derived``, ``other``.
    kind : str
        ``scan``, ``second``, ``aborted``, ``moved``, ``localizer``, ``mpr``, ``subtraction``, ``screen``.
    chosen : bool
        Whether it is the one to take for its role.
    image : str
        The scan in the raw data set that it shows, relative to it; empty if none.
    echo_ms : float
    slices, announced : int
        Slices sent, and slices that the header announces.
    syntax : str
        Transfer syntax.
    cue : str
        What tells that it is after contrast: ``tags``, ``description``, ``order``; empty if it is not.
    """

    site_id: str
    participant_id: str
    session_id: str
    submission: str
    series_uid: str
    description: str
    role: str
    kind: str
    chosen: bool
    image: str
    echo_ms: float
    slices: int
    announced: int
    syntax: str
    cue: str = ""


@dataclass(frozen=True)
class PlantManifest:
    """All that was planted, and all series."""

    needles: tuple[PlantedIdentifier, ...]
    places: tuple[PlantedPlace, ...]
    series: tuple[SeriesTruth, ...]

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, {name: [asdict(item) for item in getattr(self, name)] for name in _PARTS})


_PARTS: dict[str, Any] = {"needles": PlantedIdentifier, "places": PlantedPlace, "series": SeriesTruth}


def manifest_path(dicom_dir: Path) -> Path:
    """Name the manifest of a DICOM folder, beside it."""
    return dicom_dir.parent / f"{dicom_dir.name}.planted.json"


def read_manifest(dicom_dir: Path) -> PlantManifest:
    """Read the manifest of a DICOM folder."""
    content = read_json(manifest_path(dicom_dir))
    return PlantManifest(
        **{name: tuple(kind(**item) for item in content[name]) for name, kind in _PARTS.items()}
    )


@dataclass
class PlantLog:
    """Log of the planted identifiers and their places."""

    site_id: str = ""
    participant_id: str = ""
    session_id: str = ""
    places: set[PlantedPlace] = field(default_factory=set)
    _candidates: set[PlantedIdentifier] = field(default_factory=set)

    def set_visit(self, site_id: str, participant_id: str, session_id: str) -> None:
        """Go on with another visit."""
        self.site_id, self.participant_id, self.session_id = site_id, participant_id, session_id

    def plant(self, place: str, text: str) -> str:
        """Note what is planted, and return it."""
        self.places.add(PlantedPlace(self.site_id, self.participant_id, self.session_id, place, text))
        return text

    def add_person(self, person: Person) -> None:
        """Take everything that identifies a patient for something to look for, in all ways it is written."""
        names = {person.family, person.given, person.maiden}
        born = person.born
        self._note("name", (*names, *map(str.upper, names), person.typed, plain_letters(person.given)))
        self._note("birth_date", dates(born))
        self._note("address", (person.street, person.city, person.city.split(" ", 1)[1]))
        self._note("phone", (person.phone,))
        self._note("patient_id", (person.hospital_id, person.insurance))

    def add_staff(self, staff: Staff) -> None:
        """Take the people and the place of a site for something to look for."""
        people = (staff.referring, staff.performing, staff.reading, staff.operator)
        families = {name.split("^")[0] for name in people}
        self._candidates |= {PlantedIdentifier("physician", text) for text in families}
        self._candidates |= {
            PlantedIdentifier("institution", text) for text in (staff.institution, staff.street)
        }

    def add_identifiers(self, kind: str, *texts: str) -> None:
        """Take more of the visit at hand for something to look for."""
        self._note(kind, texts)

    def needles(self) -> tuple[PlantedIdentifier, ...]:
        """Return what is to be looked for: all that really stands somewhere."""
        texts: dict[str, list[str]] = {"": []}
        for place in sorted(self.places):
            texts.setdefault(place.participant_id, []).append(place.text)
            texts[""].append(place.text)
        planted = {participant: "\n".join(lines) for participant, lines in texts.items()}
        return tuple(n for n in sorted(self._candidates) if n.text in planted.get(n.participant_id, ""))

    def _note(self, kind: str, texts: Iterable[str]) -> None:
        self._candidates |= {PlantedIdentifier(kind, text, self.participant_id) for text in texts}


def dates(day: dt.date) -> tuple[str, ...]:
    """Return a date in the ways in which it is typed."""
    return tuple(day.strftime(form) for form in ("%Y%m%d", "%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y"))
