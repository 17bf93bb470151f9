"""Simulate a multi-site trial: a raw BIDS data set, and its truth as BIDS derivatives."""

import datetime as dt
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesems_mri import __version__
from mesems_mri.bids import POSTCONTRAST, Layout, image_name
from mesems_mri.errors import UsageError
from mesems_mri.images.nifti import write_labels_like
from mesems_mri.metrics import LEDGER_COLUMNS, write_table
from mesems_mri.provenance import write_json
from mesems_mri.simulate import scanner
from mesems_mri.simulate.dataset import (
    mask_sidecar,
    scan_sidecar,
    write_raw_dataset,
    write_sessions,
    write_truth_dataset,
)
from mesems_mri.simulate.footprints import Footprint, ScanGrid, draw, find_foci, find_growth, paint_mask
from mesems_mri.simulate.lesions import LesionMaker, Plan
from mesems_mri.simulate.life import live
from mesems_mri.simulate.phantom import Head, make_head
from mesems_mri.simulate.truth import TruthBook, VisitTruth, black_hole_volume

STUDY_ID = "simulated"
_CONTRASTS = ("T1w", POSTCONTRAST, "FLAIR", "T2w")
_QUICK_SPACING_MM, _QUICK_SHAPE = (2.0, 2.0, 2.0), (96, 120, 96)
_QUICK_SMALLEST_MM3 = 70.0
_FIRST_DAY = dt.date(2020, 2, 3)
_ISOCENTRE_MM = np.array([0.0, -18.0, 4.0])
# New lesions in four weeks: quantiles of an exponential distribution of mean 0.8, so that every trial holds
# quiet and active people (the negative binomial of Sormani et al. 1999 in its simplest form).
_ACTIVITY = tuple(float(-0.8 * np.log(1 - p)) for p in (0.6, 0.15, 0.85, 0.4, 0.72, 0.28))


@dataclass(frozen=True, eq=False)
class _Folders:
    """Where the scans and the truth go."""

    bids_dir: Path
    truth: Layout


@dataclass(frozen=True, eq=False)
class _Subject:
    """A participant while its visits are made; ``seed`` is that of the trial and the participant's index."""

    participant_id: str
    seed: tuple[int, int]
    site: scanner.Site
    head: Head
    maker: LesionMaker
    first_day: dt.date
    noise_scale: float

    def day(self, week: int) -> dt.date:
        """Return the day of a visit: that of its week, up to two days early or late."""
        late = np.random.default_rng([*self.seed, 3, week]).integers(-2, 3)
        return self.first_day + dt.timedelta(days=7 * week + int(late))


@dataclass(frozen=True, eq=False)
class _Visit:
    """A visit that is due: its place in the sequence and the visit before."""

    index: int
    session_id: str
    week: int
    week_before: int | None
    contrasts: tuple[str, ...]


def simulate_trial(
    bids_dir: Path,
    *,
    participants: int = 3,
    sites: int = 2,
    sessions: tuple[str, ...] = ("w00", "w04", "w12", "w24"),
    quick: bool = True,
    seed: int = 0,
) -> None:
    """Write a simulated trial and its truth; the same seed gives the same bytes.

    The truth lies in ``derivatives/truth`` in the names and columns of this program's own output. The first
    participant has no post-contrast scan at the second visit.

    Parameters
    ----------
    bids_dir : Path
        Folder to create; it may exist if it is empty.
    participants, sites : int
        How many; participants are dealt out to the sites in turn.
    sessions : tuple of str
        Session labels ``wNN``, NN being the week.
    quick : bool
        2 mm isotropic scans; the only kind so far.
    seed : int
        Decides everything that is drawn. A further session or participant leaves the others as they were.

    Raises
    ------
    UsageError
        If the folder is not empty or an option is out of range.
    """
    weeks = _check(bids_dir, participants, sites, sessions, quick=quick)
    site_list = scanner.make_sites(sites, np.random.default_rng([seed, 2**31]))
    folders = _Folders(bids_dir, Layout(bids_dir / "derivatives" / "truth"))
    # Not of the number of visits, so that a further one leaves the rows before as they are.
    config = f"{__version__} {quick} {seed}"
    constants = {
        "software_version": __version__,
        "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
    }
    people, visit_rows = [], []
    for index in range(participants):
        subject, person = _make_subject(seed, index, site_list[index % sites])
        people.append(person)
        label, site_id = subject.participant_id, subject.site.site_id
        table = [(f"ses-{s}", subject.day(w), w) for s, w in zip(sessions, weeks, strict=True)]
        write_sessions(bids_dir / label, table)
        identity = {"study_id": STUDY_ID, "site_id": site_id, "participant_id": label}
        book = TruthBook(identity, subject.head, constants)
        seeds = [np.random.SeedSequence([seed, index, 1, visit]) for visit in range(len(sessions))]
        activity = _ACTIVITY[index % len(_ACTIVITY)]
        plans = live(subject.maker, weeks, activity, seeds, smallest_mm3=_QUICK_SMALLEST_MM3)
        for number, plan in enumerate(plans):
            skipped = POSTCONTRAST if (index, number) == (0, 1) else None
            visit = _Visit(
                number,
                f"ses-{sessions[number]}",
                weeks[number],
                weeks[number - 1] if number else None,
                tuple(contrast for contrast in _CONTRASTS if contrast != skipped),
            )
            book.add(_make_visit(folders, subject, plan, visit, subject.day(weeks[0])))
        write_table(folders.truth.ledger(label), LEDGER_COLUMNS, book.ledger)
        visit_rows += book.visits
    write_raw_dataset(bids_dir, people)
    write_truth_dataset(folders.truth, visit_rows)


