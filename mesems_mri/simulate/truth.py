"""The true lesion ledger and visit table of a simulated participant, by the counting rules of the trial."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mesems_mri.errors import Reason
from mesems_mri.metrics import visit_counts
from mesems_mri.simulate.footprints import Focus, Footprint
from mesems_mri.simulate.phantom import Head

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class VisitTruth:
    """What is true at one visit.

    Parameters
    ----------
    session_id : str
        With its prefix.
    week, day : int
        Scheduled week and day from baseline.
    t2 : dict of int to Focus
        T2 lesions by number.
    t2_before : dict of int to Focus or None
        Lesions of the visit before on the scan of this one; None at the first visit.
    growth : dict of int to (Footprint, float)
        Growth of the enlarging ones.
    gel : dict of int to Focus or None
        Enhancing foci by number of their lesion; None without a post-contrast scan.
    black_hole_volume_mm3, brain_volume_mm3 : float
    """

    session_id: str
    week: int
    day: int
    t2: dict[int, Focus]
    t2_before: dict[int, Focus] | None
    growth: dict[int, tuple[Footprint, float]]
    gel: dict[int, Focus] | None
    black_hole_volume_mm3: float
    brain_volume_mm3: float


@dataclass(eq=False)
class TruthBook:
    """Ledger and visit rows of one participant, filled visit by visit.

    Parameters
    ----------
    identity : dict
        ``study_id``, ``site_id``, ``participant_id``.
    head : Head
        Maps head mm to MNI152 mm.
    constants : dict
        ``software_version`` and ``config_sha256`` of the visit rows.
    """

    identity: Row
    head: Head
    constants: Row
    ledger: list[Row] = field(default_factory=list)
    visits: list[Row] = field(default_factory=list)
    _ids: dict[tuple[str, int], int] = field(default_factory=dict)
    _seen: dict[int, str] = field(default_factory=dict)
    _enhanced: dict[str, set[int]] = field(default_factory=dict)
    _last: VisitTruth | None = None

    def add(self, visit: VisitTruth) -> None:
        """Add the rows of the next visit."""
        gel_status = self._gel_status(visit)
        t2_status = _t2_status(visit)
        rows = self._t2_rows(visit, t2_status, gel_status) + self._gel_rows(visit, t2_status, gel_status)
        rows.sort(key=lambda row: row["lesion_id"])
        self.ledger += rows
        self.visits.append(self._visit_row(visit, rows))
        if visit.gel is not None:
            self._enhanced[visit.session_id] = set(visit.gel)
        self._last = visit

    @property
    def _gel_reference(self) -> str | None:
        return next(reversed(self._enhanced), None)

    def _gel_status(self, visit: VisitTruth) -> dict[int, str]:
        if visit.gel is None:
            return {}
        if self._gel_reference is None:
            return dict.fromkeys(visit.gel, "baseline")
        last = self._enhanced[self._gel_reference]
        ever = set[int]().union(*self._enhanced.values())
        return {
            number: "persistent" if number in last else "re_enhancing" if number in ever else "new"
            for number in visit.gel
        }

    def _identify(self, focus: str, number: int, session_id: str) -> int:
        lesion_id = self._ids.setdefault((focus, number), len(self._ids) + 1)
        self._seen.setdefault(lesion_id, session_id)
        return lesion_id

    def _row(self, visit: VisitTruth, focus: str, number: int, where: Focus) -> Row:
        lesion_id = self._identify(focus, number, visit.session_id)
        x, y, z = self.head.to_template(where.centre_mm[:, None])[:, 0]
        return {
            **self.identity,
            "session_id": visit.session_id,
            "lesion_id": lesion_id,
            "focus": focus,
            "first_seen_session_id": self._seen[lesion_id],
            "max_diameter_mm": where.diameter_mm,
            "volume_mm3": where.volume_mm3,
            "x": float(x),
            "y": float(y),
            "z": float(z),
            "region": where.lesion.region,
            "score": 1.0,
            "decision": "accepted",
        }

    def _t2_rows(self, visit: VisitTruth, status: dict[int, str], gel_status: dict[int, str]) -> list[Row]:
        rows = []
        for number, change in status.items():
            gone = number not in visit.t2
            where = (visit.t2_before or {})[number] if gone else visit.t2[number]
            row = self._row(visit, "t2", number, where)
            if gone:
                row |= {"volume_mm3": 0.0, "max_diameter_mm": 0.0}
            none = "not_evaluable" if visit.gel is None else "none"
            rows.append(
                row
                | {
                    "reference_session_id": self._last.session_id if self._last else None,
                    "t2_status": change,
                    "gd_status": gel_status.get(number, none),
                    "active": None if self._last is None else change in ("new", "enlarging"),
                    "growth_mm3": visit.growth[number][1] if change == "enlarging" else None,
                }
            )
        return rows

    def _gel_rows(self, visit: VisitTruth, status: dict[int, str], gel_status: dict[int, str]) -> list[Row]:
        return [
            self._row(visit, "gel", number, focus)
            | {
                "parent_lesion_id": self._ids.get(("t2", number)),
                "reference_session_id": self._gel_reference,
                "t2_status": status.get(number, "not_evaluable"),
                "gd_status": gel_status[number],
                "active": gel_status[number] in ("new", "re_enhancing"),
            }
            for number, focus in (visit.gel or {}).items()
        ]

    def _visit_row(self, visit: VisitTruth, rows: list[Row]) -> Row:
        last = self.visits[-1] if self.visits else None
        no_gel = None if visit.gel is not None else Reason.NO_POSTCONTRAST.value
        no_change = None if last is not None else Reason.NO_REFERENCE_VISIT.value
        no_status = None if self._gel_reference is not None else Reason.NO_REFERENCE_VISIT.value
        counts = visit_counts(
            rows,
            gel_evaluable=no_gel is None,
            gel_change_evaluable=no_status is None,
            t2_evaluable=True,
            t2_change_evaluable=no_change is None,
        )
        return {
            **self.identity,
            "session_id": visit.session_id,
            "visit_type": "scheduled",
            "week": visit.week,
            "day_from_baseline": visit.day,
            "gel_reference_session_id": self._gel_reference if no_gel is None else None,
            "t2_reference_session_id": last["session_id"] if last else None,
            "t2_interval_days": visit.day - last["day_from_baseline"] if last else None,
            "t2_contrast": "FLAIR",
            "gel_prior_evaluable": last["gel_evaluable"] if last and no_gel is None else None,
            "gel_evaluable": no_gel is None,
            "gel_reason": no_gel,
            "t2_change_evaluable": no_change is None,
            "t2_change_reason": no_change,
            "cua_reason": None if counts["cua_evaluable"] else no_change or no_gel or no_status,
            "t2_evaluable": True,
            "black_hole_volume_mm3": visit.black_hole_volume_mm3,
            "black_hole_evaluable": True,
            "brain_volume_mm3": visit.brain_volume_mm3,
            "brain_evaluable": True,
            "qc_status": "pass" if no_gel is None else "fail",
            "read_status": "locked",
            **self.constants,
            **counts,
        }


def _t2_status(visit: VisitTruth) -> dict[int, str]:
    """Return the status of every T2 lesion that is there now or was there at the visit before."""
    if visit.t2_before is None:
        return dict.fromkeys(visit.t2, "not_evaluable")
    status = {}
    for number in sorted({*visit.t2, *visit.t2_before}):
        now, before = visit.t2.get(number), visit.t2_before.get(number)
        if before is None:
            status[number] = "new"
        elif now is None:
            status[number] = "resolved"
        elif number in visit.growth:
            status[number] = "enlarging"
        else:
            # The mirror image of the rule for enlarging.
            lost_mm3 = before.volume_mm3 - now.volume_mm3
            shrunk = lost_mm3 >= max(20.0, 0.5 * before.volume_mm3)
            status[number] = "shrinking" if shrunk else "stable"
    return status


def black_hole_volume(
    t2: dict[int, Focus], gel: dict[int, Focus] | None, dark: set[int], voxel_mm3: float
) -> float:
    """Return the volume of the T2 lesions that are dark on T1w and do not enhance."""
    volumes = [
        float(np.count_nonzero(focus.footprint.mask) * voxel_mm3)
        for number, focus in t2.items()
        if number in dark and number not in (gel or {})
    ]
    return float(sum(volumes))
