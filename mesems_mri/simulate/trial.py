"""Simulate a multi-site trial: a raw BIDS data set, and its truth as BIDS derivatives."""

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesems_mri import __version__
from mesems_mri.bids import POSTCONTRAST, Layout
from mesems_mri.errors import UsageError
from mesems_mri.images.nifti import write_labels_like
from mesems_mri.metrics import LEDGER_COLUMNS, write_table
from mesems_mri.provenance import write_json
from mesems_mri.simulate import scanner
from mesems_mri.simulate.dataset import scan_sidecar, write_raw_dataset, write_sessions, write_truth_dataset
from mesems_mri.simulate.footprints import ScanGrid, draw, find_foci, find_growth, paint_mask
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


@dataclass(frozen=True, eq=False)
class _Subject:
    """A participant while its visits are made."""

    participant_id: str
    seed: tuple[int, int]
    site: scanner.Site
    head: Head
    maker: LesionMaker
    first_day: dt.date
    noise_scale: float


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
    root = np.random.SeedSequence(seed)
    site_list = scanner.make_sites(sites, np.random.default_rng(root.spawn(1)[0]))
    truth = Layout(bids_dir / "derivatives" / "truth")
    labels = [f"sub-{index + 1:02d}" for index in range(participants)]
    # Not of the number of visits, so that a further one leaves the rows before as they are.
    config = f"{__version__} {quick} {seed}"
    constants = {
        "software_version": __version__,
        "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
    }
    people, visit_rows = [], []
    for index, label in enumerate(labels):
        rng = np.random.default_rng([seed, index])
        head = make_head(rng, spacing_mm=_QUICK_SPACING_MM[0])
        site = site_list[index % sites]
        subject = _Subject(
            label,
            (seed, index),
            site,
            head,
            LesionMaker(head),
            _FIRST_DAY + dt.timedelta(days=int(rng.integers(0, 200))),
            float(rng.uniform(0.9, 1.1)),
        )
        people.append([label, site.site_id, str(rng.choice(["F", "F", "M"])), str(int(rng.integers(19, 51)))])
        identity = {"study_id": STUDY_ID, "site_id": site.site_id, "participant_id": label}
        book = TruthBook(identity, head, constants)
        activity = _ACTIVITY[index % len(_ACTIVITY)]
        seeds = [np.random.SeedSequence([seed, index, 1, visit]) for visit in range(len(sessions))]
        plans = live(subject.maker, weeks, activity, seeds, smallest_mm3=_QUICK_SMALLEST_MM3)
        without = 1 if index == 0 else None
        write_sessions(
            bids_dir / label,
            [(f"ses-{s}", _acquired(subject, w), int(w)) for s, w in zip(sessions, weeks, strict=True)],
        )
        for visit, plan in enumerate(plans):
            contrasts = [c for c in _CONTRASTS if c != POSTCONTRAST or visit != without]
            _make_visit(bids_dir, truth, subject, book, plan, sessions, weeks, visit, contrasts)
        write_table(truth.ledger(label), LEDGER_COLUMNS, book.ledger)
        visit_rows += book.visits
    write_raw_dataset(bids_dir, people)
    write_truth_dataset(truth, visit_rows)


# New lesions in four weeks: quantiles of an exponential distribution of mean 0.8, so that every trial holds
# quiet and active people (the negative binomial of Sormani et al. 1999 in its simplest form).
_ACTIVITY = tuple(float(-0.8 * np.log(1 - p)) for p in (0.6, 0.15, 0.85, 0.4, 0.72, 0.28))


def _check(
    bids_dir: Path, participants: int, sites: int, sessions: tuple[str, ...], *, quick: bool
) -> list[float]:
    """Check the options and return the week of every session."""
    if not quick:
        msg = "only the quick simulation exists so far; set quick (--quick)"
        raise UsageError(msg)
    if participants < 1 or sites < 1:
        msg = f"participants and sites must be 1 or more, got {participants} and {sites}"
        raise UsageError(msg)
    bad = [label for label in sessions if not (label[:1] == "w" and label[1:].isdigit())]
    weeks = [] if bad else [float(label[1:]) for label in sessions]
    if bad or not sessions or weeks != sorted(set(weeks)):
        msg = f"sessions are {','.join(sessions)!r}; expected ascending weeks such as w00,w04,w12"
        raise UsageError(msg)
    if bids_dir.exists() and (not bids_dir.is_dir() or any(bids_dir.iterdir())):
        msg = f"{bids_dir}: exists and is not empty; give a new folder"
        raise UsageError(msg)
    return weeks


