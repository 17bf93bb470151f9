"""Candidates for enhancing lesions: proposed where something brightens, cut out, decided about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mesems_mri.core.gel.candidates import CHANNELS, PATCH_SIDE, Candidate, EnhancementImages, cut_patches
from mesems_mri.core.gel.detect import accept_foci, score_candidates
from tests.unit.core.gel.test_detect import Head, ball, with_lesion

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


def test_what_lies_in_the_ventricle_is_not_asked_about() -> None:
    head = Head(enhancing=(0.8 * ball((36, 36, 30), 3)).astype(np.float32))
    head.hyperintense += 0.8 * ball((36, 36, 30), 3)
    agrees, _ = always(9.0)
    assert head.detect(classify=agrees).dseg[36, 36, 30] == 0


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
