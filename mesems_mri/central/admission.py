"""Admission of a bundle: next in the chain of its site, with visits of the visit schedule."""

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, select

from mesems_mri.central.content import BundleRow
from mesems_mri.central.rejection import RejectedError, RejectionCode, UnavailableError
from mesems_mri.central.schedule import ExpectedVisit
from mesems_mri.central.schema import transfer
from mesems_mri.transfer.manifest import MANIFEST, BundleManifest


def check_chain(connection: Connection, manifest: BundleManifest) -> None:
    """Refuse a bundle that is not the next one of its site."""
    last = connection.execute(
        select(transfer.c.sequence, transfer.c.manifest_sha256)
        .where(transfer.c.site_id == manifest.site_id)
        .order_by(transfer.c.sequence.desc())
        .limit(1)
    ).first()
    number, digest = last or (0, None)
    what = f"{MANIFEST}: sequence {manifest.sequence} of site {manifest.site_id}"
    if manifest.sequence > number + 1:
        msg = f"{what} leaves a gap, expected {number + 1}; send what is before it, then build again"
        raise RejectedError(RejectionCode.GAP, msg, where=f"sequence {manifest.sequence}")
    if manifest.sequence <= number:
        msg = f"{what} was received with another content, expected {number + 1}; build a bundle anew"
        raise RejectedError(RejectionCode.REPLAY, msg, where=f"sequence {manifest.sequence}")
    if manifest.previous_sha256 != digest:
        msg = f"{what} follows {manifest.previous_sha256}, expected {digest}; build it again"
        raise RejectedError(RejectionCode.FORK, msg, where=f"sequence {manifest.sequence}")


def check_visits(
    expected: Mapping[tuple[str, str], ExpectedVisit], manifest: BundleManifest, rows: Mapping[str, BundleRow]
) -> list[str]:
    """Refuse visits that contradict the visit schedule; return warnings about the others."""
    if not expected:
        msg = "the visit schedule of the trial is not loaded yet; load it with mesems-mri central schedule"
        raise UnavailableError(msg)
    homes = {visit.participant_id: visit.site_id for visit in expected.values()}
    wrong = list(_foreign_participants(homes, manifest, rows))
    if wrong:
        raise RejectedError(RejectionCode.PARTICIPANT, *wrong, where="visit_metrics.csv")
    warnings = []
    for key, row in rows.items():
        visit = expected.get(row.visit)
        if visit is None:
            warnings.append(f"visit_metrics.csv {key}: the visit is not in the visit schedule")
            continue
        for name in ("week", "visit_type"):
            if row.values[name] != getattr(visit, name):
                wrong.append(
                    f"visit_metrics.csv {key}: {name} is {row.values[name]}, expected "
                    f"{getattr(visit, name)} as in the visit schedule; correct the one that is wrong"
                )
        if days := visit.days_outside(row.values["day_from_baseline"]):
            warnings.append(
                f"visit_metrics.csv {key}: {abs(days)} days {'after' if days > 0 else 'before'} its window"
            )
    if wrong:
        raise RejectedError(RejectionCode.VISIT, *wrong, where=wrong[0].split(":")[0])
    return warnings


def _foreign_participants(
    homes: Mapping[str, str], manifest: BundleManifest, rows: Mapping[str, BundleRow]
) -> Iterator[str]:
    for participant in sorted({row.visit[0] for row in rows.values()}):
        home = homes.get(participant)
        if home != manifest.site_id:
            is_of = f"belongs to site {home}" if home else "is not in the visit schedule"
            yield (
                f"visit_metrics.csv {participant}: {is_of}, expected one of site {manifest.site_id}; "
                "check whose visits they are"
            )
