"""Commands and colour tables for ITK-SNAP and 3D Slicer, each lesion in the colour of its status."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesems_mri.report.glyphs import glyph_of
from mesems_mri.report.words import KIND_WORDS

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ViewerCommand:
    """A line for the shell, to be given in the folder of the visit."""

    program: str
    what: str
    command: str


def lesion_name(row: Row) -> str:
    """Name a focus in a list: number, status, volume."""
    kind = "GEL" if row["focus"] == "gel" else "T2"
    return f"{row['lesion_id']} {kind} {glyph_of(row).word}, {row['volume_mm3']:g} mm3"


def shown_rows(rows: Sequence[Row], focus: str | None = None) -> list[Row]:
    """Return the rows that have voxels in a dseg (of one kind of focus), in order of their number."""
    there = [r for r in rows if r["t2_status"] != "resolved" and focus in (None, r["focus"])]
    return sorted(there, key=lambda row: row["lesion_id"])


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue (0 to 255) of ``#rrggbb``."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def itksnap_labels(rows: Sequence[Row]) -> str:
    """Return the label descriptions of ITK-SNAP (its option ``-l``)."""
    lines = [
        "################################################",
        "# ITK-SnAP Label Description File",
        "# IDX  -R-  -G-  -B-  -A-- VIS MSH LABEL",
        "################################################",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    for row in shown_rows(rows):
        red, green, blue = rgb(glyph_of(row).colour)
        lines.append(
            f'{row["lesion_id"]:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{lesion_name(row)}"'
        )
    return "\n".join(lines) + "\n"


def slicer_colours(rows: Sequence[Row]) -> str:
    """Return the colour table of 3D Slicer (``.ctbl``)."""
    lines = ["# Color table file", "# index name R G B A", "0 background 0 0 0 0"]
    for row in shown_rows(rows):
        name = lesion_name(row).replace(",", "").replace(" ", "_")
        lines.append(" ".join([str(row["lesion_id"]), name, *map(str, rgb(glyph_of(row).colour)), "255"]))
    return "\n".join(lines) + "\n"


def bids_lookup(rows: Sequence[Row], focus: str) -> str:
    """Return the look-up table that BIDS puts beside a dseg: index, name, color."""
    lines = ["index\tname\tcolor", "0\tbackground\t#000000"]
    lines += [
        f"{row['lesion_id']}\t{lesion_name(row)}\t{glyph_of(row).colour}" for row in shown_rows(rows, focus)
    ]
    return "\n".join(lines) + "\n"


CANDIDATE_COLOURS = {"t2": "#56B4E9", "change": "#E69F00", "gel": "#D55E00"}


def candidate_lookup(rows: Sequence[Row]) -> str:
    """Return the look-up table that BIDS puts beside the dseg of the candidates."""
    lines = ["index\tname\tcolor", "0\tbackground\t#000000"]
    lines += [
        f"{row['candidate_id']}\tcandidate {row['candidate_id']}: {KIND_WORDS[row['kind']]}, "
        f"score {row['score']:g}\t{CANDIDATE_COLOURS[row['kind']]}"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def viewer_commands(
    background: str,
    segmentation: str,
    others: Sequence[str],
    *,
    labels: str,
    colours: str,
    what: str,
) -> list[ViewerCommand]:
    """Return the commands that open an image with its numbered lesions.

    Parameters
    ----------
    background, segmentation : str
        The image and its dseg, relative to the folder of the visit.
    others : sequence of str
        Further images on the same grid.
    labels, colours : str
        Label descriptions for ITK-SNAP, colour table for 3D Slicer.
    what : str
        Description for readers.

    Returns
    -------
    list of ViewerCommand
    """
    snap = ["itksnap", "-g", background, "-s", segmentation, "-l", labels]
    snap += ["-o", *others] if others else []
    lines = [
        "from os.path import abspath as a",
        "import slicer.util as u",
        f"c=u.loadColorTable(a({colours!r}))",
        f"s=u.loadLabelVolume(a({segmentation!r}),{{'colorNodeID':c.GetID()}})",
        *(f"u.loadVolume(a({name!r}))" for name in others),
        f"g=u.loadVolume(a({background!r}))",
        "u.setSliceViewerLayers(background=g,label=s)",
    ]
    return [
        ViewerCommand("ITK-SNAP", what, shlex.join(snap)),
        ViewerCommand("3D Slicer", what, f"Slicer --python-code {_quoted('; '.join(lines))}"),
    ]


def _quoted(code: str) -> str:
    """Quote code for a shell, with double quotes where they do: these work on Windows too."""
    return shlex.quote(code) if set(code) & set('"$`\\!') else f'"{code}"'
