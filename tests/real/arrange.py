"""The public real scans as raw BIDS, and what is known of them in the layout that ``evaluate`` reads.

open_ms (Lesjak et al., Neuroinformatics 2016;14:403 and 2018;16:51, CC-BY): the longitudinal patients 01
and 12 have two visits with raw 2D FLAIR, T1w and T2w and a consensus mask of changed lesions, the
cross-sectional patients 07 and 26 one stripped visit in MNI space with a consensus mask of T2 lesions. Their
numbers are those of the two collections, which are different people. MSLesSeg P18 and P39 have T2 lesions,
MS3SEG (Bashiri Bawil et al., Sci Data 2026) 01 to 09 as well, on thick slices.

What is not known is not written: there is no truth for the T2 lesions of 01 and 12 nor for any first visit.

    python -m tests.real.arrange REAL_DATA OUT [MIN_DZ]
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK
from nibabel.nifti1 import Nifti1Image
from scipy import ndimage

LONGITUDINAL = ("01", "12")
CROSS_SECTIONAL = ("07", "26")
MSLESSEG = ("P18", "P39")
MS3SEG = tuple(f"{number:02d}" for number in range(1, 10))
CHANGE_SIGN = Path(__file__).with_name("change_sign.tsv")
MIN_VOLUME_MM3 = 14.0
MIN_DZ = 0.5

# Only the intervals are known. BIDS wants shifted dates to lie before 1925.
_FIRST_DAY = dt.date(1900, 1, 1)
_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)

Affine = npt.NDArray[np.float64]


def arrange_open_ms(
    source: Path, bids_dir: Path, truth_dir: Path, *, symlink: bool = True, min_dz: float = MIN_DZ
) -> None:
    """Arrange four open_ms patients as raw BIDS and their truth as an output folder.

    Truth of ``sub-01`` and ``sub-12``, ``ses-2``: ``desc-change`` (components of the change mask that
    brighten, see ``benchmarks/change_sign_table.py``; new and enlarging are not separated) and
    ``desc-ignore`` (all other components). Truth of ``sub-07`` and ``sub-26``, ``ses-1``: ``desc-T2``, and
    an empty ``desc-enhancing``, since no enhancing lesion is known in them.

    Parameters
    ----------
    source : Path
        The folder ``open_ms``.
    bids_dir, truth_dir : Path
        Folders to write.
    symlink : bool
        Link the images instead of copying them.
    min_dz : float
        Brightening above which a changed component is truth. A higher one than the rule's gives a second
        look at the clearly visible lesions only: the fainter ones become ignored.
    """
    longitudinal, cross_sectional = source / "longitudinal", source / "cross_sectional"
    long_info = _patient_info(longitudinal / "patient_info.csv")
    cross_info = _patient_info(cross_sectional / "patient_info.csv")
    _describe(bids_dir, "open_ms: 2 longitudinal and 2 cross-sectional patients", "CC-BY-4.0")
    participants: list[dict[str, str]] = []
    for patient in LONGITUDINAL:
        folder, info = longitudinal / f"patient{patient}", long_info[int(patient)]
        for session in ("1", "2"):
            for contrast, suffix in (("FLAIR", "FLAIR"), ("T1W", "T1w"), ("T2W", "T2w")):
                image = folder / f"study{session}_{contrast}.nii.gz"
                _place(image, bids_dir, f"sub-{patient}", f"ses-{session}", suffix, symlink=symlink)
        _write_sessions(bids_dir, f"sub-{patient}", (0, int(info["days_between_studies"])))
        participants.append(_participant(f"sub-{patient}", info))
        _write_change_truth(folder, truth_dir, patient, min_dz)
    for patient in CROSS_SECTIONAL:
        folder, info = cross_sectional / f"patient{patient}", cross_info[int(patient)]
        for contrast, suffix in (
            ("FLAIR", "FLAIR"),
            ("T1", "T1w"),
            ("T1POST", "ce-gadolinium_T1w"),
            ("T2", "T2w"),
        ):
            image = folder / f"{contrast}_space-MNI.nii.gz"
            _place(image, bids_dir, f"sub-{patient}", "ses-1", suffix, symlink=symlink)
        _write_sessions(bids_dir, f"sub-{patient}", (0,))
        participants.append(_participant(f"sub-{patient}", info))
        gt, affine = _read(folder / "gt_space-MNI.nii.gz")
        _write_truth(truth_dir, f"sub-{patient}", "ses-1", _name("T2"), gt > 0, affine)
        name = "ce-gadolinium_space-orig_label-L_desc-enhancing_mask"
        _write_truth(truth_dir, f"sub-{patient}", "ses-1", name, np.zeros(gt.shape, dtype=bool), affine)
    _write_tsv(bids_dir / "participants.tsv", sorted(participants, key=lambda row: row["participant_id"]))
    _write_counts(truth_dir)


def arrange_mslesseg(source: Path, bids_dir: Path, truth_dir: Path, *, symlink: bool = True) -> None:
    """Arrange the MSLesSeg cases: FLAIR and T1w, with ``desc-T2`` truth; for benchmarks only.

    Parameters
    ----------
    source : Path
        The folder ``mslesseg``.
    bids_dir, truth_dir : Path
        Folders to write.
    symlink : bool
        Link the images instead of copying them.
    """
    _describe(bids_dir, "MSLesSeg: 2 patients, external test", "CC-BY-4.0")
    for patient in MSLESSEG:
        stem = source / patient / "T1" / f"{patient}_T1"
        for contrast, suffix in (("FLAIR", "FLAIR"), ("T1", "T1w")):
            image = stem.with_name(f"{stem.name}_{contrast}.nii.gz")
            _place(image, bids_dir, f"sub-{patient}", "ses-1", suffix, symlink=symlink)
        flair, affine = _read(stem.with_name(f"{stem.name}_FLAIR.nii.gz"))
        mask, mask_affine = _read(stem.with_name(f"{stem.name}_MASK.nii.gz"))
        if mask.shape != flair.shape or not np.allclose(mask_affine, affine, atol=1e-3):
            msg = f"{patient}: the mask is not on the grid of the FLAIR"
            raise ValueError(msg)
        _write_truth(truth_dir, f"sub-{patient}", "ses-1", _name("T2"), mask > 0, affine)
    _write_tsv(bids_dir / "participants.tsv", [{"participant_id": f"sub-{patient}"} for patient in MSLESSEG])


def arrange_ms3seg(source: Path, bids_dir: Path, truth_dir: Path, *, symlink: bool = True) -> None:
    """Arrange the MS3SEG cases: raw FLAIR of 6 to 8 mm slices, T1w and T2w of some, ``desc-T2`` truth.

    What the raters saw and did not count as lesion is ``desc-T2ignore``.

    Parameters
    ----------
    source : Path
        The folder ``ms3seg``.
    bids_dir, truth_dir : Path
        Folders to write.
    symlink : bool
        Link the images instead of copying them.
    """
    _describe(bids_dir, "MS3SEG: 9 patients", "CC-BY-4.0")
    for patient in MS3SEG:
        folder, participant_id = source / f"patient{patient}", f"sub-ms3seg{patient}"
        for suffix in ("FLAIR", "T1w", "T2w"):
            if (folder / f"{suffix}.nii.gz").is_file():
                image = folder / f"{suffix}.nii.gz"
                _place(image, bids_dir, participant_id, "ses-1", suffix, symlink=symlink)
        lesions, affine = _read(folder / "lesion.nii.gz")
        _write_truth(truth_dir, participant_id, "ses-1", _name("T2"), lesions > 0, affine)
        if (folder / "normal_wmh.nii.gz").is_file():
            ignored, affine = _read(folder / "normal_wmh.nii.gz")
            ignored = (ignored > 0) & (lesions == 0)
            _write_truth(truth_dir, participant_id, "ses-1", _name("T2ignore"), ignored, affine)
    rows = [{"participant_id": f"sub-ms3seg{patient}"} for patient in MS3SEG]
    _write_tsv(bids_dir / "participants.tsv", rows)


def arrange_decubitus(source: Path, bids_dir: Path) -> None:
    """Arrange one person scanned supine, then prone (T1w, one session of the scanner), as ``sub-turned``.

    Parameters
    ----------
    source : Path
        The folder ``dicom/siemens_decubitus``.
    bids_dir : Path
        Folder to write into.
    """
    for session, position in (("ses-1", "HFS"), ("ses-2", "HFP")):
        array, affine = _read_position(source, position)
        anat = bids_dir / "sub-turned" / session / "anat"
        anat.mkdir(parents=True)
        Nifti1Image(array, affine).to_filename(anat / f"sub-turned_{session}_T1w.nii.gz")


def arrange_fake_pair(source: Path, bids_dir: Path) -> None:
    """Arrange the two positions as T1w before and after contrast of one visit: nothing in it enhances.

    There is no T2-type image of that person, without which nothing is counted. The reciprocal of the T1w
    stands in for a T2w: fluid is bright in it, and grey brighter than white matter.

    Parameters
    ----------
    source : Path
        The folder ``dicom/siemens_decubitus``.
    bids_dir : Path
        Folder to write.
    """
    _describe(bids_dir, "One head supine and prone, as if before and after contrast", "BSD-2-Clause")
    anat = bids_dir / "sub-fake" / "ses-1" / "anat"
    anat.mkdir(parents=True)
    for suffix, position in (("T1w", "HFS"), ("ce-gadolinium_T1w", "HFP")):
        array, affine = _read_position(source, position)
        Nifti1Image(array, affine).to_filename(anat / f"sub-fake_ses-1_{suffix}.nii.gz")
        if suffix == "T1w":
            # White matter, the brightest tissue but fat, stays; fluid gets near three times as bright.
            white = np.percentile(array[array > 0.2 * array.max()], 60)
            turned = np.where(array > 0.3 * white, white**2 / np.maximum(array, 1), array)
            Nifti1Image(turned.astype(np.int16), affine).to_filename(anat / "sub-fake_ses-1_T2w.nii.gz")


def _read_position(source: Path, position: str) -> tuple[npt.NDArray[np.int16], Affine]:
    """Read the series of a patient position: intensities, voxel -> RAS mm."""
    (series,) = (source / position).iterdir()
    image = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(series)))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    # DICOM is LPS
    return SimpleITK.GetArrayFromImage(image).T.astype(np.int16), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def common_to_native(xfm: Path) -> Affine:
    """Read an ITK affine of open_ms: common space to the native image, both in RAS mm.

    ITK resamples with the transform from the fixed (common) to the moving (native) points, in LPS mm,
    ``T(x) = A (x - centre) + centre + translation``.
    """
    lines = dict(line.split(":", 1) for line in xfm.read_text(encoding="utf-8").splitlines() if ": " in line)
    parameters = np.array(lines["Parameters"].split(), dtype=float)
    centre = np.array(lines["FixedParameters"].split(), dtype=float)
    matrix = np.eye(4)
    matrix[:3, :3] = parameters[:9].reshape(3, 3)
    matrix[:3, 3] = parameters[9:] + centre - matrix[:3, :3] @ centre
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ matrix @ flip


def components_in_native(
    dseg: npt.NDArray[np.int32],
    affine: Affine,
    to_native: Affine,
    native_shape: tuple[int, ...],
    native_affine: Affine,
) -> npt.NDArray[np.int32]:
    """Bring numbered components to the native grid so that each keeps its volume.

    Every native voxel is sampled at 4 x 4 x 6 points; a component takes as many of its best-covered voxels as
    its volume is worth, at least one. Nearest-neighbour lookup at voxel centres would lose foci that are
    thinner than a slice.
    """
    native_to_common = np.linalg.inv(to_native @ affine) @ native_affine
    common_to_native_voxel = np.linalg.inv(native_to_common)
    samples = np.stack(
        np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in (4, 4, 6)), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    native = np.zeros(native_shape, dtype=np.int32)
    cover = np.zeros(native_shape, dtype=np.float32)
    for label, box in enumerate(ndimage.find_objects(dseg), start=1):
        if box is None:
            continue
        edges = np.array(np.meshgrid(*((s.start - 0.5, s.stop - 0.5) for s in box))).reshape(3, -1)
        reach = common_to_native_voxel[:3, :3] @ edges + common_to_native_voxel[:3, 3:]
        lower = np.maximum(np.floor(reach.min(axis=1)).astype(int), 0)
        upper = np.minimum(np.ceil(reach.max(axis=1)).astype(int) + 1, native_shape)
        grid = np.stack(np.meshgrid(*map(np.arange, lower, upper), indexing="ij"), axis=-1)
        points = grid[..., None, :] + samples
        index = np.rint(points @ native_to_common[:3, :3].T + native_to_common[:3, 3]).astype(int)
        inside = np.all((index >= 0) & (index < dseg.shape), axis=-1)
        index = np.where(inside[..., None], index, 0)
        hit = inside & (dseg[index[..., 0], index[..., 1], index[..., 2]] == label)
        occupancy = hit.mean(axis=-1)
        ranked = np.argsort(-occupancy, axis=None, kind="stable")[: max(1, round(float(occupancy.sum())))]
        for flat in ranked:
            offset = np.unravel_index(flat, occupancy.shape)
            voxel = tuple(int(lower[axis] + offset[axis]) for axis in range(3))
            if occupancy[offset] > cover[voxel]:
                native[voxel], cover[voxel] = label, occupancy[offset]
    return native


def rising_components(patient: str, min_dz: float = MIN_DZ) -> list[int]:
    """Return the components of a patient's change mask that are truth, from the committed table."""
    with CHANGE_SIGN.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream, delimiter="\t") if row["patient"] == patient]
    return [
        int(row["component"])
        for row in rows
        if row["class"] != "small" and float(row["dz"]) > max(min_dz, MIN_DZ)
    ]


