"""Write the page of a visit, and what opens the visit in a viewer."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids import POSTCONTRAST, T2_CONTRASTS, Contrast, image_name, t2_contrast_named
from mesems_mri.dataset.columns import SITE_QUALITY_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.base import Json
from mesems_mri.dataset.records.visit import VisitRecord
from mesems_mri.dataset.tables import read_table
from mesems_mri.files import read_json, write_text
from mesems_mri.pipeline.figures import draw_pictures
from mesems_mri.pipeline.masks import CANDIDATES_DSEG
from mesems_mri.pipeline.visit import VisitFiles
from mesems_mri.report.history import site_history
from mesems_mri.report.page import Link, render_page
from mesems_mri.report.viewers import (
    ViewerCommand,
    bids_lookup,
    candidate_lookup,
    itksnap_labels,
    slicer_colours,
    viewer_commands,
)
from mesems_mri.report.visit_page import VisitPage

LABELS, COLOURS, OPEN = "lesions.label.txt", "lesions.ctbl", "open.txt"
"""Files for viewers: label descriptions of ITK-SNAP, colour table of 3D Slicer, commands."""


def report_visit(visit: VisitFiles, *, earlier: Sequence[str], config: TrialConfig) -> None:
    """Write the page of a visit from its record and images.

    Parameters
    ----------
    visit : VisitFiles
        The visit, already measured.
    earlier : sequence of str
        Labels of the participant's earlier visits in order of time: the page links to them, and never to
        later ones, since a new visit must not change it.
    config : TrialConfig
        Rules that the methods text names.
    """
    layout, key = visit.layout, visit.key
    record = VisitRecord.from_json(read_json(layout.metrics(*key)))
    table = layout.site_quality()
    rows = read_table(table, SITE_QUALITY_COLUMNS) if table.is_file() else []
    commands, downloads = _write_viewer_files(visit, record)
    content = VisitPage(
        record=record,
        pictures=draw_pictures(visit, record),
        history=site_history(rows, *key),
        settings=config,
        commands=commands,
        downloads=downloads,
    )
    write_text(
        layout.page(*key),
        render_page(
            "visit",
            content,
            title=f"{visit.participant_id} · {visit.session_id}",
            subtitle=subtitle(record.metrics),
            links=_links(layout, visit, earlier),
        ),
    )


def subtitle(metrics: Json) -> str:
    """Describe a visit in one line: study, site, week, day, kind."""
    unnamed = metrics["study_id"] in ("", TrialConfig().study_id)
    parts = [] if unnamed else [f"Study {metrics['study_id']}"]
    parts += [f"Site {metrics['site_id']}"] if metrics["site_id"] else []
    parts += [f"week {metrics['week']}"] if metrics["week"] is not None else []
    parts += [f"day {metrics['day_from_baseline']}"] if metrics["day_from_baseline"] is not None else []
    return " · ".join([*parts, f"{metrics['visit_type']} visit"])


def _links(layout: Layout, visit: VisitFiles, earlier: Sequence[str]) -> list[Link]:
    here = layout.page(*visit.key).parent
    links = [
        Link("Study", _relative(layout.study_page(), here)),
        Link(visit.participant_id, _relative(layout.participant_page(visit.participant_id), here)),
    ]
    for session_id in earlier:
        page = layout.page(visit.participant_id, session_id)
        links.append(Link(f"← {session_id}", _relative(page, here)))
    return links


def _relative(target: Path, folder: Path) -> str:
    return Path(os.path.relpath(target, folder)).as_posix()


def _write_viewer_files(visit: VisitFiles, record: VisitRecord) -> tuple[list[ViewerCommand], dict[str, str]]:
    """Write colour tables and commands beside the images; take away those of an earlier run."""
    layout, key = visit.layout, visit.key
    rows, preproc = record.lesions, record.preproc
    commands: list[ViewerCommand] = []
    shutil.rmtree(layout.viewer(*key, OPEN).parent, ignore_errors=True)
    t2 = t2_contrast_named(record.metrics["t2_contrast"])
    numbered: tuple[tuple[str, Contrast | None, str, str], ...] = (
        ("t2", t2, "T2", "T2 lesions"),
        ("gel", POSTCONTRAST, "enhancing", "enhancing lesions"),
    )
    for focus, contrast, desc, what in numbered:
        dseg = visit.product(image_name(contrast or "FLAIR", f"space-subject_desc-{desc}", "dseg.nii.gz"))
        lookup = dseg.with_name(dseg.name.replace(".nii.gz", ".tsv"))
        if contrast is None or contrast not in preproc or not dseg.is_file():
            lookup.unlink(missing_ok=True)
            continue
        write_text(lookup, bids_lookup(rows, focus))
        here = layout.page(*key).parent
        others = [name for c, name in preproc.items() if c != contrast]
        if focus == "t2" and contrast in T2_CONTRASTS and record.reference_preproc:
            others.insert(0, record.reference_preproc)
        commands += viewer_commands(
            _relative(visit.resolve(preproc[contrast]), here),
            _relative(dseg, here),
            [_relative(visit.resolve(name), here) for name in others],
            labels=f".viewer/{LABELS}",
            colours=f".viewer/{COLOURS}",
            what=what,
        )
    table = visit.product(CANDIDATES_DSEG.replace(".nii.gz", ".tsv"))
    if record.candidates is None:
        table.unlink(missing_ok=True)
    else:
        write_text(table, candidate_lookup(record.candidates))
    downloads = {LABELS: itksnap_labels(rows), COLOURS: slicer_colours(rows)} if commands else {}
    for name, text in downloads.items():
        write_text(layout.viewer(*key, name), text)
    lines = ["# Give a line in the folder of the visit, the one that holds the page.", ""]
    lines += [line for c in commands for line in (f"# {c.program}: {c.what}", c.command, "")]
    lines += [] if commands else ["# No lesion image: see the reason on the page of the visit."]
    write_text(layout.viewer(*key, OPEN), "\n".join(lines).rstrip() + "\n")
    return commands, downloads
