"""Run the workflow: start Snakemake, keep one bad visit from stopping others, say how it ended."""

from mesems_mri.workflow.request import RunRequest
from mesems_mri.workflow.run import run

__all__ = ["RunRequest", "run"]