def _check(
    bids_dir: Path, participants: int, sites: int, sessions: tuple[str, ...], *, quick: bool
) -> list[int]:
    """Check the options and return the week of every session."""
    if not quick:
        msg = "only the quick simulation exists so far; set quick (--quick)"
        raise UsageError(msg)
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


def _make_subject(seed: int, index: int, site: scanner.Site) -> tuple[_Subject, list[str]]:
    """Make a participant and its row of the participants' table."""
    rng = np.random.default_rng([seed, index])
    label = f"sub-{index + 1:02d}"
    head = make_head(rng, spacing_mm=_QUICK_SPACING_MM[0])
    first_day = _FIRST_DAY + dt.timedelta(days=int(rng.integers(0, 200)))
    noise_scale = float(rng.uniform(0.9, 1.1))
    subject = _Subject(label, (seed, index), site, head, LesionMaker(head), first_day, noise_scale)
    return subject, [label, site.site_id, str(rng.choice(["F", "F", "M"])), str(int(rng.integers(19, 51)))]


def _make_visit(
    folders: _Folders, subject: _Subject, plan: Plan, visit: _Visit, first_day: dt.date
) -> VisitTruth:
    """Write the scans and the true masks of one visit and return what its rows need."""
    grids = _write_scans(folders.bids_dir, subject, plan, visit)
    flair, maker, week = grids["FLAIR"], subject.maker, visit.week
    t2 = find_foci(plan.lesions, week, flair, maker, enhancing=False)
    before = gel = None
    if visit.week_before is not None:
        before = find_foci(plan.lesions, visit.week_before, flair, maker, enhancing=False)
    if POSTCONTRAST in grids:
        gel = find_foci(plan.lesions, week, grids[POSTCONTRAST], maker, enhancing=True)
    growth = find_growth(t2, before, flair) if before is not None else {}

    def union(parts: Iterable[Footprint], contrast: str) -> NDArray[np.bool_]:
        return paint_mask(parts, grids[contrast].shape)

    masks = {"T2": union([focus.footprint for focus in t2.values()], "FLAIR")}
    if before is not None:
        masks["new"] = union([t2[number].footprint for number in t2 if number not in before], "FLAIR")
        masks["enlarging"] = union([part for part, _ in growth.values()], "FLAIR")
    if gel is not None:
        masks["enhancing"] = union([focus.footprint for focus in gel.values()], POSTCONTRAST)
    head = subject.head
    inside_dura = scanner.spline_coefficients(head.inside_dura.astype(np.float32))
    masks["brain"] = scanner.sample_head(inside_dura, head.affine, flair.shape, flair.to_head) > 0.5
    _write_masks(folders, subject, visit, masks)
    return VisitTruth(
        visit.session_id,
        week,
        (subject.day(week) - first_day).days,
        t2,
        before,
        growth,
        gel,
        black_hole_volume(t2, gel, _dark(subject.site, plan), flair.voxel_mm3),
        float(masks["brain"].sum() * flair.voxel_mm3),
    )


