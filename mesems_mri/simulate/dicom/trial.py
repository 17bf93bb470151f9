"""Write a simulated trial also as DICOM: a submission for every visit, and the visit schedule."""

import datetime as dt
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.dataset.bids import CONTRASTS, POSTCONTRAST
from mesems_mri.dataset.input_tables import read_tsv
from mesems_mri.dataset.schedule import SHEET_COLUMNS
from mesems_mri.errors import UsageError
from mesems_mri.files import read_json, write_text
from mesems_mri.simulate.dicom.common import Study
from mesems_mri.simulate.dicom.conventions import SiteConventions, conventions_of
from mesems_mri.simulate.dicom.geometry import read_scan
from mesems_mri.simulate.dicom.manifest import PlantLog, PlantManifest, dates, manifest_path
from mesems_mri.simulate.dicom.people import Person, Staff, make_person, make_staff
from mesems_mri.simulate.dicom.submission import write_submission
from mesems_mri.simulate.dicom.timeline import Irregularities, SimulatedScan, order_examination

_WINDOW_DAYS = 7
_UPGRADE_FROM_WEEK = 24
_UPGRADE = "25\\LX\\MR Software release:HD23.0_V02_1614.b"
_IRREGULARITIES = {
    (0, 0): Irregularities(aborted="T2w", derived="mpr"),
    (0, 3): Irregularities(derived="subtraction"),
    (1, 0): Irregularities(derived="mpr"),
    (1, 4): Irregularities(moved="FLAIR", derived="mpr"),
    (2, 0): Irregularities(derived="subtraction"),
    (2, 2): Irregularities(moved="FLAIR"),
    (3, 0): Irregularities(derived="mpr"),
}
"""Index of the participant and of the visit -> what is special there."""


@dataclass(frozen=True, eq=False)
class SessionScans:
    """A visit as the tables of the simulated trial tell it."""

    index: int
    session_id: str
    week: int
    kind: str
    day: dt.date
    folder: Path


@dataclass(frozen=True, eq=False)
class _Patient:
    """A participant as the hospital of the site knows the person.

    Parameters
    ----------
    index : int
        From the label, from 0.
    site_id, participant_id : str
    person : Person
    staff : Staff
    conventions : SiteConventions
    patient_id : str
        As the site files the patient with the scans.
    model, field_t : str, float
        Scanner.
    """

    index: int
    site_id: str
    participant_id: str
    person: Person
    staff: Staff
    conventions: SiteConventions
    patient_id: str
    model: str
    field_t: float


def write_dicom(
    bids_dir: Path, dicom_dir: Path, *, seed: int = 0, scanned_twice: Collection[str] = ()
) -> PlantManifest:
    """Write a simulated trial as its sites would send it; the same seed gives the same bytes.

    Below `dicom_dir` there is a folder for each site with a submission for every visit, and ``sheet.tsv``,
    the visit table of the trial. What identifies the invented patients, and what each series is, is written
    beside `dicom_dir` (``<name>.planted.json``, `manifest.read_manifest`).

    Parameters
    ----------
    bids_dir : Path
        A trial written by `simulate_trial`.
    dicom_dir : Path
        Folder to create; it may exist if it is empty.
    seed : int
        Decides who the patients are, and all numbers and times.
    scanned_twice : collection of str
        Participants whose site makes two scans after contrast agent, under one name.

    Returns
    -------
    PlantManifest
        What was planted, and all series.

    Raises
    ------
    UsageError
        If `dicom_dir` is not empty, or lies in `bids_dir`.
    """
    check_dicom_dir(bids_dir, dicom_dir)
    plant_log, series, rows = PlantLog(), [], []
    staffs: dict[str, Staff] = {}
    numbers: dict[str, int] = {}
    for line in read_tsv(bids_dir / "participants.tsv"):
        visits = list(_visits(bids_dir, line["participant_id"]))
        patient = _make_patient(line, visits[0], seed, plant_log, staffs, numbers)
        for visit in visits:
            plant_log.set_visit(patient.site_id, patient.participant_id, visit.session_id)
            plant_log.add_person(patient.person)
            study = _make_study(patient, visit, seed, plant_log)
            scans, injected = _read_scans(bids_dir, visit)
            exam = order_examination(
                scans,
                patient.conventions,
                _irregularities_of(patient, visit, scans, twice=patient.participant_id in scanned_twice),
                study.start,
                injected=injected,
                weight_kg=patient.person.weight_kg,
            )
            series += write_submission(dicom_dir, study, exam, index=visit.index, week=visit.week)
            rows.append(_schedule_row(study, visit, visits[0], injected))
    lines = ["\t".join(SHEET_COLUMNS), *("\t".join(row) for row in rows)]
    write_text(dicom_dir / "sheet.tsv", "\n".join(lines) + "\n")
    manifest = PlantManifest(plant_log.needles(), tuple(sorted(plant_log.places)), tuple(series))
    manifest.write(manifest_path(dicom_dir))
    return manifest


