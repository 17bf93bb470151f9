"""Scans of every bad kind, the reason that each must give, and words that its message must hold."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

RNG = np.random.default_rng(5)
SHAPE = (24, 24, 12)


def noise(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return RNG.normal(100, 20, shape).astype(np.float32)


def image(array: np.ndarray, *, spacing_mm: float = 6.0) -> nib.Nifti1Image:
    made = nib.Nifti1Image(array, np.diag([spacing_mm, spacing_mm, spacing_mm, 1]))
    made.set_qform(made.affine, code=1)
    made.set_sform(made.affine, code=1)
    made.header.set_xyzt_units("mm")
    return made


def contradictory() -> nib.Nifti1Image:
    made = image(noise())
    other = made.affine.copy()
    other[2, 3] += 5.0
    made.set_sform(other, code=1)
    return made


def sheared() -> nib.Nifti1Image:
    made = image(noise())
    made.set_qform(None, code=0)
    affine = made.affine.copy()
    affine[0, 1] = 2.0
    made.set_sform(affine, code=1)
    return made


def tomogram() -> nib.Nifti1Image:
    array = np.full(SHAPE, -1000, np.int16)
    array[5:19, 4:20, 2:10] = 40
    return image(array)


def coloured() -> nib.Nifti1Image:
    return image(np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))


Content = Callable[[], nib.Nifti1Image] | bytes | None


@dataclass(frozen=True)
class Case:
    """A bad scan, the reason it must give, and words that its message must hold."""

    content: Content
    reason: str
    words: tuple[str, ...]


CASES = {
    "nothing": Case(None, "missing_scan", ("no image", "send")),
    "cut": Case(gzip.compress(image(noise()).to_bytes())[:900], "unreadable_file", ("re-export",)),
    "plain": Case(image(noise()).to_bytes(), "unreadable_file", ("re-export",)),
    "text": Case(gzip.compress(b"no image at all"), "unreadable_file", ("re-export",)),
    "empty": Case(b"", "unreadable_file", ("re-export",)),
    "forms": Case(contradictory, "unreadable_file", ("5.0 mm", "limit 0.1 mm", "intake.header_repair")),
    "shear": Case(sheared, "unreadable_file", ("sheared by", "limit 0.1 mm", "intake.header_repair")),
    "zero": Case(lambda: image(np.zeros(SHAPE, np.int16)), "artefact", ("value 0", "re-export")),
    "volumes": Case(
        lambda: image(noise((*SHAPE, 3))), "unreadable_file", ("3 volumes", "expected 1", "keep one")
    ),
    "nan": Case(
        lambda: image(np.where(noise() > 100, np.nan, 1)), "artefact", ("NaN", "limit 1%", "re-export")
    ),
    "metres": Case(lambda: image(noise(), spacing_mm=60), "unreadable_file", ("limit 1000 mm", "units")),
    "voxel": Case(lambda: image(noise((1, 1, 1))), "not_a_brain", ("1 slice(s)", "expected 2")),
    "photo": Case(coloured, "not_a_brain", ("colours", "picture")),
    "flat": Case(lambda: image(noise((64, 48))), "not_a_brain", ("64 x 48", "three axes")),
    "ct": Case(tomogram, "not_a_brain", ("-1000", "CT", "send the MRI")),
    "snow": Case(lambda: image(noise()), "not_a_brain", ("no brain recognised", "check")),
    "two": Case(None, "intake_ambiguous", ("2 files", "run-1", "run-2", "expected 1", "intake.select")),
}


def write(path: Path, content: Content) -> None:
    if content is None:
        return
    path.write_bytes(content if isinstance(content, bytes) else gzip.compress(content().to_bytes()))