def _write_change_truth(folder: Path, truth_dir: Path, patient: str, min_dz: float) -> None:
    gt, affine = _read(folder / "gt.nii.gz")
    dseg = np.zeros(gt.shape, dtype=np.int32)
    ndimage.label(gt > 0, structure=_NEIGHBOURS, output=dseg)
    # The table numbers components in C order of their first voxel.
    labels, first = np.unique(dseg.ravel(), return_index=True)
    order = labels[np.argsort(first)]
    numbers = np.zeros(labels.size, dtype=np.int32)
    numbers[order[order > 0]] = np.arange(1, labels.size)
    flair, native_affine = _read(folder / "study2_FLAIR.nii.gz")
    to_native = common_to_native(folder / "study2_FLAIR_to_common_space.txt")
    native = components_in_native(numbers[dseg], affine, to_native, flair.shape, native_affine)
    change = np.isin(native, rising_components(patient, min_dz))
    visit = (f"sub-{patient}", "ses-2")
    _write_truth(truth_dir, *visit, _name("change"), change, native_affine)
    _write_truth(truth_dir, *visit, _name("ignore"), (native > 0) & ~change, native_affine)


def _write_counts(truth_dir: Path) -> None:
    rows = []
    for patient in CROSS_SECTIONAL:
        path = truth_dir / f"sub-{patient}/ses-1/anat" / f"sub-{patient}_ses-1_{_name('T2')}.nii.gz"
        mask, affine = _read(path)
        dseg = np.zeros(mask.shape, dtype=np.int32)
        ndimage.label(mask > 0, structure=_NEIGHBOURS, output=dseg)
        volumes = np.bincount(dseg.ravel())[1:] * abs(np.linalg.det(affine[:3, :3]))
        rows.append(
            {
                "participant_id": f"sub-{patient}",
                "session_id": "ses-1",
                "gel_count": "0",
                "gel_evaluable": "true",
                "t2_lesion_count": str(int((volumes >= MIN_VOLUME_MM3 - 1e-6).sum())),
                "t2_evaluable": "true",
            }
        )
    _write_tsv(truth_dir / "visit_metrics.tsv", rows)


