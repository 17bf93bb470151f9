"""Counts and volumes of a visit and of a participant, derived from the lesion ledger alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from mesems_mri.dataset.columns import READ_STATUS

Row = Mapping[str, Any]

_GEL_CHANGE = ("new", "persistent", "re_enhancing")
"""Status of a GEL against the last evaluable visit; each has a column of its own."""


class EndpointPeriod(Protocol):
    """Visits over which an endpoint is summed (`mesems_mri.config.Period`)."""

    @property
    def weeks(self) -> Sequence[int]:
        """Weeks whose counts are summed."""
        ...

    @property
    def start(self) -> int:
        """Week of the volumes at the start."""
        ...

    @property
    def end(self) -> int:
        """Week of the volumes at the end."""
        ...


def visit_counts(
    rows: Iterable[Row],
    *,
    gel_evaluable: bool,
    gel_change_evaluable: bool,
    t2_evaluable: bool,
    t2_change_evaluable: bool,
    cua_evaluable: bool | None = None,
) -> dict[str, int | float | None]:
    """Derive the counts and volumes of one visit from its ledger rows.

    What is not evaluable is None, never 0. Foci that a reader rejected are not counted.

    Parameters
    ----------
    rows : iterable of mapping
        Ledger rows of this visit.
    gel_evaluable, t2_evaluable : bool
        Enhancing lesions, T2 lesions are evaluable at this visit.
    gel_change_evaluable : bool
        There is an earlier scheduled visit that was evaluable for enhancing lesions; without one they are
        all ``baseline`` and new, persistent and re-enhancing ones cannot be told apart.
    t2_change_evaluable : bool
        T2 change is evaluable.
    cua_evaluable : bool, optional
        Default: all of GEL, GEL change and T2 change are evaluable. A visit whose GEL are baseline would
        count the active ones among them as zero.

    Returns
    -------
    dict
        The columns of ``visit_metrics.tsv`` that come from the ledger.
    """
    if cua_evaluable is None:
        cua_evaluable = gel_evaluable and gel_change_evaluable and t2_change_evaluable
    gel, t2 = _counted_foci(rows)
    by_status = {status: [row for row in gel if row["gd_status"] == status] for status in _GEL_CHANGE}
    new = [row for row in t2 if row["t2_status"] == "new"]
    enlarging = [row for row in t2 if row["t2_status"] == "enlarging"]
    cua = _combined_unique_active([*by_status["new"], *by_status["re_enhancing"]], [*new, *enlarging])
    columns: dict[str, tuple[bool, int | float]] = {
        "gel_count": (gel_evaluable, len(gel)),
        **{
            f"gel_{status}_count": (gel_evaluable and gel_change_evaluable, len(found))
            for status, found in by_status.items()
        },
        "gel_volume_mm3": (gel_evaluable, _sum(gel, "volume_mm3")),
        "t2_new_count": (t2_change_evaluable, len(new)),
        "t2_enlarging_count": (t2_change_evaluable, len(enlarging)),
        "t2_new_volume_mm3": (t2_change_evaluable, _sum(new, "volume_mm3")),
        "t2_enlarging_volume_mm3": (t2_change_evaluable, _sum(enlarging, "growth_mm3")),
        "cua_count": (cua_evaluable, cua),
        "t2_lesion_count": (t2_evaluable, len(t2)),
        "t2_lesion_volume_mm3": (t2_evaluable, _sum(t2, "volume_mm3")),
    }
    return {"cua_evaluable": cua_evaluable} | {
        name: value if evaluable else None for name, (evaluable, value) in columns.items()
    }


def _counted_foci(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Return the GEL and the T2 lesions that count: foci neither rejected by a reader nor resolved."""
    counted = [row for row in rows if row.get("decision") != "rejected"]
    gel = [row for row in counted if row["focus"] == "gel"]
    return gel, [row for row in counted if row["focus"] == "t2" and row["t2_status"] != "resolved"]


def _combined_unique_active(active_gel: Sequence[Row], active_t2: Sequence[Row]) -> int:
    """Count the active lesions; a T2 lesion in which an active GEL lies counts once, with it."""
    joined = {row["parent_lesion_id"] for row in active_gel}
    return len(active_gel) + sum(row["lesion_id"] not in joined for row in active_t2)


