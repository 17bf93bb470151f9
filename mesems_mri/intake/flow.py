"""The intake of a submission: assessed, de-identified, filed as BIDS, queried."""

import contextlib
import datetime as dt
import secrets
import tempfile
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mesems_mri.dataset.bids import natural_key
from mesems_mri.dataset.journal import commit, finish_interrupted, make_shadow, transaction
from mesems_mri.dataset.queries import (
    Query,
    add_queries,
    blocking_queries,
    close_settled,
    complete_queries,
    read_queries,
    settle_answers,
    table_lock,
)
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.dataset.schedule import read_sheet
from mesems_mri.errors import DatasetError, MesemsError, UsageError
from mesems_mri.files import read_json
from mesems_mri.intake import folder
from mesems_mri.intake.answers import (
    match_as_answered,
    merged_roles,
    named_series,
    outcome_of_answers,
    take_named_volumes,
)
from mesems_mri.intake.assess import assess_visit, scanner_of, unused_file_queries
from mesems_mri.intake.baseline import first_acquisitions
from mesems_mri.intake.context import (
    BIRTH_HASHES_FILE,
    DAYS_FROM_SCAN_FILE,
    IntakeContext,
    IntakeRequest,
    read_private,
)
from mesems_mri.intake.deidentify.keys import Keys, default_folder, open_keys
from mesems_mri.intake.dicom.acquisition import Scanner, scanner_of_sidecar
from mesems_mri.intake.dicom.tags import text
from mesems_mri.intake.filing import convert_visit, is_blocked
from mesems_mri.intake.identify import (
    Examination,
    IdentityProblem,
    check_identity,
    group_examinations,
    match_visit,
    mixed_studies,
)
from mesems_mri.intake.inventory import Inventory, take_inventory
from mesems_mri.intake.joining import join_examinations, roles_of
from mesems_mri.intake.mapping import learn_dummy_run, match_with_map, remember_series
from mesems_mri.intake.protocol import load_protocol
from mesems_mri.intake.publish import file_visit, write_dicom_copy
from mesems_mri.intake.receipt_store import RECEIPTS, SITES
from mesems_mri.intake.receipts import write_receipt_pages
from mesems_mri.intake.rows import read_rows
from mesems_mri.intake.tables import read_sexes, write_tables
from mesems_mri.intake.visit import AssessedVisit
from mesems_mri.provenance import PACKAGE_DIR

_ASKED_OF_A_VISIT = {
    QueryCode.MISSING_SEQUENCE,
    QueryCode.PROTOCOL_DEVIATION,
    QueryCode.PROTOCOL_UNKNOWN,
    QueryCode.SCANNER_CHANGED,
}
"""Asked once it is known which visit it is."""
_VISIT_UNKNOWN = {QueryCode.NO_SCAN_DATE, QueryCode.VISIT_UNCLEAR}


@dataclass(eq=False)
class Submission:
    """A submission after its intake; each of its examinations has a ``submission_id`` of its own.

    Parameters
    ----------
    inventory : Inventory
    visits : list of AssessedVisit
    queries : tuple of Query
        All queries about it, as in the table (numbered, unless it was a dry run).
    on_hold : dict of str to tuple of str
        Numbers of the queries that hold a visit now, by its name; those of other submissions among them.
    """

    inventory: Inventory
    visits: list[AssessedVisit]
    queries: tuple[Query, ...] = ()
    on_hold: dict[str, tuple[str, ...]] = field(default_factory=dict)


