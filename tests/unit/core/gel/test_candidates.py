"""Candidates for enhancing lesions: proposed where something brightens, cut out, decided about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.core.gel.candidates import (
    CHANNELS,
    PATCH_SIDE,
    Candidate,
    EnhancementImages,
    EnhancementThresholds,
    cut_patches,
)
from mesems_mri.core.gel.detect import accept_foci, score_candidates
from mesems_mri.core.gel.rings import fill_ring, is_ring
from tests.unit.core.gel.test_detect import CENTRE, SHAPE, Head, ball, with_lesion

MIDDLE = PATCH_SIDE // 2


def always(log_odds: float):
    """Return a classifier that says the same of every candidate, and remembers what it was shown."""
    shown: list[np.ndarray] = []

    def classify(patches: np.ndarray, by_hand: np.ndarray) -> np.ndarray:
        shown.append(patches)
        assert by_hand.shape == (len(patches),)
        return np.full(len(patches), log_odds, np.float32)

    return classify, shown


def test_classifier_decides() -> None:
    head = with_lesion((52, 40, 30))
    agrees, shown = always(5.0)
    found = head.detect(classify=agrees)
    assert found.dseg[52, 40, 30] > 0
    assert found.scores[found.dseg[52, 40, 30] - 1] == pytest.approx(0.993, abs=1e-3)
    assert shown[0].shape[1:] == (len(CHANNELS), *(PATCH_SIDE,) * 3)
    refuses, _ = always(-5.0)
    refused = head.detect(classify=refuses)
    assert refused.dseg.max() == 0
    near = [r for r in refused.rejected if np.linalg.norm(np.subtract(r.centre, (52, 40, 30))) < 2]
    assert near
    assert near[0].score == pytest.approx(0.007, abs=1e-3)


def test_faint_lesion_is_proposed_to_the_classifier_only() -> None:
    head = with_lesion((52, 40, 30), contrast=0.15)
    head.noise = 0.1
    assert head.detect().dseg.max() == 0
    agrees, _ = always(5.0)
    assert head.detect(classify=agrees).dseg[52, 40, 30] > 0


def test_too_little_contrast_is_no_enhancement_whatever_a_classifier_says() -> None:
    head = with_lesion((52, 40, 30), contrast=0.07)
    head.noise = 0.01
    agrees, _ = always(9.0)
    assert head.detect(classify=agrees).dseg.max() == 0


@pytest.mark.parametrize("place", ["no correlate", "cortex"])
def test_place_and_correlate_are_evidence_and_no_veto(place: str) -> None:
    centre = {"no correlate": (52, 40, 30), "cortex": (61, 40, 30)}[place]
    head = Head(enhancing=(0.8 * ball(centre, 3)).astype(np.float32))
    agrees, shown = always(9.0)
    assert head.detect(classify=agrees).dseg[centre] > 0
    assert len(shown[0])
    assert head.detect().dseg[centre] == 0


def test_rim_of_the_brain_is_never_asked_about() -> None:
    head = Head()
    rim = (np.sqrt((((np.indices(SHAPE).T - CENTRE) / [31, 35, 26]) ** 2).sum(axis=-1)).T > 0.97) & (
        np.indices(SHAPE)[0] > 40
    )
    head.enhancing += 0.8 * rim
    agrees, _ = always(9.0)
    found = head.detect(classify=agrees)
    depth = ndimage.distance_transform_edt(head.render()["brain_mask"])
    assert not (found.dseg[depth <= 1.5] > 0).any()


def test_no_more_candidates_than_the_bound_and_the_likeliest_of_them() -> None:
    head = with_lesion((52, 40, 30))
    head.enhancing[18:20, 30:50, 30:32] = 0.9
    agrees, shown = always(5.0)
    found = head.detect(classify=agrees, thresholds=EnhancementThresholds(max_candidates=1))
    assert len(shown[0]) == 1
    assert found.dseg[52, 40, 30] > 0


def shell(centre: tuple[int, int, int], outer_mm: float, inner_mm: float, opening: int) -> np.ndarray:
    """Ring (a shell) with nothing beyond an opening along the first axis."""
    ring = ball(centre, outer_mm) & ~ball(centre, inner_mm)
    ring[centre[0] + opening :] = False
    return ring


@pytest.mark.parametrize("opening", [9, 2, 1])
def test_ring_and_open_ring_are_told_and_filled(opening: int) -> None:
    ring = shell((40, 40, 30), 7, 5, opening)
    assert is_ring(ring, (1.0, 1.0, 1.0))
    filled = fill_ring(ring, (1.0, 1.0, 1.0))
    assert filled[40, 40, 30]
    assert not filled[52, 40, 30]
    assert filled.sum() < 1.4 * ball((40, 40, 30), 7).sum()


def test_nodule_and_rod_are_no_rings() -> None:
    rod = np.zeros(SHAPE, bool)
    rod[30:32, 20:50, 30:32] = True
    for mask in (ball((40, 40, 30), 5), rod):
        assert not is_ring(mask, (1.0, 1.0, 1.0))


def test_accepted_part_of_an_open_ring_is_the_whole_ring() -> None:
    head = Head()
    head.enhancing += 0.7 * shell((51, 40, 30), 7, 5.5, 2)
    head.hyperintense += ball((51, 40, 30), 8)
    agrees, _ = always(5.0)
    scored = score_candidates(EnhancementImages(**head.render()), classify=agrees)
    whole = next(i for i, c in enumerate(scored.candidates) if c.ring)
    parts = [i for i, c in enumerate(scored.candidates) if c.parent == whole]
    scores = [(0.1, "vessel")] * len(scored.candidates)
    scores[parts[0]] = (0.9, "vessel")
    given = replace(scored, scores=tuple(scores))
    found = accept_foci(given, 0.5, plane_normal=(0.0, 0.0, 1.0), slice_thickness_mm=None)
    assert found.dseg.max() == 1
    assert (found.dseg > 0).sum() >= scored.candidates[whole].inside.sum()
    assert found.scores == (0.9,)


def test_part_counts_only_where_the_whole_was_rejected() -> None:
    head = with_lesion((52, 40, 30), 3.5)
    head.enhancing[51:53, 14:70, 29:31] = 0.9
    agrees, _ = always(1.0)
    scored = score_candidates(EnhancementImages(**head.render()), classify=agrees)
    part = next(i for i, c in enumerate(scored.candidates) if c.parent is not None)
    whole = scored.candidates[part].parent
    assert whole is not None
    for whole_accepted in (True, False):
        scores = [(0.0, "vessel")] * len(scored.candidates)
        scores[part] = (0.9, "vessel")
        scores[whole] = (0.8 if whole_accepted else 0.1, "vessel")
        given = replace(scored, scores=tuple(scores))
        found = accept_foci(given, 0.5, plane_normal=(0.0, 0.0, 1.0), slice_thickness_mm=None)
        taken = scored.candidates[whole if whole_accepted else part]
        assert (found.dseg > 0).sum() == taken.inside.sum()


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.5, 1.0, 1.0)])
def test_patch_is_centred_and_in_millimetres(spacing_mm: tuple[float, float, float]) -> None:
    agrees, _ = always(0.0)
    scans = with_lesion((52, 40, 30)).render()
    maps = score_candidates(EnhancementImages(**{**scans, "spacing_mm": spacing_mm}), classify=agrees).maps
    inside = ball((52, 40, 30), 3)
    box = (slice(46, 60), slice(34, 48), slice(24, 38))
    (patch,) = cut_patches(maps, [Candidate(inside[box], box)])
    mask = patch[CHANNELS.index("candidate")]
    assert mask[MIDDLE, MIDDLE, MIDDLE] == 1
    widths = [mask.any(axis=tuple({0, 1, 2} - {a})).sum() for a in range(3)]
    assert widths == ([7, 7, 7] if spacing_mm[0] == 1.0 else [3, 7, 7])
    assert np.abs(patch).max() <= 1.5


def test_patch_at_the_edge_of_the_array_is_padded() -> None:
    agrees, _ = always(0.0)
    maps = score_candidates(EnhancementImages(**Head().render()), classify=agrees).maps
    box = (slice(0, 4), slice(0, 4), slice(0, 4))
    (patch,) = cut_patches(maps, [Candidate(np.ones((4, 4, 4), bool), box)])
    assert patch[CHANNELS.index("candidate")].sum() == 64
    assert not patch[:, : MIDDLE - 4].any()
