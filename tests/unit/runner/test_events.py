"""What is read from the output of Snakemake."""

from mesems_mri.runner.events import WorkflowEvents

PLAN = """\
Job stats:
job                  count
-----------------  -------
describe_dataset         1
group                    1
report             4
register           2
total                    8

[Tue Nov 24 22:30:17 2026]
localrule register:
    input: .mesems/sub-01/ses-w00/standardise.json
    jobid: 3
    reason: Missing output files: .mesems/sub-01/ses-w00/register.json
    wildcards: participant=sub-01, session=ses-w00
    resources: tmpdir=/tmp, runtime=20, mem_mb=4000, mem=4 GB, mem_mib=3815
"""
GROUP = """\
[date] Group job abc (jobs in lexicogr. order):
    [date]
    rule detect:
        output: .mesems/sub-02/ses-w04/detect.json
        jobid: 8
        wildcards: participant=sub-02, session=ses-w04
        resources: mem_mb=4000
SLURM run ID: 11aa-22
"""
GROUP_ERROR = """\
[date]
    message: job failed
    jobs:
        rule detect:
            jobid: 8
            output: x
"""


def read(*texts: str) -> WorkflowEvents:
    events = WorkflowEvents()
    for text in texts:
        for line in text.splitlines(keepends=True):
            events.read(line)
    return events


def test_plan_and_start() -> None:
    events = read(PLAN)
    assert events.planned == {"describe_dataset": 1, "report": 4, "register": 2}
    assert (events.total, events.planned_visits) == (8, 4)
    (job,) = events.running.values()
    assert (job.rule, job.participant_id, job.session_id) == ("register", "sub-01", "ses-w00")
    assert (job.mem_mb, job.runtime) == (4000, "20 min")
    assert job.reason.startswith("Missing output files")
    assert events.lost == [job]


def test_finished_job_is_neither_running_nor_lost() -> None:
    events = read(PLAN, "Finished jobid: 3 (Rule: register)\n1 of 8 steps (12%) done\n")
    assert not events.running
    assert not events.lost
    assert (events.done, events.total) == (1, 8)


def test_failed_job_is_lost_but_not_running() -> None:
    events = read(PLAN, "Error in rule register:\n    message: None\n    jobid: 3\n    output: x\n")
    assert [job.rule for job in events.failed.values()] == ["register"]
    assert not events.running
    assert len(events.lost) == 1


def test_group_of_jobs_on_a_cluster() -> None:
    events = read(GROUP)
    assert [job.session_id for job in events.running.values()] == ["ses-w04"]
    assert events.slurm_run == "11aa-22"
    failed = read(GROUP, GROUP_ERROR)
    assert [job.rule for job in failed.failed.values()] == ["detect"]
    assert not failed.running


def test_full_disk_is_noticed() -> None:
    assert read("OSError: [Errno 28] No space left on device: 'x'\n").disk_full
    assert not read(PLAN).disk_full