def run_intake(request: IntakeRequest, say: Callable[[str], None] = lambda _: None) -> Submission:
    """Run the intake of a submission.

    Parameters
    ----------
    request : IntakeRequest
    say : callable
        Takes one line at a time, de-identified.

    Returns
    -------
    Submission

    Raises
    ------
    UsageError, DatasetError
        If the visit schedule, the protocol, the key or a folder cannot be used. A fault of the images is no
        error: it becomes a query.
    """
    if not request.submission.exists():
        msg = f"{request.submission}: no such folder or archive; give the submission of a site"
        raise DatasetError(msg)
    _refuse_overlap(request)
    if request.deface and request.dicom_copy:
        msg = "--deface and --dicom-copy: a copy as DICOM keeps the face; leave one of the two out"
        raise UsageError(msg)
    schedule = read_sheet(request.sheet)
    protocol = load_protocol(request.protocol) if request.protocol else None
    with contextlib.ExitStack() as stack:
        finish_interrupted(request.bids_dir)
        keys = stack.enter_context(_open_keys(request))
        if not request.dry_run:
            finish_interrupted(request.bids_dir, clean=True)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mesems-intake-")))
        context = IntakeContext(
            request=request,
            keys=keys,
            schedule=schedule,
            protocol=protocol,
            scratch=scratch,
            today=request.today or dt.datetime.now(tz=dt.UTC).date(),
            earlier_queries=read_queries(request.bids_dir),
            earlier_series=read_rows(request.bids_dir / folder.SERIES_TABLE),
            birth_hashes=read_private(keys.folder, BIRTH_HASHES_FILE),
            sexes=read_sexes(request.bids_dir),
            say=say,
        )
        try:
            inventory = take_inventory(
                request.submission,
                scratch,
                limits=replace(request.limits),
                progress=lambda files: say(f"{files} files read"),
            )
            if request.dummy_run:
                return _learn_dummy_run(context, inventory)
            return _assess_and_file(context, inventory)
        except MesemsError:
            raise
        except Exception as error:
            # what went wrong may be worded with values of a header: only where and what kind is told
            raise MesemsError(_failure_location(error)) from None


def _failure_location(error: Exception) -> str:
    package = str(PACKAGE_DIR)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(package)]
    place = (
        f"{Path(frames[-1].filename).relative_to(package)}, line {frames[-1].lineno}"
        if frames
        else "a library"
    )
    return f"the intake failed ({type(error).__name__} in {place}); this is a bug, please report this line"


def _learn_dummy_run(context: IntakeContext, inventory: Inventory) -> Submission:
    """Write the series map of a site from its dummy run; nothing is filed."""
    site_id = context.request.site_id
    if not site_id:
        msg = "--dummy-run: it is not known of which site; give --site"
        raise UsageError(msg)
    path, lines = learn_dummy_run(context, site_id, inventory.series)
    for line in lines:
        context.say(line)
    context.say(f"series map: {path}" if path else "no series has a role: no series map was written")
    return Submission(inventory, [])


def _assess_and_file(context: IntakeContext, inventory: Inventory) -> Submission:
    found = group_examinations(inventory.series)
    mixed = mixed_studies(found, context.schedule)
    visits = sorted((_identify(context, one, found, mixed) for one in found), key=_chronological)
    _check_identities(context, visits)
    _assess_visits(context, visits)
    context.earlier_queries = complete_queries(
        context.earlier_queries, [query for visit in visits for query in visit.queries]
    )
    sites = {visit.row.site_id for visit in visits if visit.row}
    site_id = context.request.site_id or (sites.pop() if len(sites) == 1 else "")
    about = visits[0].submission_id if len(visits) == 1 else _submission_id(context, inventory)
    general = unused_file_queries(inventory, site_id, about)
    submission = Submission(inventory, visits)
    if context.request.dry_run:
        for visit in visits:
            convert_visit(context, visit, None)
        submission.queries = tuple([*general, *(query for visit in visits for query in visit.queries)])
        return submission
    with transaction(context.bids_dir, context.keys.folder) as work:
        for visit in visits:
            convert_visit(context, visit, work.images)
        # nothing in the BIDS folder has changed so far, nor does it before the transaction is committed
        with _table_lock(context.request.bids_dir):
            linked = make_shadow(work, _folders(visits), (BIRTH_HASHES_FILE, DAYS_FROM_SCAN_FILE))
            context.work = work
            _file_visits(context, submission, general)
            context.work = None
            commit(work, linked)
    if context.request.dicom_copy:
        for visit in visits:
            write_dicom_copy(context, visit, context.request.dicom_copy)
    if context.request.remember:
        for path in remember_series(context, visits):
            context.say(f"series map: {path}")
    return submission


