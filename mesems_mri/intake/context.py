"""Request and context of an intake, with the state that earlier intakes have left."""

import datetime as dt
import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mesems_mri.dataset.journal import Transaction
from mesems_mri.dataset.query import CLOSED, INTAKE, OPEN, Query
from mesems_mri.dataset.query_answers import AnswerKind
from mesems_mri.dataset.schedule import SheetRow
from mesems_mri.errors import UsageError
from mesems_mri.files import read_json, write_json
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.deidentify.keys import Keys
from mesems_mri.intake.dicom.archives import ArchiveLimits
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.protocol import Protocol

BIRTH_HASHES_FILE, DAYS_FROM_SCAN_FILE = "births.json", "days_from_scan.json"
"""Beside the key: keyed hash of each birth date; days from scan to receipt of each submission."""


@dataclass(frozen=True, kw_only=True)
class IntakeRequest:
    """Request of an intake.

    Parameters
    ----------
    submission : Path
        Folder or archive that the site has sent.
    bids_dir : Path
        Raw BIDS folder to fill.
    sheet : Path
        Visit schedule of the trial.
    protocol : Path or None
        Acquisition protocol; None: nothing is compared with one.
    site_id : str or None
        Sending site; None: as in the visit schedule.
    key_folder : Path or None
        Folder of the pseudonymisation key; None: beside the BIDS folder.
    dicom_copy : Path or None
        Folder for a copy as de-identified DICOM; None: no copy.
    use : dict of str to str
        The series to use for a role, as the site has answered: ``series_id`` of ``series.tsv`` by role.
    series_map : Path or None
        Folder of the series maps of the sites; None: there are none, and none is written.
    remember : bool
        Write the series of these visits into the series map of the site.
    dummy_run : bool
        The submission is the dummy run of a site: its series map is written, and nothing is filed.
    deface : bool
        Remove the face from all images.
    dry_run : bool
        Report only; nothing is written.
    limits : ArchiveLimits
        Bounds on what archives unpack to.
    today : datetime.date or None
        Day of receipt; None: today.
    """

    submission: Path
    bids_dir: Path
    sheet: Path
    protocol: Path | None = None
    site_id: str | None = None
    key_folder: Path | None = None
    dicom_copy: Path | None = None
    use: dict[str, str] = field(default_factory=dict)
    series_map: Path | None = None
    remember: bool = False
    dummy_run: bool = False
    deface: bool = False
    dry_run: bool = False
    limits: ArchiveLimits = field(default_factory=ArchiveLimits)
    today: dt.date | None = None


