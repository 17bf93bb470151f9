"""Write the record of a visit: its row of the table, with reasons and flags, whatever became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesems_mri import __version__
from mesems_mri.dataset.counts import visit_counts
from mesems_mri.errors import Reason
from mesems_mri.files import read_json, write_json
from mesems_mri.pipeline.visit import VisitFiles, usable
from mesems_mri.provenance import software_versions

QUALITY_NAMES = ("snr", "cnr", "cjv", "efc", "fber")
_CHANGES = {
    "scanner_change": ("Manufacturer", "ManufacturersModelName", "ReceiveCoilName"),
    "software_change": ("SoftwareVersions",),
    "field_strength_change": ("MagneticFieldStrength",),
}
_SLICE_TOLERANCE_MM = 0.1
_PARTS = ("t2", "t2_change", "gel", "black_hole")


@dataclass(frozen=True, kw_only=True)
class VisitTableRow:
    """What the visit table says of a visit.

    Parameters
    ----------
    study_id, site_id : str
        Identifiers.
    visit_type : str
        ``scheduled``, ``unscheduled`` or ``repeat``.
    week : int or None
        Week after randomisation.
    day : int or None
        Days since the participant's first dated visit.
    """

    study_id: str
    site_id: str
    visit_type: str
    week: int | None
    day: int | None


def write_visit_record(
    visit: VisitFiles,
    record: Mapping[str, Any],
    carried: Mapping[str, Any],
    table: VisitTableRow,
    *,
    settings: Mapping[str, Any],
    config_sha256: str,
) -> None:
    """Write ``sub-X_ses-Y_metrics.json``, whatever became of the visit.

    Parameters
    ----------
    visit : VisitFiles
        The visit.
    record : mapping
        What `measure_visit` returned, or the record of its failure.
    carried : mapping
        What the previous visit carried on.
    table : VisitTableRow
        What the visit table says.
    settings : mapping
        The ``quality`` rule of the configuration.
    config_sha256 : str
        Hash of the configuration.
    """
    standardised, registered, detected = (
        _read(visit, step) for step in ("standardise", "register", "detect")
    )
    done = usable(record)
    parts = detected.get("parts") if done else None
    if parts is None:
        refused = {"evaluable": False, "reason": record["reason"], "reference_session_id": None}
        parts = {name: refused for name in _PARTS}
    rows = record.get("lesions", [])
    row, flags = _visit_row(
        visit, table, carried, rows, parts, standardised, registered, settings["quality"], done
    )
    change_contrast = parts["t2_change"].get("contrast")
    reference = parts["t2_change"]["reference_session_id"]
    content = {
        "status": record["status"],
        "message": record["message"] or "; ".join(filter(None, (p.get("message") for p in parts.values()))),
        "visit_index": carried.get("visit_index", -1) + 1,
        "visit_metrics": row
        | {
            "qc_status": "fail" if _something_fails(parts, record) else "warn" if flags else "pass",
            "qc_flags": ";".join(flags),
            "read_status": "automatic",
            "software_version": __version__,
            "config_sha256": config_sha256,
        },
        "lesions": rows,
        "lesions_from": "masks" if parts["t2"].get("given") or parts["gel"].get("given") else "detector",
        "gel_rejected": parts["gel"].get("rejected", []),
        "anchor": _public_anchor(registered),
        "images": _public_images(standardised, registered),
        "quality_names": list(QUALITY_NAMES),
        "preproc": {c: i["preproc"] for c, i in registered.get("images", {}).items() if "preproc" in i},
        "change_contrast": change_contrast,
        "reference_preproc": _reference_preproc(visit, reference, change_contrast),
        "registration": _public_registration(registered),
        "versions": software_versions(),
    }
    write_json(visit.layout.metrics(visit.participant_id, visit.session_id), content)


def _read(visit: VisitFiles, step: str, session_id: str | None = None) -> dict[str, Any]:
    path = visit.layout.record(visit.participant_id, session_id or visit.session_id, step)
    return read_json(path) if path.is_file() else {}


def _visit_row(
    visit: VisitFiles,
    table: VisitTableRow,
    carried: Mapping[str, Any],
    rows: list[dict[str, Any]],
    parts: Mapping[str, Mapping[str, Any]],
    standardised: Mapping[str, Any],
    registered: Mapping[str, Any],
    quality: Mapping[str, Any],
    done: bool,
) -> tuple[dict[str, Any], list[str]]:
    gel, t2, change, hole = (parts[name] for name in ("gel", "t2", "t2_change", "black_hole"))
    scheduled = carried.get("scheduled", [])
    gel_before = carried.get("gel_evaluable", {})
    gel_references = [s for s in scheduled if gel_before.get(s)]
    counts = visit_counts(
        rows,
        gel_evaluable=gel["evaluable"],
        gel_change_evaluable=bool(gel_references),
        t2_evaluable=t2["evaluable"],
        t2_change_evaluable=change["evaluable"],
    )
    cua_reason = None
    if not counts["cua_evaluable"]:
        cua_reason = gel["reason"] or change["reason"] or str(Reason.NO_REFERENCE_VISIT)
    t2_reference = change["reference_session_id"]
    days = carried.get("days", {})
    covered = standardised.get("covered_fraction", 0.0)
    brain_reason = None
    if not done:
        brain_reason = gel["reason"]
    elif covered < quality["min_covered_fraction"]:
        brain_reason = str(Reason.INCOMPLETE_COVERAGE)
    interval = None
    if t2_reference and table.day is not None and days.get(t2_reference) is not None:
        interval = table.day - days[t2_reference]
    flags = _flags(visit, parts, standardised, registered, quality, t2_reference) if done else []
    return {
        "study_id": table.study_id,
        "site_id": table.site_id,
        "participant_id": visit.participant_id,
        "session_id": visit.session_id,
        "visit_type": table.visit_type,
        "week": table.week,
        "day_from_baseline": table.day,
        "gel_reference_session_id": gel_references[-1] if gel_references and gel["evaluable"] else None,
        "t2_reference_session_id": t2_reference,
        "t2_interval_days": interval,
        "t2_contrast": t2.get("contrast"),
        **counts,
        "gel_prior_evaluable": bool(gel_before.get(scheduled[-1])) if scheduled else None,
        "gel_evaluable": gel["evaluable"],
        "gel_reason": gel["reason"],
        "t2_change_evaluable": change["evaluable"],
        "t2_change_reason": change["reason"],
        "cua_reason": cua_reason,
        "t2_evaluable": t2["evaluable"],
        "t2_reason": t2["reason"],
        "black_hole_volume_mm3": hole.get("volume_mm3"),
        "black_hole_evaluable": hole["evaluable"],
        "black_hole_reason": hole["reason"],
        "brain_volume_mm3": None if brain_reason else standardised["brain_volume_mm3"],
        "brain_evaluable": brain_reason is None,
        "brain_reason": brain_reason,
    }, flags


def _flags(
    visit: VisitFiles,
    parts: Mapping[str, Mapping[str, Any]],
    standardised: Mapping[str, Any],
    registered: Mapping[str, Any],
    quality: Mapping[str, Any],
    t2_reference: str | None,
) -> list[str]:
    images = standardised["images"]
    used = {contrast: image for contrast, image in registered["images"].items() if image["evaluable"]}
    flags = {flag for contrast in used for flag in images[contrast]["flags"]} | set(standardised["flags"])
    for alignment in (registered["alignment"], *(image["alignment"] for image in used.values())):
        flags |= set(alignment.get("flags", ()))
    if parts["gel"]["evaluable"] and not parts["gel"]["precontrast"]:
        flags.add("no_precontrast_t1")
    if parts["t2"].get("contrast", "FLAIR") != "FLAIR":
        flags.add("no_flair")
    if "T1w" not in used:
        flags.add("no_t1w")
    if any(image["covered_fraction"] < quality["warn_covered_fraction"] for image in used.values()):
        flags.add("partial_coverage")
    snr = [images[contrast].get("quality", {}).get("snr_wm") for contrast in used]
    if any(value is not None and value < quality["min_snr"] for value in snr):
        flags.add("low_snr")
    before = _read(visit, "standardise", t2_reference).get("images", {}) if t2_reference else {}
    contrast = parts["t2_change"].get("contrast")
    if contrast in before and contrast in images:
        now, then = images[contrast], before[contrast]
        for flag, keys in _CHANGES.items():
            pairs = [(now["acquisition"].get(key), then["acquisition"].get(key)) for key in keys]
            if any(a is not None and b is not None and a != b for a, b in pairs):
                flags.add(flag)
        if abs(now["slice_thickness_mm"] - then["slice_thickness_mm"]) > _SLICE_TOLERANCE_MM:
            flags.add("slice_thickness_change")
    return sorted(flags)


def _something_fails(parts: Mapping[str, Mapping[str, Any]], record: Mapping[str, Any]) -> bool:
    """Tell whether something is not evaluable; that a first visit has no reference is no fault."""
    fine = {None, str(Reason.NO_REFERENCE_VISIT)}
    return not usable(record) or any(part["reason"] not in fine for part in parts.values())


def _public_anchor(registered: Mapping[str, Any]) -> dict[str, Any] | None:
    anchor = registered.get("carried", {}).get("anchor")
    keys = ("session_id", "contrast", "source", "subject_to_anchor", "subject_to_mni")
    return {key: anchor[key] for key in keys} if anchor else None


def _public_images(standardised: Mapping[str, Any], registered: Mapping[str, Any]) -> dict[str, Any]:
    images = {}
    for contrast, image in standardised.get("images", {}).items():
        aligned = registered.get("images", {}).get(contrast, {})
        state = aligned if aligned.get("reason") else image
        images[contrast] = {
            "source": image["source"],
            "evaluable": state["evaluable"],
            "reason": state["reason"],
            "message": state["message"],
            "flags": image["flags"],
            "covered_fraction": aligned.get("covered_fraction"),
            "quality": image.get("quality", {}),
        }
    return images


def _public_registration(registered: Mapping[str, Any]) -> dict[str, str]:
    texts = {}
    for contrast, image in registered.get("images", {}).items():
        alignment = image.get("alignment", {})
        texts[contrast] = (
            "(the image the others are brought to)" if alignment.get("reference") else _described(alignment)
        )
    anchor = registered.get("alignment", {})
    texts["to the anchor"] = "(this visit is the anchor)" if anchor.get("anchor") else _described(anchor)
    return texts


def _described(alignment: Mapping[str, Any]) -> str:
    if "similarity" not in alignment:
        return "not registered"
    return (
        f"similarity {alignment['similarity_left_alone']} before, {alignment['similarity']} after, "
        f"directions differ by {alignment['inverse_consistency_mm']} mm"
    )


def _reference_preproc(visit: VisitFiles, reference: str | None, contrast: str | None) -> str | None:
    if reference is None or contrast is None:
        return None
    return _read(visit, "register", reference)["images"][contrast]["preproc"]
