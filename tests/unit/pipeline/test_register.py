"""How much of the brain an image shows; images of a visit that show another head, or the head mirrored."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.registered_image import RefusedImage, RegisteredImage
from mesems_mri.images.registration import RigidRegistration
from mesems_mri.images.same_head import SeriesComparison
from mesems_mri.pipeline import register
from mesems_mri.pipeline.register import covered_fraction
from mesems_mri.pipeline.visit import VisitFiles
from tests.unit.pipeline.records import registered_image, standardised_image


def test_half_a_brain_is_half_covered() -> None:
    brain = np.zeros((10, 10, 10), np.float32)
    brain[2:8, 2:8, 2:8] = 1
    seen = np.zeros(brain.shape, bool)
    assert covered_fraction(seen, brain) == 0
    seen[..., :5] = True
    assert covered_fraction(seen, brain) == pytest.approx(0.5)
    assert covered_fraction(~seen | seen, brain) == 1


def test_no_brain_is_not_covered() -> None:
    assert covered_fraction(np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), np.float32)) == 0


@pytest.mark.parametrize(
    ("score", "mirrored", "said", "flags"),
    [
        (0.61, None, None, ()),
        (0.45, 0.22, None, ()),
        (0.45, 0.44, None, ("series_unconfirmed",)),
        (0.24, 0.62, "shows the mirror image of the FLAIR", ()),
        (0.12, 0.11, "shows another head than the FLAIR", ()),
    ],
)
def test_an_image_of_another_head_or_of_the_head_mirrored_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    score: float,
    mirrored: float | None,
    said: str | None,
    flags: tuple[str, ...],
) -> None:
    visit = VisitFiles(bids_dir=tmp_path, layout=Layout(tmp_path), participant_id="sub-1", session_id="ses-2")
    found = RigidRegistration(np.eye(4), 1.1, 1.05, 0.05, ok=True, flags=())
    monkeypatch.setattr(register.nifti, "read_image", lambda _: (None, ()))
    monkeypatch.setattr(register, "register_rigid", lambda *_, **__: found)
    monkeypatch.setattr(register, "compare_series", lambda *_: SeriesComparison(score, mirrored, 50000.0))
    monkeypatch.setattr(register, "_write_preproc", lambda *_: registered_image("T1w", alignment=None))
    reference: Any = SimpleNamespace(contrast="FLAIR", volume=None, mask=None)
    space: Any = SimpleNamespace(to_reference=np.eye(4))
    image = register._register_image(visit, "T1w", standardised_image("T1w"), reference, space)
    assert image.alignment is not None
    assert (image.alignment.head_score, image.alignment.mirrored_score) == (score, mirrored)
    assert image.alignment.flags == flags
    if said is None:
        assert isinstance(image, RegisteredImage)
    else:
        assert isinstance(image, RefusedImage)
        assert image.reason == "wrong_head"
        assert f"sub-1/ses-2 T1w: {said}" in image.message
        assert "export it again" in image.message


def test_the_mirror_plane_is_the_middle_of_subject_space() -> None:
    to_reference = np.eye(4)
    to_reference[:3, 3] = (7, 1, 2)
    np.testing.assert_allclose((register._mirror(to_reference) @ [10, 3, 4, 1])[:3], (4, 3, 4))
