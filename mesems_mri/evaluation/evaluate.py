"""Agreement of an output folder with a reference standard: lesions, volumes and counts of every visit.

TRUTH_DIR has the names of an output folder (masks on the grid of the image the lesions were read on)::

    visit_metrics.tsv                                                    optional, may lack rows and columns
    sub-X/ses-Y/anat/sub-X_ses-Y_
        space-orig_label-L_desc-T2_mask.nii.gz
        space-orig_label-L_desc-new_mask.nii.gz, ..._desc-enlarging_mask.nii.gz
        space-orig_label-L_desc-change_mask.nii.gz                       new and enlarging not separated
        space-orig_label-L_desc-T2ignore_mask.nii.gz                     T2 lesions there are not known
        space-orig_label-L_desc-ignore_mask.nii.gz                       change there is not known
        ce-gadolinium_space-orig_label-L_desc-enhancing_mask.nii.gz
        ce-gadolinium_space-orig_label-L_desc-ignore_mask.nii.gz         enhancement there is not known

A reference mask that is not there is not known (nothing is scored); one that is empty means no lesion. An
output mask that is not there is *not evaluable*, never "no lesions": its visit is listed as missed and enters
only the figures over all visits, with every reference lesion of it missed. The same holds for change against
another reference visit than that of the reference standard (``t2_reference_session_id`` of both tables).

The JSON document is described in :mod:`mesems_mri.evaluation.scores`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from mesems_mri.core.agreement import compare_masks
from mesems_mri.errors import InputError, UsageError
from mesems_mri.evaluation.scores import CountScore, Evaluation, ProductScore, VisitScore
from mesems_mri.images.nifti import read_labels
from mesems_mri.images.volume import corner_distance_mm, spacing_of

# Affines travel through float32 headers and quaternions; more than this is another grid.
_SAME_GRID_MM = 1e-2

_T2 = "space-orig_label-L_desc-T2_mask"
_T2_IGNORE = "space-orig_label-L_desc-T2ignore_mask"
_NEW = "space-orig_label-L_desc-new_mask"
_ENLARGING = "space-orig_label-L_desc-enlarging_mask"
_CHANGE = "space-orig_label-L_desc-change_mask"
_IGNORE = "space-orig_label-L_desc-ignore_mask"
_GEL = "ce-gadolinium_space-orig_label-L_desc-enhancing_mask"
_GEL_IGNORE = "ce-gadolinium_space-orig_label-L_desc-ignore_mask"


Table = dict[tuple[str, str], dict[str, str]]
Moved = dict[tuple[str, str], str]
"""Visits whose reference visit is not that of the reference standard, with a line that says so."""


@dataclass(frozen=True)
class Product:
    """A pair of masks to compare: the union of ``output``, and the first complete alternative of ``truth``.

    A product ``since_reference`` is defined for one reference visit only.
    """

    name: str
    title: str
    truth: tuple[tuple[str, ...], ...]
    output: tuple[str, ...]
    ignore: str | None = None
    since_reference: bool = False


PRODUCTS = (
    Product("t2_lesions", "T2 lesions", ((_T2,),), (_T2,), _T2_IGNORE),
    Product(
        "t2_change",
        "new or enlarging T2",
        ((_CHANGE,), (_NEW, _ENLARGING)),
        (_NEW, _ENLARGING),
        _IGNORE,
        since_reference=True,
    ),
    Product("t2_new", "new T2", ((_NEW,),), (_NEW,), _IGNORE, since_reference=True),
    Product("t2_enlarging", "enlarging T2", ((_ENLARGING,),), (_ENLARGING,), _IGNORE, since_reference=True),
    Product("gel", "enhancing (GEL)", ((_GEL,),), (_GEL,), _GEL_IGNORE),
)

# Column of visit_metrics.tsv -> the column of its evaluability.
COUNT_COLUMNS = {
    "gel_count": "gel_evaluable",
    "gel_new_count": "gel_evaluable",
    "t2_new_count": "t2_change_evaluable",
    "t2_enlarging_count": "t2_change_evaluable",
    "cua_count": "cua_evaluable",
    "t2_lesion_count": "t2_evaluable",
}
# Empty at the first evaluable visit, where every enhancing lesion is "baseline".
_NEEDS_REFERENCE = ("gel_new_count",)
_REFERENCE = "t2_reference_session_id"
_COMPARED = {"t2_new_count", "t2_enlarging_count", "cua_count"}
"""Columns that count changes since the visit of `_REFERENCE`."""


def evaluate(out_dir: Path, truth_dir: Path) -> Evaluation:
    """Compare an output folder with the reference standard.

    Parameters
    ----------
    out_dir : Path
        Output of ``mesems-mri run``.
    truth_dir : Path
        Truth in the layout described at the top of this module.

    Returns
    -------
    Evaluation
        Figures, as a table and as JSON.

    Raises
    ------
    UsageError
        If a folder is missing, there is no reference standard in it, a mask cannot be read, or two masks of a
        visit lie on different grids.
    """
    out_dir, truth_dir = Path(out_dir), Path(truth_dir)
    for name, folder in (("OUT_DIR", out_dir), ("TRUTH_DIR", truth_dir)):
        if not folder.is_dir():
            msg = (
                f"{name} {folder}: no such folder; give the output folder of a run and its reference standard"
            )
            raise UsageError(msg)
    visits = list(_visits(truth_dir))
    moved = _other_references(_read_visit_table(truth_dir), _read_visit_table(out_dir))
    products = tuple(
        ProductScore(product.name, product.title, scores)
        for product in PRODUCTS
        if (scores := tuple(_score_visits(product, visits, out_dir, moved)))
    )
    counts = tuple(_score_counts(out_dir, truth_dir, moved))
    if not products and not counts:
        msg = (
            f"TRUTH_DIR {truth_dir}: no reference standard found, expected "
            "sub-X/ses-Y/anat/*_desc-*_mask.nii.gz or visit_metrics.tsv; check the folder and the names"
        )
        raise UsageError(msg)
    return Evaluation(products, counts, tuple(moved.values()))


def _visits(truth_dir: Path) -> Iterator[Path]:
    yield from sorted(folder for folder in truth_dir.glob("sub-*/ses-*/anat") if folder.is_dir())


def _score_visits(product: Product, visits: list[Path], out_dir: Path, moved: Moved) -> Iterator[VisitScore]:
    for truth_anat in visits:
        participant_id, session_id = truth_anat.parts[-3:-1]
        truth = next((t for t in (_read_union(truth_anat, names) for names in product.truth) if t), None)
        if truth is None:
            continue
        output = _read_union(out_dir / participant_id / session_id / "anat", product.output)
        if product.since_reference and (participant_id, session_id) in moved:
            output = None
        ignore = _read_union(truth_anat, (product.ignore,)) if product.ignore else None
        if output is not None:
            truth, ignore = _along(truth, output), ignore and _along(ignore, output)
        truth_mask, affine, where = truth
        for other in (output, ignore):
            if other is not None:
                _check_same_grid(truth, other)
        detection = np.zeros_like(truth_mask) if output is None else output[0]
        try:
            agreement = compare_masks(
                truth_mask, detection, spacing_mm=spacing_of(affine), ignore=ignore[0] if ignore else None
            )
        except ValueError as error:
            msg = f"{where}: {error}; write the mask as a 3D image"
            raise UsageError(msg) from error
        yield VisitScore(participant_id, session_id, output is None, agreement, affine)


Mask = tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], Path]


def _read_union(anat: Path, names: tuple[str, ...]) -> Mask | None:
    """Union of the masks of a visit, None unless all are there."""
    participant_id, session_id = anat.parts[-3:-1]
    paths = [anat / f"{participant_id}_{session_id}_{name}.nii.gz" for name in names]
    if not all(path.is_file() for path in paths):
        return None
    masks = [_read_mask(path) for path in paths]
    first = masks[0]
    for other in masks[1:]:
        _check_same_grid(first, other)
    return np.logical_or.reduce([mask[0] for mask in masks]), first[1], first[2]


def _read_mask(path: Path) -> Mask:
    try:
        labels, affine = read_labels(path)
    except InputError as error:
        msg = f"{path}: {error}"
        raise UsageError(msg) from error
    return labels > 0, affine, path


def _along(mask: Mask, like: Mask) -> Mask:
    """Store a mask along the axes of another one: an image that came as DICOM may have its axes elsewhere."""
    array, affine, path = mask
    turn = ornt_transform(io_orientation(affine), io_orientation(like[1]))
    turned = np.asarray(apply_orientation(array, turn), np.bool_)
    return turned, affine @ inv_ornt_aff(turn, array.shape), path


def _check_same_grid(one: Mask, other: Mask) -> None:
    if one[0].shape != other[0].shape:
        found, expected = other[0].shape, one[0].shape
    else:
        apart = corner_distance_mm(one[0].shape, one[1], other[1])
        if apart <= _SAME_GRID_MM:
            return
        found, expected = f"corners {apart:.3g} mm apart", f"at most {_SAME_GRID_MM} mm"
    msg = (
        f"{other[2]}: not on the grid of {one[2]} (found {found}, expected {expected}); write the truth "
        "on the grid of the image that was read"
    )
    raise UsageError(msg)


def _read_visit_table(folder: Path) -> Table:
    path = folder / "visit_metrics.tsv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    if rows and not {"participant_id", "session_id"} <= rows[0].keys():
        msg = f"{path}: no columns participant_id and session_id; give a visit_metrics.tsv"
        raise UsageError(msg)
    return {(row["participant_id"], row["session_id"]): row for row in rows}


def _other_references(truth_rows: Table, output_rows: Table) -> Moved:
    """Find the visits whose reference visit in the output is not that of the reference standard."""
    moved = {}
    for visit, row in sorted(truth_rows.items()):
        expected, found = row.get(_REFERENCE), output_rows.get(visit, {}).get(_REFERENCE)
        if expected and found and expected != found:
            moved[visit] = f"{'/'.join(visit)} ({found} instead of {expected})"
    return moved


def _score_counts(out_dir: Path, truth_dir: Path, moved: Moved) -> Iterator[CountScore]:
    truth_rows, output_rows = _read_visit_table(truth_dir), _read_visit_table(out_dir)
    for column, evaluable_column in COUNT_COLUMNS.items():
        errors: list[int] = []
        missed: list[str] = []
        unexpected: list[str] = []
        neither = 0
        for visit, truth_row in sorted(truth_rows.items()):
            if column not in truth_row or truth_row.get(evaluable_column) not in ("true", "false"):
                continue  # not known to this reference standard
            truth = _count_in(truth_row, column, evaluable_column, truth_dir)
            output = _count_in(output_rows.get(visit, {}), column, evaluable_column, out_dir)
            if column in _COMPARED and visit in moved:
                output = None
            label = "/".join(visit)
            if truth is not None and output is not None:
                errors.append(output - truth)
            elif truth is not None:
                missed.append(label)
            elif output is not None:
                unexpected.append(label)
            else:
                neither += 1
        if errors or missed or unexpected or neither:
            yield CountScore(column, tuple(errors), neither, tuple(missed), tuple(unexpected))


def _count_in(row: Mapping[str, str], column: str, evaluable_column: str, folder: Path) -> int | None:
    """Count of a visit, None if it is not evaluable."""
    if row.get(evaluable_column) != "true":
        return None
    text = row.get(column, "")
    if not text and column in _NEEDS_REFERENCE:
        return None
    try:
        return int(text)
    except ValueError as error:
        visit = f"{row.get('participant_id')}/{row.get('session_id')}"
        msg = (
            f"{folder / 'visit_metrics.tsv'} {visit}: {column} is {text!r} although {evaluable_column} is "
            "true, expected a whole number; an evaluable visit without lesions has 0"
        )
        raise UsageError(msg) from error
