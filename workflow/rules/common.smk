"""Common parts of the rules: visits, names of their files, options of the steps."""

import hashlib
import json
import os
import shlex
import sys
from pathlib import Path

from mesems_mri.dataset.bids import index_dataset, own_masks
from mesems_mri.dataset.layout import Layout
from mesems_mri.config import load_config
from mesems_mri.provenance import code_version
from mesems_mri.runner.snakemake import limit_scheduler_timers

limit_scheduler_timers()

# The interpreter that runs Snakemake runs the steps, in an environment that makes ANTs repeatable.
shell.prefix(
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH "
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NO_ET=1; "
)

BIDS_DIR = Path(config["bids_dir"]).resolve()
OUT_DIR = Path(config["out_dir"]).resolve()
TRIAL = load_config(
    Path(config["config_file"]).resolve() if config.get("config_file") else None
)
LESION_MASKS = (
    Path(config["lesion_masks"]).resolve() if config.get("lesion_masks") else None
)
PARTICIPANTS = {
    participant.participant_id: participant
    for participant in index_dataset(
        BIDS_DIR, TRIAL, participant_labels=config.get("participant_labels")
    )
}
SESSIONS = {
    (s.participant_id, s.session_id): s
    for p in PARTICIPANTS.values()
    for s in p.sessions
}
LAYOUT = Layout(Path())
ASKED = (
    {Path(visit).parts for visit in config["visits"]}
    if "visits" in config
    else {
        (s.participant_id, s.session_id)
        for p in index_dataset(
            BIDS_DIR,
            TRIAL,
            participant_labels=config.get("participant_labels"),
            session_labels=config.get("session_labels"),
        )
        for s in p.sessions
    }
)
MEASURED = {key for key in SESSIONS if (OUT_DIR / LAYOUT.metrics(*key)).is_file()}
# Visits asked for, and visits of an earlier run: the ledger never loses a visit that is done.
# With reports_only the pages of measured visits are made again, and nothing else.
REPORTS_ONLY = bool(config.get("reports_only"))
# Every visit follows from the one before it, so Snakemake's own --until would end at the first visit.
UNTIL = config.get("until")
TARGETS = {
    key: session
    for key, session in SESSIONS.items()
    if key in MEASURED or (key in ASKED and not REPORTS_ONLY)
}


wildcard_constraints:
    participant=r"sub-[a-zA-Z0-9]+",
    session=r"ses-[a-zA-Z0-9]+",


def session_of(wildcards):
    """Return the visit of a job."""
    return SESSIONS[wildcards.participant, wildcards.session]


def raw_images(wildcards):
    """List the raw images of a visit; a broken link is left to the step, which reports it."""
    paths = [BIDS_DIR / image for image in session_of(wildcards).images.values()]
    return [str(path) for path in paths if path.exists()]


def record(wildcards, step):
    """Name the record that a step leaves of a visit."""
    return str(LAYOUT.record(wildcards.participant, wildcards.session, step))


def previous_record(step):
    """Make the input function that names a step's record of the previous visit; none for the first."""

    def name(wildcards):
        sessions = [s.session_id for s in PARTICIPANTS[wildcards.participant].sessions]
        index = sessions.index(wildcards.session)
        return (
            str(LAYOUT.record(wildcards.participant, sessions[index - 1], step))
            if index
            else []
        )

    return name


def given_masks(wildcards):
    """List the lesion masks that a user gives for a visit."""
    if LESION_MASKS is None:
        return []
    masks = own_masks(LESION_MASKS, wildcards.participant, wildcards.session)
    return [str(mask.path) for mask in masks.values()]


def visit_log(wildcards):
    """Name the log of a visit, common to all steps; Snakemake empties that of a rule."""
    return str(LAYOUT.log(wildcards.participant, wildcards.session))


def visit_options(wildcards):
    """Return the options of a step that name its visit."""
    return shlex.join(
        [
            f"--bids-dir={BIDS_DIR}",
            f"--participant={wildcards.participant}",
            f"--session={wildcards.session}",
        ]
    )


