"""How surely a mirrored or foreign series of a visit is told from the right one, on real scans.

    python -m benchmarks.accuracy_series REAL_DATA [--visits LABEL ...]

Every image of every visit with a FLAIR is registered to that FLAIR and compared with it as the run does: as
it is, mirrored in its data but not in its header, and with the image of the same contrast of another patient
of the same source in its place. Printed are both scores (as it is, and its mirror image; both are asked here
even where the first leaves no doubt), the verdict and the CPU time of the comparison.
"""

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

import numpy as np

from mesems_mri.images.nifti import read_image, read_labels, read_xfm
from mesems_mri.images.registration import register_rigid
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.same_head import compare_series
from mesems_mri.images.volume import Volume

LONGITUDINAL = {"FLAIR": "FLAIR", "T1w": "T1W", "T2w": "T2W"}
CROSS_SECTIONAL = {"FLAIR": "FLAIR", "T1w": "T1", "ce-gadolinium_T1w": "T1POST", "T2w": "T2"}
TCGA = {"FLAIR": "fla", "T1w": "t1", "ce-gadolinium_T1w": "t1c", "T2w": "t2"}


@dataclass(frozen=True)
class Visit:
    """Images of one visit that lie on disk.

    Attributes
    ----------
    label, patient : str
    source : str
        Data set; a foreign image is of the same.
    images : dict of str to Path
        By contrast; one is the FLAIR.
    mask : Path or None
        Brain mask; None where the images are stripped.
    to_mask : Path or None
        Transform from the FLAIR to the space of the mask; None where they share a grid.
    """

    label: str
    patient: str
    source: str
    images: dict[str, Path]
    mask: Path | None = None
    to_mask: Path | None = None

    def reference(self) -> tuple[Volume, np.ndarray]:
        """Read the FLAIR and the mask of its brain."""
        flair, _ = read_image(self.images["FLAIR"])
        if self.mask is None:
            return flair, flair.array > 0
        mask, affine = read_labels(self.mask)
        if self.to_mask is None:
            return flair, mask > 0
        back = np.asarray(np.linalg.inv(read_xfm(self.to_mask)), np.float64)
        return flair, resample_image(Volume(mask.astype(np.float32), affine), flair.grid, back) > 0.5


def find_visits(real_data: Path) -> Iterator[Visit]:
    """Yield the visits that have a FLAIR and one more image."""
    for folder in sorted((real_data / "open_ms" / "longitudinal").glob("patient*")):
        patient = folder.name.removeprefix("patient")
        for study in (1, 2):
            images = {c: folder / f"study{study}_{name}.nii.gz" for c, name in LONGITUDINAL.items()}
            xfm = folder / f"study{study}_FLAIR_to_common_space.txt"
            yield Visit(
                f"{patient}-{study}", patient, "open_ms raw", images, folder / "brainmask.nii.gz", xfm
            )
    for patient in ("07", "26"):
        folder = real_data / "open_ms" / "cross_sectional" / f"patient{patient}"
        images = {c: folder / f"{name}_space-MNI.nii.gz" for c, name in CROSS_SECTIONAL.items()}
        yield Visit(patient, patient, "stripped", images)
    for patient in ("P18", "P39"):
        stem = real_data / "mslesseg" / patient / "T1" / f"{patient}_T1_"
        images = {"FLAIR": Path(f"{stem}FLAIR.nii.gz"), "T1w": Path(f"{stem}T1.nii.gz")}
        yield Visit(patient, patient, "stripped", images)
    stem = real_data / "tcga" / "TCGA-DU-7294" / "TCGA-DU-7294_hdbet_native_"
    yield Visit("TCGA", "TCGA", "stripped", {c: Path(f"{stem}{name}.nii.gz") for c, name in TCGA.items()})
    for folder in sorted((real_data / "ms3seg").glob("patient*")):
        patient = "ms3seg-" + folder.name.removeprefix("patient")
        images = {c: folder / f"{c}.nii.gz" for c in ("FLAIR", "T1w", "T2w")}
        yield Visit(patient, patient, "ms3seg", images, folder / "brain_mask.nii.gz")


def with_images(visits: Iterator[Visit]) -> list[Visit]:
    """Return the visits of which more than the FLAIR is there."""
    there = [
        Visit(
            v.label,
            v.patient,
            v.source,
            {c: p for c, p in v.images.items() if p.is_file()},
            v.mask,
            v.to_mask,
        )
        for v in visits
    ]
    return [
        v for v in there if "FLAIR" in v.images and len(v.images) > 1 and (not v.mask or v.mask.is_file())
    ]


def mirrored(volume: Volume) -> Volume:
    """Return the image with left and right exchanged in its data, not in its header."""
    axis = int(np.argmax(np.abs(volume.affine[0, :3])))
    return Volume(np.ascontiguousarray(np.flip(volume.array, axis)), volume.affine)


def foreign(visit: Visit, contrast: str, visits: list[Visit]) -> Visit | None:
    """Return the next visit of another patient of the same source with an image of this contrast."""
    pool = [
        v for v in visits if v.source == visit.source and v.patient != visit.patient and contrast in v.images
    ]
    return pool[visits.index(visit) % len(pool)] if pool else None


def midplane(flair: Volume, mask: np.ndarray) -> np.ndarray:
    """Return the reflection across the sagittal plane through the middle of the brain, mm to mm."""
    middle = (flair.affine @ np.append(np.argwhere(mask)[::20].mean(axis=0), 1.0))[0]
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirror[0, 3] = 2 * middle
    return mirror


def compare_visit(visit: Visit, visits: list[Visit]) -> Iterator[tuple[str, str, bool]]:
    """Print a row for every image of a visit and what takes its place; yield kind, verdict and success."""
    flair, mask = visit.reference()
    mirror = midplane(flair, mask)
    for contrast, path in visit.images.items():
        if contrast == "FLAIR":
            continue
        other = foreign(visit, contrast, visits)
        series = {"right": read_image(path)[0]}
        series["mirrored"] = mirrored(series["right"])
        if other:
            series[f"of {other.label}"] = read_image(other.images[contrast])[0]
        for kind, volume in series.items():
            found = register_rigid(flair, volume, fixed_mask=mask, moving_mask=None)
            start = time.process_time()
            result = compare_series(flair, volume, found.matrix, mask, mirror, sure=2.0)
            seconds = time.process_time() - start
            verdict = result.verdict if found.ok else "registration failed"
            print(
                f"| {visit.label} {contrast} | {kind} | {result.score:.3f} | {result.mirrored_score:.3f} | "
                f"{verdict} | {seconds:.1f} |",
                flush=True,
            )
            yield ("foreign" if kind.startswith("of ") else kind), verdict, found.ok


def main() -> None:
    """Print the table, and what was said of each kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real_data", type=Path)
    parser.add_argument("--visits", nargs="+", help="only these, by the labels that are printed")
    given = parser.parse_args()
    visits = with_images(find_visits(given.real_data))
    counts: Counter[tuple[str, str]] = Counter()
    print("| image | series | score | mirrored | verdict | CPU s |\n|---|---|---|---|---|---|")
    for visit in visits:
        if given.visits is None or visit.label in given.visits:
            counts.update((kind, verdict) for kind, verdict, _ in compare_visit(visit, visits))
    print("\n| series | verdict | number |\n|---|---|---|")
    for (kind, verdict), number in sorted(counts.items()):
        print(f"| {kind} | {verdict} | {number} |")


if __name__ == "__main__":
    main()
