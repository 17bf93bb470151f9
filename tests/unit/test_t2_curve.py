"""The curve of the T2 lesions: of patients that neither network nor weights have seen."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import t2_curve
from benchmarks.reliability import read_candidates
from mesems_mri.core.t2.segment import FEATURES
from mesems_mri.images.anatomy import CLASSES
from training.t2_scans import PATIENTS, fold_of

SHAPE = (40, 20, 20)


def patient(seed: int) -> Any:
    """A scan with ten lesions and ten others, which one feature tells apart but for noise."""
    random = np.random.default_rng(seed)
    foci, lesions = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, bool)
    is_true = np.zeros(21, bool)
    for number in range(1, 21):
        place = (slice(2 * number - 2, 2 * number - 1), slice(5, 10), slice(5, 10))
        foci[place] = number
        is_true[number] = number % 2 == 0
        lesions[place] = is_true[number]
    features = random.normal(0, 1, (21, len(FEATURES)))
    features[:, 0] += 2.0 * is_true
    asked = np.arange(21) > 0
    asked[1] = False
    tissue = SimpleNamespace(box=(slice(None),) * 3, csf=np.zeros(SHAPE, np.float32))
    probability = np.zeros(SHAPE, np.float32)
    proposed = SimpleNamespace(foci=foci, features=features, tissue=tissue, probability=probability)
    scan = SimpleNamespace(
        lesions=lesions,
        ignored=np.zeros(SHAPE, bool),
        brain=np.ones(SHAPE, bool),
        tissue=np.zeros((len(CLASSES) - 1, *SHAPE), np.uint8),
    )
    return SimpleNamespace(
        scan=scan,
        flair=SimpleNamespace(slice_thickness_mm=1.0),
        proposed=proposed,
        is_true=is_true,
        asked=asked,
        by_brightness=lesions,
    )


def test_every_patient_is_scored_by_weights_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    fitted = t2_curve.fit_score

    def watch(others: list[Any]) -> Any:
        seen.append({id(other) for other in others})
        return fitted(others)

    monkeypatch.setattr(t2_curve, "fit_score", watch)
    patients = {f"{n}": patient(n) for n in range(3)}
    t2_curve.score_held_out(patients)
    everyone = {id(own) for own in patients.values()}
    assert seen == [everyone - {id(own)} for own in patients.values()]


def test_the_command_prints_each_data_set_and_leaves_its_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in PATIENTS:
        (tmp_path / f"{fold_of(name)}.onnx").touch()
    monkeypatch.setattr(t2_curve, "LIMITS", (0.05, 0.5))
    monkeypatch.setattr(t2_curve, "read_patient", lambda name, *_: patient(PATIENTS.index(name)))
    table = tmp_path / "candidates.tsv"
    options = ["--networks", str(tmp_path), "--candidates", str(table), "--json", str(tmp_path / "c.json")]
    monkeypatch.setattr(sys, "argv", ["t2_curve", *options])
    t2_curve.main()
    said = capsys.readouterr().out
    for title in ("MS3SEG", "MSLesSeg: P18, P39", "open_ms: patient07, patient26", "All of them"):
        assert title in said
    found = read_candidates([table])["t2"]
    assert sorted(found) == sorted(PATIENTS)
    assert "| MSLesSeg | 2 |" in said
    assert "in fluid around the brain: 0/130" in said
    assert "1.00, 1.00 |" in said  # brightness alone is the reference standard here
    assert {len(scores) for scores, _ in found.values()} == {19}  # what was not decided is left out


def test_without_a_network_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["t2_curve", "--networks", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        t2_curve.main()
    assert stopped.value.code == 2