@dataclass(eq=False)
class IntakeContext:
    """Context of an intake: request, key, schedule, protocol, and the state of earlier intakes.

    Parameters
    ----------
    request : IntakeRequest
    keys : Keys
    schedule : sequence of SheetRow
    protocol : Protocol or None
    scratch : Path
        Temporary folder.
    today : datetime.date
    earlier_queries : sequence of Query
        Queries of earlier intakes.
    earlier_series : list of dict
        Rows of ``series.tsv`` of earlier intakes.
    say : callable
        Takes one line at a time, de-identified.
    birth_hashes : dict of str to str
        Keyed hash of the birth date by participant.
    sexes : dict of str to str
        Sex by participant, as earlier visits have it.
    visit_by_voxels : dict of str to str
        Visit by hash of the voxels, of images that this intake has made.
    work : Transaction or None
        The transaction in which the submission is filed; None before that.
    """

    request: IntakeRequest
    keys: Keys
    schedule: Sequence[SheetRow]
    protocol: Protocol | None
    scratch: Path
    today: dt.date
    earlier_queries: Sequence[Query]
    earlier_series: list[dict[str, str]]
    say: Callable[[str], None]
    birth_hashes: dict[str, str] = field(default_factory=dict)
    sexes: dict[str, str] = field(default_factory=dict)
    visit_by_voxels: dict[str, str] = field(default_factory=dict)
    work: Transaction | None = None
    _deidentifiers: dict[str, Deidentifier] = field(default_factory=dict)

    @property
    def bids_dir(self) -> Path:
        """The BIDS folder; while a submission is filed, its shadow."""
        return self.work.shadow if self.work else self.request.bids_dir

    @property
    def private(self) -> Path:
        """Folder of the private tables; while a submission is filed, their shadow."""
        return self.work.shadow_private if self.work else self.keys.folder

    @property
    def series_map_folder(self) -> Path:
        """The folder of the series maps.

        Raises
        ------
        UsageError
            If none was given.
        """
        if self.request.series_map is None:
            msg = "--remember, --dummy-run: no folder for the series map; give --series-map"
            raise UsageError(msg)
        return self.request.series_map

    def keyed_hash(self, purpose: str, *parts: str) -> str:
        """Return a keyed hash (HMAC-SHA-256) of the parts, which nobody can reproduce without the key."""
        message = "\0".join((purpose, *parts)).encode("utf-8", "surrogateescape")
        return hmac.digest(self.keys.secret, message, hashlib.sha256).hex()

    def submission_id(self, series: Iterable[Series], *others: str) -> str:
        """Return the submission_id: a keyed hash of the instances, the same whenever they are sent."""
        uids = sorted(uid for one in series for uid in one.instance_uids)
        return f"in-{self.keyed_hash('submission', *uids, *others)[:12]}"

    def content_hash(self, series: Series) -> str:
        """Return a keyed hash of the instances of a series, the same when they are sent again."""
        return self.keyed_hash("content", *sorted(series.instance_uids), series.part, str(series.copy))[:16]

    def deidentifier(self, row: SheetRow | None) -> Deidentifier:
        """Return the de-identifier of a participant; a common one where the participant is unknown."""
        label = row.participant_id if row else "unknown"
        if label not in self._deidentifiers:
            known = {word for r in self.schedule for word in (r.site_id, r.session_id, r.participant_id)}
            self._deidentifiers[label] = Deidentifier(
                self.keys.secret, label, self.keys.offset_days(label), allowed_words=sorted(known)
            )
        return self._deidentifiers[label]

    def is_answered(self, question: Query) -> bool:
        """Return whether a person has answered the query so that what it holds is used, or has closed it."""
        return any(old.content == question.content and _releases(old) for old in self.earlier_queries)

    def is_accepted(self, question: Query) -> bool:
        """Return whether the reading centre takes what the query is about as it is."""
        same = [old for old in self.earlier_queries if old.content == question.content]
        return any(old.given is not None and old.given.kind is AnswerKind.ACCEPT for old in same)

    def answers_about(self, submission_id: str) -> list[Query]:
        """Return the queries about a submission that a person has answered so that something is used."""
        return [
            query
            for query in self.earlier_queries
            if query.submission_id == submission_id
            and query.status != OPEN
            and query.given is not None
            and query.given.kind is not AnswerKind.NOT_ACQUIRED
        ]


def _releases(query: Query) -> bool:
    if query.status == OPEN:
        return False
    if query.given is not None:
        return query.given.kind is not AnswerKind.NOT_ACQUIRED
    return query.status == CLOSED and query.closed_by != INTAKE


def read_private(folder: Path, name: str) -> dict[str, str]:
    """Read a private table beside the key; empty when it does not exist yet.

    Raises
    ------
    UsageError
        If it is damaged.
    """
    path = folder / name
    try:
        return {str(key): str(value) for key, value in read_json(path).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        msg = f"{path}: cannot be read ({type(error).__name__}); restore or remove it"
        raise UsageError(msg) from error


def write_private(folder: Path, name: str, content: dict[str, str]) -> None:
    """Write a private table beside the key (mode 0600)."""
    path = folder / name
    path.touch(mode=0o600)
    write_json(path, dict(sorted(content.items())))
    path.chmod(0o600)
