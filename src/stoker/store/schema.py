"""The tables, as the newest migration leaves them. JSON is kept as text, times as seconds since 1970, UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("head", BigInteger, nullable=False),
    Column("recipe", String(64), nullable=False),
    Column("user_id", Text),
    Column("name", Text),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("queued_at", Double),
    Column("not_before", Double),
    Column("started_at", Double),
    Column("completed_at", Double),
    Column("paused_at", Double),
    Column("stop_kind", String(16)),
    Column("stop_who", Text),
    Column("stop_why", Text),
    Column("stop_at", Double),
    Column("reason", String(32)),
    Column("error", Text),
    Column("exit_code", BigInteger),
    Column("signal", Integer),
    Column("unclean", Boolean, nullable=False),
    Column("lost_attempts", Integer, nullable=False),
    Column("retried_from", String(128)),
    Column("resume_from", Text),
    Column("body_hash", String(128), nullable=False),
    Column("spec", Text, nullable=False),  # last, because it can be long and rows are read from their beginning
)
Index("jobs_by_state", jobs.c.state, jobs.c.sequence)
Index("jobs_by_owner", jobs.c.owner, jobs.c.sequence)
Index("jobs_in_queue", jobs.c.state, jobs.c.head.desc(), jobs.c.priority.desc(), jobs.c.sequence)

attempts = Table(
    "attempts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("job_id", String(128), ForeignKey("jobs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("engine", String(64), nullable=False),
    Column("lease_owner", String(255), nullable=False),
    Column("lease_epoch", BigInteger, nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("cursor", Text, nullable=False),
    Column("handle", Text, nullable=False),
    Column("gpus", Text, nullable=False),
    Column("overrides", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("live", Text, nullable=False),
    Column("ending", Text),
    Column("receipt", Text),
    UniqueConstraint("job_id", "number"),
)
Index(
    "one_open_attempt",
    attempts.c.job_id,
    unique=True,
    sqlite_where=text("ended_at IS NULL"),
    postgresql_where=text("ended_at IS NULL"),
)

events = Table(
    "events",
    metadata,
    Column("job_id", String(128), ForeignKey("jobs.id"), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("at", Double, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("source", String(16)),
    Column("target", String(16)),
    Column("data", Text, nullable=False),
    sqlite_with_rowid=False,
)

feed = Table(
    "feed",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("job_id", String(128), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("at", Double, nullable=False),
    Column("data", Text, nullable=False),
)

metrics = Table(
    "metrics",
    metadata,
    Column("attempt_id", String(64), ForeignKey("attempts.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", Double, nullable=False),
    Column("step", BigInteger),
    Column("epoch", Double),
    Column("kind", String(32), nullable=False),
    Column("figures", Text, nullable=False),
    Column("flags", Text, nullable=False),
    sqlite_with_rowid=False,
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("body_hash", String(128), nullable=False),
    Column("deleted_at", Double, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("job_id", String(128), nullable=False),
    Column("body_hash", String(128), nullable=False),
    Column("at", Double, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("prefix", String(64), primary_key=True),
    Column("digest", String(128), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""`feed`, `submit`, `head` and `term`: each the last number given out. Rows, because sequences commit out of order."""

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
