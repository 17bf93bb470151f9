"""Table of the image quality of all visits, with which the pages compare."""

from typing import Any

from mesems_mri.dataset.bids import Participant
from mesems_mri.dataset.columns import SITE_QUALITY_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.standardise import StandardisedImage, StandardiseRecord
from mesems_mri.dataset.tables import write_table
from mesems_mri.files import read_json

_MEASURES = ("snr", "cnr", "cjv", "efc", "fber")
_SCANNER = {
    "manufacturer": "Manufacturer",
    "model": "ManufacturersModelName",
    "software": "SoftwareVersions",
    "coil": "ReceiveCoilName",
}


def compile_quality(layout: Layout, participants: tuple[Participant, ...]) -> None:
    """Write ``.mesems/site_quality.tsv``: one row per image of every visit that is standardised.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    participants : tuple of Participant
        The data set, which knows site, day and week of every visit.
    """
    rows = []
    for participant in participants:
        for position, session in enumerate(participant.sessions):
            path = layout.record(session.participant_id, session.session_id, "standardise")
            if not path.is_file():
                continue
            record = StandardiseRecord.from_json(read_json(path))
            visit = {
                "site_id": participant.site_id,
                "participant_id": session.participant_id,
                "session_id": session.session_id,
                "acquired": session.acquired.isoformat() if session.acquired else None,
                "week": session.week,
                "position": position,
                "covered_fraction": record.brain.covered_fraction if record.brain else None,
            }
            rows += [visit | _image_row(contrast, image) for contrast, image in (record.images or {}).items()]
    write_table(layout.site_quality(), SITE_QUALITY_COLUMNS, rows)


def _image_row(contrast: str, image: StandardisedImage) -> dict[str, Any]:
    scanner = image.header.acquisition if image.header else {}
    quality = image.corrected.quality if image.corrected else {}
    return {
        "contrast": contrast,
        "evaluable": image.evaluable,
        **{name: quality.get(name) for name in _MEASURES},
        "slice_thickness_mm": image.header.slice_thickness_mm if image.header else None,
        **{column: _one_line(scanner.get(key)) for column, key in _SCANNER.items()},
        "field_strength_t": _number(scanner.get("MagneticFieldStrength")),
    }


def _one_line(value: object) -> str | None:
    """Return a value of a sidecar as one line; sidecars may hold anything."""
    return None if value is None else " ".join(str(value).split())


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None