def _write_scans(bids_dir: Path, subject: _Subject, plan: Plan, visit: _Visit) -> dict[str, ScanGrid]:
    """Scan the participant; return the grid of every contrast."""
    folder = bids_dir / subject.participant_id / visit.session_id / "anat"
    seed = np.random.SeedSequence([*subject.seed, 2, visit.index])
    visit_rng, *series_rngs = (np.random.default_rng(s) for s in seed.spawn(1 + len(_CONTRASTS)))
    pose = scanner.rigid(visit_rng.normal(0, 2.5, 3), visit_rng.normal(0, 3.0, 3))
    pose = pose @ scanner.rigid(np.zeros(3), -_ISOCENTRE_MM)
    tilt = scanner.rigid(visit_rng.normal(0, 1.0, 3), np.zeros(3))
    affine = tilt @ scanner.make_grid_affine(subject.site, _QUICK_SHAPE, _QUICK_SPACING_MM)
    grids = {}
    for contrast, rng in zip(_CONTRASTS, series_rngs, strict=True):
        if contrast not in visit.contrasts:
            continue
        motion = scanner.rigid(rng.normal(0, 0.4, 3), rng.normal(0, 0.5, 3))
        grids[contrast] = ScanGrid(_QUICK_SHAPE, affine, np.linalg.inv(motion @ pose) @ affine)
        path = folder / f"{subject.participant_id}_{visit.session_id}_{contrast}.nii.gz"
        scanner.write_scan(path, _scan(subject, plan, visit.week, contrast, grids[contrast], rng), affine)
        sidecar = scan_sidecar(subject.site, contrast, _QUICK_SPACING_MM[2])
        write_json(path.with_name(path.name.replace(".nii.gz", ".json")), sidecar)
    return grids


def _write_masks(
    folders: _Folders, subject: _Subject, visit: _Visit, masks: dict[str, NDArray[np.bool_]]
) -> None:
    """Write true masks by their ``desc``, each on the grid of the scan on which it is defined."""
    stem = f"{subject.participant_id}_{visit.session_id}_"
    for desc, mask in masks.items():
        contrast = POSTCONTRAST if desc == "enhancing" else "FLAIR"
        label = "" if desc == "brain" else "label-L_"
        name = image_name(contrast, f"space-orig_{label}desc-{desc}", "mask.nii.gz")
        path = folders.truth.product(subject.participant_id, visit.session_id, name)
        source = f"{subject.participant_id}/{visit.session_id}/anat/{stem}{contrast}.nii.gz"
        write_labels_like(path, mask, folders.bids_dir / source)
        write_json(path.with_name(path.name.replace(".nii.gz", ".json")), mask_sidecar(desc, source))


def _scan(
    subject: _Subject, plan: Plan, week: int, contrast: str, grid: ScanGrid, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Scan the head with its lesions of a week."""
    site, head = subject.site, subject.head
    sequence = site.sequences[contrast.removeprefix("ce-gadolinium_")]
    # Delay and dose vary a little between visits.
    dose = site.contrast_dose * float(rng.uniform(0.85, 1.15)) if contrast == POSTCONTRAST else 0.0
    signals = {name: sequence.signal(t, site.field_t, dose) for name, t in scanner.TISSUES.items()}
    anatomy = np.zeros_like(head.parenchyma)
    for name, share in head.fractions.items():
        anatomy += np.float32(signals[name]) * share
    coefficients = scanner.spline_coefficients(anatomy)
    signal = np.clip(scanner.sample_head(coefficients, head.affine, grid.shape, grid.to_head), 0, None)
    for lesion in plan.lesions:
        if not lesion.exists(week):
            continue
        parts = [(lesion.depth, 0.0)]
        if dose and lesion.enhances(week):
            parts.append((lesion.uptake_depth, dose))
        for shape, part_dose in parts:
            footprint = draw(lambda points, shape=shape: shape(points, week), lesion, grid, subject.maker)
            level = sequence.signal(lesion.tissue, site.field_t, part_dose)
            signal[footprint.box] += footprint.share * (np.float32(level) - signal[footprint.box])
    white = signals["white_matter"]
    sigma = white / site.snr * subject.noise_scale
    gain = float(rng.uniform(300, 500)) / white
    return scanner.acquire(signal, grid.affine, site, sigma=sigma, gain=gain, rng=rng)


def _dark(site: scanner.Site, plan: Plan) -> set[int]:
    """Return the numbers of the lesions below the midpoint of white matter and CSF on T1w."""
    sequence = site.sequences["T1w"]
    white, csf = (sequence.signal(scanner.TISSUES[t], site.field_t) for t in ("white_matter", "csf"))
    return {
        lesion.number
        for lesion in plan.lesions
        if sequence.signal(lesion.tissue, site.field_t) < (white + csf) / 2
    }
