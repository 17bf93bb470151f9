"""Heads: brain extraction of every real scan at hand, and what is no head beside them.

    python -m benchmarks.heads REAL_DATA [--only scans objects pairs] [--every N] [--json FILE]

- *scans*: all scans, raw, defaced, skull-stripped and converted from DICOM (as they are and defaced by this
  package): refused or not, brain volume, covered fraction, lesion voxels inside the mask, CPU seconds;
- *objects*: their twins that must be refused: bottles, spheres, shells, knees, noise, real scans whose
  phases are drawn anew (the same spectrum, no head) and CT of 15 heads; heads of the same label maps as T1w
  must not be;
- *pairs*: pairs of scans of two heads, every N-th, which must be told, and of one head, which must not
  (`benchmarks.accuracy_registration`).

A refused scan stays in the tables: the figures beside it are those of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy_brain import cpu_s, reference_mask
from benchmarks.accuracy_registration import compare_pairs, other_scans, raw_scans
from mesems_mri.core.intervals import bootstrap_interval, wilson_interval
from mesems_mri.errors import InputError
from mesems_mri.files import write_bytes
from mesems_mri.images import nifti
from mesems_mri.images.brain import extract_brain
from mesems_mri.images.deface import deface_files
from mesems_mri.images.volume import Volume
from mesems_mri.intake.convert import run_dcm2niix
from tests.unit.images.test_brain import CONTRASTS, phantom

PARTS = ("scans", "objects", "pairs")
DICOM = {
    "HFS": "siemens_decubitus/HFS/3_t1_fl2d_sag",
    "HFP": "siemens_decubitus/HFP/2_t1_fl2d_sag",
    "GE": "ge_mprage/05_3D_Ax_T1_MP_RAGE_R22",
    "XA30": "siemens_xa30_enhanced/5_anat-T1w_acq-tfl",
}
_SIDE_MM = 3.0


@dataclass(frozen=True)
class Scan:
    """A real scan: the data set and patient it is of, its file, and how its lesions are found.

    Attributes
    ----------
    dataset, patient, name : str
    path : Path
    lesions : Path or None
        Mask on the grid of the scan; of a longitudinal patient of open_ms the change in the common space.
    """

    dataset: str
    patient: str
    name: str
    path: Path
    lesions: Path | None = None

    def lesion_mask(self) -> NDArray[np.bool_] | None:
        """Return the lesions on the grid of the scan."""
        if self.lesions is None or not self.lesions.is_file():
            return None
        if self.lesions.name == "gt.nii.gz":
            return reference_mask(self.path, self.lesions.name)
        return nifti.read_image(self.lesions)[0].array > 0.5


@dataclass(frozen=True)
class Found:
    """What brain extraction made of a scan; None but for its words and CPU time if it was refused.

    Attributes
    ----------
    dataset, patient, name : str
    refused : str
        The sentence, or empty.
    cpu_s : float
    stripped : bool or None
        The scan was taken for one without skull.
    agreement : float or None
        Overlap of the tissues with those of the atlas.
    brain_ml, covered : float or None
    lesion_voxels, inside : int or None
        Voxels of lesions, and those of them inside the mask.
    """

    dataset: str
    patient: str
    name: str
    refused: str
    cpu_s: float
    stripped: bool | None = None
    agreement: float | None = None
    brain_ml: float | None = None
    covered: float | None = None
    lesion_voxels: int | None = None
    inside: int | None = None


def real_scans(root: Path, scratch: Path) -> Iterator[Scan]:
    """Yield every scan; those from DICOM are converted and defaced in a scratch folder."""
    for path in sorted((root / "open_ms" / "longitudinal").glob("patient*/study*_*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        yield Scan("open_ms raw", path.parent.name, name, path, path.with_name("gt.nii.gz"))
    for path in sorted((root / "open_ms" / "cross_sectional").glob("patient*/*_space-MNI.nii.gz")):
        if not path.name.startswith("gt"):
            name, lesions = path.name.split("_")[0], path.with_name("gt_space-MNI.nii.gz")
            yield Scan("open_ms stripped", path.parent.name, name, path, lesions)
    for contrast in ("FLAIR", "T1w", "T2w"):
        for path in sorted((root / "ms3seg").glob(f"patient*/{contrast}.nii.gz")):
            yield Scan("ms3seg", path.parent.name, contrast, path, path.with_name("lesion.nii.gz"))
    for path in sorted((root / "mslesseg").glob("P*/T1/P*_T1_*.nii.gz")):
        if not path.name.endswith("_MASK.nii.gz"):
            patient, _, contrast = path.name.removesuffix(".nii.gz").split("_")
            yield Scan("mslesseg", patient, contrast, path, path.with_name(f"{patient}_T1_MASK.nii.gz"))
    for path in sorted((root / "tcga").glob("TCGA-*/*_hdbet_native_*.nii.gz")):
        yield Scan("tcga", path.parent.name, path.name.removesuffix(".nii.gz").split("_")[-1], path)
    for name, folder in DICOM.items():
        image = convert(root / "dicom" / folder, scratch / name)
        person = "decubitus" if name in ("HFS", "HFP") else name
        yield Scan("dicom", person, name, image)
        defaced = image.with_name(f"defaced_{image.name}")
        defaced.write_bytes(image.read_bytes())
        try:
            deface_files([defaced])
        except InputError as error:
            print(f"{name}: not defaced ({error})")
        else:
            yield Scan("dicom, defaced", person, name, defaced)


def convert(series: Path, folder: Path) -> Path:
    """Convert a series of DICOM files to an image."""
    folder.mkdir(parents=True)
    files = [path for path in sorted(series.rglob("*")) if path.is_file() and path.suffix != ".txt"]
    (output, *_) = run_dcm2niix([path for path in files if "LICENSE" not in path.name], folder).images
    volume, _ = nifti.read_image(output.image)
    image = folder / "image.nii.gz"
    nifti.write_image(image, volume.array, volume.affine)
    return image


def look_at(scan: Scan) -> Found:
    """Extract the brain of a scan."""
    started = cpu_s()
    try:
        volume, _ = nifti.read_image(scan.path)
        found = extract_brain(volume)
    except InputError as error:
        return Found(scan.dataset, scan.patient, scan.name, str(error), cpu_s() - started)
    seconds = cpu_s() - started
    lesions = scan.lesion_mask()
    return Found(
        scan.dataset,
        scan.patient,
        scan.name,
        "",
        seconds,
        stripped=found.skull_stripped,
        agreement=found.agreement,
        brain_ml=float(np.count_nonzero(found.mask)) * volume.grid.voxel_volume_mm3 / 1000,
        covered=found.covered_fraction,
        lesion_voxels=None if lesions is None else int(np.count_nonzero(lesions)),
        inside=None if lesions is None else int(np.count_nonzero(lesions & found.mask)),
    )


def print_scans(scans: Iterator[Scan]) -> list[Found]:
    """Print a row for every scan, then a row for every data set."""
    print("| data set | patient | scan | refused | skull | agreement | brain ml | covered | inside | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    results = []
    for scan in scans:
        f = look_at(scan)
        results.append(f)
        start = f"| {f.dataset} | {f.patient} | {f.name} |"
        if f.refused:
            print(f"{start} **refused**: {f.refused} | | | | | | {f.cpu_s:.1f} |", flush=True)
            continue
        inside = (
            "" if not f.lesion_voxels else f"{(f.inside or 0) / f.lesion_voxels:.1%} of {f.lesion_voxels}"
        )
        print(
            f"{start} no | {'removed' if f.stripped else 'there'} | {f.agreement:.2f} | {f.brain_ml:.0f} | "
            f"{f.covered:.3f} | {inside} | {f.cpu_s:.1f} |",
            flush=True,
        )
    print("\n| data set | scans | refused (95 %) | brain ml: median (range) | covered: lowest | ", end="")
    print("lesion voxels inside (95 % over patients) | lowest | CPU s: median |")
    print("|---|---|---|---|---|---|---|---|")
    by_set: dict[str, list[Found]] = defaultdict(list)
    for f in results:
        by_set[f.dataset].append(f)
    for name, own in [*by_set.items(), ("all", results)]:
        print(summary_row(name, own))
    return results


def summary_row(name: str, results: Sequence[Found]) -> str:
    """Return the row of a data set."""
    taken = [f for f in results if not f.refused]
    volumes = [f.brain_ml for f in taken if f.brain_ml is not None]
    covered = [f.covered for f in taken if f.covered is not None]
    with_lesions = [f for f in taken if f.lesion_voxels]
    inside, lowest = "", ""
    if with_lesions:
        patients: dict[str, list[Found]] = defaultdict(list)
        for f in with_lesions:
            patients[f.patient].append(f)
        share, interval = _share(with_lesions), bootstrap_interval(list(patients.values()), _share_of_all)
        inside = f"{share:.2%}" + ("" if interval is None else f" ({interval[0]:.2%}-{interval[1]:.2%})")
        lowest = f"{min(_share([f]) for f in with_lesions):.1%}"
    spread = f"{np.median(volumes):.0f} ({min(volumes):.0f}-{max(volumes):.0f})" if volumes else ""
    return (
        f"| {name} | {len(results)} | {counted(len(results) - len(taken), len(results))} | {spread} | "
        f"{f'{min(covered):.3f}' if covered else ''} | {inside} | {lowest} | "
        f"{np.median([f.cpu_s for f in results]):.1f} |"
    )


def _share(results: Sequence[Found]) -> float:
    return sum(f.inside or 0 for f in results) / sum(f.lesion_voxels or 0 for f in results)


def _share_of_all(patients: Sequence[Sequence[Found]]) -> float:
    return _share([f for patient in patients for f in patient])


def counted(number: int, of: int) -> str:
    """Return a count with the interval of its share."""
    interval = wilson_interval(number, of)
    return f"{number} of {of}" + ("" if interval is None else f" ({interval[0]:.0%}-{interval[1]:.0%})")


def objects(root: Path) -> Iterator[tuple[str, str, Volume]]:
    """Yield what is no head: kind, name, image; and heads of the label maps as T1w."""
    affine = np.diag([_SIDE_MM] * 3 + [1.0])
    for kind in ("noise", "bottle", "constant", "shells"):
        yield kind, "of the tests", Volume(phantom(kind).astype(np.float32), affine)
    for seed in range(5):
        for kind, array in _bodies(np.random.default_rng(seed)):
            yield kind, f"{seed}", Volume(array.astype(np.float32), affine)
    flair = [*(root / "open_ms" / "longitudinal").glob("patient*/study1_FLAIR.nii.gz")]
    flair += (root / "ms3seg").glob("patient*/FLAIR.nii.gz")
    for path in sorted(flair):
        volume, _ = nifti.read_image(path)
        yield "phases drawn anew", path.parent.name, Volume(scrambled(volume.array), volume.affine)
    yield from _label_maps(root)


def _bodies(rng: np.random.Generator) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Draw a sphere, a bottle with a neck, and a knee, of a size drawn."""
    size = rng.uniform(0.85, 1.15)
    x, y, z = (np.indices((60, 74, 60)) - np.array([30, 37, 30]).reshape(3, 1, 1, 1)) * _SIDE_MM / size

    def scanned(image: NDArray[np.float64]) -> NDArray[np.float64]:
        gain = 1 + rng.uniform(-0.2, 0.2) * z / 90
        return np.abs(image * gain + rng.normal(0, 4, image.shape))

    yield "sphere", scanned(100.0 * (x**2 + y**2 + z**2 < 80**2))
    across = np.hypot(x, y)
    yield "bottle", scanned(100.0 * ((across < 45) & (z < 40)) + 100.0 * ((across < 16) & (z >= 40)))
    # thigh and shank: skin fat, muscle, cortical bone (dark), marrow (bright), and a gap for the joint
    leg = np.select([across < 14, across < 18, across < 58, across < 68], [150.0, 15.0, 60.0, 170.0])
    joint = (np.abs(z) < 4) & (across < 18)
    patella = np.hypot(np.hypot(x, (y - 48) * 1.6), z) < 18
    yield "knee", scanned(np.where(joint, 40.0, np.where(patella & (across < 68), 150.0, leg)))


