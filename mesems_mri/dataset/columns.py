"""Columns of the tables: names, order, meaning, units and levels."""

from dataclasses import dataclass, field
from typing import Literal

from mesems_mri.dataset.reasons import CAUSES, FLAGS, REASONS

SCHEMA_VERSION = "2.1.0"
"""Version of the tables; MAJOR changes when a column changes its name, place or meaning."""


@dataclass(frozen=True)
class Column:
    """Meaning and format of a column.

    Parameters
    ----------
    description : str
    kind : str
        ``text``, ``integer``, ``number`` or ``boolean``; empty always means not evaluable or not applicable.
    units : str
        Empty for none.
    decimals : int
        Of a number.
    levels : dict of str to str
        Closed list of values with their meaning.
    """

    description: str
    kind: Literal["text", "integer", "number", "boolean"] = "text"
    units: str = ""
    decimals: int = 1
    levels: dict[str, str] = field(default_factory=dict)


T2_STATUS = {
    "new": "Seen now, nothing within one voxel at the reference visit",
    "enlarging": "Grown since the reference visit",
    "stable": "Neither new nor grown nor shrunk",
    "shrinking": "Clearly smaller than at the reference visit",
    "resolved": "Gone at this visit; volume 0; listed once",
    "not_evaluable": "No evaluable reference visit with the same contrast",
}
GD_STATUS = {
    "baseline": "Enhancing at the first evaluable visit with contrast agent",
    "new": "Enhancing now, never before",
    "persistent": "Enhancing now and at the last evaluable scheduled visit",
    "re_enhancing": "Enhancing now and earlier, but not at the last evaluable scheduled visit",
    "none": "A T2 lesion that does not enhance",
    "not_evaluable": "Enhancement is not evaluable at this visit",
}
READ_STATUS = {
    "automatic": "Not seen by a reader",
    "read": "Read",
    "adjudicated": "Read, differences of readers settled",
    "locked": "Read and closed",
}
"""In order of progress."""
QC_FLAGS = {code: text.what for code, text in FLAGS.items()}
"""Closed list of the flags in ``qc_flags``, with their meaning."""

REGIONS = {
    "periventricular": "Touches a lateral ventricle",
    "juxtacortical": "Touches the cortex",
    "infratentorial": "In brainstem or cerebellum",
    "deep_white_matter": "Elsewhere",
}
DECISIONS = {
    "automatic": "Found, not reviewed",
    "accepted": "Accepted by a reader",
    "rejected": "Rejected by a reader; not counted",
    "added": "Added by a reader",
    "edited": "Outline changed by a reader",
}
_REASONS = {str(code): text.short for code, text in REASONS.items()}


def _count(description: str) -> Column:
    return Column(description, kind="integer", units="count")


def _volume(description: str) -> Column:
    return Column(description, kind="number", units="mm3")


def _flag(description: str) -> Column:
    return Column(description, kind="boolean")


def _reason(what: str) -> Column:
    return Column(f"Why {what} is not evaluable; empty if it is", levels=_REASONS)


_IDENTITY = {
    "study_id": Column("Study identifier"),
    "site_id": Column("Site identifier"),
    "participant_id": Column("Participant label with the prefix sub-"),
}

LEDGER_COLUMNS: dict[str, Column] = {
    **_IDENTITY,
    "session_id": Column("Session (visit) label with the prefix ses-"),
    "lesion_id": Column("Number of the focus, the same through all visits; value in the dseg", "integer"),
    "focus": Column("Kind of focus", levels={"t2": "T2 lesion", "gel": "Gadolinium-enhancing lesion"}),
    "parent_lesion_id": Column(
        "Of a gel focus the T2 lesion it lies in; of a part of a lesion the lesion it came from", "integer"
    ),
    "merged_ids": Column("Other lesion_ids that went into this one at this visit, ;-joined"),
    "reference_session_id": Column("Visit against which the status was decided"),
    "first_seen_session_id": Column("First visit at which this focus was seen"),
    "t2_status": Column("Change of the T2 lesion; of a gel focus that of its parent", levels=T2_STATUS),
    "gd_status": Column("Enhancement; of a T2 lesion that of the gel foci in it", levels=GD_STATUS),
    "active": _flag("New or enlarging (t2), new or re-enhancing (gel) at this visit"),
    "volume_mm3": _volume("Volume of the focus"),
    "growth_mm3": _volume("Volume of the growth focus"),
    "max_diameter_mm": Column("Largest in-plane diameter in the acquired plane", "number", "mm"),
    "x": Column("Centre, MNI152NLin2009aSym, towards the right", "number", "mm"),
    "y": Column("Centre, MNI152NLin2009aSym, towards the front", "number", "mm"),
    "z": Column("Centre, MNI152NLin2009aSym, upwards", "number", "mm"),
    "region": Column("Place of the focus", levels=REGIONS),
    "score": Column("Detector's score of the focus, 0 to 1", "number", decimals=3),
    "decision": Column("Who decided", levels=DECISIONS),
}
"""Columns of ``sub-X_lesions.tsv`` in order."""

