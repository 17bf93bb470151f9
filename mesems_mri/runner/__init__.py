"""Run the workflow: start Snakemake, keep one bad visit from stopping others, say how it ended."""

from mesems_mri.runner.request import RunRequest
from mesems_mri.runner.run import run

__all__ = ["RunRequest", "run"]