def _make_patient(
    row: Mapping[str, str],
    first: SessionScans,
    seed: int,
    plant_log: PlantLog,
    staffs: dict[str, Staff],
    numbers: dict[str, int],
) -> _Patient:
    """Invent the patient behind a participant, and the staff of the site where it is the first of it.

    Parameters
    ----------
    row : mapping of str to str
        Of ``participants.tsv``.
    first : SessionScans
        The first visit; its sidecars name the scanner.
    seed : int
    plant_log : PlantLog
    staffs, numbers : dict
        Staff by site, and number of the last patient by country; both are brought up to date.
    """
    participant, site_id = row["participant_id"], row["site_id"]
    index = int(participant.removeprefix("sub-")) - 1
    sidecar = read_json(next(iter(sorted(first.folder.glob("*.json")))))
    conventions = conventions_of(site_id, sidecar["Manufacturer"])
    # Counted by country, so that no two of the first patients have the same name.
    number = numbers[conventions.country.phone] = numbers.get(conventions.country.phone, -1) + 1
    if site_id not in staffs:
        staffs[site_id] = make_staff(conventions.country, _generator(seed, site_id))
        plant_log.add_staff(staffs[site_id])
    person = make_person(
        conventions.country,
        _generator(seed, participant),
        number=number,
        sex=row["sex"],
        age=int(row["age"]),
        day=first.day,
    )
    own_label = f"SIM-{site_id}-{index + 1:03d}"
    return _Patient(
        index=index,
        site_id=site_id,
        participant_id=participant,
        person=person,
        staff=staffs[site_id],
        conventions=conventions,
        patient_id=own_label if conventions.manner == "siemens" else person.hospital_id,
        model=sidecar["ManufacturersModelName"],
        field_t=float(sidecar["MagneticFieldStrength"]),
    )


def _make_study(patient: _Patient, visit: SessionScans, seed: int, plant_log: PlantLog) -> Study:
    """Make the study of a visit, and note its identifiers."""
    key = f"{patient.participant_id}/{visit.session_id}"
    rng = _generator(seed, key)
    start = dt.datetime.combine(visit.day, dt.time(8)) + dt.timedelta(seconds=int(rng.integers(28000)))
    upgraded = patient.conventions.export == "zip" and visit.week >= _UPGRADE_FROM_WEEK
    study = Study(
        key=f"{seed}/{key}",
        site_id=patient.site_id,
        participant_id=patient.participant_id,
        session_id=visit.session_id,
        person=patient.person,
        staff=patient.staff,
        conventions=patient.conventions,
        model=patient.model,
        field_t=patient.field_t,
        software=_UPGRADE if upgraded else patient.conventions.software,
        patient_id=patient.patient_id,
        accession=f"ACC{int(rng.integers(10**8, 10**9))}",
        exam=str(int(rng.integers(10000, 99999))),
        start=start,
        plant_log=plant_log,
    )
    plant_log.add_identifiers("accession", study.accession)
    plant_log.add_identifiers("patient_id", patient.patient_id)
    plant_log.add_identifiers("visit_date", *dates(visit.day))
    return study