def participant_endpoints(
    visit_rows: Iterable[Row], periods: Mapping[str, EndpointPeriod], *, baseline_week: int = 0
) -> list[dict[str, Any]]:
    """Sum the visits of every participant over the periods of the trial.

    Only scheduled visits count, by their week in the visit table. A sum over no evaluable visit is None.

    Parameters
    ----------
    visit_rows : iterable of mapping
        Rows of ``visit_metrics.tsv``; of two scheduled visits of one week the first is used.
    periods : mapping of str to EndpointPeriod
    baseline_week : int
        Week of the baseline visit.

    Returns
    -------
    list of dict
        Rows of ``participant_endpoints.tsv``, participants in order of appearance.
    """
    participants: dict[tuple[Any, Any], dict[int, Row]] = {}
    identity: dict[tuple[Any, Any], Row] = {}
    for row in visit_rows:
        key = (row["site_id"], row["participant_id"])
        identity.setdefault(key, row)
        by_week = participants.setdefault(key, {})
        if row["visit_type"] == "scheduled" and row["week"] is not None:
            by_week.setdefault(int(row["week"]), row)
    return [
        {name: identity[key][name] for name in ("study_id", "site_id", "participant_id")}
        | _baseline(by_week.get(baseline_week))
        | {"period": name}
        | _period_sums(by_week, period)
        for key, by_week in participants.items()
        for name, period in periods.items()
    ]


def _baseline(row: Row | None) -> dict[str, Any]:
    """Return the columns of the baseline visit."""
    evaluable = row is not None and bool(row["gel_evaluable"])
    return {
        "baseline_session_id": row["session_id"] if row else None,
        "baseline_gel_count": row["gel_count"] if row and evaluable else None,
        "baseline_evaluable": evaluable,
    }


def _period_sums(by_week: Mapping[int, Row], period: EndpointPeriod) -> dict[str, Any]:
    """Return the columns of one period."""
    visits = [by_week[week] for week in period.weeks if week in by_week]
    gel = [row for row in visits if row["gel_evaluable"]]
    cua = [row for row in visits if row["cua_evaluable"]]
    change = [row for row in visits if row["t2_change_evaluable"]]
    t2_counts = [_sum([row], "t2_new_count", "t2_enlarging_count") for row in change]
    start, end = by_week.get(period.start), by_week.get(period.end)
    used = [*visits, *(row for row in (start, end) if row is not None)]
    progress = list(READ_STATUS)
    return {
        "gel_count_sum": _sum(gel, "gel_count") if gel else None,
        "gel_new_sum": _sum_known(gel, "gel_new_count"),
        "gel_volume_sum_mm3": _sum(gel, "gel_volume_mm3") if gel else None,
        "gel_visits_evaluable": len(gel),
        "cua_sum": _sum(cua, "cua_count") if cua else None,
        "cua_visits_evaluable": len(cua),
        "t2_new_enlarging_sum": sum(t2_counts) if change else None,
        "t2_weeks_covered": _weeks_covered(change, by_week) if change else None,
        "t2_volume_start_mm3": _volume(start, "t2_lesion_volume_mm3", "t2_evaluable"),
        "t2_volume_end_mm3": _volume(end, "t2_lesion_volume_mm3", "t2_evaluable"),
        "black_hole_volume_start_mm3": _volume(start, "black_hole_volume_mm3", "black_hole_evaluable"),
        "black_hole_volume_end_mm3": _volume(end, "black_hole_volume_mm3", "black_hole_evaluable"),
        "read_status": min((row["read_status"] for row in used), key=progress.index, default=progress[0]),
    }


def _weeks_covered(change: Iterable[Row], by_week: Mapping[int, Row]) -> int:
    """Count the weeks between the visits that were compared; overlapping intervals count once."""
    week_of = {row["session_id"]: week for week, row in by_week.items()}
    covered: set[int] = set()
    for row in change:
        reference_week = week_of.get(row["t2_reference_session_id"])
        if reference_week is not None:
            covered.update(range(reference_week, int(row["week"])))
    return len(covered)


def _volume(row: Row | None, name: str, evaluable: str) -> float | None:
    """Return a volume of a visit, None if there is no such visit or it is not evaluable."""
    return row[name] if row is not None and row[evaluable] else None


def _sum(rows: Iterable[Row], *names: str) -> int | float:
    """Sum columns over rows; what a row lacks adds nothing."""
    return sum(row[name] or 0 for row in rows for name in names)


def _sum_known(rows: Iterable[Row], name: str) -> int | float | None:
    """Sum a column over the rows that have a value; None if none has."""
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) if known else None