def _name(desc: str) -> str:
    return f"space-orig_label-L_desc-{desc}_mask"


def _read(path: Path) -> tuple[npt.NDArray[Any], Affine]:
    image = Nifti1Image.from_filename(path)
    return np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=float)


def _write_truth(
    truth_dir: Path,
    participant_id: str,
    session_id: str,
    name: str,
    mask: npt.NDArray[np.bool_],
    affine: Affine,
) -> None:
    anat = truth_dir / participant_id / session_id / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    image = Nifti1Image(mask.astype(np.uint8), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.to_filename(anat / f"{participant_id}_{session_id}_{name}.nii.gz")


def _place(
    image: Path, bids_dir: Path, participant_id: str, session_id: str, suffix: str, *, symlink: bool
) -> None:
    anat = bids_dir / participant_id / session_id / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    target = anat / f"{participant_id}_{session_id}_{suffix}.nii.gz"
    target.unlink(missing_ok=True)
    if symlink:
        target.symlink_to(image.resolve())
    else:
        shutil.copyfile(image, target)


def _patient_info(path: Path) -> dict[int, dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return {int(row["patient_id"]): row for row in csv.DictReader(stream)}


def _participant(participant_id: str, info: Mapping[str, str]) -> dict[str, str]:
    """Row of ``participants.tsv``; the clinical column ``edss`` stays out (it would be refused)."""
    return {"participant_id": participant_id, "sex": info["sex"], "age": info["age"]}


def _write_sessions(bids_dir: Path, participant_id: str, days: Iterable[int]) -> None:
    rows = [
        {
            "session_id": f"ses-{number}",
            "acq_time": f"{_FIRST_DAY + dt.timedelta(days=day)}T00:00:00",
        }
        for number, day in enumerate(days, start=1)
    ]
    _write_tsv(bids_dir / participant_id / f"{participant_id}_sessions.tsv", rows)


def _write_tsv(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _describe(bids_dir: Path, name: str, licence: str) -> None:
    bids_dir.mkdir(parents=True, exist_ok=True)
    description = {"Name": name, "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": licence}
    (bids_dir / "dataset_description.json").write_text(
        json.dumps(description, indent=1) + "\n", encoding="utf-8"
    )
    readme = "Public scans arranged for tests; see tests/real/arrange.py for their origin.\n"
    (bids_dir / "README").write_text(readme, encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Write ``OUT/{bids,truth}``, ``OUT/{mslesseg,ms3seg}/{bids,truth}``: ``REAL_DATA OUT [MIN_DZ]``."""
    real_data, out = Path(arguments[0]), Path(arguments[1])
    min_dz = float(arguments[2]) if len(arguments) > 2 else MIN_DZ
    arrange_open_ms(real_data / "open_ms", out / "bids", out / "truth", min_dz=min_dz)
    arrange_mslesseg(real_data / "mslesseg", out / "mslesseg" / "bids", out / "mslesseg" / "truth")
    arrange_ms3seg(real_data / "ms3seg", out / "ms3seg" / "bids", out / "ms3seg" / "truth")


if __name__ == "__main__":
    main(sys.argv[1:])
