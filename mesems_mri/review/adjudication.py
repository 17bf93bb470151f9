"""Findings that an adjudicator decides about, made of two reads."""

from dataclasses import replace

from mesems_mri.review.matching import Comparison
from mesems_mri.review.state import Finding


def adjudicated_findings(compared: Comparison) -> list[Finding]:
    """Make the findings of an adjudication: those of both reads, the disputed ones first and undecided."""
    found = []
    ordered = sorted(compared.units, key=lambda unit: (not unit.disagreements, not unit.finding.active))
    for label, unit in enumerate(ordered, start=1):
        sides = [finding for finding in (unit.first, unit.second) if finding is not None]
        counted = [finding for finding in sides if finding.counts]
        base = (counted or sides)[0]
        reads = tuple(
            {
                "reader": letter,
                "decision": side.decision if side else "absent",
                "t2_status": side.t2_status if side else None,
                "gd_status": side.gd_status if side else None,
                "comment": side.comment if side else None,
            }
            for letter, side in zip("AB", (unit.first, unit.second), strict=True)
        )
        disputed = bool(unit.disagreements)
        found.append(
            replace(
                base,
                finding_id=f"f{label}",
                label=label,
                decision="undecided" if disputed else base.decision,
                comment=None,
                reads=reads,
                disputed=disputed,
            )
        )
    return found