def check_dicom_dir(bids_dir: Path, dicom_dir: Path) -> None:
    """Refuse a DICOM folder that holds something or lies in the BIDS folder."""
    if dicom_dir.exists() and (not dicom_dir.is_dir() or any(dicom_dir.iterdir())):
        msg = f"{dicom_dir}: exists and is not empty; give a new folder with --dicom"
        raise UsageError(msg)
    if dicom_dir.resolve().is_relative_to(bids_dir.resolve()):
        msg = f"{dicom_dir}: lies in {bids_dir}, where no DICOM belongs; give a folder beside it with --dicom"
        raise UsageError(msg)


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _visits(bids_dir: Path, participant: str) -> Iterator[SessionScans]:
    table = read_tsv(bids_dir / participant / f"{participant}_sessions.tsv")
    for index, row in enumerate(table):
        day = dt.date.fromisoformat(row["acq_time"][:10])
        folder = bids_dir / participant / row["session_id"] / "anat"
        yield SessionScans(index, row["session_id"], int(row["week"]), row["visit_type"], day, folder)


def _read_scans(
    bids_dir: Path, visit: SessionScans
) -> tuple[dict[str, SimulatedScan], tuple[float, float] | None]:
    """Read the scans of a visit; return them with the dose and the delay of the contrast agent."""
    scans, injected = {}, None
    for contrast in CONTRASTS:
        for path in visit.folder.glob(f"sub-*_{visit.session_id}_{contrast}.nii.gz"):
            sidecar: dict[str, Any] = read_json(path.with_name(path.name.replace(".nii.gz", ".json")))
            scans[contrast] = SimulatedScan(
                contrast=contrast,
                image=path.relative_to(bids_dir).as_posix(),
                planes=read_scan(path),
                repetition_ms=1000 * sidecar["RepetitionTime"],
                echo_ms=1000 * sidecar["EchoTime"],
                inversion_ms=1000 * sidecar.get("InversionTime", 0.0),
                flip_deg=float(sidecar["FlipAngle"]),
            )
            if contrast == POSTCONTRAST:
                injected = (sidecar["ContrastDoseMmolPerKg"], sidecar["ContrastDelayMinutes"])
    return scans, injected


def _irregularities_of(
    patient: _Patient, visit: SessionScans, scans: dict[str, SimulatedScan], *, twice: bool
) -> Irregularities:
    """Return what is special about a visit, as far as it has the scans for it."""
    irregularities = _IRREGULARITIES.get((patient.index, visit.index), Irregularities())
    after = scans.get(POSTCONTRAST)
    whole = after is not None and len(after.planes.pixels) == after.planes.complete
    return Irregularities(
        aborted=irregularities.aborted if irregularities.aborted in scans else "",
        moved=irregularities.moved if irregularities.moved in scans else "",
        derived=irregularities.derived if whole else "",
        second=POSTCONTRAST if twice else "",
    )


def _schedule_row(
    study: Study, visit: SessionScans, first: SessionScans, injected: tuple[float, float] | None
) -> list[str]:
    """Return the row of a visit: planned from the first one, unless it was not planned."""
    planned = visit.day
    if visit.kind == "scheduled":
        planned = first.day + dt.timedelta(weeks=visit.week - first.week)
    return [
        study.site_id,
        study.participant_id,
        study.patient_id,
        study.session_id,
        str(visit.week),
        planned.isoformat(),
        str(_WINDOW_DAYS),
        str(_WINDOW_DAYS),
        visit.kind,
        study.person.sex,
        f"{injected[0]:g}" if injected else "n/a",
        "no",
    ]
