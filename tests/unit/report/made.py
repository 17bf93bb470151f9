"""Records and rows as a run leaves them, made by hand."""

from typing import Any

from mesems_mri.dataset.columns import LEDGER_COLUMNS, SITE_QUALITY_COLUMNS, VISIT_METRICS_COLUMNS

IDENTITY = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]

NOT_EVALUABLE_FIRST = {
    "t2_change_evaluable": False,
    "t2_change_reason": "no_reference_visit",
    "cua_evaluable": False,
    "cua_reason": "no_reference_visit",
    "t2_new_count": None,
    "t2_new_volume_mm3": None,
    "t2_enlarging_count": None,
    "t2_enlarging_volume_mm3": None,
    "cua_count": None,
}


def metrics_row(participant: str = "sub-01", session: str = "ses-w04", **changes: Any) -> dict[str, Any]:
    """Make a row of ``visit_metrics.tsv``: everything evaluable, 2 GEL, 1 new and no enlarging T2 lesion."""
    row: dict[str, Any] = dict.fromkeys(VISIT_METRICS_COLUMNS)
    row |= {name: True for name in row if name.endswith("_evaluable")}
    row |= {
        "study_id": "trial",
        "site_id": "S01",
        "participant_id": participant,
        "session_id": session,
        "visit_type": "scheduled",
        "week": 4,
        "day_from_baseline": 28,
        "gel_reference_session_id": "ses-w00",
        "t2_reference_session_id": "ses-w00",
        "t2_interval_days": 28,
        "t2_contrast": "FLAIR",
        "gel_count": 2,
        "gel_new_count": 1,
        "gel_persistent_count": 1,
        "gel_re_enhancing_count": 0,
        "gel_volume_mm3": 151.0,
        "t2_new_count": 1,
        "t2_enlarging_count": 0,
        "t2_new_volume_mm3": 77.0,
        "t2_enlarging_volume_mm3": 0.0,
        "cua_count": 2,
        "t2_lesion_count": 9,
        "t2_lesion_volume_mm3": 4321.0,
        "black_hole_volume_mm3": 12.0,
        "brain_volume_mm3": 1400000.0,
        "gel_prior_evaluable": True,
        "qc_status": "pass",
        "qc_flags": "",
        "read_status": "automatic",
        "software_version": "0.1.0",
        "config_sha256": "ab" * 32,
    }
    return row | changes


def ledger_row(lesion_id: int, session: str = "ses-w04", **changes: Any) -> dict[str, Any]:
    """Make a row of the ledger: a stable T2 lesion."""
    row: dict[str, Any] = dict.fromkeys(LEDGER_COLUMNS)
    row |= {
        "study_id": "trial",
        "site_id": "S01",
        "participant_id": "sub-01",
        "session_id": session,
        "lesion_id": lesion_id,
        "focus": "t2",
        "merged_ids": "",
        "reference_session_id": "ses-w00",
        "first_seen_session_id": "ses-w00",
        "t2_status": "stable",
        "gd_status": "none",
        "active": False,
        "volume_mm3": 60.0,
        "max_diameter_mm": 5.2,
        "x": -20.1,
        "y": 4.0,
        "z": 30.5,
        "region": "deep_white_matter",
        "score": 0.87,
        "decision": "automatic",
    }
    return row | changes


def candidate_row(candidate_id: int, kind: str = "t2", **changes: Any) -> dict[str, Any]:
    """Make a row of the table of candidates."""
    row = {
        "candidate_id": candidate_id,
        "kind": kind,
        "score": 0.31,
        "volume_mm3": 27.0,
        "x": 11.0,
        "y": -4.5,
        "z": 20.0,
        "region": "juxtacortical",
        "why_not_counted": "vessel" if kind == "gel" else "score_below_limit",
    }
    return row | changes


def visit_record(metrics: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Make a visit record of an evaluable visit with a stable, a new and an enhancing lesion."""
    row = metrics or metrics_row()
    session = row["session_id"]
    lesions = [
        ledger_row(1, session),
        ledger_row(2, session, t2_status="new", active=True, first_seen_session_id=session, volume_mm3=77.0),
        ledger_row(
            3, session, focus="gel", gd_status="new", active=True, parent_lesion_id=2, volume_mm3=151.0
        ),
        ledger_row(4, session, t2_status="resolved", volume_mm3=0.0, x=None, y=None, z=None, score=None),
    ]
    record: dict[str, Any] = {
        "status": "done",
        "message": "",
        "visit_index": 1,
        "visit_metrics": row,
        "lesions": lesions,
        "gel_rejected": [],
        "candidates": [],
        "anchor": {
            "session_id": "ses-w00",
            "contrast": "FLAIR",
            "source": f"{row['participant_id']}/ses-w00/anat/x_FLAIR.nii.gz",
            "subject_to_anchor": IDENTITY,
            "subject_to_mni": IDENTITY,
        },
        "images": {
            "FLAIR": {
                "source": f"{row['participant_id']}/{session}/anat/x_FLAIR.nii.gz",
                "evaluable": True,
                "reason": None,
                "message": "",
                "flags": ["units_assumed"],
                "covered_fraction": 0.998,
                "quality": {"snr": 7.1},
            }
        },
        "quality_names": ["snr", "cnr", "cjv", "efc", "fber"],
        "preproc": {},
        "change_contrast": "FLAIR",
        "reference_preproc": None,
        "registration": {"FLAIR": "(the image the others are brought to)"},
        "versions": {"mesems-mri": "0.1.0", "numpy": "2.3.5"},
    }
    return record | changes


def quality_row(participant: str = "sub-01", session: str = "ses-w04", **changes: Any) -> dict[str, Any]:
    """Make a row of ``site_quality.tsv``."""
    row: dict[str, Any] = dict.fromkeys(SITE_QUALITY_COLUMNS)
    row |= {
        "site_id": "S01",
        "participant_id": participant,
        "session_id": session,
        "position": 1,
        "contrast": "FLAIR",
        "evaluable": True,
        "snr": 7.0,
        "manufacturer": "Maker",
        "model": "One",
        "field_strength_t": 3.0,
    }
    return row | changes
