"""The images as evidence of the contrast phase, after conversion: the last vote.

After gadolinium the venous sinuses, choroid plexus, pituitary and nasal mucosa are brighter than before.
Images that contradict what names and tags said are not filed: the site is asked.
"""

from dataclasses import replace
from pathlib import Path

from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.images.contrast_evidence import compare_t1
from mesems_mri.intake import folder
from mesems_mri.intake.classify import OTHER, ClassifiedSeries
from mesems_mri.intake.context import IntakeContext
from mesems_mri.intake.contrast import POST, PRE, Vote
from mesems_mri.intake.visit import AssessedVisit, SeriesStatus

_REASONS = {
    "no_difference": "neither is brighter where contrast agent shows",
    "both_ways": "each is brighter somewhere",
    "unlike": "the two images cannot be compared",
    "too_little_brain": "too little of the brain is in both",
    "unreadable": "the images cannot be compared",
}


def weigh_images(context: IntakeContext, visit: AssessedVisit, staged: Path | None) -> None:
    """Let the images of a visit vote on the contrast phase, and query what remains unconfirmed.

    The post-contrast scan is compared with the pre-contrast one of its visit, else with that of the last
    visit that has one.

    Parameters
    ----------
    context : IntakeContext
    visit : AssessedVisit
        Changed in place: two images that contradict their roles lose them.
    staged : Path or None
        Staging folder; None: no image was made (a dry run).
    """
    post = visit.selected_series().get(POST)
    if post is None:
        return
    vote = _compare(context, visit, staged) if staged else None
    if vote and vote.role == PRE and not post.answered:
        _refuse(visit, staged, vote)
        return
    if vote:
        _add_votes(visit, vote)
    if visit.status.get(post.series) in (SeriesStatus.UNCHANGED, SeriesStatus.DUPLICATE):
        return
    against = vote is not None and vote.role == PRE
    if against or (not post.confirmed and not (vote and vote.role == POST)):
        told = f"{POST}, {visit.series_name(post.series)}: {vote.because}" if vote else f"{POST}"
        visit.add_query(QueryCode.CONTRAST_UNCONFIRMED, told, role=POST, about=(post.series,))


def _compare(context: IntakeContext, visit: AssessedVisit, staged: Path | None) -> Vote | None:
    """Return the vote of the images on the post-contrast scan; None when nothing new is to be compared."""
    paths = {role: _path(context, staged, name) for role, name in visit.images.items()}
    if POST not in paths:
        return None
    before = paths.get(PRE) or _last_precontrast(context, visit)
    made = [path for path in (before, paths[POST]) if path and staged in path.parents]
    if before is None or not made:
        return None
    evidence = compare_t1(before, paths[POST])
    if not evidence.vote:
        return Vote("image", "", _REASONS.get(evidence.reason, "the images do not tell"))
    told = f"{evidence.brighter_mm3 / 1000:.1f} ml brighter, {evidence.darker_mm3 / 1000:.1f} ml darker"
    return Vote("image", POST if evidence.vote == "post" else PRE, told)


def _path(context: IntakeContext, staged: Path | None, name: str) -> Path:
    return staged / name if staged and (staged / name).is_file() else context.bids_dir / name


def _last_precontrast(context: IntakeContext, visit: AssessedVisit) -> Path | None:
    """Return the pre-contrast T1w of the last planned visit before this one that has one."""
    rows = [row for row in context.schedule if row.participant_id == visit.participant_id]
    planned = {row.session_id: row.planned_date for row in rows if row.planned_date}
    day = planned.get(visit.session_id)
    earlier = sorted((when, session) for session, when in planned.items() if day and when < day)
    for _, session in reversed(earlier):
        image = context.bids_dir / folder.image_name(visit.participant_id, session, PRE)
        if image.is_file():
            return image
    return None


def _add_votes(visit: AssessedVisit, vote: Vote) -> None:
    visit.classified = [
        replace(one, votes=(*one.votes, vote)) if one.role == POST else one for one in visit.classified
    ]


def _refuse(visit: AssessedVisit, staged: Path | None, vote: Vote) -> None:
    """Take their roles from the two series, remove their images, and ask."""
    phased = [one for one in visit.classified if one.role in (PRE, POST) and not one.answered]
    because = f"contradictory, the image says that the other scan has more contrast agent ({vote.because})"
    for one in phased:
        name = visit.images.pop(one.role, "")
        if name and staged and (staged / name).is_file():
            (staged / name).unlink()
            folder.sidecar_of(staged / name).unlink(missing_ok=True)
        visit.status[one.series] = SeriesStatus.QUERY
    told = f"{PRE}, " + " and ".join(visit.series_name(one.series) for one in phased)
    visit.add_query(
        QueryCode.CONTRAST_UNCLEAR,
        f"{told}: the images contradict the names and tags",
        role=PRE,
        about=[one.series for one in phased],
        detail=("image",),
    )
    visit.classified = [
        _without_role(one, because, vote) if one in phased else one for one in visit.classified
    ]


def _without_role(one: ClassifiedSeries, because: str, vote: Vote) -> ClassifiedSeries:
    votes = (*one.votes, vote if one.role == POST else Vote("image", POST, vote.because))
    return replace(
        one, role=OTHER, candidate_of=PRE, unclear="phase", reason=f"{one.reason}; {because}", votes=votes
    )
