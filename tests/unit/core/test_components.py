"""Components, foci, diameters and rings."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesems_mri.core import feret
from mesems_mri.core.components import (
    close_fragments,
    label_components,
    label_coordinates,
    label_foci,
    renumber_by_first_voxel,
)
from mesems_mri.core.feret import largest_in_plane_diameter_mm
from tests.unit.strategies import flips, masks, move, plane_normals

ISOTROPIC = (1.0, 1.0, 1.0)


def box(shape: tuple[int, int, int], *ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def n_foci(mask: np.ndarray, spacing_mm: tuple[float, float, float] = ISOTROPIC, **options: object) -> int:
    return int(label_foci(mask, spacing_mm=spacing_mm, **options).max())  # type: ignore[arg-type]


# ---- components


def test_empty_mask_has_no_component() -> None:
    dseg, n = label_components(np.zeros((4, 4, 4), dtype=bool))
    assert n == 0
    assert dseg.dtype == np.int32
    assert not dseg.any()
    assert not label_foci(np.zeros((4, 4, 4)), spacing_mm=ISOTROPIC).any()


def test_array_without_voxels_has_no_component() -> None:
    assert label_components(np.zeros((0, 4, 4), dtype=bool))[1] == 0


@pytest.mark.parametrize("step", [s for s in itertools.product((-1, 0, 1), repeat=3) if any(s)])
def test_diagonal_pair_is_one_component(step: tuple[int, int, int]) -> None:
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[2, 2, 2] = mask[2 + step[0], 2 + step[1], 2 + step[2]] = True
    assert label_components(mask)[1] == 1


def test_voxels_two_apart_are_two_components() -> None:
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[1, 2, 2] = mask[3, 2, 2] = True
    assert label_components(mask)[1] == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.float32])
def test_any_nonzero_voxel_is_inside(dtype: type) -> None:
    mask = np.zeros((4, 4, 4), dtype=dtype)
    mask[0, 0, 0], mask[0, 0, 1], mask[3, 3, 3] = 1, 100, -1 if np.issubdtype(dtype, np.signedinteger) else 7
    assert label_components(mask)[1] == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_mask_that_is_not_finite_is_refused(bad: float) -> None:
    mask = np.zeros((4, 4, 4))
    mask[1, 1, 1] = bad
    for function in (label_components, lambda m: label_foci(m, spacing_mm=ISOTROPIC)):
        with pytest.raises(ValueError, match="finite"):
            function(mask)
    with pytest.raises(ValueError, match="finite"):
        close_fragments(mask, spacing_mm=ISOTROPIC)


def test_mask_that_is_not_3d_is_refused() -> None:
    with pytest.raises(ValueError, match="3D"):
        label_components(np.zeros((4, 4), dtype=bool))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, -1.0, 1.0), (1.0, np.nan, 1.0)])
def test_spacing_that_is_not_positive_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="spacing_mm"):
        label_foci(np.zeros((3, 3, 3)), spacing_mm=spacing)


def test_labels_do_not_wrap() -> None:
    mask = np.zeros((80, 80, 60), dtype=np.uint8)
    mask[::2, ::2, ::2] = 1
    dseg, n = label_components(mask)
    assert n == 40 * 40 * 30
    assert np.array_equal(np.unique(dseg), np.arange(n + 1))


def test_more_than_255_foci_are_counted() -> None:
    mask = np.zeros((40, 40, 32), dtype=np.uint8)
    for corner in itertools.product(range(0, 40, 5), range(0, 40, 5), range(0, 32, 4)):
        mask[tuple(slice(c, c + size) for c, size in zip(corner, (3, 3, 2), strict=True))] = 255
    assert n_foci(mask) == 8 * 8 * 8


def test_labels_follow_the_first_voxel() -> None:
    dseg = np.zeros((2, 3, 4), dtype=np.uint8)
    dseg[0, 0, 3], dseg[0, 2, 0], dseg[1, 2, 3] = 9, 200, 4
    renumbered = renumber_by_first_voxel(dseg)
    assert [renumbered[0, 0, 3], renumbered[0, 2, 0], renumbered[1, 2, 3]] == [1, 2, 3]
    assert (renumbered > 0).sum() == 3


def test_coordinates_are_grouped_by_label() -> None:
    dseg = np.zeros((2, 2, 2), dtype=np.int32)
    dseg[0, 0, 1] = dseg[1, 1, 0] = 7
    dseg[1, 0, 0] = 2
    grouped = label_coordinates(dseg)
    assert list(grouped) == [2, 7]
    assert grouped[7].tolist() == [[0, 0, 1], [1, 1, 0]]
    assert label_coordinates(np.zeros((2, 2, 2), dtype=np.int32)) == {}


# ---- what is large enough


def test_one_voxel_is_no_focus() -> None:
    assert n_foci(box((5, 5, 5), (2, 3), (2, 3), (2, 3))) == 0
    # 27 mm3, but also in-plane large enough: one voxel of 3 mm
    assert n_foci(box((5, 5, 5), (2, 3), (2, 3), (2, 3)), (3.0, 3.0, 3.0)) == 1


def test_volume_limit_is_inclusive() -> None:
    mask = box((9, 9, 9), (1, 4), (1, 3), (1, 3))  # 12 voxels
    mask[1, 1, 3] = True
    assert n_foci(mask) == 0
    mask[2, 1, 3] = True
    assert mask.sum() == 14
    assert n_foci(mask) == 1


def test_volume_limit_is_inclusive_whatever_the_rounding() -> None:
    # 14 mm3 as 140 voxels of 0.1 mm3, which floating point does not hold exactly
    mask = box((14, 12, 12), (1, 11), (1, 8), (1, 3))
    assert mask.sum() == 140
    assert n_foci(mask, (1.0, 1.0, 0.1)) == 1


def test_diameter_limit_is_inclusive() -> None:
    column = box((9, 9, 9), (1, 3), (1, 3), (1, 8))  # 28 mm3, 2.4 mm across
    assert n_foci(column) == 0
    assert n_foci(column, plane_normal=(1, 0, 0)) == 1
    rod = box((12, 9, 9), (1, 4), (1, 2), (1, 6))  # 15 mm3, three voxels in a row
    assert n_foci(rod) == 1
    assert n_foci(rod, min_diameter_mm=3.01) == 0


def test_voxels_of_a_slanted_column_do_not_add_up_over_slices() -> None:
    # two voxels across in every slice, shifted from slice to slice: large in 3D, small in the plane
    mask = np.zeros((20, 20, 10), dtype=bool)
    for z in range(9):
        mask[z + 1 : z + 3, 1:3, z] = True
    assert n_foci(mask) == 0
    # a slice of 3 mm shows it 4 x 2 voxels large
    assert n_foci(mask, slice_thickness_mm=3.0) == 1


def test_anisotropic_voxels_are_measured_in_mm() -> None:
    mask = box((9, 9, 9), (2, 5), (2, 4), (2, 3))  # 3 x 2 x 1 voxels
    assert n_foci(mask, (1.0, 1.0, 2.0)) == 0  # 12 mm3
    assert n_foci(mask, (1.0, 1.0, 3.0)) == 1  # 18 mm3, 3.2 mm in the plane
    assert n_foci(mask, (0.5, 0.5, 10.0)) == 0  # 15 mm3, 1.6 mm in the plane
    assert n_foci(mask, (0.5, 0.5, 10.0), plane_normal=(1, 0, 0)) == 1


def test_focus_at_the_border_counts() -> None:
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[:3, :3, :2] = mask[-3:, -3:, -2:] = True
    assert n_foci(mask) == 2


def test_small_components_leave_no_gap_in_the_numbers() -> None:
    mask = np.zeros((20, 6, 6), dtype=bool)
    mask[0, 0, 0] = True
    mask[3:6, :3, :2] = mask[12:15, :3, :2] = True
    mask[9, 0, 0] = True
    assert np.unique(label_foci(mask, spacing_mm=ISOTROPIC)).tolist() == [0, 1, 2]


# ---- diameter


def diameter(mask: np.ndarray, **options: object) -> float:
    return largest_in_plane_diameter_mm(np.argwhere(mask), **({"spacing_mm": ISOTROPIC} | options))  # type: ignore[arg-type]


def test_diameter_of_known_shapes() -> None:
    assert largest_in_plane_diameter_mm(np.empty((0, 3)), spacing_mm=ISOTROPIC) == 0
    assert diameter(box((3, 3, 3), (1, 2), (1, 2), (1, 2))) == pytest.approx(1)
    assert diameter(box((9, 3, 3), (1, 4), (1, 2), (1, 2))) == pytest.approx(3)
    assert diameter(box((9, 9, 3), (1, 4), (1, 5), (1, 2))) == pytest.approx(np.hypot(2, 3) + 1)
    assert diameter(box((3, 3, 9), (1, 2), (1, 2), (1, 9))) == pytest.approx(1)
    assert diameter(box((9, 3, 3), (1, 4), (1, 2), (1, 2)), spacing_mm=(0.5, 1, 3)) == pytest.approx(1.5)


def test_diameter_of_a_line_in_an_oblique_plane() -> None:
    normal = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
    line = np.array([[i, -i, 0] for i in range(6)])
    measured = largest_in_plane_diameter_mm(line, spacing_mm=ISOTROPIC, plane_normal=normal.tolist())
    assert measured == pytest.approx(5 * np.sqrt(2) + 1)


def test_diameter_of_a_large_sphere() -> None:
    grid = np.indices((40, 40, 40)) - 19.5
    ball = (grid**2).sum(axis=0) <= 15**2
    for normal in ((0, 0, 1), (0, 1, 0), (0.2, -0.3, 0.9)):
        for thickness in (1.0, 3.0):
            measured = diameter(ball, plane_normal=normal, slice_thickness_mm=thickness)
            assert measured == pytest.approx(30, abs=1.0)


@pytest.mark.parametrize("options", [{"plane_normal": (0, 0, 0)}, {"slice_thickness_mm": 0.0}])
def test_geometry_that_is_not_usable_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        diameter(np.ones((3, 3, 3)), **options)
    with pytest.raises(ValueError, match="coordinates"):
        largest_in_plane_diameter_mm(np.zeros((4, 2)), spacing_mm=ISOTROPIC)


def test_large_components_measure_as_small_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = np.unique(np.random.default_rng(3).integers(0, 11, (500, 3)), axis=0)
    for normal in ((0, 0, 1), (0.1, 0.2, 0.9)):
        options = {"spacing_mm": (1.0, 1.0, 1.0), "plane_normal": normal, "slice_thickness_mm": 2.0}
        monkeypatch.setattr(feret, "_PAIRWISE_LIMIT", 1000)
        pairs = largest_in_plane_diameter_mm(voxels, **options)
        monkeypatch.setattr(feret, "_PAIRWISE_LIMIT", 0)
        assert largest_in_plane_diameter_mm(voxels, **options) == pytest.approx(pairs, abs=0.3)


def test_large_components_measure_the_same_when_flipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feret, "_PAIRWISE_LIMIT", 0)
    normal = np.array([0.31, 0.22, 0.92])
    for seed in range(60):
        voxels = np.random.default_rng(seed).integers(0, 9, (12, 3))
        measured = [
            largest_in_plane_diameter_mm(v, spacing_mm=ISOTROPIC, plane_normal=n, slice_thickness_mm=1.0)
            for v, n in ((voxels, normal), (voxels * [-1, 1, 1], normal * [-1, 1, 1]), (-voxels, normal))
        ]
        assert measured == pytest.approx([measured[0]] * 3)


def test_large_flat_component_on_a_line_is_measured() -> None:
    # the points of a slab lie on one line, for which there is no convex hull
    assert diameter(box((400, 3, 3), (0, 400), (1, 2), (1, 2))) == pytest.approx(400)


# ---- rings


def ring(shape: tuple[int, int, int] = (24, 24, 9), planes: slice = slice(3, 6)) -> np.ndarray:
    x, y = np.indices(shape[:2]) - 11.5
    radius = np.hypot(x, y)
    mask = np.zeros(shape, dtype=bool)
    mask[..., planes] = ((radius < 8) & (radius >= 6))[..., None]
    return mask


def test_closed_ring_is_filled() -> None:
    filled = close_fragments(ring(), spacing_mm=ISOTROPIC)
    assert filled[11, 11, 4]
    x, y = np.indices((24, 24)) - 11.5
    assert np.array_equal(filled, (np.hypot(x, y) < 8)[..., None] & ring().any(axis=(0, 1)))


@pytest.mark.parametrize("gaps", [1, 2, 4])
def test_ring_with_gaps_is_one_focus(gaps: int) -> None:
    mask = ring()
    for cut in [(slice(10, 13), slice(0, 12)), (slice(10, 13), slice(12, 24)), (slice(0, 12), slice(10, 13)),
                (slice(12, 24), slice(10, 13))][:gaps]:  # fmt: skip
        mask[cut] = False
    assert label_components(mask)[1] == max(gaps, 1)
    closed = close_fragments(mask, spacing_mm=ISOTROPIC)
    assert label_components(closed)[1] == 1
    assert closed[11, 11, 4], "the ring is filled"
    assert closed[mask].all()


def test_open_arc_in_two_pieces_is_one_focus() -> None:
    mask = ring()
    mask[:12] = False  # half a ring: encloses nothing
    mask[12:, 10:13] = False
    assert label_components(mask)[1] == 2
    assert label_components(close_fragments(mask, spacing_mm=ISOTROPIC))[1] == 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 3.0), (0.9, 0.9, 2.0)])
def test_gap_is_closed_up_to_its_limit(spacing: tuple[float, float, float]) -> None:
    scale = np.array(spacing) / (3.0 + np.array(spacing))
    for step in itertools.product(range(0, 8), range(0, 8, 3), range(3)):
        mask = np.zeros((16, 16, 9), dtype=bool)
        mask[3, 3, 3] = mask[3 + step[0], 3 + step[1], 3 + step[2]] = True
        together = np.linalg.norm(step * scale) <= 1 + 1e-6
        assert (label_components(close_fragments(mask, spacing_mm=spacing))[1] == 1) == together, step


def test_two_foci_in_one_confluent_lesion_are_two() -> None:
    enhancing = box((24, 12, 9), (2, 6), (3, 7), (2, 6)) | box((24, 12, 9), (10, 14), (3, 7), (2, 6))
    closed = close_fragments(enhancing, spacing_mm=ISOTROPIC)
    assert n_foci(closed) == 2
    assert np.array_equal(closed, enhancing)


def test_ring_at_the_border_is_closed() -> None:
    mask = ring()[4:20, 4:20, 3:6]
    assert mask[0].any()
    mask[:8, 6:9] = False
    closed = close_fragments(mask, spacing_mm=ISOTROPIC)
    assert closed.shape == mask.shape
    assert closed[7, 7, 1]


def test_hole_of_a_skull_stays_open() -> None:
    x, y = np.indices((90, 90)) - 44.5
    radius = np.hypot(x, y)
    skull = np.repeat(((radius < 40) & (radius > 36))[..., None], 3, axis=2)
    assert not close_fragments(skull, spacing_mm=ISOTROPIC)[44, 44, 1]


def test_closing_nothing_gives_nothing() -> None:
    assert not close_fragments(np.zeros((5, 5, 5)), spacing_mm=ISOTROPIC).any()


# ---- properties


@given(mask=masks(), shift=st.tuples(*[st.integers(0, 3)] * 3), flip=flips(), normal=plane_normals())
def test_foci_do_not_depend_on_place_and_flips(
    mask: np.ndarray, shift: tuple[int, int, int], flip: tuple[int, ...], normal: np.ndarray
) -> None:
    spacing = (1.0, 1.0, 2.0)
    options = {"spacing_mm": spacing, "slice_thickness_mm": 3.0, "min_volume_mm3": 6.0}
    foci = label_foci(mask, plane_normal=normal, **options)
    flipped_normal = np.where(np.isin(np.arange(3), flip), -normal, normal)
    moved = label_foci(move(mask, shift, flip), plane_normal=flipped_normal, **options)
    assert np.array_equal(moved > 0, move(foci > 0, shift, flip))
    assert moved.max() == foci.max()


@given(mask=masks(), order=st.permutations(range(3)), normal=plane_normals())
def test_foci_do_not_depend_on_the_order_of_axes(
    mask: np.ndarray, order: list[int], normal: np.ndarray
) -> None:
    spacing = np.array([1.0, 1.5, 2.0])
    foci = label_foci(mask, spacing_mm=spacing, plane_normal=normal, slice_thickness_mm=2.0)
    turned = label_foci(
        mask.transpose(order), spacing_mm=spacing[order], plane_normal=normal[order], slice_thickness_mm=2.0
    )
    assert np.array_equal(turned > 0, (foci > 0).transpose(order))


@given(mask=masks(), shift=st.tuples(*[st.integers(0, 3)] * 3), flip=flips())
def test_closing_does_not_depend_on_place_and_flips(
    mask: np.ndarray, shift: tuple[int, int, int], flip: tuple[int, ...]
) -> None:
    # closed at the border of the array as elsewhere: room around both
    roomy = np.pad(mask, 4)
    closed = close_fragments(roomy, spacing_mm=(1.0, 1.0, 2.0))
    assert closed[roomy].all()
    moved = close_fragments(move(roomy, shift, flip), spacing_mm=(1.0, 1.0, 2.0))
    assert np.array_equal(moved, move(closed, shift, flip))


@given(mask=masks())
def test_components_partition_the_mask(mask: np.ndarray) -> None:
    dseg, n = label_components(mask)
    assert np.array_equal(dseg > 0, mask)
    assert np.array_equal(np.unique(dseg[mask]), np.arange(1, n + 1))
    first = [int(np.flatnonzero(dseg.ravel() == label)[0]) for label in range(1, n + 1)]
    assert first == sorted(first)
