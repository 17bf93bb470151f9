"""The output of a run as the transfer sees it, written in no time: records, ledgers, tables; no image."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesems_mri import __version__
from mesems_mri.config import TrialConfig
from mesems_mri.dataset.columns import SITE_QUALITY_COLUMNS, VISIT_METRICS_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.reads import write_study_tables
from mesems_mri.dataset.tables import write_table
from mesems_mri.files import write_json, write_text
from mesems_mri.pipeline.compile import compile_ledger
from mesems_mri.transfer.build import BuildRequest, build
from mesems_mri.transfer.keys import make_keys, public_path, read_public_key

CONFIG = TrialConfig()


@dataclass
class SmallStudy:
    """A study on disk.

    Parameters
    ----------
    folder : Path
        Holds ``bids``, ``out`` and the key ``key``.
    study_id : str
    t2_lesions : int
        T2 lesions of every visit; it also has one GEL.
    """

    folder: Path
    study_id: str = "MESEMS"
    t2_lesions: int = 1

    def __post_init__(self) -> None:
        self.bids_dir, self.out_dir, self.key = (self.folder / name for name in ("bids", "out", "key"))
        self.layout = Layout(self.out_dir)
        self.records: dict[str, list[Path]] = {}
        self.quality: list[dict[str, Any]] = []
        self.sites: dict[str, str] = {}
        self.bids_dir.mkdir(parents=True)
        if not self.key.exists():
            make_keys(self.key)
        self.public_key = read_public_key(public_path(self.key))
        write_json(self.layout.provenance, {"runs": [{"bids_dir": str(self.bids_dir)}]})

    def add(self, participant: str, session: str, *, site: str = "S01", **changes: Any) -> None:
        """Add a visit with one GEL and one T2 lesion; `changes` of its row of visit_metrics."""
        known = self.records.setdefault(participant, [])
        row = visit_row(self.study_id, site, participant, session, first=not known) | changes
        found = [lesion(row, number, "t2") for number in range(1, self.t2_lesions + 1)]
        lesions = [*found, lesion(row, self.t2_lesions + 1, "gel")] if row["gel_evaluable"] else []
        missing = row.get("gel_reason") in {"missing_scan", "open_query"}
        sources = [] if missing else ["FLAIR", "ce-gadolinium_T1w"]
        record = {
            "status": "not_evaluable" if missing else "done",
            "message": "",
            "visit_index": len(known),
            "visit_metrics": row,
            "lesions": lesions,
            "anchor": anchor(participant, session),
            "images": {name: {"source": f"{participant}/{session}/anat/{name}.nii.gz"} for name in sources},
        }
        path = self.layout.metrics(participant, session)
        write_json(path, record)
        known.append(path)
        self.sites[participant] = site
        if sources:
            self.quality.append(scanner(row))

    def finish(self) -> None:
        """Write ledgers and tables as the last steps of a run do."""
        for participant, records in self.records.items():
            compile_ledger(self.layout, participant, records)
        write_study_tables(self.layout, CONFIG.periods)
        write_table(self.layout.site_quality(), SITE_QUALITY_COLUMNS, self.quality)
        visits = {p: [path.parent.name for path in paths] for p, paths in self.records.items()}
        write_json(self.layout.expected, {"sites": self.sites, "visits": visits})

    def sessions(self, participant: str, rows: Iterable[Mapping[str, str]]) -> None:
        """Write the visit table of a participant."""
        rows = list(rows)
        lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
        write_text(self.bids_dir / participant / f"{participant}_sessions.tsv", "\n".join(lines) + "\n")

    def build(self, *sites: str, sheet: Path | None = None) -> list[Path]:
        """Build the next bundles."""
        request = BuildRequest(out_dir=self.out_dir, key_file=str(self.key), sites=sites, sheet=sheet)
        return build(request, self.said.append)

    @property
    def said(self) -> list[str]:
        """What was said while bundles were built."""
        return self.__dict__.setdefault("_said", [])


def small_study(
    folder: Path, participants: int = 2, weeks: Iterable[int] = (0, 4), sites: int = 1
) -> SmallStudy:
    """Write a study of some participants and visits, finished."""
    study = SmallStudy(folder)
    for number in range(1, participants + 1):
        for week in weeks:
            study.add(
                f"sub-{number:03}", f"ses-w{week:02}", site=f"S{(number - 1) % sites + 1:02}", week=week
            )
    study.finish()
    return study


def copy_of(original: SmallStudy, folder: Path) -> SmallStudy:
    """Return the study with a copy of its output folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original.out_dir, folder / "out")
    return there(original, folder)


