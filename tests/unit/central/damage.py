"""Bundles with one damage each, signed by the right key."""

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesems_mri.central import content
from mesems_mri.central.rejection import RejectedError
from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.errors import BundleError, ForbiddenColumnError
from mesems_mri.transfer.manifest import FILES
from mesems_mri.transfer.verify import verify_bundle
from tests.unit.central.bundles import Bundle, entries, lesion, query, sign, table, visit

GOOD = Bundle(
    [visit("sub-001", 0, [lesion(1)]), visit("sub-001", 4, reason="artefact")],
    [query(1, "sub-002", 0)],
)
"""A bundle that is right."""
BAD_VALUES = (
    "",
    "-1",
    "1e999",
    "nan",
    "TRUE",
    "n/a",
    "0x1",
    "'; DROP TABLE record; --",
    "\u202e",
    "S02",
    "9" * 400,
)
FREE = {
    "software_version",
    "gel_reference_session_id",
    "t2_reference_session_id",
    "week",
    "day_from_baseline",
    "t2_interval_days",
}
"""Columns that may hold some of these values, or are compared with the visit schedule only."""
Damaged = tuple[dict[str, bytes], dict[str, Any], list[str]]


def damaged(folder: Path, key: Ed25519PrivateKey, number: int) -> Iterator[None]:
    """Damage the bundle of a folder in another way each time: a byte, a value, a row, the manifest."""
    random_ = random.Random(6)
    right, head = GOOD.files(), GOOD.head()
    for way in itertools.islice(itertools.cycle(WAYS), number):
        files, manifest, touched = way(random_, dict(right), dict(head))
        for name in touched:
            (folder / name).write_bytes(files[name])
        sign(folder, key, manifest)
        yield
        for name in touched:
            (folder / name).write_bytes(right[name])
    sign(folder, key, head | {"files": entries(right)})


def check_refused(folder: Path, key: Ed25519PrivateKey, number: int) -> None:
    """Check that every damaged bundle is refused, with a sentence."""
    for _ in damaged(folder, key, number):
        with pytest.raises((RejectedError, BundleError, ForbiddenColumnError)) as refusal:
            content.read_tables(folder, verify_bundle(folder, key.public_key()))
        assert "\n" not in str(refusal.value)
        assert len(str(refusal.value)) > 20


def flip_byte(random_: random.Random, files: dict[str, bytes], head: dict[str, Any]) -> Damaged:
    name = random_.choice(FILES)
    head["files"] = entries(files)
    damaged = bytearray(files[name])
    damaged[random_.randrange(len(damaged))] ^= 1 << random_.randrange(8)
    files[name] = bytes(damaged)
    return files, head, [name]


def change_value(random_: random.Random, files: dict[str, bytes], head: dict[str, Any]) -> Damaged:
    row = {**GOOD.visits[0][0]}
    column = random_.choice([name for name in VISIT_METRICS_COLUMNS if name not in FREE])
    row[column] = random_.choice([v for v in BAD_VALUES if v != (row.get(column) or "")])
    damaged = table(tuple(VISIT_METRICS_COLUMNS), [row, GOOD.visits[1][0]])
    files["visit_metrics.csv"] = damaged
    return files, head | {"files": entries(files)}, ["visit_metrics.csv"]


def drop_or_repeat_row(random_: random.Random, files: dict[str, bytes], head: dict[str, Any]) -> Damaged:
    name = random_.choice(("visit_metrics.csv", "lesions.csv"))
    first, *rows = files[name].splitlines(keepends=True)
    rows = rows * 2 if random_.random() < 0.5 else rows[1:]
    files[name] = b"".join([first, *rows])
    return files, head | {"files": entries(files)}, [name]


def change_manifest(random_: random.Random, files: dict[str, bytes], head: dict[str, Any]) -> Damaged:
    head["files"] = json.loads(json.dumps(entries(files)))
    if random_.random() < 0.5:
        entry = random_.choice(head["files"])
        entry[random_.choice(tuple(entry))] = random_.choice(("../x", None, -1, [], {"a": 1}, "x" * 64))
    else:
        name = random_.choice([name for name in head if name != "software_version"])
        head[name] = random_.choice([v for v in (None, -1, [1], "../../x", "\0", 1.5) if v != head[name]])
    return files, head, []


WAYS = (flip_byte, change_value, drop_or_repeat_row, change_manifest)
