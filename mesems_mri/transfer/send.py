"""Sending of pending bundles with retry and back-off, collection of receipts, status of all bundles."""

import datetime as dt
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import tenacity

from mesems_mri.config import Access
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import BundleError, DeliveryError, MesemsError, UsageError
from mesems_mri.transfer.connect import connected
from mesems_mri.transfer.destination import Destination
from mesems_mri.transfer.manifest import TransferReceipt
from mesems_mri.transfer.outbox import Bundle, BundleState, Outbox, delivered_at, locked, outboxes

_LONGEST_WAIT_S = 60
_WORDS = {
    BundleState.PENDING: "pending",
    BundleState.SENT: "sent, no receipt yet",
    BundleState.ACCEPTED: "accepted",
    BundleState.REJECTED: "rejected",
}


@dataclass(kw_only=True)
class Sent:
    """Bundles that were sent, by what became of them.

    Parameters
    ----------
    accepted, delivered, rejected : list of str
        Names of bundles; delivered ones have no receipt yet.
    """

    accepted: list[str] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)


def send(
    out_dir: Path,
    access: Access,
    say: Callable[[str], None],
    *,
    sites: Iterable[str] = (),
    give_up_after_s: float = 600,
    again: bool = False,
) -> Sent:
    """Send every pending bundle, in order, and collect the receipts for those that were sent.

    A site that cannot be sent stops no other one; the first error is raised at the end.
    Sending may be interrupted and repeated at any moment, by several processes at once: a bundle is sent
    under the hash of its manifest, under which the receiving side stores it once.

    Parameters
    ----------
    out_dir : Path
        Output folder of a run.
    access : Access
    say : callable
        Takes one line.
    sites : iterable of str
        Only these; empty for all.
    give_up_after_s : float
        Seconds for which a transient error is retried with back-off; 0: one try.
    again : bool
        Also send those that were sent before and have no receipt.

    Returns
    -------
    Sent

    Raises
    ------
    UsageError
        If nothing was ever built, or the destination cannot be used as it is given.
    DeliveryError
        If it cannot be reached in time; all that did not get through waits in the outbox.
    BundleError
        If a receipt is for another bundle, or none.
    """
    layout = Layout(out_dir.resolve())
    sent, failed = Sent(), []
    deadline = time.monotonic() + give_up_after_s
    with locked(layout, say):
        for outbox in _chosen(layout, sites):
            for bundle in outbox.bundles(BundleState.SENT) if again else ():
                outbox.put_back(bundle)
            if not outbox.bundles(BundleState.PENDING, BundleState.SENT):
                continue
            try:
                left_s = max(0.0, deadline - time.monotonic())
                _with_retry(lambda o=outbox: _send_site(o, access, say, sent), left_s, say)
            except MesemsError as error:  # one site must not block the others
                say(f"{outbox.site_id}: {error}")
                failed.append(error)
    if failed:
        raise failed[0]
    return sent


def collect_receipts(out_dir: Path, access: Access, say: Callable[[str], None]) -> None:
    """Collect the receipts for bundles that were sent; send nothing.

    Raises
    ------
    UsageError, DeliveryError, BundleError
        As `send`.
    """
    layout = Layout(out_dir.resolve())
    with locked(layout, say):
        for outbox in _chosen(layout, ()):
            if outbox.bundles(BundleState.SENT):
                with connected(access.of_site(outbox.site_id)) as destination:
                    _collect(outbox, destination, say, Sent())


def describe(out_dir: Path) -> list[str]:
    """Describe the state of every bundle, one line each, then the numbers of each state."""
    lines: list[str] = []
    for outbox in _chosen(Layout(out_dir.resolve()), ()):
        bundles = outbox.bundles()
        for bundle in bundles:
            lines.append(_line(bundle))
            reasons = bundle.receipt.reasons if bundle.receipt else ()
            lines += [f"    {reason}" for reason in reasons]
        counts = [(sum(b.state is state for b in bundles), word) for state, word in _WORDS.items()]
        lines.append(f"{outbox.site_id}: " + "; ".join(f"{n} {word}" for n, word in counts if n))
    return lines


def _chosen(layout: Layout, sites: Iterable[str]) -> list[Outbox]:
    found = outboxes(layout)
    wanted = set(sites)
    if not found or wanted - {outbox.site_id for outbox in found}:
        what = f"of site {', '.join(sorted(wanted))}" if wanted else "yet"
        msg = f"{layout.out_dir}: holds no bundle {what}; build one with mesems-mri transfer build"
        raise UsageError(msg)
    return [outbox for outbox in found if not wanted or outbox.site_id in wanted]


def _with_retry(work: Callable[[], None], give_up_after_s: float, say: Callable[[str], None]) -> None:
    """Retry the work after a delivery error (exponential back-off with jitter)."""
    backoff = tenacity.wait_random_exponential(multiplier=1, max=_LONGEST_WAIT_S)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, DeliveryError) else 0.0
        return max(backoff(state), asked)

    def note(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        say(f"{error} (in {state.upcoming_sleep:.0f} s)")

    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(DeliveryError),
        stop=tenacity.stop_before_delay(give_up_after_s),
        wait=wait,
        before_sleep=note,
        reraise=True,
    ):
        with attempt:
            work()


def _send_site(outbox: Outbox, access: Access, say: Callable[[str], None], sent: Sent) -> None:
    with connected(access.of_site(outbox.site_id)) as destination:
        _collect(outbox, destination, say, sent)
        for bundle in outbox.bundles(BundleState.PENDING):
            receipt = destination.deliver(bundle)
            if receipt is None:
                now = dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds")
                outbox.mark_sent(bundle, access.of_site(outbox.site_id).destination, now)
                sent.delivered.append(bundle.name)
                say(f"{bundle.name}: delivered; its receipt is still to come")
            else:
                _settle(outbox, bundle, receipt, say, sent)


def _collect(outbox: Outbox, destination: Destination, say: Callable[[str], None], sent: Sent) -> None:
    for bundle in outbox.bundles(BundleState.SENT):
        if receipt := destination.receipt(bundle):
            _settle(outbox, bundle, receipt, say, sent)


def _settle(
    outbox: Outbox, bundle: Bundle, receipt: TransferReceipt, say: Callable[[str], None], sent: Sent
) -> None:
    outbox.settle(bundle, receipt)
    say(f"{bundle.name}: {'; '.join((receipt.status, *receipt.reasons))}")
    (sent.rejected if receipt.status == "rejected" else sent.accepted).append(bundle.name)


def _line(bundle: Bundle) -> str:
    when = f"built {bundle.manifest.created:%Y-%m-%d %H:%M}"
    if bundle.receipt:
        when += f", received {bundle.receipt.received_at:%Y-%m-%d %H:%M}"
    elif at := delivered_at(bundle):
        when += f", delivered {at[:16].replace('T', ' ')}"
    return f"{bundle.name}  {bundle.sha256[:12]}  {_WORDS[bundle.state]}  ({when})"


def refuse_rejected(sent: Sent) -> None:
    """Raise if a bundle was rejected.

    Raises
    ------
    BundleError
    """
    if sent.rejected:
        msg = (
            f"{', '.join(sent.rejected)}: rejected by the receiving side; see why with mesems-mri transfer "
            "status, correct it, build and send again"
        )
        raise BundleError(msg)