def _make_visit(
    bids_dir: Path,
    truth: Layout,
    subject: _Subject,
    book: TruthBook,
    plan: Plan,
    sessions: tuple[str, ...],
    weeks: list[float],
    visit: int,
    contrasts: list[str],
) -> None:
    """Write the scans, masks and table rows of one visit."""
    session_id, week = f"ses-{sessions[visit]}", weeks[visit]
    stem = f"{subject.participant_id}_{session_id}_"
    folder = bids_dir / subject.participant_id / session_id / "anat"
    streams = np.random.SeedSequence([*subject.seed, 2, visit]).spawn(1 + len(_CONTRASTS))
    pose_rng = np.random.default_rng(streams[0])
    pose = scanner.rigid(pose_rng.normal(0, 2.5, 3), pose_rng.normal(0, 3.0, 3))
    tilt = scanner.rigid(pose_rng.normal(0, 1.0, 3), np.zeros(3))
    grids = {}
    for contrast, stream in zip(_CONTRASTS, streams[1:], strict=True):
        rng = np.random.default_rng(stream)
        motion = scanner.rigid(rng.normal(0, 0.4, 3), rng.normal(0, 0.5, 3))
        if contrast not in contrasts:
            continue
        affine = tilt @ scanner.make_grid_affine(subject.site, _QUICK_SHAPE, _QUICK_SPACING_MM)
        to_isocentre = scanner.rigid(np.zeros(3), -_ISOCENTRE_MM)
        grid = ScanGrid(_QUICK_SHAPE, affine, np.linalg.inv(motion @ pose @ to_isocentre) @ affine)
        grids[contrast] = grid
        scan = _scan(subject, plan, week, contrast, grid, rng)
        path = folder / f"{stem}{contrast}.nii.gz"
        scanner.write_scan(path, scan, affine)
        write_json(
            folder / f"{stem}{contrast}.json", scan_sidecar(subject.site, contrast, _QUICK_SPACING_MM[2])
        )

    flair = grids["FLAIR"]
    t2 = find_foci(plan.lesions, week, flair, subject.maker, enhancing=False)
    before = (
        find_foci(plan.lesions, weeks[visit - 1], flair, subject.maker, enhancing=False) if visit else None
    )
    growth = find_growth(t2, before, flair) if before is not None else {}
    gel = (
        find_foci(plan.lesions, week, grids[POSTCONTRAST], subject.maker, enhancing=True)
        if POSTCONTRAST in grids
        else None
    )
    masks = {"space-orig_label-L_desc-T2_mask": ("FLAIR", [focus.footprint for focus in t2.values()])}
    if before is not None:
        new = [focus.footprint for number, focus in t2.items() if number not in before]
        masks["space-orig_label-L_desc-new_mask"] = ("FLAIR", new)
        masks["space-orig_label-L_desc-enlarging_mask"] = ("FLAIR", [part for part, _ in growth.values()])
    if gel is not None:
        name = "ce-gadolinium_space-orig_label-L_desc-enhancing_mask"
        masks[name] = (POSTCONTRAST, [focus.footprint for focus in gel.values()])
    for name, (contrast, footprints) in masks.items():
        path = truth.product(subject.participant_id, session_id, f"{name}.nii.gz")
        source = f"{subject.participant_id}/{session_id}/anat/{stem}{contrast}.nii.gz"
        write_labels_like(path, paint_mask(footprints, grids[contrast].shape), bids_dir / source)
        write_json(
            path.with_name(f"{stem}{name}.json"),
            {
                "Description": "Simulated truth",
                "Type": "Lesion",
                "SpatialReference": f"bids:raw:{source}",
                "Sources": [f"bids:raw:{source}"],
            },
        )
    head = subject.head
    book.add(
        VisitTruth(
            session_id,
            int(week),
            (_acquired(subject, week) - _acquired(subject, weeks[0])).days,
            t2,
            before,
            growth,
            gel,
            black_hole_volume(t2, gel, _dark(subject.site, plan), flair.voxel_mm3),
            float(head.inside_dura.sum() * np.prod(_QUICK_SPACING_MM)),
        )
    )


def _scan(
    subject: _Subject, plan: Plan, week: float, contrast: str, grid: ScanGrid, rng: np.random.Generator
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


def _acquired(subject: _Subject, week: float) -> dt.date:
    """Return the day of a visit: its week, up to two days early or late."""
    late = np.random.default_rng([*subject.seed, 3, int(week)]).integers(-2, 3)
    return subject.first_day + dt.timedelta(days=7 * int(week) + int(late))
