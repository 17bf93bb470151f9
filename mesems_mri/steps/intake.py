"""Take in what a site sends: check it, free it of names, and file it as BIDS."""

import contextlib
import datetime as dt
import hashlib
import hmac
import secrets
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mesems_mri.bids import natural_key
from mesems_mri.dicom.acquisition import Scanner, scanner_of_sidecar
from mesems_mri.dicom.archives import Limits
from mesems_mri.dicom.classify import IMAGE_ROLES
from mesems_mri.dicom.deidentify import Deidentifier
from mesems_mri.dicom.geometry import describe_geometry
from mesems_mri.dicom.instance import Why
from mesems_mri.dicom.inventory import Inventory, take_inventory
from mesems_mri.dicom.keys import Keys, default_folder, open_keys
from mesems_mri.dicom.protocol import Protocol, load_protocol
from mesems_mri.dicom.series import Series
from mesems_mri.dicom.sheet import SheetRow, read_sheet
from mesems_mri.dicom.tags import text
from mesems_mri.dicom.visits import (
    Examination,
    Problem,
    examinations,
    find_visit,
    mixed_studies,
    person_problems,
)
from mesems_mri.errors import DatasetError, UsageError
from mesems_mri.provenance import read_json, write_json
from mesems_mri.queries import Query, QueryCode, add_queries, close_query, new_query, read_queries
from mesems_mri.steps import intake_folder as folder
from mesems_mri.steps.intake_image import ConversionError, make_image
from mesems_mri.steps.intake_visit import Visit, judge, usable

_BIRTHS = "births.json"
"""Keyed hash of the birth date of each participant, beside the key."""
_TITLES = {
    "filed": "in the BIDS folder",
    "unchanged": "in the BIDS folder already",
    "set_aside": "kept in sourcedata/intake",
    "not_used": "no image of the protocol, or another one was taken",
    "query": "waits for an answer of the site",
    "held": "not taken in before it is known whose scan it is and of which visit",
    "failed": "could not be converted",
}


@dataclass(frozen=True, kw_only=True)
class IntakeRequest:
    """What `intake` is asked for.

    Parameters
    ----------
    sent : Path
        Folder or archive that the site has sent.
    bids_dir : Path
        Raw BIDS folder to fill.
    sheet : Path
        Visit table of the trial.
    protocol : Path or None
        Acquisition protocol; None: nothing is compared with one.
    site_id : str or None
        Who has sent it; None: whoever the sheet says.
    key_folder : Path or None
        Folder of the key; None: beside the BIDS folder.
    dry_run : bool
        Only say what would be done.
    limits : Limits
        What archives may unpack to.
    today : datetime.date or None
        Day of receipt; None: today.
    """

    sent: Path
    bids_dir: Path
    sheet: Path
    protocol: Path | None = None
    site_id: str | None = None
    key_folder: Path | None = None
    dry_run: bool = False
    limits: Limits = field(default_factory=Limits)
    today: dt.date | None = None


@dataclass(eq=False)
class Submission:
    """What came of one submission.

    Parameters
    ----------
    submission_id : str
        The same for the same images and key.
    inventory : Inventory
    visits : list of Visit
    queries : tuple of Query
        All that this submission asks, as they stand in the table (numbered, unless it was a dry run).
    rows : list of dict
        One row of ``series.tsv`` for each series.
    """

    submission_id: str
    inventory: Inventory
    visits: list[Visit]
    queries: tuple[Query, ...] = ()
    rows: list[dict[str, str]] = field(default_factory=list)


def take_in(request: IntakeRequest, say: Callable[[str], None] = lambda _: None) -> Submission:
    """Take in a submission.

    Parameters
    ----------
    request : IntakeRequest
    say : callable
        Told one line at a time, free of names.

    Returns
    -------
    Submission

    Raises
    ------
    UsageError, DatasetError
        If the sheet, the protocol, the key or a folder cannot be used. What is wrong with the images is no
        error: it becomes a query.
    """
    if not request.sent.exists():
        msg = f"{request.sent}: no such folder or archive; give what the site has sent"
        raise DatasetError(msg)
    sheet = read_sheet(request.sheet)
    protocol = load_protocol(request.protocol) if request.protocol else None
    _refuse_overlap(request)
    with contextlib.ExitStack() as stack:
        keys = stack.enter_context(_keys(request))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mesems-intake-")))
        inventory = take_inventory(
            request.sent,
            scratch,
            limits=replace(request.limits),
            progress=lambda files: say(f"{files} files read"),
        )
        worker = _Worker(request, keys, sheet, protocol, scratch, say)
        return worker.run(inventory)


