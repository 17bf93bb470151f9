"""The shipped atlas and how it is written."""

from pathlib import Path

import numpy as np
import pytest

from mesems_mri.models.atlas import ATLAS_FILE, CLASSES, INTRACRANIAL_CLASSES, load_atlas, write_atlas


def probability_at(name: str, point_mm: tuple[float, float, float]) -> float:
    atlas = load_atlas()
    index = np.linalg.inv(atlas.affine) @ [*point_mm, 1.0]
    x, y, z = np.rint(index[:3]).astype(int)
    return float(atlas.probability[name][x, y, z])


def test_atlas_is_small_enough_for_the_wheel() -> None:
    assert ATLAS_FILE.stat().st_size < 3_000_000


def test_intracranial_classes_sum_to_brain() -> None:
    atlas = load_atlas()
    total = np.sum([atlas.probability[name] for name in INTRACRANIAL_CLASSES], axis=0)
    assert np.abs(np.minimum(total, 1.0) - atlas.probability["brain"]).max() < 1e-5
    assert set(atlas.probability) == {*CLASSES, "brain"}


def test_brain_volume_is_that_of_mni() -> None:
    # the intracranial volume of MNI152 is about 1.9 l
    volume_ml = float(load_atlas().probability["brain"].sum()) * 8 / 1000
    assert 1800 < volume_ml < 2000


@pytest.mark.parametrize(
    ("name", "point_mm"),
    [
        ("white_matter", (26.0, -14.0, 32.0)),
        ("white_matter", (-26.0, -14.0, 32.0)),
        ("deep_grey", (10.0, -18.0, 8.0)),
        ("lateral_ventricles", (-14.0, -30.0, 20.0)),
        ("brainstem", (0.0, -28.0, -34.0)),
        ("cerebellum", (26.0, -62.0, -36.0)),
        ("eyes", (34.0, 54.0, -36.0)),
    ],
)
def test_landmarks_lie_where_mni_has_them(name: str, point_mm: tuple[float, float, float]) -> None:
    assert probability_at(name, point_mm) > 0.7


def test_no_brain_outside_the_skull() -> None:
    assert probability_at("brain", (0.0, 90.0, 0.0)) == 0.0
    assert probability_at("brain", (0.0, -20.0, -90.0)) == 0.0


def test_shared_arrays_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_atlas().probability["brain"][0, 0, 0] = 1.0


def test_writing_is_byte_deterministic(tmp_path: Path) -> None:
    memberships = np.random.default_rng(3).random((4, 5, 6, len(CLASSES))).astype(np.float32)
    write_atlas(tmp_path / "one.nii.gz", memberships, np.eye(4))
    write_atlas(tmp_path / "two.nii.gz", memberships, np.eye(4))
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()


def test_wrong_number_of_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 11"):
        write_atlas(tmp_path / "one.nii.gz", np.zeros((2, 2, 2, 3), np.float32), np.eye(4))
