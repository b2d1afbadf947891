"""Bringing a database to the newest schema when it is opened, in the caller's transaction or not at all."""

from __future__ import annotations

import uuid
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, select

from stoker.domain.errors import HomeUnusable
from stoker.store.schema import meta

_SCRIPTS = str(Path(__file__).parent / "migrations")


def migrate(connection: Connection, name: str) -> None:
    """Run what is missing on the database that people know as `name`, and give it its home id if it has none.

    Raises `HomeUnusable` for a schema that this version does not know, and for a foreign database.
    """
    config = Config()
    config.set_main_option("script_location", _SCRIPTS.replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current != scripts.get_current_head():
        _refuse_unknown(connection, scripts, current, name)
        command.upgrade(config, "head")
    _name_home(connection)


def _refuse_unknown(connection: Connection, scripts: ScriptDirectory, current: str | None, name: str) -> None:
    known = {revision.revision for revision in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise HomeUnusable(
            f"The database {name} was written by a newer Stoker (schema {current}). Install that version again, "
            "or use another --home"
        )
    if current is None and inspect(connection).get_table_names():
        raise HomeUnusable(f"{name} is a database of something else. Use another --home")


def _name_home(connection: Connection) -> None:
    if connection.execute(select(meta.c.value).where(meta.c.key == "home_id")).first() is None:
        connection.execute(insert(meta).values(key="home_id", value=uuid.uuid4().hex))