def image_options(wildcards):
    """Return the options of a step that name the images of its visit."""
    session = session_of(wildcards)
    options = [
        f"--image={contrast}={path}" for contrast, path in session.images.items()
    ]
    return shlex.join(
        options
        + [
            f"--ambiguous={contrast}={name}"
            for contrast, names in session.ambiguous.items()
            for name in names
        ]
        + [f"--open-query={query}" for query in session.open_queries]
    )


def visit_table_options(wildcards):
    """Return the options of a step from the visit schedule."""
    session = session_of(wildcards)
    participant = PARTICIPANTS[wildcards.participant]
    first = next((s.acquired for s in participant.sessions if s.acquired), None)
    options = [
        f"--study={TRIAL.study_id}",
        f"--site={participant.site_id}",
        f"--visit-type={session.visit_type}",
    ]
    if session.week is not None:
        options.append(f"--week={session.week}")
    if session.acquired and first:
        options.append(f"--day={(session.acquired - first).days}")
    return shlex.join(options)


def settings(*keys):
    """Return the part of the configuration that a step depends on; it cannot read any other."""
    return shlex.quote(json.dumps(TRIAL.part(*keys), ensure_ascii=False))


def earlier_options(wildcards):
    """Return the options that name the participant's earlier visits, for the links of a page."""
    sessions = [s.session_id for s in PARTICIPANTS[wildcards.participant].sessions]
    earlier = sessions[: sessions.index(wildcards.session)]
    return shlex.join([f"--earlier={session}" for session in earlier])


def acquisition_days():
    """Return the hash of sites, visits and dates, so that a corrected date is noticed."""
    known = [
        (p.site_id, *key, str(s.acquired), s.week)
        for p in PARTICIPANTS.values()
        for key, s in ((s.stem.split("_"), s) for s in p.sessions)
    ]
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


def standardised_records(_):
    """List the records of image quality of the visits in this run; the step reads all others, too."""
    there = {
        key
        for key in SESSIONS
        if (OUT_DIR / LAYOUT.record(*key, "standardise")).is_file()
    }
    return sorted(
        str(LAYOUT.record(*key, "standardise")) for key in there | set(TARGETS)
    )


def quality_table(_):
    """Name the table of image quality; pages are made again without it where it was cleaned."""
    there = (OUT_DIR / LAYOUT.site_quality()).is_file()
    return str(LAYOUT.site_quality()) if there or not REPORTS_ONLY else []


def visit_products(participant_id, session_id):
    """List the products of one visit."""
    return [
        str(LAYOUT.metrics(participant_id, session_id)),
        str(LAYOUT.page(participant_id, session_id)),
    ]


def participant_products():
    """List the products of every participant."""
    made = [key for key in TARGETS if key in ASKED or not REPORTS_ONLY]
    if UNTIL == "report":
        return [str(LAYOUT.page(*key)) for key in made]
    if UNTIL:
        return [str(LAYOUT.record(*key, UNTIL)) for key in made]
    visits = [product for key in made for product in visit_products(*key)]
    participants = dict.fromkeys(participant for participant, _ in TARGETS)
    return (
        visits
        + [str(LAYOUT.ledger(p)) for p in participants]
        + [str(LAYOUT.participant_page(p)) for p in participants]
        + ["dataset_description.json"]
    )


def done_visits(wildcards):
    """List the records of a participant's visits, asked for or already done, in order of time."""
    sessions = PARTICIPANTS[wildcards.participant].sessions
    keys = [(s.participant_id, s.session_id) for s in sessions]
    return [str(LAYOUT.metrics(*key)) for key in keys if key in TARGETS]


def group_products():
    """List the products of the study."""
    if UNTIL:
        return participant_products()
    send = config.get("transfer") and not REPORTS_ONLY
    return study_products() + ([str(LAYOUT.transfer_outcome)] if send else [])


def study_products():
    """List the products that a transfer needs."""
    return participant_products() + [
        "visit_metrics.tsv",
        "participant_endpoints.tsv",
        str(LAYOUT.study_page()),
    ]


def all_visit_records(_):
    """List the visit records of this run; the steps read those of other participants and removed visits too.

    Others are no input: Snakemake would need a rule for each, and there is none without its scans.
    """
    return sorted(str(LAYOUT.metrics(*key)) for key in TARGETS)
