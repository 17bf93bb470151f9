"""Tables of the reading: accounts, tasks, events, locks; what was decided is append-only, by triggers."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from mesems_mri.dataset.audit import trail_table
from mesems_mri.dataset.database import protect, time_column

DATABASE_VERSION = 1
"""Raised when the tables change; a database of another version is refused."""

metadata = MetaData()


reading = Table(
    "reading",
    metadata,
    Column("reading_id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("study_id", String(64), nullable=False),
    Column("database_version", Integer, nullable=False),
    Column("out_dir", Text, nullable=False),
    Column("mode", String(32), nullable=False),  # assisted, unassisted_then_assisted
    Column("order_hidden", Boolean, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("re_read_percent", Integer, nullable=False),
    Column("single", Boolean, nullable=False),
    time_column("created_at"),
)

account = Table(
    "account",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", String(200), nullable=False),
    Column("failed", Integer, nullable=False),
    time_column("blocked_until", nullable=True),
    time_column("created_at"),
    time_column("revoked_at", nullable=True),
)

session = Table(
    "session",
    metadata,
    Column("sha256", String(64), primary_key=True),  # of the token, which the browser alone has
    Column("name", ForeignKey("account.name"), nullable=False),
    Column("csrf", String(64), nullable=False),
    time_column("created_at"),
    time_column("seen_at"),
)

task = Table(
    "task",
    metadata,
    Column("task_id", String(24), primary_key=True),  # random: tells nothing of the visit
    Column("participant_id", String(80), nullable=False),
    Column("session_id", String(80), nullable=False),
    Column("reader", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("position", Integer, nullable=False),  # in the order of reading
    Column("label", String(40), nullable=False),
    time_column("assigned_at"),
    # a copy of the present state for lists; the events decide
    Column("revision", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("undecided", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    time_column("opened_at", nullable=True),
    time_column("signed_at", nullable=True),
    UniqueConstraint("participant_id", "session_id", "reader", "kind"),
)

event = Table(
    "event",
    metadata,
    Column("task_id", ForeignKey("task.task_id"), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    time_column("at"),
    Column("actor", String(64), nullable=False),
    Column("act", String(16), nullable=False),
    Column("content", Text, nullable=False),  # the event as JSON
    Column("sha256", String(64), nullable=False),  # of the content; the trail holds it too
)
"""Decisions as they were made; nothing is ever changed here."""

lock = Table(
    "lock",
    metadata,
    Column("participant_id", String(80), primary_key=True),
    Column("session_id", String(80), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    time_column("at"),
    Column("actor", String(64), nullable=False),
    Column("meaning", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("basis", String(64), nullable=False),  # hash of what the run had found
)
"""Visits that were locked, each version."""

unlock = Table(
    "unlock",
    metadata,
    Column("participant_id", String(80), primary_key=True),
    Column("session_id", String(80), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("step", String(16), primary_key=True),  # asked, confirmed
    time_column("at"),
    Column("actor", String(64), nullable=False),
    Column("reason", Text, nullable=False),
)
"""Unlocking takes two people: one asks with a reason, another one confirms."""

audit = trail_table(metadata)

APPEND_ONLY = (event, lock, unlock, audit)

Index("task_of_reader", task.c.reader, task.c.position)
Index("task_of_visit", task.c.participant_id, task.c.session_id)

for _table in APPEND_ONLY:
    protect(_table)
