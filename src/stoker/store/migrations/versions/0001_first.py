"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table, and the counters at 0."""
    _make_jobs()
    _make_attempts()
    _make_events()
    _make_feed()
    _make_metrics()
    _make_tombstones()
    _make_idempotency_keys()
    _make_api_keys()
    _make_counters()
    _make_meta()


def _make_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False, unique=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("priority", sa.BigInteger, nullable=False),
        sa.Column("head", sa.BigInteger, nullable=False),
        sa.Column("recipe", sa.String(64), nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("queued_at", sa.Double),
        sa.Column("not_before", sa.Double),
        sa.Column("started_at", sa.Double),
        sa.Column("completed_at", sa.Double),
        sa.Column("paused_at", sa.Double),
        sa.Column("stop_kind", sa.String(16)),
        sa.Column("stop_who", sa.Text),
        sa.Column("stop_why", sa.Text),
        sa.Column("stop_at", sa.Double),
        sa.Column("reason", sa.String(32)),
        sa.Column("error", sa.Text),
        sa.Column("exit_code", sa.BigInteger),
        sa.Column("signal", sa.Integer),
        sa.Column("unclean", sa.Boolean, nullable=False),
        sa.Column("lost_attempts", sa.Integer, nullable=False),
        sa.Column("retried_from", sa.String(128)),
        sa.Column("resume_from", sa.Text),
        sa.Column("body_hash", sa.String(128), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "sequence"])
    op.create_index("jobs_by_owner", "jobs", ["owner", "sequence"])
    op.create_index("jobs_in_queue", "jobs", ["state", sa.text("head DESC"), sa.text("priority DESC"), "sequence"])


def _make_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("job_id", sa.String(128), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("engine", sa.String(64), nullable=False),
        sa.Column("lease_owner", sa.String(255), nullable=False),
        sa.Column("lease_epoch", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("cursor", sa.Text, nullable=False),
        sa.Column("handle", sa.Text, nullable=False),
        sa.Column("gpus", sa.Text, nullable=False),
        sa.Column("overrides", sa.Text, nullable=False),
        sa.Column("progress", sa.Text, nullable=False),
        sa.Column("live", sa.Text, nullable=False),
        sa.Column("ending", sa.Text),
        sa.Column("receipt", sa.Text),
        sa.UniqueConstraint("job_id", "number"),
    )
    still_open = sa.text("ended_at IS NULL")
    op.create_index(
        "one_open_attempt", "attempts", ["job_id"], unique=True, sqlite_where=still_open, postgresql_where=still_open
    )


def _make_events() -> None:
    op.create_table(
        "events",
        sa.Column("job_id", sa.String(128), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("source", sa.String(16)),
        sa.Column("target", sa.String(16)),
        sa.Column("data", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _make_feed() -> None:
    op.create_table(
        "feed",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("job_id", sa.String(128), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )


def _make_metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("attempt_id", sa.String(64), sa.ForeignKey("attempts.id"), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.Column("epoch", sa.Double),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
        sa.Column("flags", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _make_tombstones() -> None:
    op.create_table(
        "tombstones",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("body_hash", sa.String(128), nullable=False),
        sa.Column("deleted_at", sa.Double, nullable=False),
    )


def _make_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.String(255), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("job_id", sa.String(128), nullable=False),
        sa.Column("body_hash", sa.String(128), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )


def _make_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("prefix", sa.String(64), primary_key=True),
        sa.Column("digest", sa.String(128), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.Column("last_used_at", sa.Double),
    )


def _make_counters() -> None:
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(counters, [{"name": name, "value": 0} for name in ("feed", "submit", "head", "term")])


def _make_meta() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