def _file_visits(context: IntakeContext, submission: Submission, general: Sequence[Query]) -> None:
    """File the visits of a submission, with its tables, queries and pages."""
    visits = submission.visits
    if context.work is None:
        return
    folder.prepare_folder(context.bids_dir)
    for visit in visits:
        sisters = [other for other in visits if other.name == visit.name and other is not visit]
        file_visit(context, visit, context.work.images, sisters)
    write_tables(context, visits)
    settle_answers(context.bids_dir, _outcome(context, visits), today=context.today)
    asked = [*general, *(query for visit in visits for query in visit.queries)]
    submission.queries = add_queries(context.bids_dir, asked, today=context.today)
    own = {visit.submission_id for visit in visits}
    close_settled(context.bids_dir, own, asked, today=context.today)
    submission.on_hold = {
        "/".join(visit): tuple(query.query_id for query in queries)
        for visit, queries in blocking_queries(context.bids_dir).items()
        if all(visit)
    }
    write_receipt_pages(context, submission.inventory, visits, submission.queries)


def _folders(visits: Sequence[AssessedVisit]) -> list[str]:
    """Return the folders that filing may change."""
    participants = {visit.participant_id for visit in visits if visit.participant_id}
    return [RECEIPTS, SITES, *sorted(participants)]


def _table_lock(bids_dir: Path) -> contextlib.AbstractContextManager[None]:
    """Keep the table of queries as it is while a submission is filed; nobody has one of a new folder."""
    return table_lock(bids_dir) if bids_dir.is_dir() else contextlib.nullcontext()


def _outcome(context: IntakeContext, visits: Sequence[AssessedVisit]) -> dict[str, str]:
    return outcome_of_answers(context, visits, [visit for visit in visits if is_blocked(context, visit)])


def _submission_id(context: IntakeContext, inventory: Inventory) -> str:
    counts = sorted(inventory.unused_files.counts.items())
    return context.submission_id(inventory.series, *(f"{why}: {count}" for why, count in counts))


@contextlib.contextmanager
def _open_keys(request: IntakeRequest) -> Generator[Keys]:
    """Open the key and lock out other intakes; a dry run creates no key."""
    place = request.key_folder or default_folder(request.bids_dir)
    if request.dry_run:
        yield open_keys(place, create=False) if place.exists() else Keys(place, secrets.token_bytes(32))
        return
    filled = any(request.bids_dir.glob("sub-*/ses-*")) if request.bids_dir.is_dir() else False
    keys = open_keys(place, request.bids_dir, create=not filled)
    with folder.locked(keys.folder):
        yield keys


def _refuse_overlap(request: IntakeRequest) -> None:
    submission, bids = request.submission.resolve(), request.bids_dir.resolve()
    if submission == bids or submission in bids.parents or bids in submission.parents:
        msg = (
            f"{request.bids_dir}: the BIDS folder and the submission lie inside each other; give another one"
        )
        raise UsageError(msg)


def _identify(
    context: IntakeContext, examination: Examination, found: Sequence[Examination], mixed: set[str]
) -> AssessedVisit:
    """Identify participant and visit of an examination, as the site has answered where it has."""
    submission_id = context.submission_id(examination.series)
    others = [other for other in found if other is not examination]
    sessions = _sessions_with_images(context, examination, others)
    row, problems, failures = match_as_answered(context, examination, submission_id, sessions)
    deidentifier = context.deidentifier(row)
    for series in examination.series:
        deidentifier.learn(series.header)
    birth = ""
    if row is not None:
        births = sorted({text(s.header, "PatientBirthDate") for s in examination.series} - {""})
        birth = deidentifier.birth_hash(births[0]) if births else ""
    if any(series.study_uid in mixed for series in examination.series):
        problems.append(IdentityProblem(QueryCode.SEVERAL_PARTICIPANTS, "in one study", ("study",)))
    visit = AssessedVisit(
        examination=examination,
        row=row,
        session_known=not any(problem.code in _VISIT_UNKNOWN for problem in problems),
        submission_id=submission_id,
        deidentifier=deidentifier,
        identity_problems=problems,
        birth_hash=birth,
        answer_failures=failures,
    )
    take_named_volumes(context, visit)
    return visit


