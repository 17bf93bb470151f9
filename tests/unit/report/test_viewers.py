"""Colour tables and commands for viewers."""

import re
import shlex

from mesems_mri.dataset.columns import GD_STATUS, T2_STATUS
from mesems_mri.report.glyphs import ALL_GLYPHS, GD_GLYPHS, T2_GLYPHS
from mesems_mri.report.viewers import (
    bids_lookup,
    candidate_lookup,
    itksnap_labels,
    slicer_colours,
    viewer_commands,
)
from tests.unit.report.made import candidate_row, visit_record

ROWS = visit_record()["lesions"]
OKABE_ITO = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999"}


def test_itksnap_has_one_label_a_lesion_that_is_there() -> None:
    lines = [line for line in itksnap_labels(ROWS).splitlines() if not line.startswith("#")]
    fields = [
        re.fullmatch(r'\s*(\d+)((?:\s+\d+){3})\s+([01])\s+([01])\s+([01])\s+"(.*)"', line) for line in lines
    ]
    assert all(fields)
    assert [int(f[1]) for f in fields if f] == [0, 1, 2, 3]  # 4 is resolved: no voxel has it
    assert {f[1]: f[2].split() for f in fields if f}["2"] == ["230", "159", "0"]
    assert '"2 T2 new, 77 mm3"' in lines[2]


def test_slicer_has_six_fields_a_line() -> None:
    lines = [line.split() for line in slicer_colours(ROWS).splitlines() if not line.startswith("#")]
    assert {len(line) for line in lines} == {6}
    assert [line[0] for line in lines] == ["0", "1", "2", "3"]


def test_bids_table_holds_the_lesions_of_one_dseg() -> None:
    header, *lines = bids_lookup(ROWS, "t2").splitlines()
    assert header == "index\tname\tcolor"
    assert [line.split("\t")[0] for line in lines] == ["0", "1", "2"]
    assert [line.split("\t")[0] for line in bids_lookup(ROWS, "gel").splitlines()[1:]] == ["0", "3"]


def test_bids_table_of_the_candidates_names_kind_and_score() -> None:
    lines = candidate_lookup([candidate_row(1), candidate_row(2, "gel")]).splitlines()
    assert lines[2:] == [
        "1\tcandidate 1: T2 lesion, score 0.31\t#56B4E9",
        "2\tcandidate 2: enhancing lesion, score 0.31\t#D55E00",
    ]


def test_commands_survive_blanks_and_quotes() -> None:
    snap, slicer = viewer_commands(
        "anat/a b.nii.gz", "anat/it's.nii.gz", ["../o.nii.gz"], labels="l.txt", colours="c.ctbl", what="T2"
    )
    words = shlex.split(snap.command)
    assert words == [
        "itksnap",
        "-g",
        "anat/a b.nii.gz",
        "-s",
        "anat/it's.nii.gz",
        "-l",
        "l.txt",
        "-o",
        "../o.nii.gz",
    ]
    program, option, code = shlex.split(slicer.command)
    assert (program, option) == ("Slicer", "--python-code")
    compile(code, "slicer", "exec")
    assert "\n" not in snap.command + slicer.command


def test_common_names_need_no_quotes_that_windows_lacks() -> None:
    _, slicer = viewer_commands("a.nii.gz", "b.nii.gz", [], labels="l", colours="c", what="T2")
    assert slicer.command.startswith('Slicer --python-code "from')
    assert shlex.split(slicer.command)[2].count("'") == slicer.command.count("'")
    _, odd = viewer_commands("a$b.nii.gz", "b.nii.gz", [], labels="l", colours="c", what="T2")
    assert "a('a$b.nii.gz')" in shlex.split(odd.command)[2]


def test_every_status_has_a_sign_of_its_own() -> None:
    assert set(T2_GLYPHS) == set(T2_STATUS)
    assert set(GD_GLYPHS) == set(GD_STATUS)
    assert len({g.path for g in ALL_GLYPHS}) == len(ALL_GLYPHS)  # told apart without colour
    assert len({g.word for g in ALL_GLYPHS}) == len(ALL_GLYPHS)
    assert {g.colour for g in ALL_GLYPHS} <= OKABE_ITO