CANDIDATE_COLUMNS: dict[str, Column] = {
    "candidate_id": Column("Number of the candidate at this visit alone; value in its dseg", "integer"),
    "kind": Column(
        "What it would be if it were counted",
        levels={
            "t2": "T2 lesion",
            "change": "New or enlarging T2 lesion",
            "gel": "Gadolinium-enhancing lesion",
        },
    ),
    "score": Column("Detector's score, 0 to 1", "number", decimals=3),
    "volume_mm3": _volume("Volume, that shared with a candidate of another kind included"),
    **{name: LEDGER_COLUMNS[name] for name in ("x", "y", "z", "region")},
    "why_not_counted": Column(
        "Why it is not counted", levels={code: text.what for code, text in CAUSES.items()}
    ),
}
"""Columns of ``sub-X_ses-Y_candidates.tsv`` in order."""

VISIT_METRICS_COLUMNS: dict[str, Column] = {
    **_IDENTITY,
    "session_id": LEDGER_COLUMNS["session_id"],
    "visit_type": Column(
        "Kind of visit",
        levels={
            "scheduled": "Planned; a reference and part of the endpoints",
            "unscheduled": "Extra visit; neither reference nor endpoint",
            "repeat": "Second scan of a visit; neither reference nor endpoint",
        },
    ),
    "week": Column("Week of the visit table, never from the label", "integer", "week"),
    "day_from_baseline": Column("Days since the participant's first dated visit", "integer", "day"),
    "gel_reference_session_id": Column("Last evaluable scheduled visit with contrast agent"),
    "t2_reference_session_id": Column("Visit against which T2 lesions are compared"),
    "t2_interval_days": Column("Days since the T2 reference visit", "integer", "day"),
    "t2_contrast": Column(
        "Contrast on which T2 lesions are read: FLAIR, or that of masks that were given",
        levels={c: c for c in ("FLAIR", "T2w", "PDw")},
    ),
    "gel_count": _count("Gadolinium-enhancing lesions, persistent ones included"),
    "gel_new_count": _count("Enhancing lesions that never enhanced before"),
    "gel_persistent_count": _count("Enhancing lesions that enhanced at the GEL reference visit"),
    "gel_re_enhancing_count": _count(
        "Enhancing lesions that enhanced earlier, not at the GEL reference visit"
    ),
    "gel_volume_mm3": _volume("Volume of all enhancing lesions"),
    "gel_prior_evaluable": _flag("The scheduled visit before was evaluable for enhancing lesions"),
    "gel_evaluable": _flag("Enhancing lesions are evaluable"),
    "gel_reason": _reason("the count of enhancing lesions"),
    "t2_new_count": _count("New T2 lesions since the T2 reference visit"),
    "t2_enlarging_count": _count("Growth foci of T2 lesions since the T2 reference visit"),
    "t2_new_volume_mm3": _volume("Volume of the new T2 lesions"),
    "t2_enlarging_volume_mm3": _volume("Volume of the growth foci, without the lesion they grew from"),
    "t2_change_evaluable": _flag("T2 change is evaluable"),
    "t2_change_reason": _reason("T2 change"),
    "cua_count": _count("Combined unique active lesions"),
    "cua_evaluable": _flag("Enhancing lesions, here and at an earlier visit, and T2 change are evaluable"),
    "cua_reason": _reason("the count of combined unique active lesions"),
    "t2_lesion_count": _count("T2 lesions, as numbered in the ledger"),
    "t2_lesion_volume_mm3": _volume("Volume of all T2 lesions"),
    "t2_evaluable": _flag("T2 lesions are evaluable"),
    "t2_reason": _reason("the T2-lesion volume"),
    "black_hole_volume_mm3": _volume("Volume of all black holes (T1-hypointense, not enhancing)"),
    "black_hole_evaluable": _flag("Black holes are evaluable"),
    "black_hole_reason": _reason("the black-hole volume"),
    "brain_volume_mm3": _volume("Volume of the brain mask"),
    "brain_evaluable": _flag("Brain volume is evaluable"),
    "brain_reason": _reason("the brain volume"),
    "qc_status": Column(
        "Result of the quality check",
        levels={"pass": "No flag", "warn": "Usable, see qc_flags", "fail": "Something is not evaluable"},
    ),
    "qc_flags": Column("Flags of the quality check, ;-joined", levels=QC_FLAGS),
    "read_status": Column("How far the reading has come", levels=READ_STATUS),
    "software_version": Column("Version of mesems-mri"),
    "config_sha256": Column("Hash of the thresholds and rules of the configuration"),
}
"""Columns of ``visit_metrics.tsv`` in order."""

