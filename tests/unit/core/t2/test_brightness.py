"""T2 lesions on a small synthetic head: what must and what must not be a lesion."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.core.components import label_components
from mesems_mri.core.t2.brightness import LesionThresholds, segment_by_brightness
from mesems_mri.core.t2.scan import Anatomy, T2Scan
from mesems_mri.core.t2.tissue import NEEDED_PRIORS, local_white_level

SPACING = (1.0, 1.0, 1.0)
SHAPE = (64, 64, 48)


def radius_map(centre: tuple[float, float, float]) -> NDArray[np.float64]:
    grid = np.indices(SHAPE, dtype=float) - np.reshape(centre, (3, 1, 1, 1))
    return np.sqrt((grid**2).sum(axis=0))


class Head:
    """A ball of white matter with a shell of cortex and a ventricle in the middle."""

    def __init__(self, contrast: str = "FLAIR", seed: int = 0) -> None:
        radius = radius_map((32, 32, 24))
        self.brain = radius < 22
        cortex, ventricle = self.brain & (radius > 19), radius < 4
        white = self.brain & ~cortex & ~ventricle
        self.priors = {name: np.zeros(SHAPE, np.float32) for name in NEEDED_PRIORS}
        self.priors["white_matter"][white] = 1.0
        self.priors["cortex"][cortex] = 1.0
        self.priors["lateral_ventricles"][ventricle] = 1.0
        fluid = 0.3 if contrast == "FLAIR" else 2.5
        noise = np.random.default_rng(seed).normal(0.0, 0.05, SHAPE)
        clean = white * 1.0 + cortex * 1.15 + ventricle * fluid
        self.image = (clean + noise * self.brain).astype(np.float32)
        self.nawm = white & (radius > 7) & (radius < 17)
        self.contrast = contrast

    def add(self, centre: tuple[float, float, float], radius: float, rise: float) -> NDArray[np.bool_]:
        lesion = radius_map(centre) <= radius
        self.image[lesion] += np.float32(rise)
        self.nawm &= ~ndimage.binary_dilation(lesion)
        return lesion

    def segment(self, **changes):
        scan = {"contrast": changes.pop("contrast")} if "contrast" in changes else {}
        thresholds = changes.pop("thresholds", None)
        return segment_by_brightness(
            replace(self.scan(), **scan), replace(self.anatomy(), **changes), thresholds
        )

    def scan(self) -> T2Scan:
        return T2Scan(self.image, self.contrast, 1.0, (0.0, 0.0, 1.0))

    def anatomy(self) -> Anatomy:
        return Anatomy(self.brain, self.nawm, self.priors, SPACING)


def test_what_lies_in_the_ventricle_is_plexus():
    head = Head()
    lesion = head.add((42, 32, 24), 3.0, 0.5)
    assert head.segment()[0][lesion].any()
    head.priors["lateral_ventricles"][radius_map((42, 32, 24)) <= 5] = 0.6
    assert not head.segment()[0].any()


def test_bright_tissue_where_no_brain_is_expected_is_no_lesion():
    """Below the medulla the dura holds vessels and nerve roots too."""
    head = Head()
    lesion = head.add((42, 32, 24), 3.0, 0.5)
    assert head.segment()[0][lesion].any()
    away = radius_map((42, 32, 24)) <= 9
    for name in head.priors:
        head.priors[name][away] = 0.0
    assert not head.segment()[0].any()


@pytest.mark.parametrize("contrast", ["FLAIR", "T2w"])
def test_finds_the_lesion_and_nothing_else(contrast):
    head = Head(contrast)
    lesion = head.add((42, 32, 24), 3.0, 0.5)
    found = head.segment()
    assert label_components(found[0])[1] == 1
    assert 2 * (found[0] & lesion).sum() / (found[0].sum() + lesion.sum()) > 0.7
    assert (found[1][found[0]] > 0.5).all()
    assert not found[1][~found[0]].any()


def test_lesion_counts_from_the_score_asked_for():
    head = Head()
    lesion = head.add((42, 32, 24), 2.0, 0.14)
    found = head.segment()
    score = float(found[1][lesion].max())
    assert 0.5 < score < 1
    limits = LesionThresholds()
    assert (head.segment(thresholds=replace(limits, min_score=score))[0] == found[0]).all()
    assert not head.segment(thresholds=replace(limits, min_score=score + 1e-4))[0].any()


def test_healthy_head_has_no_lesion():
    assert not Head().segment()[0].any()


def test_bright_cortex_is_no_lesion():
    head = Head()
    head.image[(radius_map((52, 32, 24)) < 3) & (head.priors["cortex"] > 0.5)] += 0.1
    assert not head.segment()[0].any()


def test_thin_lining_of_the_ventricle_is_no_lesion_but_a_cap_is():
    head = Head()
    radius = radius_map((32, 32, 24))
    head.image[(radius >= 4) & (radius < 5)] += 0.25
    assert not head.segment()[0].any()
    cap = head.add((39, 32, 24), 3.5, 0.5)
    assert head.segment()[0][cap].mean() > 0.5


def test_too_small_for_a_focus():
    head = Head()
    head.image[42, 32, 24:26] += 1.0
    assert not head.segment()[0].any()


def test_cut_at_the_border_of_the_array():
    head = Head()
    lesion = head.add((44, 32, 24), 3.0, 0.5)
    cut = (slice(0, 46), slice(None), slice(None))
    found = segment_by_brightness(
        replace(head.scan(), image=head.image[cut]),
        Anatomy(
            head.brain[cut],
            head.nawm[cut],
            {name: prior[cut] for name, prior in head.priors.items()},
            SPACING,
        ),
    )
    assert found[0].shape == (46, 64, 48)
    assert (found[0] & lesion[cut]).sum() > 14


def test_translation_invariant():
    head = Head()
    head.add((42, 32, 24), 3.0, 0.5)
    wide = [(5, 2), (3, 0), (0, 4)]
    moved = segment_by_brightness(
        replace(head.scan(), image=np.pad(head.image, wide)),
        Anatomy(
            np.pad(head.brain, wide),
            np.pad(head.nawm, wide),
            {name: np.pad(prior, wide) for name, prior in head.priors.items()},
            SPACING,
        ),
    )
    assert abs(int(moved[0].sum()) - int(head.segment()[0].sum())) <= 2


def test_nan_outside_the_brain_is_ignored_and_inside_is_refused():
    head = Head()
    head.image[0, 0, 0] = np.nan
    assert not head.segment()[0].any()
    head.image[32, 45, 24] = np.nan
    with pytest.raises(ValueError, match="finite"):
        head.segment()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contrast": "T1w"}, "contrast"),
        ({"priors": {}}, "priors"),
        ({"brain_mask": np.ones((2, 2, 2), bool)}, "shape"),
    ],
)
def test_refuses_wrong_input(changes, message):
    with pytest.raises(ValueError, match=message):
        Head().segment(**changes)


def test_no_brain_gives_no_lesion():
    head = Head()
    assert not head.segment(brain_mask=np.zeros(SHAPE, bool))[0].any()


def test_local_level_follows_a_slow_change():
    ramp = np.broadcast_to(np.linspace(0.8, 1.2, 60, dtype=np.float32)[:, None, None], (60, 60, 60))
    level = local_white_level(np.ascontiguousarray(ramp), np.ones((60, 60, 60), bool), SPACING)
    assert level[10, 30, 30] < 0.95 < 1.05 < level[50, 30, 30]
