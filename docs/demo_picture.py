"""Draw the picture of the README from a finished demonstration: ``python docs/demo_picture.py demo``.

The largest new T2 lesion of the trial, at its reference visit, at the visit it is new, and with the outlines
of the run.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mesems_mri.dataset.layout import Layout
from mesems_mri.files import read_json
from mesems_mri.images import nifti
from mesems_mri.report.figures import display_range, draw_slice, tile


def main(demo: Path) -> None:
    """Draw the picture beside this file."""
    layout = Layout((demo / "derivatives").resolve())
    records = [read_json(path) for path in sorted(layout.out_dir.glob("sub-*/ses-*/*_metrics.json"))]
    new = [(row["volume_mm3"], row, r) for r in records for row in r["lesions"] if row["t2_status"] == "new"]
    _, row, record = max(new, key=lambda item: item[0])
    participant, session = row["participant_id"], row["session_id"]

    def labels(name: str) -> np.ndarray:
        return nifti.read_labels(layout.product(participant, session, name))[0]

    lesion = labels("space-subject_desc-T2_dseg.nii.gz") == row["lesion_id"]
    brain = labels("space-subject_desc-brain_mask.nii.gz") > 0
    outlines = {
        "T2": labels("space-subject_label-L_desc-T2_mask.nii.gz") > 0,
        "new": labels("space-subject_label-L_desc-new_mask.nii.gz") > 0,
    }
    index = int(np.argmax(lesion.sum(axis=(0, 1))))
    box = tuple(
        slice(max(int(i.min()) - 12, 0), int(i.max()) + 13)
        for i in (np.flatnonzero(brain.any(axis=a)) for a in ((1, 2), (0, 2)))
    )
    contrast = record["change_contrast"]
    parts = []
    for name, shown in (
        (record["reference_preproc"], {}),
        (record["preproc"][contrast], {}),
        (record["preproc"][contrast], outlines),
    ):
        image = nifti.read_image(layout.out_dir / name)[0].array
        window = display_range(image, brain)
        cropped = {key: mask[box] for key, mask in shown.items()}
        parts.append(draw_slice(image[box], cropped, axis=2, index=index, window=window, zoom=2))
    target = Path(__file__).with_name("demo.png")
    Image.fromarray(tile(parts, 3)).save(target, optimize=True)
    print(
        f"{target}: {participant} {contrast}, {row['reference_session_id']}, {session}, with outlines; "
        f"new T2 lesion {row['lesion_id']}, {row['volume_mm3']} mm3"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
