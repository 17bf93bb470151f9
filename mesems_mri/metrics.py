"""Columns of the tables, their dictionaries, and the counts derived from the lesion ledger."""

LEDGER_COLUMNS: dict[str, str] = {
    "study_id": "Study identifier",
    "site_id": "Site identifier",
    "participant_id": "Participant label with the prefix sub-",
    "session_id": "Session (visit) label with the prefix ses-",
    "lesion_id": "Number of the focus, the same through all visits; the value in the dseg images",
    "focus": "t2 or gel",
    "parent_lesion_id": "For a gel focus the T2 lesion it lies in; for a part of a split lesion the lesion it came from",
    "merged_ids": "Other lesion_ids merged into this one at this visit, ;-joined",
    "reference_session_id": "Visit against which the status was decided",
    "first_seen_session_id": "First visit at which this focus was seen",
    "t2_status": "new, enlarging, stable, shrinking, resolved or not_evaluable",
    "gd_status": "baseline, new, persistent, re_enhancing, none or not_evaluable",
    "active": "true if new or enlarging (t2) or new or re-enhancing (gel) at this visit",
    "volume_mm3": "Volume of the focus",
    "growth_mm3": "Volume of the growth against the reference visit",
    "max_diameter_mm": "Largest in-plane diameter in the acquired plane",
    "x": "Centre, MNI152NLin2009aSym, mm, towards the right",
    "y": "Centre, MNI152NLin2009aSym, mm, towards the front",
    "z": "Centre, MNI152NLin2009aSym, mm, upwards",
    "region": "periventricular, juxtacortical, infratentorial or deep_white_matter",
    "score": "Detector score of the focus in 0-1",
    "decision": "automatic, accepted, rejected, added or edited",
}
"""Columns of ``sub-X_lesions.tsv`` in order, with their meaning."""
