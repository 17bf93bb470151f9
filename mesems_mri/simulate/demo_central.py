"""The end of the demonstration: bundles of its trial, received by a data centre of its own."""

from collections.abc import Callable
from pathlib import Path

from mesems_mri.central.inbox import ingest
from mesems_mri.central.reconcile import describe, reconcile
from mesems_mri.central.schedule import read_schedule, replace_schedule
from mesems_mri.central.sites import add_key, add_site
from mesems_mri.central.store import Store
from mesems_mri.config import Access
from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.dataset.tables import read_table
from mesems_mri.transfer.build import BuildRequest, build
from mesems_mri.transfer.keys import make_keys, public_pem
from mesems_mri.transfer.send import collect_receipts, send


def send_to_central(sheet: Path, out_dir: Path, central: Path, say: Callable[[str], None]) -> None:
    """Build a signed bundle of each site, let a data centre of the demonstration receive them, reconcile.

    Parameters
    ----------
    sheet : Path
        Visit table of the trial.
    out_dir : Path
        Output folder of the run.
    central : Path
        Folder to create: key, inbox and database (SQLite).
    say : callable
        Takes one line.
    """
    inbox, key, by = central / "inbox", central / "transfer.key", "demo"
    inbox.mkdir(parents=True)
    public = public_pem(make_keys(key))
    rows = read_table(out_dir / "visit_metrics.tsv", VISIT_METRICS_COLUMNS)
    store = Store(str(central / "central.db"))
    store.create(str(rows[0]["study_id"]), by)
    with store.writing() as connection:
        for site_id in sorted({str(row["site_id"]) for row in rows}):
            add_site(connection, site_id, by)
            add_key(connection, site_id, public, by)
        replace_schedule(connection, read_schedule(sheet), sheet.read_bytes(), by=by, reason="start")
    access = Access(destination=str(inbox))
    build(BuildRequest(out_dir=out_dir, key_file=str(key), sheet=sheet), _indented(say))
    send(out_dir, access, _indented(say))
    list(ingest(store, inbox, by=by))  # what became of each is in its receipt
    collect_receipts(out_dir, access, _indented(say))
    say("expected against received:")
    with store.reading() as connection:
        for line in describe(reconcile(connection), all_visits=True):
            _indented(say)(line)
    store.close()


def _indented(say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: say(f"  {line}")
