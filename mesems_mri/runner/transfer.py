"""Transfer at the end of a run (``--transfer``)."""

from collections.abc import Callable

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.files import read_json
from mesems_mri.runner.request import RunRequest


def check_transfer(request: RunRequest, config: TrialConfig) -> None:
    """Refuse a transfer that could never be made, before anything is computed.

    Raises
    ------
    UsageError
    """
    if not request.transfer:
        return
    if request.level == "participant" or request.until or request.reports_only:
        msg = "--transfer: sends what a whole run has made; leave out participant, --until and --reports-only"
        raise UsageError(msg)
    missing = [name for name in ("destination", "key_file") if not getattr(config.transfer, name)]
    if missing:
        msg = (
            f"--transfer: transfer.{missing[0]} is empty; give it in the configuration, see docs/transfer.md"
        )
        raise UsageError(msg)


def clear_transfer_outcome(layout: Layout) -> None:
    """Remove the outcome of the last transfer, so that the next run with ``--transfer`` tries again."""
    layout.transfer_outcome.unlink(missing_ok=True)


def report_transfer(layout: Layout, say: Callable[[str], None]) -> None:
    """Report the outcome of the transfer; a failed one is already among the failed jobs."""
    if layout.transfer_outcome.is_file():
        say(f"transfer: {read_json(layout.transfer_outcome)['outcome']}")