def _sessions_with_images(
    context: IntakeContext, examination: Examination, others: Sequence[Examination]
) -> set[str]:
    """Return the visits of a participant that hold images, or other examinations of the submission."""
    matched = [match_visit(one, context.schedule)[0] for one in (examination, *others)]
    mine = matched[0].participant_id if matched[0] else ""
    filed = {
        row.session_id
        for row in context.schedule
        if row.participant_id == mine and folder.filed_images(context.bids_dir, mine, row.session_id)
    }
    return filed | {row.session_id for row in matched[1:] if row and row.participant_id == mine}


def _check_identities(context: IntakeContext, visits: Sequence[AssessedVisit]) -> None:
    """Compare the person of each visit with the earlier ones, those of the same submission among them."""
    births, sexes = dict(context.birth_hashes), dict(context.sexes)
    for visit in visits:
        if visit.row is None:
            continue
        name, examination = visit.participant_id, visit.examination
        found = check_identity(
            examination, visit.row, sexes.get(name, ""), visit.birth_hash, births.get(name, "")
        )
        visit.birth_compared = name in births and name not in context.birth_hashes
        visit.identity_problems += found
        if found:  # nobody knows yet which of them is the participant
            continue
        if visit.birth_hash:
            births.setdefault(name, visit.birth_hash)
        if examination.sex:
            sexes.setdefault(name, examination.sex)


def _assess_visits(context: IntakeContext, visits: Sequence[AssessedVisit]) -> None:
    """Assess every examination, and join those of one visit, the earlier ones known to the later."""
    several: dict[str, list[AssessedVisit]] = {visit.name: [] for visit in visits}
    for visit in visits:
        if visit.session_id and not is_blocked(context, visit):
            several[visit.name].append(visit)
    for visit in visits:
        filed = set(folder.filed_images(context.bids_dir, visit.participant_id, visit.session_id))
        joined = several[visit.name] if visit in several[visit.name] else [visit]
        there = filed | _roles_held(joined[: joined.index(visit)])
        named = named_series(context, joined)
        reference, match = _first_scanner(context, visit, visits), match_with_map(context, visit)
        first = first_acquisitions(context, visit, visits)
        assess_visit(visit, context.protocol, reference, tuple(there), named, match, first)
        if not visit.session_id:
            visit.queries = [query for query in visit.queries if query.code not in _ASKED_OF_A_VISIT]
        if visit.row is None:  # whoever has sent it is asked
            sender = context.request.site_id or ""
            visit.queries = [replace(query, site_id=sender) for query in visit.queries]
        if len(joined) > 1 and visit is joined[-1]:
            join_examinations(joined, filed, named, merged_roles(context, joined))


def _roles_held(visits: Sequence[AssessedVisit]) -> set[str]:
    """Return the roles that examinations hold, clear or not."""
    return roles_of(visits) | {
        one.candidate_of for visit in visits for one in visit.classified if one.unclear
    }


def _chronological(visit: AssessedVisit) -> tuple[list[tuple[bool, int, str]], dt.date]:
    return natural_key(visit.participant_id), visit.examination.day or dt.date.max


def _first_scanner(
    context: IntakeContext, visit: AssessedVisit, visits: Sequence[AssessedVisit]
) -> Scanner | None:
    """Return the scanner of the participant's first visit, if that is an earlier one."""
    day = visit.examination.day
    if visit.row is None or day is None or not visit.session_id:
        return None
    found: list[tuple[dt.date, Scanner]] = []
    for row in context.schedule:
        if (
            row.participant_id == visit.participant_id
            and row.planned_date
            and row.session_id != visit.session_id
        ):
            for filed in folder.filed_images(context.bids_dir, row.participant_id, row.session_id).values():
                with contextlib.suppress(OSError, ValueError):
                    found.append((row.planned_date, scanner_of_sidecar(read_json(filed.sidecar))))
    for other in visits:
        same = other.participant_id == visit.participant_id and other.session_id not in ("", visit.session_id)
        if same and other.examination.day:
            found.append((other.examination.day, scanner_of(other)))
    earlier = [pair for pair in found if pair[0] < day]
    return min(earlier, key=lambda pair: pair[0])[1] if earlier else None
