"""Comparison of two output folders: visits and lesions that differ between versions or configurations."""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.core.components import label_coordinates
from mesems_mri.dataset.bids import POSTCONTRAST, image_name, preproc_name
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import DatasetError
from mesems_mri.files import read_json, write_text
from mesems_mri.images import nifti
from mesems_mri.report.comparison import Comparison, Difference, LoneLesion
from mesems_mri.report.figures import crop_around, data_uri, display_range, draw_slice, tile
from mesems_mri.report.page import render_page

Row = dict[str, str]
_NOT_COMPARED = {"study_id", "software_version", "config_sha256"}
_HALF_WIDTH = 32
_OUTLINES = ("T2", "new")
"""Keys of the colours of the first and the second folder."""


def compare(first: Path, second: Path, page: Path | None = None) -> Comparison:
    """Compare the visits and lesions of two output folders.

    Parameters
    ----------
    first, second : Path
        Output folders of two runs.
    page : Path, optional
        Also write a page with a picture of every lesion that only one of them has.

    Returns
    -------
    Comparison

    Raises
    ------
    DatasetError
        If one of them is no output folder.
    """
    folders = (first, second)
    tables = tuple(_visits(folder) for folder in folders)
    shared = [key for key in tables[0] if key in tables[1]]
    comparison = Comparison(
        names=(str(first), str(second)),
        settings=_settings(folders, tables),
        only=(
            ["/".join(key) for key in tables[0] if key not in tables[1]],
            ["/".join(key) for key in tables[1] if key not in tables[0]],
        ),
        differences=[
            Difference(*key, column, one, two)
            for key in shared
            for column, one, two in _unequal(tables[0][key], tables[1][key])
        ],
    )
    for key in shared:
        _compare_lesions(folders, key, comparison, tables[0][key], with_pictures=page is not None)
    if page:
        text = render_page(
            "comparison",
            comparison,
            title="Comparison of two runs",
            subtitle=f"{first.name} and {second.name}",
        )
        write_text(page, text)
    return comparison


def _visits(folder: Path) -> dict[tuple[str, str], Row]:
    path = folder / "visit_metrics.tsv"
    return {(row["participant_id"], row["session_id"]): row for row in _read(path)}


def _read(path: Path) -> list[Row]:
    """Read a table of another version too: its columns need not be ours."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read ({error}); give the output folder of a finished run"
        raise DatasetError(msg) from error


def _unequal(one: Row, two: Row) -> list[tuple[str, str, str]]:
    columns = [column for column in {**one, **two} if column not in _NOT_COMPARED]
    pairs = [(column, one.get(column, ""), two.get(column, "")) for column in columns]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _settings(
    folders: tuple[Path, Path], tables: tuple[dict[tuple[str, str], Row], ...]
) -> list[tuple[str, str, str]]:
    sides: list[dict[str, str]] = []
    for folder, table in zip(folders, tables, strict=True):
        versions = sorted({row.get("software_version", "") for row in table.values()})
        path = folder / "provenance.json"
        provenance = read_json(path) if path.is_file() else {}
        side = {"software_version": ", ".join(versions)}
        side |= {f"config.{k}": v for k, v in _flat(provenance.get("config", {})).items()}
        side |= {f"versions.{k}": str(v) for k, v in provenance.get("versions", {}).items()}
        sides.append(side)
    return _unequal(sides[0], sides[1])


def _flat(content: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": text for inner, text in _flat(value).items()}
        else:
            flat[key] = str(value)
    return flat


def _compare_lesions(
    folders: tuple[Path, Path],
    key: tuple[str, str],
    comparison: Comparison,
    visit: Row,
    *,
    with_pictures: bool,
) -> None:
    participant, session = key
    layouts = [Layout(folder) for folder in folders]
    for focus, contrast in (("t2", visit.get("t2_contrast") or "FLAIR"), ("gel", POSTCONTRAST)):
        desc = "enhancing" if focus == "gel" else "T2"
        name = image_name(contrast, f"space-subject_desc-{desc}", "dseg.nii.gz")
        paths = [layout.product(participant, session, name) for layout in layouts]
        # A part that only one could evaluate is in the table; none of its lesions is missed by the other.
        if not all(path.is_file() for path in paths) or paths[0].read_bytes() == paths[1].read_bytes():
            continue
        if not _same_space(layouts, participant):
            if "/".join(key) not in comparison.unmatched:
                comparison.unmatched.append("/".join(key))
            continue
        dsegs = [nifti.read_labels(path)[0] for path in paths]
        for place, (own, other) in enumerate((dsegs, dsegs[::-1]), start=1):
            layout = layouts[place - 1]
            rows = {
                row["lesion_id"]: row
                for row in _read(layout.ledger(participant))
                if row["session_id"] == session and row["focus"] == focus
            }
            for lesion_id, voxels in label_coordinates(own).items():
                if str(lesion_id) in rows and not other[tuple(voxels.T)].any():
                    lesion = LoneLesion(rows[str(lesion_id)], place)
                    if with_pictures:
                        image = layout.product(participant, session, preproc_name(contrast))
                        brain = layout.product(participant, session, "space-subject_desc-brain_mask.nii.gz")
                        lesion = replace(lesion, picture=_picture(image, brain, voxels, dsegs))
                    comparison.lesions.append(lesion)


def _same_space(layouts: list[Layout], participant: str) -> bool:
    anchors = [read_json(layout.anchor(participant)) for layout in layouts]
    return all(
        np.allclose(anchors[0].get(key, 0), anchors[1].get(key, 1), atol=1e-3)
        for key in ("subject_to_anchor", "subject_to_mni")
    )


def _picture(image_path: Path, brain_path: Path, voxels: np.ndarray, dsegs: list[np.ndarray]) -> str:
    """Draw three planes through a lesion, above plain, below with the outlines of both folders."""
    if not image_path.is_file() or not brain_path.is_file():
        return ""
    image = nifti.read_image(image_path)[0].array
    window = display_range(image, nifti.read_labels(brain_path)[0] > 0)
    nearest = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))]
    box, inner = crop_around(nearest.tolist(), image.shape, _HALF_WIDTH)
    outlines = {name: dseg[box] > 0 for name, dseg in zip(_OUTLINES, dsegs, strict=True)}
    drawn = [
        draw_slice(image[box], shown, axis=axis, index=inner[axis], window=window, zoom=3)
        for shown in ({}, outlines)
        for axis in (2, 1, 0)
    ]
    return data_uri(tile(drawn, 3))
