"""Shape, place and life of simulated lesions."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.simulate.course import simulate_course
from mesems_mri.simulate.footprints import draw, find_foci, find_growth
from mesems_mri.simulate.lesions import REGION_SHARES, LesionMaker, LesionState, Uptake
from mesems_mri.simulate.phantom import HeadModel, make_head
from mesems_mri.simulate.scanner import ScanGrid
from mesems_mri.simulate.tissue import TISSUES

WEEKS = [0.0, 4.0, 12.0, 24.0]


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return make_head(np.random.default_rng(5), spacing_mm=3.0)


@pytest.fixture(scope="module")
def states(head: HeadModel) -> list[LesionState]:
    seeds = [np.random.SeedSequence([7, visit]) for visit in range(4)]
    return list(simulate_course(LesionMaker(head), WEEKS, 1.5, seeds, smallest_mm3=70))


def native_grid(head: HeadModel) -> ScanGrid:
    return ScanGrid(head.parenchyma.shape, head.affine, head.affine)


def test_head_has_every_tissue_and_no_voxel_is_overfull(head: HeadModel) -> None:
    total = np.sum(list(head.fractions.values()), axis=0)
    assert set(head.fractions) == set(TISSUES)
    assert all(share.min() >= 0 and share.sum() > 0 for share in head.fractions.values())
    assert np.max(total) <= 1 + 1e-4
    assert total[0, 0, -1] == 0  # air
    brain_ml = head.parenchyma.sum() * 0.027
    assert 1000 < brain_ml < 1800


def test_finer_head_is_the_same_head(head: HeadModel) -> None:
    """What is interpolated from a coarse grid agrees with what is computed on it."""
    coarse = make_head(np.random.default_rng(5), spacing_mm=2.0)
    fine = make_head(np.random.default_rng(5), spacing_mm=1.0)
    for name in ("white_matter", "grey_matter", "dura", "cortical_bone", "vitreous"):
        volumes_mm3 = [h.fractions[name].sum() * h.affine[0, 0] ** 3 for h in (coarse, fine)]
        assert volumes_mm3[1] == pytest.approx(volumes_mm3[0], rel=0.1), name
    thinned = fine.fractions["white_matter"][::2, ::2, ::2]
    assert np.corrcoef(thinned.ravel(), coarse.fractions["white_matter"].ravel())[0, 1] > 0.9


def test_heads_differ(head: HeadModel) -> None:
    other = make_head(np.random.default_rng(6), spacing_mm=3.0)
    both = np.minimum(head.parenchyma, other.parenchyma).sum()
    assert 0.5 < 2 * both / (head.parenchyma.sum() + other.parenchyma.sum()) < 0.95


def test_map_to_the_template_is_near_the_identity_and_invertible(head: HeadModel) -> None:
    points = np.random.default_rng(0).uniform(-60, 60, (3, 200))
    assert np.abs(head.to_template(points) - points).max() < 25
    step = np.array([[1.0], [0], [0]])
    assert ((head.to_template(points + step) - head.to_template(points))[0] > 0.3).all()


def test_lesions_keep_clear_of_each_other(states: list[LesionState]) -> None:
    lesions = states[-1].lesions
    assert len(lesions) > 15
    assert {lesion.region for lesion in lesions} <= set(REGION_SHARES)
    for lesion in lesions:
        for other in lesions:
            if lesion is not other:
                apart = np.linalg.norm(lesion.centre_mm - other.centre_mm)
                assert apart - lesion.reach_mm - other.reach_mm > 2


def test_body_never_reaches_beyond_its_sphere(states: list[LesionState]) -> None:
    directions = np.random.default_rng(0).standard_normal((3, 500))
    directions /= np.linalg.norm(directions, axis=0)
    for lesion in filter(lambda lesion: lesion.exists(24.0), states[-1].lesions):
        shell = lesion.centre_mm[:, None] + lesion.reach_mm * directions
        assert (lesion.depth(shell, 24.0) < 0).all()


def test_all_kinds_of_life_occur(head: HeadModel) -> None:
    kinds = set()
    for seed in range(16):
        seeds = [np.random.SeedSequence([seed, visit]) for visit in range(4)]
        last = list(simulate_course(LesionMaker(head), WEEKS, 1.2, seeds, smallest_mm3=70))[-1]
        for lesion in last.lesions:
            kinds |= {"new"} if lesion.onset_week > 0 else set()
            kinds |= {"growing"} if np.isfinite(lesion.nodule_week) else set()
            kinds |= {"resolving"} if lesion.shrink_to == 0 else set()
            visits = [lesion.enhances(week) for week in WEEKS]
            kinds |= {"persistent"} if (True, True) in pairwise(visits) else set()
            kinds |= {lesion.uptake} if any(visits) else set()
            kinds |= {"re-enhancing"} if len(lesion.enhancing_weeks) > 1 else set()
            kinds |= {"black hole"} if lesion.tissue.t1_ms[0] > 1400 else set()
    life = {"new", "growing", "resolving", "persistent", "re-enhancing", "black hole"}
    assert kinds == life | {"nodule", "ring", "open_ring"}


@pytest.mark.parametrize("uptake", ["ring", "open_ring"])
def test_ring_is_hollow_and_is_one_focus(head: HeadModel, states: list[LesionState], uptake: Uptake) -> None:
    lesion = replace(
        states[0].lesions[0],
        semi_axes_mm=np.array([8.0, 8.0, 8.0]),
        exponent=2.0,
        uptake=uptake,
        opening=np.array([0.0, 1.0, 0.0]),
        onset_week=0.0,
        enhancing_weeks=((0.0, 5.0),),
        nodule_week=np.inf,
    )
    centre = lesion.centre_mm[:, None]
    along = np.array([[0.0], [7.0], [0.0]])
    in_the_gap, opposite = centre + along, centre - along
    assert lesion.uptake_depth(centre, 4.0) < 0
    assert lesion.uptake_depth(opposite, 4.0) > 0
    assert (lesion.uptake_depth(in_the_gap, 4.0) > 0) == (uptake == "ring")
    # A closed ring is filled when it is counted, an open one is not.
    assert (lesion.enhancing_depth(centre, 4.0) > 0) == (uptake == "ring")
    assert lesion.enhances(4.0)
    assert not lesion.enhances(5.0)
    grid = ScanGrid((41, 41, 41), np.eye(4), np.eye(4))
    grid.to_head[:3, 3] = lesion.centre_mm - 20
    points = np.indices(grid.shape).reshape(3, -1) + grid.to_head[:3, 3:]
    uptake_mask = (lesion.uptake_depth(points, 4.0) > 0).reshape(grid.shape)
    assert ndimage.label(uptake_mask, np.ones((3, 3, 3)))[1] == 1


def test_nodule_makes_a_lesion_enlarging_by_the_rule(head: HeadModel, states: list[LesionState]) -> None:
    maker, grid = LesionMaker(head), native_grid(head)
    grown = [lesion for lesion in states[-1].lesions if np.isfinite(lesion.nodule_week)]
    assert grown
    for lesion in grown:
        before = find_foci([lesion], lesion.nodule_week - 0.1, grid, maker, enhancing=False)
        after = find_foci([lesion], lesion.nodule_week, grid, maker, enhancing=False)
        volume_before = before[lesion.number].volume_mm3
        _, growth_mm3 = find_growth(after, before, grid)[lesion.number]
        assert growth_mm3 >= max(20, 0.5 * volume_before)
        assert after[lesion.number].volume_mm3 == pytest.approx(volume_before + growth_mm3)
    assert find_growth(before, before, grid) == {}


def test_footprint_at_the_border_of_a_scan_is_cut_off(head: HeadModel, states: list[LesionState]) -> None:
    lesion = max(states[0].lesions, key=lambda lesion: lesion.semi_axes_mm.min())
    maker, grid = LesionMaker(head), native_grid(head)
    whole = draw(lambda points: lesion.depth(points, 0), lesion, grid, maker)
    middle = round(float((lesion.centre_mm - head.affine[:3, 3])[0] / 3)) + 1
    half = replace(grid, shape=(middle, *grid.shape[1:]))
    cut = draw(lambda points: lesion.depth(points, 0), lesion, half, maker)
    assert 0 < cut.mask.sum() < whole.mask.sum()
    away = replace(grid, shape=(2, 2, 2))
    assert draw(lambda points: lesion.depth(points, 0), lesion, away, maker).mask.sum() == 0
