"""Content of a run by site, with refusal of what must not leave the centre."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mesems_mri.dataset.columns import (
    EVALUATED,
    LEDGER_COLUMNS,
    PARTICIPANT_ENDPOINTS_COLUMNS,
    SITE_QUALITY_COLUMNS,
    VISIT_METRICS_COLUMNS,
    Column,
)
from mesems_mri.dataset.input_tables import read_tsv, refuse_forbidden_columns
from mesems_mri.dataset.journal import finish_interrupted
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.queries import Query, read_queries
from mesems_mri.dataset.tables import Row, read_table, table_cells
from mesems_mri.errors import BundleError, UsageError
from mesems_mri.files import read_json

VisitKey = tuple[str, str]


@dataclass(kw_only=True)
class SiteStudy:
    """Content of a run about one site.

    Parameters
    ----------
    study_id, site_id : str
    metrics, lesions, endpoints : list of dict
        Rows of the tables of the run, as `mesems_mri.dataset.tables.read_table` gives them.
    queries : list of Query
        Queries to the site.
    sessions : dict of (participant_id, session_id) to dict
        Rows of ``sub-X_sessions.tsv``: ``acq_time``, ``contrast_dose_mmol_kg``, ``steroid_within_30d``.
    scanners : dict of (participant_id, session_id) to dict
        Row of the image quality of the first image of the visit that names its scanner.
    contrasts : dict of (participant_id, session_id) to list of str
        Contrasts of which the visit has an image.
    visits : Counter
        Visits ``done``, ``not_evaluable``, ``failed``, ``waiting``.
    """

    study_id: str
    site_id: str
    metrics: list[Row] = field(default_factory=list)
    lesions: list[Row] = field(default_factory=list)
    endpoints: list[Row] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    sessions: dict[VisitKey, Mapping[str, str]] = field(default_factory=dict)
    scanners: dict[VisitKey, Row] = field(default_factory=dict)
    contrasts: dict[VisitKey, list[str]] = field(default_factory=dict)
    visits: Counter[str] = field(default_factory=Counter)


def read_study(layout: Layout, bids_dir: Path | None = None) -> list[SiteStudy]:
    """Read the content of a run, site by site.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    bids_dir : Path, optional
        Raw BIDS folder, for queries and ``sessions.tsv``; None: that of the last run.

    Returns
    -------
    list of SiteStudy
        One for each site, in the order of their names.

    Raises
    ------
    UsageError
        If the folder holds no finished run, or the raw BIDS folder is gone.
    BundleError
        If a participant has no site, the rows are of several studies, or a table breaks its schema.
    DatasetError
        If a table is none; also a forbidden column of the input.
    """
    bids_dir = bids_dir or _bids_dir(layout)
    finish_interrupted(bids_dir)
    if not bids_dir.is_dir():
        msg = f"{bids_dir}: the raw BIDS folder of the run is not there; give it with --bids-dir"
        raise UsageError(msg)
    refuse_forbidden_columns(bids_dir)
    metrics = _read(layout.out_dir / "visit_metrics.tsv", VISIT_METRICS_COLUMNS)
    refuse_hidden_zeros(metrics)
    sites, home = _by_site(metrics)
    for participant, site in home.items():
        sites[site].lesions += _read(layout.ledger(participant), LEDGER_COLUMNS)
        for row in _sessions(bids_dir, participant):
            sites[site].sessions[participant, f"ses-{row['session_id'].removeprefix('ses-')}"] = row
    for row in _read(layout.out_dir / "participant_endpoints.tsv", PARTICIPANT_ENDPOINTS_COLUMNS):
        if row["participant_id"] in home:
            sites[home[row["participant_id"]]].endpoints.append(row)
    for query in read_queries(bids_dir):
        site = home.get(query.participant_id) or query.site_id
        if site in sites:
            # it may be asked of a site that sent a scan of another one's participant
            sites[site].queries.append(replace(query, site_id=site))
    _read_scanners(layout, sites, home)
    _read_records(layout, sites, home)
    return [sites[name] for name in sorted(sites)]


def refuse_hidden_zeros(metrics: Sequence[Row]) -> None:
    """Refuse rows that give a result for what is not evaluable, or none without a reason.

    Raises
    ------
    BundleError
        Naming the visit and the column.
    """
    for row in metrics:
        visit = f"{row['participant_id']}/{row['session_id']}"
        for part, results in EVALUATED.items():
            if row[f"{part}_evaluable"]:
                continue
            given = next((name for name in results if row[name] is not None), None)
            if given:
                msg = (
                    f"visit_metrics.tsv: {visit} is not evaluable but has the {given} {row[given]}, expected "
                    "nothing; run the visit again"
                )
                raise BundleError(msg)
            if not row[f"{part}_reason"]:
                msg = (
                    f"visit_metrics.tsv: {visit} has neither {part} results nor a {part}_reason; run it again"
                )
                raise BundleError(msg)


def visit_status(layout: Layout) -> dict[VisitKey, str]:
    """Return the status of every visit: ``done``, ``not_evaluable``, ``failed`` or ``waiting``.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.

    Returns
    -------
    dict of (participant_id, session_id) to str
        Of the visits that the raw data had at the last run, and of those that earlier runs have left.
    """
    expected = read_json(layout.expected)["visits"] if layout.expected.is_file() else {}
    status = {(participant, s): "waiting" for participant, sessions in expected.items() for s in sessions}
    for path in sorted(layout.out_dir.glob("sub-*/ses-*/*_metrics.json")):
        status[path.parent.parent.name, path.parent.name] = read_json(path)["status"]
    return status


def _by_site(metrics: Iterable[Row]) -> tuple[dict[str, SiteStudy], dict[str, str]]:
    """Return the studies of the sites with their rows of visit_metrics, and the site of each participant."""
    sites: dict[str, SiteStudy] = {}
    home: dict[str, str] = {}
    for row in metrics:
        participant, site = row["participant_id"], row["site_id"]
        if not site:
            msg = f"{participant}: has no site; give its site_id in participants.tsv and run again"
            raise BundleError(msg)
        if home.setdefault(participant, site) != site:
            both = f"{home[participant]} and {site}"
            msg = (
                f"{participant}: is of the sites {both}, expected one; correct participants.tsv and run again"
            )
            raise BundleError(msg)
        study = sites.setdefault(site, SiteStudy(study_id=row["study_id"] or "", site_id=site))
        if study.study_id != (row["study_id"] or ""):
            both = f"{study.study_id!r} and {row['study_id']!r}"
            msg = f"{site}: has visits of the studies {both}, expected one; run all visits with one study_id"
            raise BundleError(msg)
        study.metrics.append(row)
    return sites, home


def _bids_dir(layout: Layout) -> Path:
    try:
        return Path(read_json(layout.provenance)["runs"][-1]["bids_dir"])
    except (OSError, ValueError, LookupError) as error:
        msg = f"{layout.out_dir}: holds no run of mesems-mri; give the output folder of one"
        raise UsageError(msg) from error


def _read(path: Path, columns: Mapping[str, Column]) -> list[dict[str, Any]]:
    """Read a table and check every value against its closed list."""
    try:
        rows = read_table(path, columns)
        for _ in table_cells(path.name, columns, rows):
            pass
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); finish the run with mesems-mri run first"
        raise UsageError(msg) from error
    except ValueError as error:
        msg = f"{path}: breaks the schema of its table ({error}); run again"
        raise BundleError(msg) from error
    return rows


def _sessions(bids_dir: Path, participant: str) -> list[dict[str, str]]:
    path = bids_dir / participant / f"{participant}_sessions.tsv"
    return [row for row in (read_tsv(path) if path.is_file() else []) if row.get("session_id")]


def _read_scanners(layout: Layout, sites: Mapping[str, SiteStudy], home: Mapping[str, str]) -> None:
    path = layout.site_quality()
    for row in _read(path, SITE_QUALITY_COLUMNS) if path.is_file() else []:
        if row["participant_id"] in home and row["manufacturer"]:
            visit = (row["participant_id"], row["session_id"])
            sites[home[row["participant_id"]]].scanners.setdefault(visit, row)


def _read_records(layout: Layout, sites: Mapping[str, SiteStudy], home: Mapping[str, str]) -> None:
    for site in sites.values():
        for row in site.metrics:
            visit = (row["participant_id"], row["session_id"])
            images = read_json(layout.metrics(*visit)).get("images", {})
            site.contrasts[visit] = [name for name, image in images.items() if image.get("source")]
    planned = read_json(layout.expected).get("sites", {}) if layout.expected.is_file() else {}
    for (participant, _), status in visit_status(layout).items():
        name = home.get(participant) or planned.get(participant, "")
        if name in sites:
            sites[name].visits[status] += 1
