"""Automatic transfer at the end of a run, once every visit of the study is complete."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mesems_mri.config import TransferRule
from mesems_mri.dataset.layout import Layout
from mesems_mri.files import write_json
from mesems_mri.transfer.build import BuildRequest, build
from mesems_mri.transfer.outbox import BundleState, outboxes
from mesems_mri.transfer.send import Sent, refuse_rejected, send
from mesems_mri.transfer.study import visit_status


def send_when_complete(
    layout: Layout, bids_dir: Path, rule: TransferRule, say: Callable[[str], None]
) -> None:
    """Build a bundle for every site with something new, and send all pending bundles.

    Nothing is built while a visit is failed or not yet computed: the receiver would take it for missing.
    The outcome is written as one sentence to `Layout.transfer_outcome`.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    bids_dir : Path
        Raw BIDS folder.
    rule : TransferRule
        Destination, and the key that signs.
    say : callable
        Takes one line.

    Raises
    ------
    UsageError, BundleError, DatasetError, DeliveryError
        As `build` and `send`; also BundleError if a bundle was rejected.
    """
    visits = Counter(visit_status(layout).values())
    open_visits = [f"{visits[name]} {name}" for name in ("failed", "waiting") if visits[name]]
    if open_visits:
        outcome = f"nothing was sent, as visits are not complete ({', '.join(open_visits)})"
    else:
        sheet = Path(rule.sheet).expanduser() if rule.sheet else None
        request = BuildRequest(out_dir=layout.out_dir, key_file=rule.key_file, bids_dir=bids_dir, sheet=sheet)
        build(request, say)
        waits = any(outbox.bundles(BundleState.PENDING, BundleState.SENT) for outbox in outboxes(layout))
        sent = send(layout.out_dir, rule, say) if waits else Sent()
        refuse_rejected(sent)
        parts = {"accepted": sent.accepted, "delivered, receipt to come": sent.delivered}
        outcome = "; ".join(f"{word}: {', '.join(names)}" for word, names in parts.items() if names)
        outcome = outcome or "nothing new to send"
    say(outcome)
    write_json(layout.transfer_outcome, {"outcome": outcome})