def scrambled(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image of the same spectrum whose phases are those of noise: no head is left in it."""
    noise = np.fft.rfftn(np.random.default_rng(0).normal(size=array.shape))
    spectrum = np.abs(np.fft.rfftn(array)) * np.exp(1j * np.angle(noise))
    image = np.fft.irfftn(spectrum, s=array.shape, axes=range(array.ndim))
    return (image - image.min()).astype(np.float32)


def _label_maps(root: Path) -> Iterator[tuple[str, str, Volume]]:
    """Yield the heads of the label maps as CT, in Hounsfield units and shifted, and as T1w."""
    from training.build_atlas import class_map

    rng = np.random.default_rng(0)
    for path in sorted((root / "labelmaps").glob("*.nii.gz")):
        labels, affine = nifti.read_labels(path)
        classes = class_map(labels)[::2, ::2, ::2]
        grid = affine @ np.diag([2.0, 2.0, 2.0, 1.0])
        for kind, contrast, air, shift in (
            ("CT, Hounsfield units", "CT", 0.0, -1000.0),
            ("CT, shifted", "CT", 0.0, 0.0),
            ("heads as T1w (must pass)", "T1w", 2.0, 0.0),
        ):
            image = np.array([air, *CONTRASTS[contrast]])[classes]
            noisy = np.hypot(image + rng.normal(0, 3, image.shape), rng.normal(0, 3, image.shape)) + shift
            yield kind, path.name.removesuffix(".nii.gz"), Volume(noisy.astype(np.float32), grid)


def print_objects(named: Iterator[tuple[str, str, Volume]]) -> dict[str, tuple[int, int]]:
    """Print how many objects of each kind are refused, and which are not."""
    outcome: dict[str, list[tuple[str, float | None]]] = defaultdict(list)
    for kind, name, volume in named:
        try:
            outcome[kind].append((name, extract_brain(volume).agreement))
        except InputError:
            outcome[kind].append((name, None))
    print("\n| object | refused (95 %) | taken for a head (agreement) |\n|---|---|---|")
    for kind, entries in outcome.items():
        passed = [f"{name} ({agreement:.2f})" for name, agreement in entries if agreement is not None]
        print(f"| {kind} | {counted(len(entries) - len(passed), len(entries))} | {', '.join(passed)} |")
    return {
        kind: (sum(agreement is None for _, agreement in entries), len(entries))
        for kind, entries in outcome.items()
    }


def print_pairs(root: Path, every: int) -> dict[str, tuple[int, int]]:
    """Print how many pairs of two heads are told, and how many of one head are not."""
    scans = [*raw_scans(root), *other_scans(root)]
    pairs = []
    wrong = 0
    for fixed, moving in combinations(scans, 2):
        if fixed.head == moving.head:
            pairs.append(("right", fixed, moving))
        else:
            wrong += 1
            pairs += [("wrong", fixed, moving)] if wrong % every == 0 else []
    found = list(compare_pairs(pairs))
    print("\n| pair | contrast | judged right (95 %) | judged wrong (score) |\n|---|---|---|---|")
    table = {}
    for kind in ("right", "wrong"):
        for alike in (True, False):
            own = [pair for pair in found if pair.kind == kind and pair.alike == alike]
            missed = [f"{pair.names} ({pair.score:.3f})" for pair in own if not pair.right]
            name = f"{'one head' if kind == 'right' else 'two heads'} | {'one' if alike else 'two'}"
            print(f"| {name} | {counted(len(own) - len(missed), len(own))} | {', '.join(missed)} |")
            table[name] = (len(own) - len(missed), len(own))
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real_data", type=Path)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--every", type=int, default=12, help="take every N-th pair of two heads (12)")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    given = parser.parse_args()
    content: dict[str, object] = {}
    if "scans" in given.only:
        with tempfile.TemporaryDirectory() as scratch:
            content["scans"] = [asdict(f) for f in print_scans(real_scans(given.real_data, Path(scratch)))]
    if "objects" in given.only:
        content["objects"] = print_objects(objects(given.real_data))
    if "pairs" in given.only:
        content["pairs"] = print_pairs(given.real_data, given.every)
    if given.json:
        write_bytes(given.json, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
