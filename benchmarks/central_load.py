"""Load on the receiving side: 50 senders at once, and one inbox with 1,000 visits.

``python -m benchmarks.central_load`` starts the service on databases of its own, SQLite and, where it is
installed (as root: it starts one), PostgreSQL; lets every sender send its chain of cumulative bundles over
HTTP; and prints two tables.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesems_mri.central.inbox import ingest
from mesems_mri.central.schedule import read_schedule, replace_schedule
from mesems_mri.central.sites import Role, add_key, add_site, add_token
from mesems_mri.central.store import Store
from mesems_mri.transfer.keys import public_pem
from tests.system.postgres import Postgres, installed
from tests.system.service import Service
from tests.unit.central.bundles import STUDY, WEEKS, Bundle, lesion, pack, visit
from tests.unit.central.conftest import write_schedule

LESIONS = [lesion(number, "t2") for number in range(1, 20)] + [lesion(20)]
"""20 rows of the ledger a visit, as in the trial the package is made for."""
HEAD = "| database | senders | transfers | visits | refused | transfers/s | p50 s | p95 s | max s | MiB |"


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[min(int(part * len(values)), len(values) - 1)]


def senders(database: str, folder: Path, number: int, bundles: int) -> str:
    """Let senders send their chains at once; return a row of the table."""
    sites = [f"S{n:02}" for n in range(1, number + 1)]
    people = {f"sub-{site}{n}": site for site in sites for n in range(1, bundles + 1)}
    service = Service(database, folder / "service", dict.fromkeys(["sub-001"], "S01"))
    keys = {}
    with service.trial.store.writing() as connection:
        for site in sites:
            keys[site] = Ed25519PrivateKey.generate()
            if site not in service.tokens:
                add_site(connection, site, "benchmark")
            add_key(connection, site, public_pem(keys[site].public_key()), "benchmark")
            service.tokens[site] = add_token(connection, Role.SENDER, site, "benchmark", days=1, site_id=site)
        table = write_schedule(folder / "people.tsv", people)
        replace_schedule(connection, read_schedule(table), table.read_bytes(), by="benchmark", reason="load")
    chains = {site: _chain(folder / "bundles", site, keys[site], people, bundles) for site in sites}
    service.start()
    seconds: list[float] = []
    codes: list[int] = []

    def send(site: str) -> None:
        for archive, digest in chains[site]:
            began = time.perf_counter()
            codes.append(service.post(archive, digest, site, timeout=300).status_code)
            seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(send, sites))
    whole, peak = time.perf_counter() - began, service.peak_mib()
    name = service.trial.store.engine.dialect.name
    service.close()
    sent = number * bundles
    refused = sum(code != 201 for code in codes)
    return (
        f"| {name} | {number} | {sent} | {sent * len(WEEKS)} | {refused} | {sent / whole:.1f} "
        f"| {quantile(seconds, 0.5):.2f} | {quantile(seconds, 0.95):.2f} | {max(seconds):.2f} | {peak:.0f} |"
    )


def _chain(
    folder: Path, site: str, key: Ed25519PrivateKey, people: dict[str, str], bundles: int
) -> list[tuple[Path, str]]:
    """Write cumulative bundles of a site, each with one participant more."""
    own = [participant for participant, home in people.items() if home == site]
    made, previous = [], None
    for sequence in range(1, bundles + 1):
        visits = [visit(p, week, LESIONS, site_id=site) for p in own[:sequence] for week in WEEKS]
        place = folder / f"{site}_{sequence}"
        bundle = Bundle(visits, sequence=sequence, previous=previous, site_id=site)
        previous = bundle.write(place, key)
        made.append((pack(place, folder / f"{site}_{sequence}.tar"), previous))
    return made


def thousand(database: str, folder: Path) -> str:
    """Ingest one bundle of 1,000 visits from an inbox; return a row of the table."""
    people = {f"sub-{number:04}": "S01" for number in range(1, 251)}
    store, key = Store(database), Ed25519PrivateKey.generate()
    store.create(STUDY, "benchmark")
    table = write_schedule(folder / "thousand.tsv", people)
    with store.writing() as connection:
        add_site(connection, "S01", "benchmark")
        add_key(connection, "S01", public_pem(key.public_key()), "benchmark")
        replace_schedule(connection, read_schedule(table), table.read_bytes(), by="benchmark", reason="load")
    inbox = folder / "inbox"
    inbox.mkdir()
    digest = Bundle([visit(p, w, LESIONS) for p in people for w in WEEKS]).write(folder / "thousand", key)
    archive = pack(folder / "thousand", inbox / f"S01_000001_{digest}.tar")
    size, began = archive.stat().st_size / 2**20, time.perf_counter()
    (taken,) = ingest(store, inbox, by="benchmark")
    seconds, name = time.perf_counter() - began, store.engine.dialect.name
    store.close()
    status = taken.decision.receipt.status if taken.decision else "left"
    return f"| {name} | 1,000 | {1000 * len(LESIONS):,} | {size:.1f} | {status} | {seconds:.1f} |"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--senders", type=int, default=50)
    parser.add_argument("--bundles", type=int, default=5, help="of each sender")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        postgres = Postgres() if installed() else None
        if postgres:
            stack.callback(postgres.remove)
        print(HEAD + "\n" + "|---" * HEAD.count(" | ") + "|---|")
        for database, work in _databases(folder / "senders", postgres):
            print(senders(database, work, options.senders, options.bundles), flush=True)
        print("\n| database | visits | lesion rows | MiB | outcome | s |\n|---|---|---|---|---|---|")
        for database, work in _databases(folder / "thousand", postgres):
            print(thousand(database, work), flush=True)


def _databases(folder: Path, postgres: Postgres | None) -> Iterator[tuple[str, Path]]:
    """Yield empty databases, each with a folder."""
    for name in ("sqlite", *(["postgresql"] if postgres else [])):
        work = folder / name
        work.mkdir(parents=True)
        yield postgres.database(folder.name) if postgres and name != "sqlite" else f"{work}/central.db", work


if __name__ == "__main__":
    main(sys.argv[1:])
