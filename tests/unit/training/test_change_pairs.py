"""Pairs with drawn lesions: what is called change is what was drawn, and no held-out patient is seen."""

import ast
from pathlib import Path

import numpy as np
import pytest

from mesems_mri.images.anatomy import CLASSES
from training import change_pairs, change_score
from training.change_pairs import draw_pair
from training.t2_scans import RatedScan, fold_of, networks

SIDE = 96


@pytest.fixture(scope="module")
def scan() -> RatedScan:
    radius = np.sqrt(((np.indices((SIDE,) * 3) - SIDE / 2) ** 2).sum(axis=0))
    brain = radius < 40
    tissue = np.zeros((len(CLASSES) - 1, *brain.shape), np.uint8)
    tissue[CLASSES.index("white_matter") - 1] = 255 * brain
    tissue[CLASSES.index("lateral_ventricles") - 1] = 255 * (radius < 8)
    image = np.where(brain, 1.0, 0.0).astype(np.float16)
    nothing = np.zeros(brain.shape, bool)
    return RatedScan({"FLAIR": image, "T1w": image}, tissue, brain, nothing, nothing)


def ball(radius: float) -> np.ndarray:
    return np.sqrt(((np.indices((13,) * 3) - 6) ** 2).sum(axis=0)) <= radius


def test_truth_is_where_the_second_visit_is_brighter(scan: RatedScan) -> None:
    drawn = [draw_pair(np.random.default_rng(seed), scan, [ball(3.5)]) for seed in range(4)]
    changed = [pair for pair in drawn if pair.truth.any()]
    assert changed
    for pair in changed:
        rise = pair.pair.current.image - pair.pair.reference.image
        around = pair.pair.anatomy.brain_mask & ~pair.truth & ~pair.ignored
        assert rise[pair.truth].mean() > rise[around].mean() + 0.02
        assert not (pair.truth & pair.ignored).any()


def test_one_seed_draws_one_pair(scan: RatedScan) -> None:
    first, second, other = (draw_pair(np.random.default_rng(seed), scan, [ball(3.0)]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.pair.current.image, second.pair.current.image)
    assert not np.array_equal(first.pair.current.image, other.pair.current.image)


def test_a_pair_is_read_by_a_network_that_has_not_seen_its_patient() -> None:
    for patient in change_score.DRAWN:
        assert patient in networks()[fold_of(patient)]


def test_the_generator_of_the_benchmark_is_not_trained_with() -> None:
    for module in (change_pairs, change_score):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names += [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
        assert not [name for name in names if name.split(".")[0] in ("benchmarks", "tests", "torch")]


def test_a_patient_that_is_held_out_changes_no_weight() -> None:
    rng = np.random.default_rng(0)

    def judged(patient: str, sign: float) -> change_score.JudgedPair:
        features = rng.normal(3.0, 2.0, (30, len(change_score.FEATURES)))
        is_true = sign * (features[:, 0] - 3.0) > 0
        no = np.zeros(30, bool)
        return change_score.JudgedPair(
            patient, features, is_true, ~no, no, np.diag(is_true)[:, is_true], np.full(is_true.sum(), 80.0)
        )

    one, two = judged("sub-01", 1.0), judged("sub-12", 1.0)
    weights = change_score.fit_score([one, two])
    assert (change_score.score(two, weights)[two.is_true] > 0.5).mean() > 0.8
    assert not np.allclose(change_score.fit_score([one]), weights)
