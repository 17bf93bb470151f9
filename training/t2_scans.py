"""The real scans and masks that the network for T2 lesions is trained on. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesems_mri.dataset.layout import Layout
from mesems_mri.images import nifti
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.pipeline.scene import open_scene
from mesems_mri.pipeline.visit import VisitFiles
from training.gel_scans import real_data, registered_visit
from training.t2_inference import CHANNELS, prepare

PATIENTS = ("patient07", "patient26")
"""With a consensus of three raters; each is left out of one fold."""


def scan_files(patient: str) -> dict[str, Path]:
    """Return the scans and the consensus mask of a patient."""
    folder = real_data() / "open_ms" / "cross_sectional" / patient
    names = {"FLAIR": "FLAIR", "T1w": "T1", "T2w": "T2", "consensus": "gt"}
    return {key: folder / f"{name}_space-MNI.nii.gz" for key, name in names.items()}


def mask_files(without: Collection[str]) -> list[Path]:
    """Return the T2-lesion masks of open_ms patients, but for some of them."""
    paths = sorted((real_data() / "open_ms" / "cross_sectional").glob("patient*/gt_space-MNI.nii.gz"))
    return [path for path in paths if path.parent.name not in without]


def training_patients(without: str | None) -> tuple[str, ...]:
    """Return the patients of a fold: all but the one held out."""
    return tuple(p for p in PATIENTS if p != without)


def networks() -> dict[str, str | None]:
    """Return the networks that go on from the synthetic one, and the patient each is trained without."""
    return {f"t2_without_{p}": p for p in PATIENTS} | {"t2": None}


def fold_files(without: str | None) -> list[Path]:
    """List every mask and scan of a patient that a fold is trained on."""
    masks = mask_files(without=(without,) if without else ())
    return [*masks, *(path for p in training_patients(without) for path in scan_files(p).values())]


def load_scan(patient: str, bids_dir: Path, out_dir: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read a patient as the package sees it.

    Parameters
    ----------
    patient : str
        One of `PATIENTS`.
    bids_dir, out_dir : Path
        What ``python -m tests.real.arrange`` wrote, and what ``mesems-mri run`` made of it.

    Returns
    -------
    images : ndarray of float32, shape (len(CHANNELS), x, y, z)
        As `t2_inference.prepare` gives them.
    lesions : ndarray of float32, shape (x, y, z)
        1 in a lesion.
    """
    visit = VisitFiles(
        bids_dir=bids_dir,
        layout=Layout(out_dir),
        participant_id=patient.replace("patient", "sub-"),
        session_id="ses-1",
    )
    registered = registered_visit(visit)
    scene = open_scene(visit, registered)
    truth, _ = nifti.read_image(scan_files(patient)["consensus"])
    xfm = np.asarray(registered.evaluable[CHANNELS[0]].subject_to_image)
    lesions = resample_image(truth, SUBJECT_GRID, xfm, order=1)[scene.box] > 0.5
    return prepare(scene.images, scene.brain_mask), lesions.astype(np.float32)
