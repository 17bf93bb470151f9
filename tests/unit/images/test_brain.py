"""Find the brain in heads made from the atlas, of any contrast, orientation and coverage."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.errors import InputError, Reason
from mesems_mri.images.brain import BrainExtraction, extract_brain, rigid_part
from mesems_mri.images.volume import Volume
from mesems_mri.models.atlas import load_atlas

CONTRASTS = {
    # Hounsfield units above those of air
    "CT": (1028, 1037, 1035, 1008, 1010, 1040, 1040, 1034, 1020, 1900, 1015),
    "T1w": (110, 75, 85, 25, 25, 60, 85, 100, 120, 30, 40),
    "FLAIR": (80, 100, 85, 15, 20, 70, 95, 80, 40, 20, 20),
}
SPACING_MM = 3.0


def head_to_mni() -> np.ndarray:
    angle = np.deg2rad(12)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag([1.12, 1.05, 1.14])
    matrix[:3, 3] = (4.0, -10.0, 15.0)
    return matrix


@cache
def make_head(contrast: str, *, stripped: bool = False) -> tuple[Volume, np.ndarray]:
    """Return a head of known place in a scanner and its brain."""
    atlas = load_atlas()
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = (-90, -115, -95)
    to_index = np.linalg.inv(atlas.affine) @ head_to_mni() @ affine
    shape = (60, 74, 66)

    def on_grid(name: str) -> np.ndarray:
        return ndimage.affine_transform(
            atlas.probability[name], to_index[:3, :3], to_index[:3, 3], output_shape=shape, order=1
        )

    names = [name for name in atlas.probability if name != "brain"]
    image = sum(
        value * on_grid(name) for name, value in zip(names, CONTRASTS[contrast], strict=True)
    ) + np.zeros(shape)
    noise = np.random.default_rng(7).normal(0, 3, (2, *shape))
    image = np.hypot(image + noise[0], noise[1]).astype(np.float32)
    brain = on_grid("brain") > 0.5
    if stripped:
        image[~brain] = 0.0
    return Volume(image, affine), brain


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & other) / (one.sum() + other.sum()))


def misplacement_mm(to_mni: np.ndarray) -> float:
    """Return the mean distance by which atlas brain points miss their true place in the head."""
    atlas = load_atlas()
    index = np.argwhere(atlas.probability["brain"][::6, ::6, ::6] > 0.9) * 6
    points = np.c_[index, np.ones(len(index))] @ atlas.affine.T
    difference = points @ (np.linalg.inv(to_mni) - np.linalg.inv(head_to_mni())).T
    return float(np.linalg.norm(difference[:, :3], axis=1).mean())


@cache
def extract_t1w() -> BrainExtraction:
    return extract_brain(make_head("T1w")[0])


def check(found: BrainExtraction, brain: np.ndarray) -> None:
    assert dice(found.mask, brain) > 0.96
    assert misplacement_mm(found.to_mni) < 2.0
    assert not found.skull_stripped
    assert found.covered_fraction > 0.99
    assert found.flags == ()


def test_brain_and_place_of_a_t1w_head() -> None:
    check(extract_t1w(), make_head("T1w")[1])


def test_another_contrast_stored_in_another_order() -> None:
    volume, brain = make_head("FLAIR")
    order = (2, 0, 1)
    affine = volume.affine[:, [*order, 3]]
    stored = Volume(np.ascontiguousarray(volume.array.transpose(order)[::-1]), affine.copy())
    stored.affine[:3, 3] += affine[:3, 0] * (stored.shape[0] - 1)
    stored.affine[:3, 0] *= -1
    check(extract_brain(stored), brain.transpose(order)[::-1])


def test_stripped_image_is_recognised_and_keeps_its_mask() -> None:
    volume, brain = make_head("FLAIR", stripped=True)
    found = extract_brain(volume)
    assert found.skull_stripped
    assert found.flags == ("skull_stripped_input",)
    assert dice(found.mask, brain) > 0.999
    assert misplacement_mm(found.to_mni) < 2.5


def test_head_with_background_set_to_zero_is_not_taken_for_a_brain() -> None:
    volume, brain = make_head("T1w")
    masked = Volume(np.where(volume.array < 14, 0, volume.array).astype(np.float32), volume.affine)
    found = extract_brain(masked)
    assert not found.skull_stripped
    assert dice(found.mask, brain) > 0.95


def test_missing_top_lowers_the_covered_fraction() -> None:
    volume, brain = make_head("FLAIR")
    top = 38
    array = volume.array.copy()
    array[:, :, top:] = 0
    found = extract_brain(Volume(array, volume.affine))
    assert found.covered_fraction == pytest.approx(brain[:, :, :top].sum() / brain.sum(), abs=0.08)
    assert "partial_coverage" in found.flags
    assert dice(found.mask[:, :, :top], brain[:, :, :top]) > 0.95
    assert not found.mask[:, :, top:].any()


def phantom(kind: str) -> np.ndarray:
    rng = np.random.default_rng(2)
    axes = np.indices((60, 74, 60)) - np.array([30, 37, 30]).reshape(3, 1, 1, 1)
    if kind == "noise":
        return rng.normal(100, 20, axes.shape[1:])
    if kind == "bottle":
        radius = np.sqrt(((axes * SPACING_MM / np.array([70, 90, 75]).reshape(3, 1, 1, 1)) ** 2).sum(axis=0))
        return (radius < 1) * 100 + rng.normal(0, 3, radius.shape)
    if kind == "shells":  # brain, skull and scalp of a head without folds and ventricles
        radius = np.sqrt(((axes * SPACING_MM / np.array([75, 95, 85]).reshape(3, 1, 1, 1)) ** 2).sum(axis=0))
        shells = np.select([radius < 0.84, radius < 0.9, radius < 1], [100.0, 10.0, 150.0])
        return np.abs(ndimage.gaussian_filter(shells, 0.5) + rng.normal(0, 4, radius.shape))
    return np.full(axes.shape[1:], 7.0)


@pytest.mark.parametrize("kind", ["noise", "bottle", "constant", "shells"])
def test_what_is_no_head_is_refused(kind: str) -> None:
    volume = Volume(phantom(kind).astype(np.float32), np.diag([SPACING_MM] * 3 + [1.0]))
    with pytest.raises(InputError) as caught:
        extract_brain(volume)
    assert caught.value.reason is Reason.NOT_A_BRAIN


@pytest.mark.parametrize(("shift", "words"), [(-1000.0, "-1000"), (0.0, "bone is the brightest")])
def test_ct_of_a_head_is_refused(shift: float, words: str) -> None:
    volume, _ = make_head("CT")
    with pytest.raises(InputError, match=words) as caught:
        extract_brain(Volume(volume.array + np.float32(shift), volume.affine))
    assert caught.value.reason is Reason.NOT_A_BRAIN


@pytest.mark.parametrize("size", [0.8, 1.2])
def test_small_and_large_heads_pass(size: float) -> None:
    volume, brain = make_head("T1w")
    found = extract_brain(Volume(volume.array, np.diag([size, size, size, 1.0]) @ volume.affine))
    assert dice(found.mask, brain) > 0.95


@pytest.mark.parametrize("contrast", ["T1w", "FLAIR"])
def test_slices_of_6_mm(contrast: str) -> None:
    volume, brain = make_head(contrast)
    pairs = volume.array.reshape(*volume.shape[:2], -1, 2).mean(axis=3)
    affine = volume.affine @ np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] += 0.5 * volume.affine[:3, 2]
    found = extract_brain(Volume(pairs.astype(np.float32), affine))
    assert dice(found.mask, brain[:, :, ::2] & brain[:, :, 1::2]) > 0.94
    assert misplacement_mm(found.to_mni) < 2.5


def test_twice_the_same() -> None:
    one, two = extract_t1w(), extract_brain(make_head("T1w")[0])
    assert np.array_equal(one.mask, two.mask)
    assert np.array_equal(one.to_mni, two.to_mni)


def test_rigid_part_is_a_rotation_that_keeps_the_brain_centred() -> None:
    affine = head_to_mni()
    rigid = rigid_part(affine)
    assert np.allclose(rigid[:3, :3] @ rigid[:3, :3].T, np.eye(3))
    assert np.linalg.det(rigid[:3, :3]) == pytest.approx(1.0)
    atlas = load_atlas()
    centre = atlas.affine @ [*ndimage.center_of_mass(atlas.probability["brain"]), 1.0]
    assert np.allclose(rigid @ np.linalg.inv(affine) @ centre, centre)
    assert np.allclose(rigid_part(rigid), rigid)
