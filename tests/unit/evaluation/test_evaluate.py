import json
import shutil

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from mesems_mri.errors import UsageError
from mesems_mri.evaluation.evaluate import evaluate

SHAPE = (80, 80, 24)
# 2D FLAIR as sites send it: 0.9 mm in plane, 3 mm slices, oblique.
TILT = np.deg2rad(12)
AFFINE = np.array(
    [
        [-0.9, 0.0, 0.0, 35.0],
        [0.0, -0.9 * np.cos(TILT), -3.0 * np.sin(TILT), 40.0],
        [0.0, -0.9 * np.sin(TILT), 3.0 * np.cos(TILT), -30.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
GEL = "ce-gadolinium_space-orig_label-L_desc-enhancing_mask"
COLUMNS = (
    "participant_id",
    "session_id",
    "gel_count",
    "gel_evaluable",
    "t2_new_count",
    "t2_change_evaluable",
)


def name_of(desc):
    return f"space-orig_label-L_desc-{desc}_mask"


def lesions(*corners, size=(5, 5, 2)):
    mask = np.zeros(SHAPE, dtype=np.uint8)
    for corner in corners:
        mask[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = 1
    return mask


def write_mask(root, visit, name, mask, affine=AFFINE):
    participant_id, session_id = visit.split("/")
    anat = root / participant_id / session_id / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    path = anat / f"{participant_id}_{session_id}_{name}.nii.gz"
    Nifti1Image(mask, affine).to_filename(path)
    return path


def write_table(root, *rows):
    lines = ["\t".join(COLUMNS), *("\t".join(row) for row in rows)]
    (root / "visit_metrics.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


SPOTS = [(8, 8, 4), (30, 12, 9), (50, 40, 14), (20, 60, 18), (60, 60, 6)]


@pytest.fixture
def truth_dir(tmp_path):
    """Two participants; sub-01 has new and enlarging T2 and a GEL at w12, sub-02 has nothing."""
    root = tmp_path / "the truth"
    write_mask(root, "sub-01/ses-w00", name_of("T2"), lesions(*SPOTS[:3]))
    write_mask(root, "sub-01/ses-w00", GEL, lesions(SPOTS[0]))
    write_mask(root, "sub-01/ses-w12", name_of("T2"), lesions(*SPOTS))
    write_mask(root, "sub-01/ses-w12", name_of("new"), lesions(*SPOTS[3:]))
    write_mask(root, "sub-01/ses-w12", name_of("enlarging"), lesions(SPOTS[1]))
    write_mask(root, "sub-01/ses-w12", GEL, lesions(*SPOTS[3:]))
    write_mask(root, "sub-02/ses-w12", name_of("T2"), lesions(SPOTS[0]))
    write_mask(root, "sub-02/ses-w12", name_of("new"), lesions())
    write_mask(root, "sub-02/ses-w12", name_of("enlarging"), lesions())
    write_mask(root, "sub-02/ses-w12", GEL, lesions())
    write_table(
        root,
        ("sub-01", "ses-w00", "1", "true", "", "false"),
        ("sub-01", "ses-w12", "2", "true", "2", "true"),
        ("sub-02", "ses-w12", "0", "true", "0", "true"),
    )
    return root


@pytest.fixture
def out_dir(truth_dir, tmp_path):
    """An output that equals the truth; tests spoil it."""
    return shutil.copytree(truth_dir, tmp_path / "out")


def product(evaluation, name):
    (found,) = (p for p in evaluation.to_json()["products"] if p["name"] == name)
    return found


def column(evaluation, name):
    (found,) = (c for c in evaluation.to_json()["counts"] if c["column"] == name)
    return found


def rewrite(out_dir, change):
    """Replace every mask of the output by ``change(mask)``."""
    paths = sorted(out_dir.rglob("*_mask.nii.gz"))
    assert paths
    for path in paths:
        mask = np.asanyarray(Nifti1Image.from_filename(path).dataobj)
        Nifti1Image(change(mask).astype(np.uint8), AFFINE).to_filename(path)


ALL = {"t2_lesions": 0.5, "t2_change": 0.5, "t2_new": 0.5, "t2_enlarging": 0.5, "gel": 0.5}


def test_perfect_output(out_dir, truth_dir):
    evaluation = evaluate(out_dir, truth_dir)
    assert [p["name"] for p in evaluation.to_json()["products"]] == list(ALL)
    assert {name: evaluation.f1(name) for name in ALL} == dict.fromkeys(ALL, 1.0)
    assert evaluation.meets(dict.fromkeys(ALL, 1.0))
    change = product(evaluation, "t2_change")
    assert (change["truth"], change["visits_scored"], change["visits_missed"]) == (3, 2, 0)
    assert change["dice"] == change["volume_ratio"] == 1.0
    assert column(evaluation, "gel_count")["exact"] == 3
    new = column(evaluation, "t2_new_count")
    assert (new["visits_compared"], new["not_evaluable_in_both"], new["missed"]) == (2, 1, [])


def test_change_since_another_visit_is_another_question(out_dir, truth_dir):
    for folder, reference in ((truth_dir, "ses-w04"), (out_dir, "ses-w00")):
        path = folder / "visit_metrics.tsv"
        head, first, *others = path.read_text(encoding="utf-8").splitlines()
        lines = [f"{head}\tt2_reference_session_id", f"{first}\t", *(f"{row}\t{reference}" for row in others)]
        path.write_text("\n".join(lines[:3]) + f"\n{others[1]}\tses-w00\n", encoding="utf-8")
    evaluation = evaluate(out_dir, truth_dir)
    for name in ("t2_change", "t2_new", "t2_enlarging"):
        assert product(evaluation, name)["missed_visits"] == ["sub-01/ses-w12"]
        assert product(evaluation, name)["visits_scored"] == 1  # sub-02 has the same reference in both
    assert column(evaluation, "t2_new_count")["missed"] == ["sub-01/ses-w12"]
    assert (
        product(evaluation, "gel")["visits_missed"] == product(evaluation, "t2_lesions")["visits_missed"] == 0
    )
    assert column(evaluation, "gel_count")["exact"] == 3
    assert not evaluation.meets({"t2_new": 0.1})  # nothing is gained by another reference
    assert "sub-01/ses-w12 (ses-w00 instead of ses-w04)" in evaluation.table()


def test_output_that_finds_nothing_fails(out_dir, truth_dir):
    rewrite(out_dir, np.zeros_like)
    evaluation = evaluate(out_dir, truth_dir)
    assert {name: evaluation.f1(name) for name in ALL} == dict.fromkeys(ALL, 0.0)
    assert not any(evaluation.meets({name: 0.01}) for name in ALL)


def test_output_shifted_by_6_mm_fails(out_dir, truth_dir):
    rewrite(out_dir, lambda mask: np.roll(mask, round(6 / 0.9), axis=0))
    evaluation = evaluate(out_dir, truth_dir)
    assert all((evaluation.f1(name) or 0.0) < 0.1 for name in ALL)
    assert not any(evaluation.meets({name: 0.1}) for name in ALL)


def test_output_that_marks_everything_fails(out_dir, truth_dir):
    everything = lesions((4, 4, 2), size=(72, 72, 20))
    rewrite(out_dir, lambda _: everything)
    evaluation = evaluate(out_dir, truth_dir)
    assert all((evaluation.f1(name) or 0.0) < 0.1 for name in ALL)


def test_absent_mask_is_missed_and_not_zero_lesions(out_dir, truth_dir):
    for path in (out_dir / "sub-01/ses-w12/anat").glob("*enhancing*"):
        path.unlink()
    write_table(
        out_dir,
        ("sub-01", "ses-w00", "1", "true", "", "false"),
        ("sub-01", "ses-w12", "", "false", "2", "true"),
        ("sub-02", "ses-w12", "0", "true", "0", "true"),
    )
    evaluation = evaluate(out_dir, truth_dir)
    gel = product(evaluation, "gel")
    assert gel["missed_visits"] == ["sub-01/ses-w12"]
    assert (gel["visits_scored"], gel["visits_missed"], gel["truth"]) == (2, 1, 1)
    assert gel["sensitivity"] == 1.0
    assert gel["sensitivity_all_visits"] == pytest.approx(1 / 3)
    assert gel["f1_all_visits"] == evaluation.f1("gel") == pytest.approx(0.5)
    assert [v["status"] for v in gel["visits"]] == ["scored", "missed", "scored"]
    counts = column(evaluation, "gel_count")
    assert (counts["visits_compared"], counts["missed"]) == (2, ["sub-01/ses-w12"])
    assert "sub-01/ses-w12" in evaluation.table()


def test_half_of_a_change_pair_is_not_evaluable(out_dir, truth_dir):
    for path in out_dir.rglob("*desc-enlarging_mask.nii.gz"):
        path.unlink()
    evaluation = evaluate(out_dir, truth_dir)
    assert product(evaluation, "t2_change")["visits_missed"] == 2
    assert product(evaluation, "t2_new")["f1"] == 1.0


def test_missing_output_of_everything_fails(truth_dir, tmp_path):
    (tmp_path / "empty").mkdir()
    evaluation = evaluate(tmp_path / "empty", truth_dir)
    gel = product(evaluation, "gel")
    assert (gel["sensitivity"], gel["precision"], gel["f1"], gel["dice"]) == (None,) * 4
    assert gel["sensitivity_all_visits"] == 0.0
    assert not evaluation.meets({"gel": 0.01})
    assert not evaluation.meets({"no such product": 0.01})


def test_evaluable_in_the_output_only_is_unexpected(out_dir, truth_dir):
    write_table(out_dir, ("sub-01", "ses-w00", "3", "true", "0", "true"))
    evaluation = evaluate(out_dir, truth_dir)
    assert column(evaluation, "t2_new_count")["unexpected"] == ["sub-01/ses-w00"]
    gel = column(evaluation, "gel_count")
    assert (gel["mean_error"], gel["exact"]) == (2.0, 0)
    assert gel["missed"] == ["sub-01/ses-w12", "sub-02/ses-w12"]


def test_change_mask_stands_for_new_and_enlarging(out_dir, truth_dir):
    anat = truth_dir / "sub-01/ses-w12/anat"
    for desc in ("new", "enlarging"):
        (anat / f"sub-01_ses-w12_{name_of(desc)}.nii.gz").unlink()
    write_mask(truth_dir, "sub-01/ses-w12", name_of("change"), lesions(SPOTS[1], SPOTS[3]))
    without = product(evaluate(out_dir, truth_dir), "t2_change")
    assert (without["truth"], without["found"], without["detections"]) == (2, 2, 3)
    write_mask(truth_dir, "sub-01/ses-w12", name_of("ignore"), lesions(SPOTS[4], size=(6, 6, 3)))
    evaluation = evaluate(out_dir, truth_dir)
    change = product(evaluation, "t2_change")
    assert (change["precision"], change["ignored_detections"]) == (1.0, 1)
    assert product(evaluation, "t2_new")["visits_scored"] == 1  # sub-02 only
    assert product(evaluation, "t2_lesions")["ignored_detections"] == 0


def test_foci_are_listed_with_their_place(out_dir, truth_dir):
    write_mask(out_dir, "sub-02/ses-w12", GEL, lesions(SPOTS[2]))
    (visit,) = (v for v in product(evaluate(out_dir, truth_dir), "gel")["visits"] if v["truth"] == 0)
    (focus,) = visit["foci"]
    assert (focus["outcome"], focus["volume_mm3"], focus["voxel"]) == ("false", 121.5, [52, 42, 14])
    expected = (AFFINE @ [52, 42, 14.5, 1])[:3]
    assert focus["mm"] == pytest.approx(expected, abs=0.06)


def test_intervals_are_over_participants(out_dir, truth_dir):
    rewrite(out_dir / "sub-01", np.zeros_like)
    lesions_t2 = product(evaluate(out_dir, truth_dir), "t2_lesions")
    assert lesions_t2["f1_ci95"] == (0.0, 1.0)
    assert lesions_t2["sensitivity"] == pytest.approx(1 / 9)
    assert product(evaluate(out_dir, truth_dir), "t2_new")["participants"] == 2


def test_another_grid_is_refused(out_dir, truth_dir):
    moved = AFFINE.copy()
    moved[2, 3] += 0.5
    write_mask(out_dir, "sub-01/ses-w12", GEL, lesions(), affine=moved)
    with pytest.raises(
        UsageError, match=r"sub-01_ses-w12_ce-gadolinium.*not on the grid.*corners 0\.5 mm apart"
    ):
        evaluate(out_dir, truth_dir)
    write_mask(out_dir, "sub-01/ses-w12", GEL, lesions()[:-1])
    with pytest.raises(UsageError, match=r"found \(79, 80, 24\), expected \(80, 80, 24\)"):
        evaluate(out_dir, truth_dir)


def test_truth_along_other_axes_is_on_the_same_grid(out_dir, truth_dir):
    expected = product(evaluate(out_dir, truth_dir), "gel")
    path = truth_dir / f"sub-01/ses-w12/anat/sub-01_ses-w12_{GEL}.nii.gz"
    mask = np.asarray(Nifti1Image.from_filename(path).dataobj)
    turned = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, -1, 0, mask.shape[2] - 1], [0, 0, 0, 1]])
    write_mask(truth_dir, "sub-01/ses-w12", GEL, mask.transpose(1, 2, 0)[:, ::-1], affine=AFFINE @ turned)
    assert product(evaluate(out_dir, truth_dir), "gel") == expected
    write_mask(truth_dir, "sub-01/ses-w12", GEL, mask.transpose(1, 2, 0), affine=AFFINE @ turned)
    assert product(evaluate(out_dir, truth_dir), "gel") != expected


def test_unreadable_mask_names_the_file(out_dir, truth_dir):
    path = out_dir / f"sub-01/ses-w12/anat/sub-01_ses-w12_{GEL}.nii.gz"
    path.write_bytes(b"no image")
    with pytest.raises(UsageError, match="sub-01_ses-w12_ce-gadolinium"):
        evaluate(out_dir, truth_dir)


def test_evaluable_without_a_count_is_refused(out_dir, truth_dir):
    write_table(out_dir, ("sub-01", "ses-w12", "", "true", "2", "true"))
    with pytest.raises(UsageError, match="sub-01/ses-w12: gel_count is '' although gel_evaluable is true"):
        evaluate(out_dir, truth_dir)


def test_missing_folders_and_empty_truth_are_refused(out_dir, tmp_path):
    with pytest.raises(UsageError, match=r"TRUTH_DIR .*no such folder"):
        evaluate(out_dir, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no reference standard found"):
        evaluate(out_dir, tmp_path / "empty")


def test_json_is_strict_and_repeatable(out_dir, truth_dir):
    (out_dir / f"sub-01/ses-w12/anat/sub-01_ses-w12_{GEL}.nii.gz").unlink()
    texts = [json.dumps(evaluate(out_dir, truth_dir).to_json(), allow_nan=False) for _ in range(2)]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["schema_version"] == "1"
    assert str(out_dir) not in texts[0]


def test_table_shows_figures_and_marks_yardsticks(out_dir, truth_dir):
    table = evaluate(out_dir, truth_dir).table()
    for text in ("new or enlarging T2", "70-500 mm3", "gel_count", "FROM OTHER DATA", "MSSEG-2"):
        assert text in table
    rewrite(out_dir, np.zeros_like)
    lines = evaluate(out_dir, truth_dir).table().splitlines()
    line = next(line for line in lines if line.startswith("enhancing (GEL)"))
    cells = line.split()
    assert "0/3" in cells
    assert "-" in cells  # precision is not defined, and not 0