_CONTRASTS = ("T1w", "ce-gadolinium_T1w", "T2w", "PDw", "FLAIR")


def _measure(description: str) -> Column:
    return Column(description, "number", decimals=4)


SITE_QUALITY_COLUMNS: dict[str, Column] = {
    "site_id": _IDENTITY["site_id"],
    "participant_id": _IDENTITY["participant_id"],
    "session_id": LEDGER_COLUMNS["session_id"],
    "acquired": Column("Day of acquisition, if a table of the input gives it"),
    "week": Column("Week of the visit table", "integer", "week"),
    "position": Column("Place of the visit among those of the participant, from 0", "integer"),
    "contrast": Column("Contrast of the image", levels={c: c for c in _CONTRASTS}),
    "evaluable": _flag("The image could be used"),
    "snr": _measure("Signal-to-noise ratio; higher is better"),
    "cnr": _measure("Contrast-to-noise ratio of white and grey matter; higher is better"),
    "cjv": _measure("Coefficient of joint variation; lower is better"),
    "efc": _measure("Entropy focus criterion; lower is better"),
    "fber": _measure("Foreground to background energy ratio; higher is better"),
    "covered_fraction": _measure("Part of the brain inside the visit's reference image"),
    "slice_thickness_mm": Column("Slice thickness", "number", "mm"),
    "manufacturer": Column("Maker of the scanner"),
    "model": Column("Model of the scanner"),
    "field_strength_t": Column("Field strength", "number", "T"),
    "software": Column("Software of the scanner"),
    "coil": Column("Receive coil"),
}
"""Columns of ``.mesems/site_quality.tsv`` in order: one row per image."""

PARTICIPANT_ENDPOINTS_COLUMNS: dict[str, Column] = {
    **_IDENTITY,
    "baseline_session_id": Column("Scheduled visit of week 0"),
    "baseline_gel_count": _count("Enhancing lesions at baseline"),
    "baseline_evaluable": _flag("Enhancing lesions at baseline are evaluable"),
    "period": Column("Period over which is summed"),
    "gel_count_sum": _count("Sum of the enhancing lesions counted at each evaluable visit"),
    "gel_new_sum": _count("Sum of the new enhancing lesions"),
    "gel_volume_sum_mm3": _volume("Sum of the volumes of enhancing lesions at each evaluable visit"),
    "gel_visits_evaluable": _count("Visits of the period evaluable for enhancing lesions"),
    "cua_sum": _count("Sum of the combined unique active lesions"),
    "cua_visits_evaluable": _count("Visits of the period evaluable for combined unique active lesions"),
    "t2_new_enlarging_sum": _count("Sum of the new T2 lesions and growth foci"),
    "t2_weeks_covered": Column("Weeks between the visits compared for T2 change", "integer", "week"),
    "t2_volume_start_mm3": _volume("T2-lesion volume at the start of the period"),
    "t2_volume_end_mm3": _volume("T2-lesion volume at the end of the period"),
    "black_hole_volume_start_mm3": _volume("Black-hole volume at the start of the period"),
    "black_hole_volume_end_mm3": _volume("Black-hole volume at the end of the period"),
    "read_status": Column("Least advanced reading of the visits used", levels=READ_STATUS),
}
"""Columns of ``participant_endpoints.tsv`` in order."""

EVALUATED = {
    "gel": ("gel_count", "gel_new_count", "gel_persistent_count", "gel_re_enhancing_count", "gel_volume_mm3"),
    "t2_change": ("t2_new_count", "t2_enlarging_count", "t2_new_volume_mm3", "t2_enlarging_volume_mm3"),
    "cua": ("cua_count",),
    "t2": ("t2_lesion_count", "t2_lesion_volume_mm3"),
    "black_hole": ("black_hole_volume_mm3",),
    "brain": ("brain_volume_mm3",),
}
"""Results of a visit by what decides whether they are evaluable (``*_evaluable``, ``*_reason``)."""
NEEDS_EARLIER_GEL = frozenset(EVALUATED["gel"][1:4])
"""Those that an evaluable visit lacks when no earlier one was evaluable for GEL."""