def there(original: SmallStudy, folder: Path) -> SmallStudy:
    """Return the study with the output folder that `copy_of` has made."""
    study = SmallStudy.__new__(SmallStudy)
    study.__dict__.update(original.__dict__)
    study.out_dir = folder / "out"
    study.layout = Layout(study.out_dir)
    return study


def anchor(participant: str, session: str) -> dict[str, Any]:
    """Return the anchor visit of a participant."""
    identity = [[float(i == j) for j in range(4)] for i in range(4)]
    return {
        "session_id": session,
        "contrast": "FLAIR",
        "source": f"{participant}/{session}/anat/FLAIR.nii.gz",
        "subject_to_anchor": identity,
        "subject_to_mni": identity,
    }


def visit_row(study: str, site: str, participant: str, session: str, *, first: bool) -> dict[str, Any]:
    """Return a row of visit_metrics of an evaluable visit."""
    week = int("".join(c for c in session if c.isdigit()))
    row: dict[str, Any] = dict.fromkeys(VISIT_METRICS_COLUMNS) | {
        "study_id": study,
        "site_id": site,
        "participant_id": participant,
        "session_id": session,
        "visit_type": "scheduled",
        "week": week,
        "day_from_baseline": 7 * week,
        "t2_contrast": "FLAIR",
        "gel_count": 1,
        "gel_volume_mm3": 31.5,
        "gel_evaluable": True,
        "t2_change_evaluable": not first,
        "cua_evaluable": not first,
        "t2_lesion_count": 1,
        "t2_lesion_volume_mm3": 1234567.5,
        "t2_evaluable": True,
        "black_hole_evaluable": False,
        "black_hole_reason": "missing_scan",
        "brain_volume_mm3": 1400000.0,
        "brain_evaluable": True,
        "qc_status": "warn",
        "qc_flags": "no_t1w;low_snr",
        "read_status": "automatic",
        "software_version": __version__,
        "config_sha256": CONFIG.sha256(),
    }
    if first:
        return row | {"t2_change_reason": "no_reference_visit", "cua_reason": "no_reference_visit"}
    return row | {
        "gel_new_count": 0,
        "gel_persistent_count": 1,
        "gel_re_enhancing_count": 0,
        "gel_prior_evaluable": True,
        "t2_new_count": 0,
        "t2_enlarging_count": 0,
        "t2_new_volume_mm3": 0.0,
        "t2_enlarging_volume_mm3": 0.0,
        "cua_count": 0,
    }


def missing_visit(reason: str = "missing_scan") -> dict[str, Any]:
    """Return the changes of a row that make it that of a visit without a scan, or of one that waits."""
    parts = ("gel", "t2_change", "cua", "t2", "black_hole", "brain")
    empty = dict.fromkeys(
        name
        for name in visit_row("", "", "", "ses-w00", first=False)
        if name.endswith(("_count", "_mm3", "prior_evaluable", "t2_contrast"))
    )
    evaluable = {f"{part}_evaluable": False for part in parts}
    return empty | evaluable | {f"{part}_reason": reason for part in parts} | {"qc_status": "fail"}


def lesion(row: Mapping[str, Any], number: int, focus: str) -> dict[str, Any]:
    """Return a row of the ledger."""
    identity = {name: row[name] for name in ("study_id", "site_id", "participant_id", "session_id")}
    return identity | {
        "lesion_id": number,
        "focus": focus,
        "parent_lesion_id": 1 if focus == "gel" else None,
        "merged_ids": "7;9",
        "first_seen_session_id": "ses-w00",
        "t2_status": "stable",
        "gd_status": "persistent",
        "active": False,
        "volume_mm3": 31.5,
        "score": 0.875,
        "region": "periventricular",
        "decision": "automatic",
    }


def scanner(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the image quality."""
    return {name: row[name] for name in ("site_id", "participant_id", "session_id", "week")} | {
        "position": 0,
        "contrast": "FLAIR",
        "evaluable": True,
        "manufacturer": "Siemens",
        "model": "Prisma",
        "field_strength_t": 3.0,
        "software": "VE11C",
    }
