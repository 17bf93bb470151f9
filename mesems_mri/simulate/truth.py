"""The true lesion ledger and visit table of a simulated participant, by the counting rules of the trial."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mesems_mri.dataset.counts import visit_counts
from mesems_mri.errors import Reason
from mesems_mri.simulate.footprints import CountedFocus, Footprint
from mesems_mri.simulate.phantom import HeadModel

Row = dict[str, Any]


@dataclass(eq=False)
class VisitTruth:
    """The reference standard of one visit, filled in while it is simulated.

    Parameters
    ----------
    session_id : str
        With its prefix.
    scheduled : bool
        Only a scheduled visit is a reference for later ones.
    week, day : int
        Week of the visit table and day from baseline.
    reasons : dict of str to Reason
        Why ``gel``, ``t2``, ``t2_change``, ``black_hole`` or ``brain`` is not evaluable.
    t2 : dict of int to CountedFocus
        T2 lesions by number.
    reference : VisitTruth or None
        Visit with which T2 lesions are compared.
    t2_before : dict of int to CountedFocus
        Lesions of the reference visit on the scan of this one.
    growth : dict of int to (Footprint, float)
        Growth of the enlarging ones.
    gel : dict of int to CountedFocus
        Enhancing foci by number of their lesion.
    black_hole_volume_mm3, brain_volume_mm3 : float or None
    """

    session_id: str
    scheduled: bool
    week: int
    day: int
    reasons: dict[str, Reason] = field(default_factory=dict)
    t2: dict[int, CountedFocus] = field(default_factory=dict)
    reference: "VisitTruth | None" = None
    t2_before: dict[int, CountedFocus] = field(default_factory=dict)
    growth: dict[int, tuple[Footprint, float]] = field(default_factory=dict)
    gel: dict[int, CountedFocus] = field(default_factory=dict)
    black_hole_volume_mm3: float | None = None
    brain_volume_mm3: float | None = None

    def refuse(self, reason: Reason) -> None:
        """Make nothing of the visit evaluable."""
        self.reasons |= dict.fromkeys(("gel", "t2", "t2_change", "black_hole", "brain"), reason)

    def evaluable(self, part: str) -> bool:
        """Return whether a part of the visit is evaluable."""
        return part not in self.reasons


@dataclass(eq=False)
class TruthLedger:
    """Ledger and visit rows of one participant, filled visit by visit.

    Parameters
    ----------
    identity : dict
        ``study_id``, ``site_id``, ``participant_id``.
    head : HeadModel
        Maps head mm to MNI152 mm.
    constants : dict
        ``software_version`` and ``config_sha256`` of the visit rows.
    """

    identity: Row
    head: HeadModel
    constants: Row
    ledger: list[Row] = field(default_factory=list)
    visits: list[Row] = field(default_factory=list)
    _truths: list[VisitTruth] = field(default_factory=list)
    _ids: dict[tuple[str, int], int] = field(default_factory=dict)
    _seen: dict[int, str] = field(default_factory=dict)
    _resolved: set[int] = field(default_factory=set)

    @property
    def t2_reference(self) -> VisitTruth | Reason:
        """The last scheduled visit whose T2 lesions can be read, or why there is none."""
        earlier = [truth for truth in self._truths if truth.scheduled and truth.evaluable("t2")]
        return earlier[-1] if earlier else Reason.NO_REFERENCE_VISIT

    def add(self, visit: VisitTruth) -> None:
        """Add the rows of the next visit."""
        rows: list[Row] = []
        gel_status = self._gel_status(visit)
        t2_status = self._t2_status(visit)
        if visit.evaluable("t2"):
            rows += self._t2_rows(visit, t2_status, gel_status)
        if visit.evaluable("gel"):
            rows += self._gel_rows(visit, t2_status, gel_status)
        rows.sort(key=lambda row: row["lesion_id"])
        self.ledger += rows
        self.visits.append(self._visit_row(visit, rows))
        self._truths.append(visit)

    @property
    def _gel_reference(self) -> VisitTruth | None:
        scheduled = [truth for truth in self._truths if truth.scheduled and truth.evaluable("gel")]
        return scheduled[-1] if scheduled else None

    def _gel_status(self, visit: VisitTruth) -> dict[int, str]:
        reference = self._gel_reference
        if reference is None:
            return dict.fromkeys(visit.gel, "baseline")
        # An unscheduled visit after the reference is no history.
        earlier = self._truths[: self._truths.index(reference)]
        ever = set[int]().union(*(truth.gel for truth in earlier))
        return {
            number: "persistent" if number in reference.gel else "re_enhancing" if number in ever else "new"
            for number in visit.gel
        }

    def _t2_status(self, visit: VisitTruth) -> dict[int, str]:
        """Return the status of every T2 lesion that is there now or was there at the reference visit."""
        if visit.reference is None:
            return dict.fromkeys(visit.t2, "not_evaluable")
        status = {}
        for number in sorted({*visit.t2, *visit.t2_before}):
            now, before = visit.t2.get(number), visit.t2_before.get(number)
            if now is None:
                # Listed once, and never if it was too small to be listed before.
                if ("t2", number) in self._ids and number not in self._resolved:
                    status[number] = "resolved"
                    self._resolved.add(number)
            elif before is None:
                status[number] = "new"
            elif number in visit.growth:
                status[number] = "enlarging"
            else:
                # The mirror image of the rule for enlarging.
                lost_mm3 = before.volume_mm3 - now.volume_mm3
                shrunk = lost_mm3 >= max(20.0, 0.5 * before.volume_mm3)
                status[number] = "shrinking" if shrunk else "stable"
        return status

    def _identify(self, focus: str, number: int, session_id: str) -> int:
        lesion_id = self._ids.setdefault((focus, number), len(self._ids) + 1)
        self._seen.setdefault(lesion_id, session_id)
        return lesion_id

    def _row(self, visit: VisitTruth, focus: str, number: int, where: CountedFocus) -> Row:
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
            row = self._row(visit, "t2", number, (visit.t2_before if gone else visit.t2)[number])
            if gone:
                row |= {"volume_mm3": 0.0, "max_diameter_mm": 0.0}
            none = "none" if visit.evaluable("gel") else "not_evaluable"
            rows.append(
                row
                | {
                    "reference_session_id": visit.reference.session_id if visit.reference else None,
                    "t2_status": change,
                    "gd_status": gel_status.get(number, none),
                    "active": change in ("new", "enlarging") if visit.reference else None,
                    "growth_mm3": visit.growth[number][1] if change == "enlarging" else None,
                }
            )
        return rows

    def _gel_rows(self, visit: VisitTruth, status: dict[int, str], gel_status: dict[int, str]) -> list[Row]:
        reference = self._gel_reference
        return [
            self._row(visit, "gel", number, focus)
            | {
                "parent_lesion_id": self._ids.get(("t2", number)) if visit.evaluable("t2") else None,
                "reference_session_id": reference.session_id if reference else None,
                "t2_status": status.get(number, "not_evaluable"),
                "gd_status": gel_status[number],
                "active": gel_status[number] in ("new", "re_enhancing"),
            }
            for number, focus in visit.gel.items()
        ]

    def _visit_row(self, visit: VisitTruth, rows: list[Row]) -> Row:
        scheduled = [truth for truth in self._truths if truth.scheduled]
        gel_reference = self._gel_reference if visit.evaluable("gel") else None
        counts = visit_counts(
            rows,
            gel_evaluable=visit.evaluable("gel"),
            gel_change_evaluable=gel_reference is not None,
            t2_evaluable=visit.evaluable("t2"),
            t2_change_evaluable=visit.evaluable("t2_change"),
        )
        cua_reason = None
        if not counts["cua_evaluable"]:
            known = (visit.reasons.get(part) for part in ("gel", "t2_change"))
            cua_reason = next((reason for reason in known if reason), Reason.NO_REFERENCE_VISIT)
        parts = ("gel", "t2", "t2_change", "black_hole", "brain")
        passed = set(visit.reasons.values()) <= {Reason.NO_REFERENCE_VISIT}
        return {
            **self.identity,
            "session_id": visit.session_id,
            "visit_type": "scheduled" if visit.scheduled else "unscheduled",
            "week": visit.week,
            "day_from_baseline": visit.day,
            "gel_reference_session_id": gel_reference.session_id if gel_reference else None,
            "t2_reference_session_id": visit.reference.session_id if visit.reference else None,
            "t2_interval_days": visit.day - visit.reference.day if visit.reference else None,
            "t2_contrast": "FLAIR" if visit.evaluable("t2") else None,
            "gel_prior_evaluable": scheduled[-1].evaluable("gel") if scheduled else None,
            **{f"{part}_evaluable": visit.evaluable(part) for part in parts},
            **{f"{part}_reason": visit.reasons.get(part) for part in parts},
            "cua_reason": cua_reason,
            "black_hole_volume_mm3": visit.black_hole_volume_mm3,
            "brain_volume_mm3": visit.brain_volume_mm3,
            "qc_status": "pass" if passed else "fail",
            "read_status": "locked",
            **self.constants,
            **counts,
        }


def black_hole_volume(
    t2: dict[int, CountedFocus], gel: dict[int, CountedFocus], dark: set[int], voxel_mm3: float
) -> float:
    """Return the volume of the T2 lesions that are dark on T1w and do not enhance."""
    volumes = [
        float(np.count_nonzero(focus.footprint.mask) * voxel_mm3)
        for number, focus in t2.items()
        if number in dark and number not in gel
    ]
    return float(sum(volumes))
