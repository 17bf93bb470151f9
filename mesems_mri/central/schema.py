"""Tables of the central database; received rows are append-only, which triggers enforce."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
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


trial = Table(
    "trial",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("study_id", String(64), nullable=False),
    Column("database_version", Integer, nullable=False),
    time_column("created_at"),
)

site = Table(
    "site",
    metadata,
    Column("site_id", String(64), primary_key=True),
    time_column("added_at"),
    Column("added_by", String(200), nullable=False),
)

public_key = Table(
    "public_key",
    metadata,
    Column("site_id", ForeignKey("site.site_id"), primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
    Column("pem", Text, nullable=False),
    time_column("added_at"),
    time_column("revoked_at", nullable=True),
)

token = Table(
    "token",
    metadata,
    Column("token_id", String(16), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("site_id", ForeignKey("site.site_id")),  # of a sender; the other roles have none
    Column("holder", String(200), nullable=False),
    time_column("created_at"),
    time_column("expires_at"),
    time_column("revoked_at", nullable=True),
)

schedule = Table(
    "schedule",
    metadata,
    Column("schedule_id", Integer, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False),
    time_column("imported_at"),
    Column("imported_by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
)
"""Every version of the trial's visit schedule; the last one holds."""

expected_visit = Table(
    "expected_visit",
    metadata,
    Column("schedule_id", ForeignKey("schedule.schedule_id"), primary_key=True),
    Column("participant_id", String(80), primary_key=True),
    Column("session_id", String(80), primary_key=True),
    Column("site_id", ForeignKey("site.site_id"), nullable=False),
    Column("visit_type", String(16), nullable=False),
    Column("week", Integer),
    Column("day", Integer),  # days after the planned baseline; no date is kept here
    Column("window_minus_days", Integer, nullable=False),
    Column("window_plus_days", Integer, nullable=False),
)

transfer = Table(
    "transfer",
    metadata,
    Column("transfer_id", Integer, primary_key=True, autoincrement=False),
    Column("manifest_sha256", String(64), nullable=False, unique=True),
    Column("site_id", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    time_column("received_at"),
    Column("received_from", String(200), nullable=False),
    Column("receipt", Text, nullable=False),
    ForeignKeyConstraint(["site_id", "fingerprint"], ["public_key.site_id", "public_key.fingerprint"]),
    UniqueConstraint("site_id", "sequence"),  # one history per site, whatever happens at the same time
)

rejection = Table(
    "rejection",
    metadata,
    Column("manifest_sha256", String(64), primary_key=True),
    Column("site_id", String(64), nullable=False),
    time_column("received_at"),
    Column("receipt", Text, nullable=False),
)
"""Signed bundles that were refused: the sender was told that they never will be accepted."""

stored_file = Table(
    "stored_file",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),  # zlib
)
"""Files as they came, each content once: cumulative bundles repeat much of the one before."""

transfer_file = Table(
    "transfer_file",
    metadata,
    Column("transfer_id", ForeignKey("transfer.transfer_id"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("sha256", ForeignKey("stored_file.sha256"), nullable=False),
)

record = Table(
    "record",
    metadata,
    Column("site_id", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),  # the table it is a row of
    Column("record_key", String(200), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("transfer_id", ForeignKey("transfer.transfer_id"), nullable=False, index=True),
    Column("participant_id", String(80), nullable=False),
    Column("session_id", String(80), nullable=False),
    Column("content", Text, nullable=False),  # the row as JSON; of a removed one, as it was last
    Column("removed", Boolean, nullable=False),
    Column("changed", Text, nullable=False),  # ;-joined columns that differ from the version before
    Column("reason", Text, nullable=False),  # why; empty for a first version
)
"""Every version of every row received; the last version holds."""

audit = trail_table(metadata)

APPEND_ONLY = (schedule, expected_visit, transfer, rejection, stored_file, transfer_file, record, audit)

Index("record_visit", record.c.participant_id, record.c.session_id)


for _table in APPEND_ONLY:
    protect(_table)
