"""A visit of a simulated participant: its scans, their defects, and the reference masks."""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesems_mri.dataset.bids import POSTCONTRAST, T2_CONTRASTS, image_name
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import Reason
from mesems_mri.files import write_json
from mesems_mri.images.nifti import write_labels_like
from mesems_mri.simulate import defects, scanner
from mesems_mri.simulate.dataset import mask_sidecar, scan_sidecar
from mesems_mri.simulate.defects import Defect
from mesems_mri.simulate.footprints import Footprint, draw, find_foci, find_growth, paint_mask
from mesems_mri.simulate.lesions import LesionMaker, LesionState
from mesems_mri.simulate.scanner import FloatArray, ScanGrid
from mesems_mri.simulate.sites import Site
from mesems_mri.simulate.subject import Subject, make_wrong_head
from mesems_mri.simulate.tissue import TISSUES, ContrastAgent
from mesems_mri.simulate.truth import TruthLedger, VisitTruth, black_hole_volume

_ISOCENTRE_MM = np.array([0.0, -18.0, 6.0])


@dataclass(frozen=True, eq=False)
class Folders:
    """Folders of the scans and of the reference standard."""

    bids_dir: Path
    truth: Layout


@dataclass(frozen=True, eq=False)
class SimulatedVisit:
    """A visit that is due.

    Parameters
    ----------
    index : int
        Among the scheduled ones, or of the scheduled one before an unscheduled visit.
    session_id : str
        With its prefix.
    week, first_week : int
        Week of this visit and of the participant's first.
    day : date
    defect : Defect or None
    """

    index: int
    session_id: str
    week: int
    first_week: int
    day: dt.date
    defect: Defect | None

    @property
    def scheduled(self) -> bool:
        """Return whether the trial scheduled it."""
        return self.defect is not Defect.UNSCHEDULED


def make_visit(
    folders: Folders, subject: Subject, state: LesionState, visit: SimulatedVisit, truth_ledger: TruthLedger
) -> None:
    """Write the scans and the true masks of one visit, and add its rows to the book."""
    shown, shown_plan = subject, state
    if visit.defect is Defect.WRONG_HEAD:
        head, maker, shown_plan = make_wrong_head(subject)
        shown = replace(subject, head=head, maker=maker)
    grids = _write_scans(folders.bids_dir, shown, shown_plan, visit)
    if visit.defect is Defect.TRUNCATED:
        defects.truncate(_scan_path(folders.bids_dir, subject, visit, POSTCONTRAST))
    day = (visit.day - subject.day(visit.first_week)).days
    truth = VisitTruth(visit.session_id, visit.scheduled, visit.week, day)
    if visit.defect and visit.defect in defects.WHOLE_VISIT:
        truth.refuse(defects.WHOLE_VISIT[visit.defect])
    else:
        _find_truth(folders, subject, state, visit, truth_ledger, grids, truth)
    truth_ledger.add(truth)


def _find_truth(
    folders: Folders,
    subject: Subject,
    state: LesionState,
    visit: SimulatedVisit,
    truth_ledger: TruthLedger,
    grids: dict[str, ScanGrid],
    truth: VisitTruth,
) -> None:
    """Fill in what is true at a visit, and write its masks."""
    maker, week = subject.maker, visit.week
    t2_contrast = next(contrast for contrast in T2_CONTRASTS if contrast in grids)
    t2_grid = grids[t2_contrast]
    masks: dict[str, NDArray[np.bool_]] = {}
    if visit.defect and visit.defect in defects.NO_T2:
        reason = defects.NO_T2[visit.defect]
        truth.reasons |= dict.fromkeys(("t2", "t2_change", "black_hole"), reason)
    else:
        masks |= _find_t2(state, week, t2_grid, maker, truth_ledger, truth)
    if visit.defect and visit.defect in defects.GEL_ONLY:
        truth.reasons |= dict.fromkeys(("gel", "black_hole"), defects.GEL_ONLY[visit.defect])
    else:
        truth.gel = find_foci(state.lesions, week, grids[POSTCONTRAST], maker, enhancing=True)
        gel: Iterable[Footprint] = [focus.footprint for focus in truth.gel.values()]
        masks["enhancing"] = paint_mask(gel, grids[POSTCONTRAST].shape)
        if truth.evaluable("black_hole"):
            truth.black_hole_volume_mm3 = black_hole_volume(
                truth.t2, truth.gel, _dark(subject.site, state), t2_grid.voxel_mm3
            )
    head = subject.head
    inside_dura = head.inside_dura.astype(np.float32)
    masks["brain"] = (
        scanner.sample_head(inside_dura, head.affine, t2_grid.shape, t2_grid.to_head, order=1) > 0.5
    )
    truth.brain_volume_mm3 = float(masks["brain"].sum() * t2_grid.voxel_mm3)
    _write_masks(folders, subject, visit, masks, t2_contrast)