@contextlib.contextmanager
def _keys(request: IntakeRequest) -> Generator[Keys]:
    """Open the key of the trial, and keep other intakes out; a dry run writes nothing and makes no key."""
    place = request.key_folder or default_folder(request.bids_dir)
    if request.dry_run:
        yield open_keys(place, create=False) if place.exists() else Keys(place, secrets.token_bytes(32))
        return
    filled = any(request.bids_dir.glob("sub-*/ses-*")) if request.bids_dir.is_dir() else False
    keys = open_keys(place, request.bids_dir, create=not filled)
    with folder.locked(keys.folder):
        yield keys


def _refuse_overlap(request: IntakeRequest) -> None:
    sent, bids = request.sent.resolve(), request.bids_dir.resolve()
    if sent == bids or sent in bids.parents or bids in sent.parents:
        msg = f"{request.bids_dir}: the BIDS folder and what was sent lie inside each other; give another one"
        raise UsageError(msg)


class _Worker:
    """One intake: what does not change during it, and its steps in order."""

    def __init__(
        self,
        request: IntakeRequest,
        keys: Keys,
        sheet: Sequence[SheetRow],
        protocol: Protocol | None,
        scratch: Path,
        say: Callable[[str], None],
    ) -> None:
        self.request = request
        self.keys = keys
        self.sheet = sheet
        self.protocol = protocol
        self.scratch = scratch
        self.say = say
        self.bids_dir = request.bids_dir
        self.asked = read_queries(request.bids_dir) if request.bids_dir.is_dir() else ()
        self.births: dict[str, str] = _read_births(keys)
        self.before = folder.read_rows(request.bids_dir / folder.SERIES_TABLE)
        self.deidentifiers: dict[str, Deidentifier] = {}

    def run(self, inventory: Inventory) -> Submission:
        submission_id = self._submission_id(inventory)
        found = examinations(inventory.series)
        mixed = mixed_studies(found)
        visits = [self._visit(one, mixed) for one in found]
        visits = self._one_each(visits)
        submission = Submission(submission_id, inventory, visits)
        for visit in visits:
            filed = self._filed(visit)
            judge(visit, self.protocol, self._reference(visit), tuple(filed))
        general = self._general_queries(inventory, submission)
        with folder.stage(self.bids_dir) if not self.request.dry_run else contextlib.nullcontext() as staged:
            for visit in visits:
                self._prepare(visit, submission_id, staged)
            if staged is not None:
                folder.prepare_folder(self.bids_dir)
                for visit in visits:
                    self._publish(visit, submission_id, staged)
        queries = [*general, *(query for visit in visits for query in visit.queries)]
        queries = [replace(query, submission_id=submission_id) for query in queries]
        submission.rows = [row for visit in visits for row in self._rows(visit, submission_id)]
        if self.request.dry_run:
            submission.queries = tuple(queries)
        else:
            self._write_tables(submission, queries)
        return submission

    # -- whose scan, which visit ---------------------------------------------------------------------------

    def _submission_id(self, inventory: Inventory) -> str:
        uids = sorted(uid for series in inventory.series for uid in series.instance_uids)
        leftovers = [f"{why}:{count}" for why, count in sorted(inventory.leftovers.counts.items())]
        return f"in-{self._digest('submission', *(uids or leftovers))[:12]}"

    def _digest(self, purpose: str, *parts: str) -> str:
        message = "\0".join((purpose, *parts)).encode("utf-8", "surrogateescape")
        return hmac.digest(self.keys.secret, message, hashlib.sha256).hex()

    def _deidentifier(self, row: SheetRow | None) -> Deidentifier:
        label = row.participant_id if row else "unknown"
        if label not in self.deidentifiers:
            words = {part for r in self.sheet for part in (r.site_id, r.session_id, r.participant_id)}
            self.deidentifiers[label] = Deidentifier(
                self.keys.secret, label, self.keys.offset_days(label), known_words=sorted(words)
            )
        return self.deidentifiers[label]

    def _visit(self, examination: Examination, mixed: set[str]) -> Visit:
        row, problems = find_visit(examination, self.sheet, self.request.site_id)
        deidentifier = self._deidentifier(row)
        for series in examination.series:
            deidentifier.learn(series.header)
        unknown = {QueryCode.NO_SCAN_DATE, QueryCode.VISIT_UNCLEAR}
        known = row is not None and not any(p.code in unknown for p in problems)
        if row is not None:
            earlier = self.births.get(row.participant_id, "")
            problems += person_problems(examination, row, "", self._birth(examination, row), earlier)
        if any(series.study_uid in mixed for series in examination.series):
            problems.append(Problem(QueryCode.SEVERAL_PARTICIPANTS, "in one study"))
        return Visit(examination, row, known, deidentifier, problems)

    def _birth(self, examination: Examination, row: SheetRow) -> str:
        dates = sorted({text(s.header, "PatientBirthDate") for s in examination.series} - {""})
        return self._deidentifier(row).birth_hash(dates[0]) if dates else ""

    def _one_each(self, visits: list[Visit]) -> list[Visit]:
        """Ask where the series of two days fit one visit: which of them counts is not ours to say."""
        by_visit: dict[str, list[Visit]] = defaultdict(list)
        for visit in visits:
            if visit.session_id:
                by_visit[visit.name].append(visit)
        for several in by_visit.values():
            if len(several) > 1:
                for visit in several:
                    told = f"scans of {len(several)} days fit {visit.session_id}"
                    visit.identity.append(Problem(QueryCode.SEVERAL_CANDIDATES, told))
        return visits

    def _held(self, visit: Visit) -> bool:
        """Tell whether nothing of a visit may be filed before an answer; a closed query is an answer."""
        ask = visit.asker()
        questions = [ask(p.code, detail=p.detail, blocking=p.blocking) for p in visit.identity]
        return visit.row is None or any(q.blocking and not self._answered(q) for q in questions)

    def _answered(self, question: Query) -> bool:
        return any(
            old.status == "closed" and replace(old, submission_id="").content == question.content
            for old in self.asked
        )

    # -- what is there already -----------------------------------------------------------------------------

    def _filed(self, visit: Visit) -> dict[str, folder.Filed]:
        if not visit.session_id:
            return {}
        return folder.filed_images(self.bids_dir, visit.participant_id, visit.session_id)

    def _reference(self, visit: Visit) -> Scanner | None:
        """Return the scanner of the participant's first visit, if that is an earlier one."""
        if visit.row is None or not visit.session_id:
            return None
        earlier = [
            row
            for row in self.sheet
            if row.participant_id == visit.participant_id
            and row.session_id != visit.session_id
            and row.planned_date
            and visit.examination.day
            and row.planned_date < visit.examination.day
        ]
        for row in sorted(earlier, key=lambda r: r.planned_date or dt.date.max):
            for filed in folder.filed_images(self.bids_dir, row.participant_id, row.session_id).values():
                with contextlib.suppress(OSError, ValueError):
                    return scanner_of_sidecar(read_json(filed.sidecar))
        return None

    def _blocked(self, visit: Visit, submission_id: str) -> list[Query]:
        return [
            query
            for query in self.asked
            if query.holds_up
            and query.submission_id != submission_id
            and (query.participant_id, query.session_id) == (visit.participant_id, visit.session_id)
        ]

    # -- images --------------------------------------------------------------------------------------------

    def _prepare(self, visit: Visit, submission_id: str, staged: Path | None) -> None:
        """Give each series its status, and make the images that are to be filed on the stage."""
        held = self._held(visit)
        for one in visit.assigned:
            status = "query" if one.unclear else "not_used"
            visit.status[one.series] = "held" if held else status
        if held or not visit.session_id:
            return
        for role, one in visit.taken().items():
            burned = [
                q for q in visit.queries if q.code is QueryCode.BURNED_IN_TEXT and f": {role}, " in q.what
            ]
            if not usable(visit, one) or any(not self._answered(q) for q in burned):
                visit.status[one.series] = "query"
                continue
            if staged is None:
                visit.status[one.series] = "filed"
                continue
            self._convert(visit, role, one.series, submission_id, staged)

    def _convert(self, visit: Visit, role: str, series: Series, submission_id: str, staged: Path) -> None:
        name = folder.image_name(visit.participant_id, visit.session_id, role)
        place = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            image = make_image(series, visit.deidentifier, role, place, staged / name)
        except ConversionError as error:
            visit.status[series] = "failed"
            visit.ask(QueryCode.CONVERSION_FAILED, f"{role}, {visit.label(series)}: {error}")
            return
        visit.voxels[series] = image.voxels
        if twin := self._twin(visit, image.voxels):
            visit.status[series] = "held"
            visit.ask(
                QueryCode.DUPLICATE_SUBMISSION,
                f"{role}, {visit.label(series)} has the voxels of {twin}",
                blocking=True,
            )
            return
        study = visit.deidentifier.uid(series.study_uid)
        source = folder.origin(submission_id, study, self._content(series))
        write_json(folder.sidecar_of(staged / name), image.sidecar | source)
        visit.status[series] = "filed"
        visit.images[role] = name

    def _twin(self, visit: Visit, voxels: str) -> str:
        """Name another visit that has the same voxels."""
        for row in self.before:
            other = (row["participant_id"], row["session_id"])
            if row["voxels"] == voxels and row["status"] in folder.KEPT:
                if other != (visit.participant_id, visit.session_id):
                    return "/".join(other)
        return ""

    def _content(self, series: Series) -> str:
        return self._digest("content", *sorted(series.instance_uids), series.part)[:16]

    def _publish(self, visit: Visit, submission_id: str, staged: Path) -> None:
        """Move what was made into the BIDS folder, beside or instead of what is there."""
        if not visit.images:
            return
        taken = {role: visit.taken()[role].series for role in visit.images}
        filed = self._filed(visit)
        blocked = self._blocked(visit, submission_id)
        study = {visit.deidentifier.uid(series.study_uid) for series in taken.values()}
        same_study = not filed or bool(study & {one.study_id for one in filed.values()})
        same = {role for role in taken if role in filed and filed[role].content == self._content(taken[role])}
        conflicts = {role for role in taken if role in filed} - same
        again = {role for role in conflicts if filed[role].submission_id == submission_id}
        conflicts -= again
        new = set(taken) - set(filed)
        if conflicts and not blocked:
            aside = conflicts | (set() if same_study else new)
        else:
            aside = set() if same_study or blocked else new
        retired = {}
        if conflicts and blocked:
            retired = {role: filed[role] for role in conflicts}
            if not same_study:
                retired = dict(filed)
        for role in same:
            visit.status[taken[role]] = "unchanged"
        folder.set_aside(self.bids_dir, retired.values())
        self._keep_aside(visit, aside, submission_id, staged)
        gone = [one for role, one in retired.items() if role not in taken]
        folder.remove(gone)
        wanted = [visit.images[role] for role in sorted(set(taken) - same - aside)]
        folder.publish(staged, self.bids_dir, wanted)
        self._settle(visit, blocked, set(taken) - same - aside, submission_id)
        others = {one.submission_id for one in filed.values()} - {submission_id, ""}
        if aside:
            visit.ask(QueryCode.ALREADY_RECEIVED, ", ".join(sorted(aside)))
        elif same and same == set(taken) and others:
            visit.ask(QueryCode.DUPLICATE_SUBMISSION, f"{', '.join(sorted(same))} of {visit.session_id}")
        self._mark_replaced(retired)

    def _keep_aside(self, visit: Visit, roles: set[str], submission_id: str, staged: Path) -> None:
        for role in roles:
            name = visit.images.pop(role)
            kept = self.bids_dir / folder.SET_ASIDE / submission_id / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            (staged / name).replace(kept)
            folder.sidecar_of(staged / name).replace(folder.sidecar_of(kept))
            visit.status[visit.taken()[role].series] = "set_aside"

    def _mark_replaced(self, retired: dict[str, folder.Filed]) -> None:
        contents = {one.content for one in retired.values()} - {""}
        for row in self.before:
            if row["content"] in contents and row["status"] == "filed":
                row["status"] = "replaced"
        if contents:
            folder.write_rows(self.bids_dir / folder.SERIES_TABLE, self.before, folder.SERIES_COLUMNS)

    def _settle(self, visit: Visit, blocked: Iterable[Query], roles: set[str], submission_id: str) -> None:
        """Close the queries of earlier submissions that this one answers; what is still wrong is asked anew."""
        general = {QueryCode.MISSING_SEQUENCE, QueryCode.NOTHING_USABLE, QueryCode.CONTRAST_UNCLEAR}
        whole = roles and roles >= set(self._filed(visit))
        for query in blocked:
            about = any(f": {role}, " in query.what for role in roles)
            if whole or about or (roles and query.code in general):
                reason = f"answered by submission {submission_id}"
                close_query(
                    self.bids_dir, query.query_id, by="intake", reason=reason, today=self.request.today
                )

    # -- tables --------------------------------------------------------------------------------------------

    def _general_queries(self, inventory: Inventory, submission: Submission) -> list[Query]:
        """Ask about files that belong to no series."""
        site_id = self.request.site_id or self._only_site(submission)
        ask: list[tuple[QueryCode, Why]] = [
            (QueryCode.UNREADABLE_FILES, Why.EMPTY),
            (QueryCode.UNREADABLE_FILES, Why.NO_HEADER),
            (QueryCode.UNREADABLE_FILES, Why.UNREADABLE),
            (QueryCode.UNREADABLE_FILES, Why.NO_UID),
            (QueryCode.UNREADABLE_FILES, Why.MISSING),
            (QueryCode.UNSAFE_ARCHIVE, Why.ARCHIVE),
            (QueryCode.UNSAFE_ARCHIVE, Why.MEMBER),
        ]
        counts = inventory.leftovers.counts
        queries = [
            new_query(
                code, detail=f"{counts[why]} {why.value}{self._details(inventory, why)}", site_id=site_id
            )
            for code, why in ask
            if counts[why]
        ]
        if not inventory.series:
            told = (
                "; ".join(f"{count} {why.value}" for why, count in sorted(counts.items()))
                or "nothing was sent"
            )
            queries.append(new_query(QueryCode.NOTHING_USABLE, detail=told, site_id=site_id))
        return queries

    def _details(self, inventory: Inventory, why: Why) -> str:
        details = sorted({one.detail for one in inventory.leftovers.examples[why] if one.detail})
        return f" ({', '.join(details)})" if details else ""

    def _only_site(self, submission: Submission) -> str:
        sites = {visit.row.site_id for visit in submission.visits if visit.row}
        return sites.pop() if len(sites) == 1 else ""

    def _rows(self, visit: Visit, submission_id: str) -> list[dict[str, str]]:
        rows = []
        for one in visit.assigned:
            series, geometry = one.series, describe_geometry(one.series)
            pixel = " x ".join(f"{side:.4g}" for side in geometry.in_plane_mm) if geometry.in_plane_mm else ""
            rows.append(
                {
                    "submission_id": submission_id,
                    "site_id": visit.row.site_id if visit.row else self.request.site_id or "",
                    "participant_id": visit.participant_id,
                    "session_id": visit.session_id,
                    "series_id": visit.deidentifier.uid(series.series_uid),
                    "part": "; ".join(
                        part for part in (series.part, "copy" if series.copy_of else "") if part
                    ),
                    "series_number": str(series.series_number),
                    "description": visit.deidentifier.words(series.description),
                    "modality": visit.deidentifier.code(text(series.header, "Modality")),
                    "role": one.role,
                    "reason": visit.deidentifier.scrub(one.reason),
                    "candidate_of": one.candidate_of,
                    "status": visit.status[series],
                    "slices": str(series.frames),
                    "slices_expected": str(series.expected.slices) if series.expected else "",
                    "rows": str(geometry.rows or ""),
                    "columns": str(geometry.columns or ""),
                    "in_plane_mm": pixel,
                    "spacing_mm": "" if geometry.spacing_mm is None else f"{geometry.spacing_mm:g}",
                    "plane": geometry.plane,
                    "faults": "; ".join(f"{f.code}: {f.text}" for f in visit.faults[series]),
                    "image": visit.images.get(one.role, "") if one.role in IMAGE_ROLES else "",
                    "content": self._content(series),
                    "voxels": visit.voxels.get(series, ""),
                }
            )
        return rows

    def _write_tables(self, submission: Submission, queries: list[Query]) -> None:
        folder.update_series(self.bids_dir, submission.rows)
        known = {row.participant_id: row for row in self.sheet}
        came: dict[str, dict[str, str]] = defaultdict(dict)
        births = dict(self.births)
        for visit in submission.visits:
            if not visit.session_id or visit.row is None or visit.examination.day is None:
                continue
            day = visit.deidentifier.date(visit.examination.day.isoformat()) if visit.images else ""
            came[visit.participant_id][visit.session_id] = f"{day}T00:00:00" if day else ""
            if visit.images and (birth := self._birth(visit.examination, visit.row)):
                births.setdefault(visit.participant_id, birth)
        folder.update_participants(self.bids_dir, [known[name] for name in sorted(came, key=natural_key)])
        for participant_id, days in came.items():
            rows = [row for row in self.sheet if row.participant_id == participant_id]
            folder.update_sessions(self.bids_dir, rows, days)
        if births != self.births:
            write_json(self.keys.folder / _BIRTHS, dict(sorted(births.items())))
            (self.keys.folder / _BIRTHS).chmod(0o600)
        submission.queries = add_queries(self.bids_dir, queries, today=self.request.today)


def _read_births(keys: Keys) -> dict[str, str]:
    try:
        return {str(name): str(birth) for name, birth in read_json(keys.folder / _BIRTHS).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        msg = f"{keys.folder / _BIRTHS}: cannot be read ({type(error).__name__}); restore or remove it"
        raise UsageError(msg) from error
