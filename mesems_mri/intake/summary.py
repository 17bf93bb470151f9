"""Summary of a submission for the terminal."""

from collections import Counter
from collections.abc import Iterator

from mesems_mri.intake.classify import IMAGE_ROLES
from mesems_mri.intake.flow import Submission
from mesems_mri.intake.visit import AssessedVisit


def summary_lines(submission: Submission, *, dry_run: bool = False) -> Iterator[str]:
    """Yield the lines of the summary of a submission, de-identified.

    Parameters
    ----------
    submission : Submission
    dry_run : bool
        True if nothing was written.

    Yields
    ------
    str
    """
    inventory = submission.inventory
    yield count_line(submission)
    counts = inventory.unused_files.counts
    for why in sorted(counts):
        yield f"  {counts[why]} {why.value}"
    for visit in submission.visits:
        day = "" if visit.session_id else ", visit not known"
        yield f"{visit.name}{day}, submission {visit.submission_id}"
        for one in visit.classified:
            role = one.role if one.role in IMAGE_ROLES else f"({one.role})"
            slices = f"{one.series.frames} slice{'' if one.series.frames == 1 else 's'}"
            reason = visit.deidentified(one.reason)
            status = visit.status.get(one.series, "")
            yield f"  {status:9}  {role:19}  {visit.series_name(one.series)}, {slices}: {reason}"
        yield from (f"  {note}" for note in visit.notes)
        if visit.protocol_items:
            results = Counter(item.result for items in visit.protocol_items.values() for item in items)
            told = ", ".join(f"{results[result]} {result}" for result in sorted(results))
            yield f"  protocol   {told}"
        if visit.session_id and not dry_run:
            yield f"  visit      {_state_of_visit(submission, visit)}"
    yield from query_lines(submission, dry_run=dry_run)


def count_line(submission: Submission) -> str:
    """Return the line of the number of files, series and examinations."""
    inventory = submission.inventory
    return f"{inventory.files} files, {len(inventory.series)} series, {len(submission.visits)} examinations"


def query_lines(submission: Submission, *, dry_run: bool = False) -> Iterator[str]:
    """Yield the lines of the queries about a submission: one per blocking query, and two.

    Parameters
    ----------
    submission : Submission
    dry_run : bool
        True if nothing was written.

    Yields
    ------
    str
    """
    waiting = [query for query in submission.queries if query.blocks_visit]
    for query in waiting:
        place = "/".join(part for part in (query.participant_id, query.session_id) if part)
        held = f"{place} waits" if place else "visit not known"
        yield f"{query.query_id or 'query'} {query.code} ({held}): {query.what}"
    others = Counter(query.code for query in submission.queries if not query.blocking)
    if others:
        told = ", ".join(f"{count} {code}" for code, count in sorted(others.items()))
        yield f"nothing waits for: {told}" + ("" if dry_run else "; see mesems-mri query list")
    verb = "would be asked" if dry_run else "asked"
    yield f"{len(submission.queries)} queries {verb}, {len(waiting)} of them blocking"


def _state_of_visit(submission: Submission, visit: AssessedVisit) -> str:
    """Return the state of a visit, as the table of queries has it."""
    if holding := submission.on_hold.get(visit.name):
        return f"on hold: {', '.join(holding)}"
    return "no blocking query: mesems-mri run evaluates it"