def _find_t2(
    state: LesionState,
    week: int,
    grid: ScanGrid,
    maker: LesionMaker,
    truth_ledger: TruthLedger,
    truth: VisitTruth,
) -> dict[str, NDArray[np.bool_]]:
    """Fill in the T2 lesions of a visit and their change; return their masks by ``desc``."""
    truth.t2 = find_foci(state.lesions, week, grid, maker, enhancing=False)
    masks = {"T2": paint_mask([focus.footprint for focus in truth.t2.values()], grid.shape)}
    reference = truth_ledger.t2_reference
    if isinstance(reference, Reason):
        truth.reasons["t2_change"] = reference
        return masks
    truth.reference = reference
    before = find_foci(state.lesions, reference.week, grid, maker, enhancing=False)
    truth.t2_before, truth.growth = before, find_growth(truth.t2, before, grid)
    new = [focus.footprint for number, focus in truth.t2.items() if number not in before]
    masks["new"] = paint_mask(new, grid.shape)
    masks["enlarging"] = paint_mask([part for part, _ in truth.growth.values()], grid.shape)
    return masks


def _scan_path(bids_dir: Path, subject: Subject, visit: SimulatedVisit, contrast: str) -> Path:
    folder = bids_dir / subject.participant_id / visit.session_id / "anat"
    return folder / f"{subject.participant_id}_{visit.session_id}_{contrast}.nii.gz"


