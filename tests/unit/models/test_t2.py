"""What the network for T2 lesions is given, and what becomes of its answer; the network is a stand-in."""

import numpy as np
import pytest
from scipy.special import expit

from mesems_mri.models import t2
from mesems_mri.models.t2 import IMAGES, TISSUES, lesion_probability, scale_image, stack_channels

SHAPE = (21, 30, 19)


@pytest.fixture
def head() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    brain = np.zeros(SHAPE, bool)
    brain[2:19, 3:27, 2:17] = True
    images = {name: rng.uniform(0.2, 2.0, SHAPE).astype(np.float32) for name in (*IMAGES, "T2w")}
    tissue = {name: rng.uniform(0, 1, SHAPE).astype(np.float32) for name in TISSUES}
    return images, tissue, brain


def test_images_are_scaled_about_white_matter() -> None:
    image = np.array([0.0, 0.5, 1.0, 1.5, 9.0], np.float32)
    np.testing.assert_allclose(scale_image(image), [-2, -1, 0, 1, 4])


def test_channels_and_what_is_missing(head) -> None:
    images, tissue, brain = head
    stack = stack_channels({"FLAIR": images["FLAIR"], "T2w": images["T2w"]}, tissue, brain)
    assert stack.shape == (len(IMAGES) + len(TISSUES), *SHAPE)
    assert (stack[0][~brain] == -2).all()
    assert not stack[1].any()
    assert not stack[2:, ~brain].any()
    with pytest.raises(ValueError, match="FLAIR"):
        stack_channels({"T2w": images["T2w"]}, tissue, brain)


def test_probability_lies_where_the_network_says(head, monkeypatch: pytest.MonkeyPatch) -> None:
    images, tissue, brain = head
    asked: list[tuple[int, ...]] = []

    def stand_in(name: str, stack: np.ndarray) -> np.ndarray:
        assert name == "t2"
        asked.append(stack.shape)
        return stack[:, :1]

    monkeypatch.setattr(t2, "run_network", stand_in)
    found = lesion_probability(images, tissue, brain)
    assert found.shape == SHAPE
    assert not found[~brain].any()
    assert all(side % 8 == 0 for side in asked[0][2:])
    np.testing.assert_allclose(found[brain], expit(scale_image(images["FLAIR"]))[brain], atol=1e-6)
    bright = found[brain & (images["FLAIR"] > 1.9)].mean()
    assert bright > found[brain & (images["FLAIR"] < 0.3)].mean() + 0.5


def test_no_brain_no_lesion(head) -> None:
    images, tissue, brain = head
    assert not lesion_probability(images, tissue, np.zeros_like(brain)).any()
