"""Draw lesions of a run for review, the false ones first.

``python -m benchmarks.lesion_pictures OUT_DIR TRUTH_DIR PICTURE_DIR [--most N]`` writes one PNG a focus (what
the run found, true or false, and what it missed) and prints a table of them. Rows of a picture: axial,
coronal, sagittal; columns: reference visit (or pre-contrast), this visit (or post-contrast), this visit with
the outlines of the run (orange new, yellow enlarging, blue T2, vermilion enhancing) and of the truth (white).
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mesems_mri.dataset.bids import POSTCONTRAST, xfm_name
from mesems_mri.dataset.layout import Layout
from mesems_mri.evaluation.evaluate import evaluate
from mesems_mri.files import read_json
from mesems_mri.images import nifti
from mesems_mri.images.resampling import resample_labels
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.report.figures import COLOURS, crop_around, display_range, draw_slice, tile

COLOURS["truth"] = (255, 255, 255)
HALF_WIDTH = 32
MASKS = {
    "t2_change": (("new", "enlarging"), "space-orig_label-L_desc-change_mask.nii.gz"),
    "gel": (("enhancing",), "ce-gadolinium_space-orig_label-L_desc-enhancing_mask.nii.gz"),
    "t2_lesions": (("T2",), "space-orig_label-L_desc-T2_mask.nii.gz"),
}


def subject_mask(layout: Layout, participant: str, session: str, desc: str) -> np.ndarray:
    agent = "ce-gadolinium_" if desc == "enhancing" else ""
    path = layout.product(participant, session, f"{agent}space-subject_label-L_desc-{desc}_mask.nii.gz")
    return nifti.read_labels(path)[0] > 0 if path.is_file() else np.zeros(SUBJECT_GRID.shape, bool)


def lesion_id_at(
    layout: Layout, participant: str, session: str, product: str, voxel: np.ndarray
) -> int | None:
    """Return the number of the lesion nearest to a place, within 8 mm."""
    name = "ce-gadolinium_space-subject_desc-enhancing" if product == "gel" else "space-subject_desc-T2"
    path = layout.product(participant, session, f"{name}_dseg.nii.gz")
    if not path.is_file():
        return None
    box = tuple(slice(max(int(v) - 8, 0), int(v) + 9) for v in voxel)
    near = nifti.read_labels(path)[0][box]
    places = np.argwhere(near > 0)
    if not len(places):
        return None
    distance = np.linalg.norm(places + [s.start for s in box] - voxel, axis=1)
    return int(near[tuple(places[np.argmin(distance)])])


def image_of(layout: Layout, name: str | None) -> np.ndarray | None:
    return nifti.read_image(layout.out_dir / name)[0].array if name else None


def draw(
    layout: Layout, truth_dir: Path, product: str, visit: str, focus: dict[str, Any], path: Path
) -> int | None:
    """Draw a focus and return the number of the lesion nearest to it in the ledger."""
    participant, session = visit.split("/")
    record = read_json(layout.metrics(participant, session))
    names, truth_name = MASKS[product]
    contrast = POSTCONTRAST if product == "gel" else record["visit_metrics"]["t2_contrast"]
    before = record["preproc"].get("T1w") if product == "gel" else record["reference_preproc"]
    xfm_path = layout.product(participant, session, xfm_name(contrast))
    subject_to_image = nifti.read_xfm(xfm_path)
    truth_path = truth_dir / participant / session / "anat" / f"{participant}_{session}_{truth_name}"
    truth = np.zeros(SUBJECT_GRID.shape, bool)
    if truth_path.is_file():
        labels, affine = nifti.read_labels(truth_path)
        truth = resample_labels((labels > 0).astype(np.int32), affine, SUBJECT_GRID, subject_to_image) > 0
    at_mm = np.linalg.inv(subject_to_image) @ np.array([*focus["mm"], 1.0])
    voxel = np.rint(np.linalg.inv(SUBJECT_GRID.affine) @ at_mm)[:3].astype(int)
    brain = (
        nifti.read_labels(layout.product(participant, session, "space-subject_desc-brain_mask.nii.gz"))[0] > 0
    )
    box, inner = crop_around(voxel.tolist(), SUBJECT_GRID.shape, HALF_WIDTH)
    outlines = {name: subject_mask(layout, participant, session, name)[box] for name in names}
    outlines["truth"] = truth[box]
    parts = []
    for axis in (2, 1, 0):
        for name, shown in (
            (before, {}),
            (record["preproc"][contrast], {}),
            (record["preproc"][contrast], outlines),
        ):
            image = image_of(layout, name)
            if image is not None:
                window = display_range(image, brain)
                parts.append(
                    draw_slice(image[box], shown, axis=axis, index=inner[axis], window=window, zoom=3)
                )
    Image.fromarray(tile(parts, len(parts) // 3)).save(path, optimize=True)
    return lesion_id_at(layout, participant, session, product, voxel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("truth_dir", type=Path)
    parser.add_argument("picture_dir", type=Path)
    parser.add_argument("--most", type=int, default=12, help="foci of each product and outcome")
    arguments = parser.parse_args()
    layout = Layout(arguments.out_dir.resolve())
    arguments.picture_dir.mkdir(parents=True, exist_ok=True)
    print("| picture | product | visit | outcome | mm3 | nearest lesion_id |\n|---|---|---|---|---|---|")
    document = evaluate(arguments.out_dir, arguments.truth_dir).to_json()
    for product, visit, outcome, focus in foci(document, arguments.most):
        name = f"{product}_{visit.replace('/', '_')}_{outcome}_{focus['number']:03d}.png"
        nearest = draw(layout, arguments.truth_dir, product, visit, focus, arguments.picture_dir / name)
        print(f"| {name} | {product} | {visit} | {outcome} | {focus['volume_mm3']:.0f} | {nearest or '-'} |")


def foci(document: dict[str, Any], most: int) -> list[tuple[str, str, str, dict[str, Any]]]:
    """List foci to draw: of each product the false ones first, then the missed, then the hits."""
    chosen = []
    for product in document["products"]:
        if product["name"] not in MASKS:
            continue
        for outcome in ("false", "missed", "true"):
            found = [
                (
                    product["name"],
                    f"{visit['participant_id']}/{visit['session_id']}",
                    outcome,
                    focus | {"number": i},
                )
                for visit in product["visits"]
                for i, focus in enumerate(visit["foci"])
                if focus["outcome"] == outcome
            ]
            chosen += sorted(found, key=lambda item: -item[3]["volume_mm3"])[:most]
    return chosen


if __name__ == "__main__":
    main()
