"""The transfer at the end of a run that is asked for it."""

from collections.abc import Callable

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.files import read_json
from mesems_mri.runner.request import RunRequest


def check_transfer(request: RunRequest, config: TrialConfig) -> None:
    """Refuse a request to send that could never be met, before anything is computed.

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
    """Forget what came of the last transfer, so that it is tried again by the next run that is asked to."""
    layout.transfer_outcome.unlink(missing_ok=True)


def report_transfer(layout: Layout, say: Callable[[str], None]) -> None:
    """Say what came of the transfer; a run whose transfer failed has said so among its failed jobs."""
    if layout.transfer_outcome.is_file():
        say(f"transfer: {read_json(layout.transfer_outcome)['outcome']}")
