"""The demonstration: simulation of a small trial as DICOM, its intake, run, evaluation and transfer."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.queries import answer_query
from mesems_mri.dataset.query_answers import Answer, AnswerKind
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.dataset.tables import read_table
from mesems_mri.errors import UsageError
from mesems_mri.evaluation.evaluate import evaluate
from mesems_mri.files import write_json
from mesems_mri.intake.context import IntakeRequest
from mesems_mri.intake.flow import run_intake
from mesems_mri.intake.receipt_store import read_days_from_scan, write_site_pages
from mesems_mri.intake.series_map import FOLDER
from mesems_mri.intake.summary import count_line, query_lines
from mesems_mri.runner.request import RunRequest
from mesems_mri.runner.rules import workflow_folder
from mesems_mri.runner.run import run
from mesems_mri.runner.summary import EXIT_VISITS_FAILED
from mesems_mri.simulate.dicom.trial import write_dicom
from mesems_mri.simulate.trial import simulate_trial

_MARK = ".mesems_demo"
_SHOWN = {
    "site": "site_id",
    "participant": "participant_id",
    "visit": "session_id",
    "GEL": "gel_count",
    "GEL new": "gel_new_count",
    "T2 new": "t2_new_count",
    "T2 enl.": "t2_enlarging_count",
    "CUA": "cua_count",
    "T2LV mm3": "t2_lesion_volume_mm3",
    "QC": "qc_status",
}
_PARTS = {"GEL": "gel", "T2 change": "t2_change", "T2": "t2"}
"""Parts of a visit whose reasons are shown."""
_FIRST_VISIT = "no_reference_visit"
_PROTOCOL = "protocol-mesems2012.yaml"
_SCANNED_TWICE = "sub-03"
"""Its site scans twice after contrast agent, at every visit, under one name and without bolus tags."""
_ROLES_IN_TIME = ("T1w", "ce-gadolinium_T1w")
_FIRST_OF_TWO = "the first scan is before contrast agent, and the second is the one that is meant"
_ANSWER = "the site says that it was not acquired"
_CODES = (0, EXIT_VISITS_FAILED)
"""Exit codes of a run that was not interrupted."""


@dataclass(frozen=True)
class DemoFolders:
    """Folders of a demonstration.

    Parameters
    ----------
    out : Path
        The folder that holds all others.
    """

    out: Path

    @property
    def simulated(self) -> Path:
        """The simulated trial as raw BIDS."""
        return self.out / "simulated"

    @property
    def truth(self) -> Path:
        """Its reference standard."""
        return self.simulated / "derivatives" / "truth"

    @property
    def dicom(self) -> Path:
        """The submissions of its sites, with the visit schedule."""
        return self.out / "dicom"

    @property
    def bids(self) -> Path:
        """Raw BIDS, filled by the intake."""
        return self.out / "bids"

    @property
    def series_map(self) -> Path:
        """The series maps of the sites."""
        return self.out / FOLDER

    @property
    def derivatives(self) -> Path:
        """Output of the run."""
        return self.out / "derivatives"

    @property
    def central(self) -> Path:
        """The data centre."""
        return self.out / "central"


def run_demo(out: Path, *, cores: int, seed: int, say: Callable[[str], None], full: bool = False) -> int:
    """Simulate, file, run, score and send a trial of 3 participants and sites, five of 13 visits defective.

    The site answers one of the two blocking queries; the other one stays open.

    Parameters
    ----------
    out : Path
        Folder to create; an earlier demonstration there is replaced, anything else is refused.
    cores : int
        Cores to use.
    seed : int
        Seed of the simulation.
    say : callable
        Takes one line.
    full : bool
        Heads of 1 mm and scans as a clinic makes them; takes several times as long.

    Returns
    -------
    int
        Exit code of the run.

    Raises
    ------
    UsageError
        If the folder holds something that is no demonstration.
    """
    _make_folder(out)
    folders = DemoFolders(out)
    say("simulating 3 participants at 3 sites, weeks 0, 4, 12, 24; five visits are bad on purpose")
    simulate_trial(folders.simulated, sessions=("w00", "w04", "w12", "w24"), quick=not full, seed=seed)
    planted = write_dicom(folders.simulated, folders.dicom, seed=seed, scanned_twice={_SCANNED_TWICE})
    say(f"intake of the sites' submissions, against {_PROTOCOL}")
    first = next(one.submission for one in planted.series if one.participant_id == _SCANNED_TWICE)
    learn_series(folders.dicom / first, folders, say)
    intake_and_answer(folders.dicom, folders.bids, say, series_map=folders.series_map)
    say("running the analysis")
    code = run(RunRequest(bids_dir=folders.bids, out_dir=folders.derivatives, cores=cores), say)
    if code not in _CODES:  # interrupted
        return code
    pages = write_site_pages(
        folders.bids,
        days_from_scan=read_days_from_scan(folders.bids),
        quality=Layout(folders.derivatives).site_quality(),
    )
    _score(folders, say)
    _send(folders, say)
    _list_outputs(folders, pages, say)
    return code


def _make_folder(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / _MARK).is_file():
        msg = f"{out}: holds something that is no demonstration; choose an empty folder with --out"
        raise UsageError(msg)
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / _MARK).touch()


def _score(folders: DemoFolders, say: Callable[[str], None]) -> None:
    """Compare the run with the reference standard, and print scores and visits."""
    evaluation = evaluate(folders.derivatives, folders.truth)
    write_json(folders.out / "evaluation.json", evaluation.to_json())
    say(evaluation.table())
    say("")
    say(visit_table(folders.derivatives / "visit_metrics.tsv"))
    say("")
    say("-- = not evaluable, for the reason on the right; 0 = evaluable, none found")
    say("")


def _send(folders: DemoFolders, say: Callable[[str], None]) -> None:
    """Send bundles of the results to a data centre, where its packages are installed."""
    if find_spec("sqlalchemy"):
        from mesems_mri.simulate.demo_central import send_to_central

        say("sending the results of each site to a data centre")
        send_to_central(folders.dicom / "sheet.tsv", folders.derivatives, folders.central, say)
    else:
        say("nothing is sent: the data centre needs pip install 'mesems-mri[central]'")
    say("")


def _list_outputs(folders: DemoFolders, pages: Sequence[Path], say: Callable[[str], None]) -> None:
    out_dir, bids_dir, sent = folders.derivatives, folders.bids, folders.dicom
    say(f"sent     {sent}  (DICOM; {sent}.planted.json lists the names in it)")
    say(f"truth    {folders.truth}  (defects.tsv says what is wrong with which visit)")
    say(f"series   {bids_dir / 'series.tsv'}  (what was sent, and what it was taken for)")
    say(f"map      {folders.series_map}/*.yaml  (which series of a site is which image)")
    say(f"queries  {bids_dir / 'queries.tsv'}  (mesems-mri query list {bids_dir})")
    say(f"receipts {bids_dir}/receipts/*.html")
    say(f"sites    {', '.join(map(str, pages))}")
    say(f"bundles  {Layout(out_dir).transfer}  (mesems-mri transfer status {out_dir})")
    say(f"central  {folders.central / 'central.db'}  (mesems-mri central reconcile --database FILE)")
    say(f"table    {out_dir / 'visit_metrics.tsv'}")
    say(f"ledger   {out_dir}/sub-*/sub-*_lesions.tsv")
    say(f"scores   {folders.out / 'evaluation.json'}")
    say(f"report   {out_dir / 'index.html'}  (open it in a browser; it links to every participant and visit)")


def learn_series(submission: Path, folders: DemoFolders, say: Callable[[str], None]) -> None:
    """Run the intake of a first visit, answer which series is meant, and remember it for the site.

    Parameters
    ----------
    submission : Path
        Of a visit with a scan before and two after contrast agent, of one name.
    folders : DemoFolders
    say : callable
        Takes one line.
    """
    request = IntakeRequest(
        submission=submission,
        bids_dir=folders.bids,
        sheet=folders.dicom / "sheet.tsv",
        protocol=workflow_folder() / "config" / _PROTOCOL,
        series_map=folders.series_map,
    )
    found = run_intake(request)
    for query in found.queries:
        if query.code is QueryCode.CONTRAST_UNCLEAR:
            say(f"  {query.query_id} {query.code} ({query.participant_id}/{query.session_id}): {query.what}")
            meant = zip(_ROLES_IN_TIME, query.series_id.split(","), strict=False)
            answer = Answer(AnswerKind.SERIES, ",".join(f"{role}:{series_id}" for role, series_id in meant))
            answer_query(folders.bids, query.query_id, answer, by="demo", reason=_FIRST_OF_TWO)
            say(f"  {query.query_id} is answered: {_FIRST_OF_TWO}; the series map of the site remembers it")
    run_intake(replace(request, remember=True))


def intake_and_answer(
    sent: Path, bids_dir: Path, say: Callable[[str], None], *, series_map: Path | None = None
) -> None:
    """Run the intake, and close the queries about scans that were never acquired.

    Parameters
    ----------
    sent : Path
        A trial that `write_dicom` has written.
    bids_dir : Path
        Folder to create.
    say : callable
        Takes one line.
    series_map : Path, optional
        Folder of the series maps of the sites.
    """
    protocol = workflow_folder() / "config" / _PROTOCOL
    submission = run_intake(
        IntakeRequest(
            submission=sent,
            bids_dir=bids_dir,
            sheet=sent / "sheet.tsv",
            protocol=protocol,
            series_map=series_map,
        )
    )
    for line in (count_line(submission), *query_lines(submission)):
        say(f"  {line}")
    for query in submission.queries:
        if query.code is QueryCode.MISSING_SEQUENCE:
            answer = Answer(AnswerKind.NOT_ACQUIRED)
            answer_query(bids_dir, query.query_id, answer, by="demo", reason=_ANSWER)
            say(f"  {query.query_id} is closed: {_ANSWER}")


def visit_table(path: Path) -> str:
    """Set the main columns of ``visit_metrics.tsv`` as text.

    Parameters
    ----------
    path : Path
        The table.

    Returns
    -------
    str
        One line per visit in aligned columns; ``--`` is not evaluable, the last column holds the reason.
    """
    rows = [[*_SHOWN, "not evaluable"]]
    for row in read_table(path, VISIT_METRICS_COLUMNS):
        cells = ["--" if row[column] is None else str(row[column]) for column in _SHOWN.values()]
        rows.append([*cells, _gaps(row)])
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _gaps(row: Mapping[str, Any]) -> str:
    """Describe in words why something of a visit is not evaluable; empty where all is."""
    reasons: dict[str, list[str]] = {}
    for name, part in _PARTS.items():
        reason = row[f"{part}_reason"]
        if reason:
            reasons.setdefault(reason, []).append(name)
    if len(reasons) == 1 and len(*reasons.values()) == len(_PARTS):
        return f"everything: {next(iter(reasons)).replace('_', ' ')}"
    return "; ".join(
        "first visit" if reason == _FIRST_VISIT else f"{' and '.join(names)}: {reason.replace('_', ' ')}"
        for reason, names in reasons.items()
    )