def _write_scans(
    bids_dir: Path, subject: Subject, state: LesionState, visit: SimulatedVisit
) -> dict[str, ScanGrid]:
    """Scan the participant; return the grid of every contrast."""
    seed = subject.scan_seed(visit.index, scheduled=visit.scheduled)
    visit_rng, *series_rngs = (np.random.default_rng(s) for s in seed.spawn(1 + len(defects.ALL_CONTRASTS)))
    pose = scanner.rigid(visit_rng.normal(0, 2.5, 3), visit_rng.normal(0, 3.0, 3))
    pose = pose @ scanner.rigid(np.zeros(3), -_ISOCENTRE_MM)
    tilt = scanner.rigid(visit_rng.normal(0, 1.0, 3), np.zeros(3))
    grids = {}
    for contrast, rng in zip(defects.ALL_CONTRASTS, series_rngs, strict=True):
        if contrast not in defects.contrasts_of(visit.defect):
            continue
        geometry = subject.site.geometry_of(contrast, quick=subject.quick)
        affine = tilt @ scanner.make_grid_affine(subject.site, geometry)
        motion = scanner.rigid(rng.normal(0, 0.4, 3), rng.normal(0, 0.5, 3))
        grid = ScanGrid(geometry.shape, affine, np.linalg.inv(motion @ pose) @ affine)
        if visit.defect is Defect.HALF_COVERAGE:
            upwards = geometry.world_axes.index(2)
            grid = grid.cropped(upwards, grid.shape[upwards] // 2, grid.shape[upwards])
        path = _scan_path(bids_dir, subject, visit, contrast)
        agent = _inject(subject.site, rng) if contrast == POSTCONTRAST else None
        array = _scan(subject, state, visit.week, contrast, grid, geometry.profile, agent, rng)
        scanner.write_scan(path, array, grid.affine)
        sidecar = scan_sidecar(subject.site, contrast, geometry.slice_mm, agent)
        write_json(path.with_name(path.name.replace(".nii.gz", ".json")), sidecar)
        grids[contrast] = grid
    return grids


def _write_masks(
    folders: Folders,
    subject: Subject,
    visit: SimulatedVisit,
    masks: dict[str, NDArray[np.bool_]],
    t2_contrast: str,
) -> None:
    """Write true masks by their ``desc``, each on the grid of the scan on which it is defined."""
    for desc, mask in masks.items():
        contrast = POSTCONTRAST if desc == "enhancing" else t2_contrast
        label = "" if desc == "brain" else "label-L_"
        name = image_name(contrast, f"space-orig_{label}desc-{desc}", "mask.nii.gz")
        path = folders.truth.product(subject.participant_id, visit.session_id, name)
        source = _scan_path(folders.bids_dir, subject, visit, contrast)
        write_labels_like(path, mask, source)
        sidecar = mask_sidecar(desc, source.relative_to(folders.bids_dir).as_posix())
        write_json(path.with_name(path.name.replace(".nii.gz", ".json")), sidecar)


def _inject(site: Site, rng: np.random.Generator) -> ContrastAgent:
    """Give the contrast agent; dose and delay vary a little between visits."""
    return ContrastAgent(
        site.contrast.dose * float(rng.uniform(0.9, 1.1)),
        site.contrast.delay_min * float(rng.uniform(0.85, 1.3)),
    )


def _scan(
    subject: Subject,
    state: LesionState,
    week: int,
    contrast: str,
    grid: ScanGrid,
    profile: int,
    agent: ContrastAgent | None,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Scan the head with its lesions of a week."""
    site, head = subject.site, subject.head
    sequence = site.sequence(contrast)
    signals = {name: sequence.signal(t, site.field_t, agent) for name, t in TISSUES.items()}
    anatomy = np.zeros(head.ventricles.shape, np.float32)
    for name, share in head.fractions.items():
        anatomy += np.float32(signals[name]) * share
    planes = grid.split_slices(profile)
    signal = scanner.sample_head(
        scanner.spline_coefficients(anatomy), head.affine, planes.shape, planes.to_head
    )
    np.clip(signal, 0, None, out=signal)
    for lesion in state.lesions:
        if not lesion.exists(week):
            continue
        parts: list[tuple[Callable[[FloatArray, float], FloatArray], ContrastAgent | None]] = [
            (lesion.depth, None)
        ]
        if agent is not None and lesion.enhances(week):
            parts.append((lesion.uptake_depth, agent))
        for shape, part_agent in parts:
            footprint = draw(lambda points, shape=shape: shape(points, week), lesion, planes, subject.maker)
            level = sequence.signal(lesion.tissue, site.field_t, part_agent)
            signal[footprint.box] += footprint.share * (np.float32(level) - signal[footprint.box])
    white = signals["white_matter"]
    sigma = white / site.snr * subject.noise_scale
    gain = float(rng.uniform(300, 500)) / white
    slices = scanner.excite_slices(signal, profile)
    return scanner.acquire(slices, grid.affine, site, sigma=sigma, gain=gain, rng=rng)


def _dark(site: Site, state: LesionState) -> set[int]:
    """Return the numbers of the lesions below the midpoint of white matter and CSF on T1w."""
    sequence = site.sequence("T1w")
    white, csf = (sequence.signal(TISSUES[t], site.field_t) for t in ("white_matter", "csf"))
    return {
        lesion.number
        for lesion in state.lesions
        if sequence.signal(lesion.tissue, site.field_t) < (white + csf) / 2
    }
