"""Candidates of a visit as products: one table and one numbered image of all kinds, which count nowhere."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mesems_mri.core.components import label_coordinates
from mesems_mri.core.location import centres, lesion_regions
from mesems_mri.dataset.bids import POSTCONTRAST, Contrast
from mesems_mri.dataset.columns import CANDIDATE_COLUMNS
from mesems_mri.dataset.records.base import Json
from mesems_mri.dataset.records.parts import CANDIDATE_KINDS, ListedCandidate, Parts
from mesems_mri.dataset.records.registered_image import RegisteredImage
from mesems_mri.dataset.tables import write_table
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.pipeline.masks import write_candidates_dseg
from mesems_mri.pipeline.visit import VisitFiles


def candidate_rows(
    listed: Sequence[ListedCandidate] | None,
    arrays: Mapping[str, np.ndarray],
    voxel_to_mni: np.ndarray,
    priors: Mapping[str, np.ndarray],
) -> tuple[tuple[Json, ...] | None, np.ndarray | None]:
    """Return the candidates of a visit as the rows of its table and as one numbered image.

    Parameters
    ----------
    listed : sequence of ListedCandidate or None
        Of the record of the step ``detect``; None where no detector was asked.
    arrays : mapping of str to ndarray of int, shape (x, y, z)
        ``candidates_t2``, ``candidates_change``, ``candidates_gel``, those that are there: numbered by kind.
    voxel_to_mni : ndarray of float64, shape (4, 4)
        Array index to MNI mm.
    priors : mapping of str to ndarray of float32, shape (x, y, z)
        Tissue probabilities, for the region.

    Returns
    -------
    rows : tuple of mapping or None
        Of the table, in order of the number: by kind, the best score first, then by place.
    dseg : ndarray of int32, shape (x, y, z), or None
        Where candidates of two kinds overlap, the number of the better score; one may have no voxel left.
    """
    if listed is None:
        return None, None
    found: list[tuple[tuple[Any, ...], np.ndarray, dict[str, Any]]] = []
    for kind in CANDIDATE_KINDS:
        own = {candidate.number: candidate for candidate in listed if candidate.kind == kind}
        if not own:
            continue
        dseg = np.asarray(arrays[f"candidates_{kind}"], np.int32)
        places, middles = label_coordinates(dseg), centres(dseg, voxel_to_mni)
        regions = lesion_regions(dseg, priors=priors, spacing_mm=SUBJECT_GRID.spacing_mm)
        for number, candidate in own.items():
            x, y, z = (round(float(c), 1) + 0.0 for c in middles[number])  # + 0.0: never -0.0
            row = {
                "kind": kind,
                "score": round(candidate.score, 3),
                "volume_mm3": round(len(places[number]) * SUBJECT_GRID.voxel_volume_mm3, 1),
                "x": x,
                "y": y,
                "z": z,
                "region": regions[number],
                "why_not_counted": candidate.cause,
            }
            order = (CANDIDATE_KINDS.index(kind), -candidate.score, *places[number][0].tolist())
            found.append((order, places[number], row))
    found.sort(key=lambda entry: entry[0])
    rows = tuple({"candidate_id": number, **row} for number, (_, _, row) in enumerate(found, start=1))
    drawn = np.zeros(priors["brain"].shape, np.int32)
    # The best is drawn last; of equal ones the first in the table.
    worst_first = sorted(range(len(found)), key=lambda i: (-found[i][0][1], -i))
    for i in worst_first:
        drawn[tuple(found[i][1].T)] = i + 1
    return rows, drawn


def write_candidates(
    visit: VisitFiles,
    images: Mapping[Contrast, RegisteredImage],
    parts: Parts,
    rows: Sequence[Json] | None,
    dseg: np.ndarray | None,
    box: tuple[slice, ...],
) -> list[str]:
    """Write the candidates of a visit, or remove those of an earlier run.

    Parameters
    ----------
    visit : VisitFiles
        The visit.
    images : mapping of contrast to RegisteredImage
        Its evaluable images.
    parts : Parts
        Evaluability.
    rows, dseg
        As `candidate_rows` gives them.
    box : tuple of slice
        Part of `SUBJECT_GRID` that the dseg shows.

    Returns
    -------
    list of str
        Files written, relative to the output folder.
    """
    table = visit.layout.candidates(*visit.key)
    if rows is None:
        table.unlink(missing_ok=True)
        return write_candidates_dseg(visit, (), None, box)
    t2, gel = parts.t2, parts.gel
    contrasts = (t2.contrast if t2.evaluable else None, POSTCONTRAST if gel.evaluable else None)
    sources = [images[contrast].source for contrast in contrasts if contrast is not None]
    products = write_candidates_dseg(visit, sources, dseg, box)
    write_table(table, CANDIDATE_COLUMNS, rows, missing="n/a")
    return [*products, visit.relative(table)]
