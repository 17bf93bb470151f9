"""Start a real Slurm on this one machine, without systemd and without a database."""

import os
import socket
import subprocess
import time
from pathlib import Path

SLURM_CONF = """\
# written by tests/system: one node, no accounting database
ClusterName=ci
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={job_log}
MinJobAge=300
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1,sched_min_interval=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=ci Nodes=ALL Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=1000
"""
CONF = Path("/etc/slurm/slurm.conf")
JOB_LOG = Path("/var/log/slurm/jobcomp.log")
"""One line per completed job, in the order of completion."""


def _run(*command: str, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def node_is_idle() -> bool:
    """Say whether Slurm answers and its node accepts jobs."""
    try:
        state = _run("sinfo", "--noheader", "--format=%T", timeout_s=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return state.returncode == 0 and state.stdout.split()[:1] in (["idle"], ["mixed"], ["allocated"])


def start(*, wait_s: float = 60) -> None:
    """Start munge, slurmctld and slurmd, without a job of an earlier run; leave those that run already.

    Raises
    ------
    RuntimeError
        If the node does not accept jobs within `wait_s`; the text holds the ends of the logs.
    """
    if node_is_idle():
        if CONF.exists() and CONF.read_text().startswith(SLURM_CONF.splitlines()[0]):
            _run("scancel", "--user", "root")
        return
    for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        _run("chown", "munge:munge", folder)
    for folder in ("/etc/slurm", "/var/spool/slurmctld", "/var/spool/slurmd", "/var/log/slurm"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 9 // 10 // 2**20
    host = socket.gethostname().split(".")[0]
    CONF.write_text(
        SLURM_CONF.format(host=host, cpus=min(2, os.cpu_count() or 1), memory_mb=memory_mb, job_log=JOB_LOG)
    )
    if _run("munge", "--no-input").returncode:
        _run("su", "-s", "/bin/sh", "munge", "-c", "munged")
    # -c: a test run that was killed leaves jobs that Slurm takes for running, and they would hold the node
    _run("slurmctld", "-c")
    _run("slurmd", "-c")
    deadline = time.monotonic() + wait_s
    while not node_is_idle():
        if time.monotonic() > deadline:
            logs = "\n".join(
                _run("tail", "-n", "15", str(log)).stdout for log in JOB_LOG.parent.glob("*d.log")
            )
            msg = f"Slurm did not start within {wait_s} s\n{logs}"
            raise RuntimeError(msg)
        time.sleep(0.5)


def completed_jobs() -> list[str]:
    """Lines of the log of completed jobs, oldest first."""
    return JOB_LOG.read_text().splitlines() if JOB_LOG.exists() else []
