"""A receiving side with two sites and the visits that are due."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import func, select

from mesems_mri.central import schema
from mesems_mri.central.receipts import Decision
from mesems_mri.central.receive import Source, receive
from mesems_mri.central.schedule import read_schedule, replace_schedule
from mesems_mri.central.sites import add_key, add_site
from mesems_mri.central.store import Store
from mesems_mri.transfer.keys import public_pem
from tests.unit.central.bundles import STUDY, WEEKS, Bundle, pack

HEAD = (
    "site_id\tparticipant_id\tsession_id\tweek\tplanned_date\twindow_minus_days\twindow_plus_days\tvisit_type"
)
STARTS = {0: "2026-01-05", 4: "2026-02-02", 12: "2026-03-30", 24: "2026-06-22"}
HOMES = {"sub-001": "S01", "sub-002": "S01", "sub-101": "S02"}


def write_schedule(path: Path, homes: dict[str, str] = HOMES) -> Path:
    lines = [
        f"{site}\t{participant}\tses-w{week:02}\t{week}\t{STARTS[week]}\t5\t5\tscheduled"
        for participant, site in homes.items()
        for week in WEEKS
    ]
    path.write_text("\n".join([HEAD, *lines]) + "\n")
    return path


def register(store: Store, table: Path, keys: Mapping[str, Ed25519PublicKey], study_id: str = STUDY) -> None:
    """Make a trial in an empty database: its sites, their keys, its visit schedule."""
    store.create(study_id, "admin")
    with store.writing() as connection:
        for site_id, key in keys.items():
            add_site(connection, site_id, "admin")
            add_key(connection, site_id, public_pem(key), "admin")
        replace_schedule(connection, read_schedule(table), table.read_bytes(), by="admin", reason="begin")


def set_up(store: Store, table: Path) -> dict[str, Ed25519PrivateKey]:
    """Make the trial in an empty database; return the keys of its sites."""
    keys = {site_id: Ed25519PrivateKey.generate() for site_id in ("S01", "S02")}
    register(store, table, {site_id: key.public_key() for site_id, key in keys.items()})
    return keys


class Trial:
    """A receiving side and the keys of those who send to it."""

    def __init__(self, store: Store, keys: dict[str, Ed25519PrivateKey], folder: Path) -> None:
        self.store, self.keys, self.folder = store, keys, folder
        self.made = 0

    def archive(self, bundle: Bundle, key: Ed25519PrivateKey | None = None) -> tuple[Path, str]:
        """The archive of a bundle and the SHA-256 of its manifest."""
        self.made += 1
        folder = self.folder / f"bundle{self.made}"
        digest = bundle.write(folder, key or self.keys[bundle.site_id])
        return pack(folder, self.folder / f"bundle{self.made}.tar"), digest

    def send(self, bundle: Bundle, **source: str) -> Decision:
        return receive(self.store, self.archive(bundle)[0], Source(**({"by": "tester"} | source)))

    def counts(self) -> dict[str, int]:
        """Numbers of rows of what was received."""
        tables = (schema.transfer, schema.record, schema.stored_file, schema.transfer_file)
        with self.store.reading() as connection:
            return {t.name: connection.scalar(select(func.count()).select_from(t)) or 0 for t in tables}

    def rows(self, wanted: Any) -> list[Any]:
        with self.store.reading() as connection:
            return list(connection.execute(wanted).mappings())


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    store = Store(f"sqlite:///{tmp_path / 'central.db'}")
    keys = set_up(store, write_schedule(tmp_path / "visits.tsv"))
    yield Trial(store, keys, tmp_path)
    store.close()


Sender = Callable[[Bundle], Decision]
