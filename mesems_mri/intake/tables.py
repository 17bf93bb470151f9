"""What an intake writes down: a row for each series, the visits, and queries about files of no series."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from mesems_mri.dataset.bids import natural_key
from mesems_mri.dataset.queries import Query, new_query
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.intake import folder
from mesems_mri.intake.assess import Visit
from mesems_mri.intake.classify import IMAGE_ROLES, Assigned
from mesems_mri.intake.context import BIRTHS, WAITS, Context, read_private, write_private
from mesems_mri.intake.dicom.geometry import describe_geometry
from mesems_mri.intake.dicom.instance import Why
from mesems_mri.intake.dicom.tags import text
from mesems_mri.intake.inventory import Inventory

STATUS = {
    "filed": "an image of the BIDS folder",
    "unchanged": "an image of the BIDS folder already",
    "set_aside": "kept in sourcedata/intake, as another image of the visit was filed before",
    "replaced": "kept in sourcedata/intake, as a later submission replaced it",
    "duplicate": "sent before, and another image took its place",
    "not_used": "no image of the protocol, or another series was taken",
    "query": "waits for an answer of the site",
    "held": "not taken in before it is known whose scan it is and of which visit",
    "failed": "could not be converted",
}
"""What can become of a series."""
_ASKED = {
    Why.EMPTY: QueryCode.UNREADABLE_FILES,
    Why.NO_HEADER: QueryCode.UNREADABLE_FILES,
    Why.UNREADABLE: QueryCode.UNREADABLE_FILES,
    Why.NO_UID: QueryCode.UNREADABLE_FILES,
    Why.TOO_DEEP: QueryCode.UNREADABLE_FILES,
    Why.MISSING: QueryCode.UNREADABLE_FILES,
    Why.ARCHIVE: QueryCode.UNSAFE_ARCHIVE,
    Why.MEMBER: QueryCode.UNSAFE_ARCHIVE,
}


def leftover_queries(inventory: Inventory, site_id: str, submission_id: str) -> list[Query]:
    """Word queries about files that belong to no series, and about a submission without any.

    Parameters
    ----------
    inventory : Inventory
    site_id, submission_id : str
        What they are about.

    Returns
    -------
    list of Query
        Without file names: a file may be called like the person.
    """
    counts, queries = inventory.leftovers.counts, []
    ask = partial(new_query, site_id=site_id, submission_id=submission_id)
    for why, code in _ASKED.items():
        if counts[why]:
            details = sorted({r.detail for r in inventory.leftovers.examples[why] if r.detail})
            told = f"{counts[why]} {why.value}" + (f" ({', '.join(details)})" if details else "")
            queries.append(ask(code, words=told, detail=_counted(counts, [why])))
    if not inventory.series:
        told = "; ".join(f"{counts[why]} {why.value}" for why in Why if counts[why]) or "nothing was sent"
        found = _counted(counts, Why) or ("files=0",)
        queries.append(ask(QueryCode.NOTHING_USABLE, words=told, detail=found))
    return queries


def _counted(counts: Mapping[Why, int], reasons: Iterable[Why]) -> tuple[str, ...]:
    return tuple(f"{why.name.lower()}={counts[why]}" for why in reasons if counts[why])


def series_rows(context: Context, visit: Visit) -> list[dict[str, str]]:
    """Return the row of ``series.tsv`` for each series of a visit."""
    return [_row(context, visit, one) for one in visit.assigned]


def _row(context: Context, visit: Visit, one: Assigned) -> dict[str, str]:
    series, geometry, clean = one.series, describe_geometry(one.series), visit.deidentifier
    pixel = " x ".join(f"{side:.4g}" for side in geometry.in_plane_mm) if geometry.in_plane_mm else ""
    part = "; ".join(
        part for part in (visit.plain(series.part), f"copy {series.copy}" if series.copy else "") if part
    )
    image = visit.images.get(one.role, "") if one.role in IMAGE_ROLES else ""
    if visit.status[series] == "set_aside":
        name = folder.image_name(visit.participant_id, visit.session_id, one.role)
        image = f"{folder.SET_ASIDE}/{visit.submission_id}/{name}"
    return {
        "submission_id": visit.submission_id,
        "site_id": visit.row.site_id if visit.row else context.request.site_id or "",
        "participant_id": visit.participant_id,
        "session_id": visit.session_id,
        "series_id": visit.series_id(series),
        "part": part,
        "series_number": str(series.series_number),
        "description": clean.words(series.description),
        "modality": clean.code(text(series.header, "Modality")),
        "role": one.role,
        "reason": visit.plain(one.reason),
        "candidate_of": one.candidate_of,
        "status": visit.status[series],
        "slices": str(series.frames),
        "slices_expected": str(series.expected.slices) if series.expected else "",
        "rows": str(geometry.rows or ""),
        "columns": str(geometry.columns or ""),
        "in_plane_mm": pixel,
        "spacing_mm": "" if geometry.spacing_mm is None else f"{geometry.spacing_mm:g}",
        "plane": geometry.plane,
        "faults": "; ".join(f"{fault.code}: {fault.text}" for fault in visit.faults[series]),
        "image": image,
        "content": context.content(series),
        "voxels": visit.voxels.get(series, ""),
    }


def write_tables(context: Context, visits: Sequence[Visit]) -> None:
    """Write series, participants and visits of an intake, and what is kept beside the key."""
    rows = [row for visit in visits for row in series_rows(context, visit)]
    folder.update_series(context.bids_dir, rows)
    births, waits = dict(context.births), read_private(context.keys, WAITS)
    came: dict[str, dict[str, str]] = defaultdict(dict)
    for visit in visits:
        day = visit.examination.day
        if visit.row is None or day is None or not visit.session_id:
            continue
        shifted = visit.deidentifier.date(day.isoformat()) if visit.images else ""
        came[visit.participant_id][visit.session_id] = f"{shifted}T00:00:00" if shifted else ""
        waits.setdefault(visit.submission_id, str((context.today - day).days))
        if visit.images and (birth := visit.birth_hash):
            births.setdefault(visit.participant_id, birth)
    people = {row.participant_id: row for row in context.sheet}
    rows_of_people = [people[name] for name in sorted(came, key=natural_key)]
    sexes = {visit.participant_id: sex for visit in visits if visit.images and (sex := visit.examination.sex)}
    folder.update_participants(context.bids_dir, rows_of_people, sexes)
    for participant_id, days in came.items():
        planned = [row for row in context.sheet if row.participant_id == participant_id]
        folder.update_sessions(context.bids_dir, planned, days)
    write_private(context.keys, BIRTHS, births)
    write_private(context.keys, WAITS, waits)
