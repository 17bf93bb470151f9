"""Simulate a multi-site trial: a raw BIDS data set, and its reference standard as BIDS derivatives."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mesems_mri import __version__
from mesems_mri.dataset.columns import LEDGER_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.tables import write_table
from mesems_mri.errors import UsageError
from mesems_mri.simulate import defects
from mesems_mri.simulate.dataset import write_raw_dataset, write_sessions, write_truth_dataset
from mesems_mri.simulate.defects import Defect
from mesems_mri.simulate.sites import make_sites
from mesems_mri.simulate.subject import Subject, make_subject
from mesems_mri.simulate.truth import Row, TruthLedger
from mesems_mri.simulate.visits import Folders, SimulatedVisit, make_visit

STUDY_ID = "simulated"


@dataclass(frozen=True)
class _Schedule:
    """The scheduled visits: their labels and weeks."""

    sessions: tuple[str, ...]
    weeks: list[int]


def simulate_trial(
    bids_dir: Path,
    *,
    participants: int = 3,
    sites: int = 3,
    sessions: tuple[str, ...] = ("w00", "w04", "w12", "w24"),
    quick: bool = True,
    seed: int = 0,
) -> list[Defect]:
    """Write a simulated trial and its reference standard; the same seed gives the same bytes.

    The truth lies in ``derivatives/truth`` in the names and columns of this program's own output. What is
    wrong with which visit is fixed (`mesems_mri.simulate.defects`) and listed in its ``defects.tsv``.

    Parameters
    ----------
    bids_dir : Path
        Folder to create; it may exist if it is empty.
    participants, sites : int
        How many; participants are dealt out to the sites in turn.
    sessions : tuple of str
        Session labels ``wNN``, NN being the week.
    quick : bool
        Heads of 2 mm and coarser scans, for tests and demonstrations; else heads of 1 mm and scans as a
        clinic makes them.
    seed : int
        Decides everything that is drawn. A further session or participant leaves the others as they were.

    Returns
    -------
    list of Defect
        Defects for which the trial has too few participants or visits.

    Raises
    ------
    UsageError
        If the folder is not empty or an option is out of range.
    """
    schedule = _Schedule(sessions, _check(bids_dir, participants, sites, sessions))
    site_list = make_sites(sites, np.random.default_rng([seed, 2**31]))
    folders = Folders(bids_dir, Layout(bids_dir / "derivatives" / "truth"))
    # Not of the number of visits, so that a further one leaves the rows before as they are.
    config = f"{__version__} {quick} {seed}"
    constants = {
        "software_version": __version__,
        "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
    }
    people, visit_rows, defect_rows = [], [], []
    for index in range(participants):
        subject = make_subject(seed, index, site_list[index % sites], quick=quick)
        people.append([subject.participant_id, subject.site.site_id, subject.sex, str(subject.age)])
        truth_ledger, bad = _make_participant(folders, subject, schedule, constants)
        visit_rows += truth_ledger.visits
        defect_rows += bad
    write_raw_dataset(bids_dir, people)
    write_truth_dataset(folders.truth, visit_rows)
    defects.write_defects(folders.truth, defect_rows)
    return defects.missing_defects(participants, schedule.weeks)


def _make_participant(
    folders: Folders, subject: Subject, schedule: _Schedule, constants: Row
) -> tuple[TruthLedger, list[Row]]:
    """Make all visits of a participant in order of time; return the truth and the rows of the defects."""
    label, index = subject.participant_id, subject.seed[1]
    identity = {"study_id": STUDY_ID, "site_id": subject.site.site_id, "participant_id": label}
    truth_ledger = TruthLedger(identity, subject.head, constants)
    extra_week = defects.unscheduled_week(schedule.weeks, index)
    table, bad = [], []
    for number, state in enumerate(subject.lesion_states(schedule.weeks)):
        week = schedule.weeks[number]
        labels = [(schedule.sessions[number], week, defects.SLOTS.get((index, number)))]
        if extra_week is not None and number == defects.UNSCHEDULED_AFTER[1] + 1:
            # The lesions known at the visit after it tell what was there in between.
            labels.insert(0, (defects.UNSCHEDULED_LABEL, extra_week, Defect.UNSCHEDULED))
        for name, when, defect in labels:
            day = subject.day(when)
            visit = SimulatedVisit(number, f"ses-{name}", when, schedule.weeks[0], day, defect)
            make_visit(folders, subject, state, visit, truth_ledger)
            kind = "scheduled" if visit.scheduled else "unscheduled"
            table.append((visit.session_id, visit.day, visit.week, kind))
            if visit.defect is not None:
                bad.append(defects.defect_row(label, visit.session_id, visit.defect, truth_ledger.visits[-1]))
    write_sessions(folders.bids_dir / label, table)
    write_table(folders.truth.ledger(label), LEDGER_COLUMNS, truth_ledger.ledger)
    return truth_ledger, bad


def _check(bids_dir: Path, participants: int, sites: int, sessions: tuple[str, ...]) -> list[int]:
    """Check the options and return the week of every session."""
    if participants < 1 or sites < 1:
        msg = f"participants and sites must be 1 or more, got {participants} and {sites}"
        raise UsageError(msg)
    bad = [label for label in sessions if not (label[:1] == "w" and label[1:].isdigit())]
    weeks = [] if bad else [int(label[1:]) for label in sessions]
    if bad or not sessions or weeks != sorted(set(weeks)):
        msg = f"sessions are {','.join(sessions)!r}; expected ascending weeks such as w00,w04,w12"
        raise UsageError(msg)
    if bids_dir.exists() and (not bids_dir.is_dir() or any(bids_dir.iterdir())):
        msg = f"{bids_dir}: exists and is not empty; give a new folder"
        raise UsageError(msg)
    return weeks
