"""Keys, by the prefix that people see; secrets are never here."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from stoker.domain.errors import Conflict
from stoker.store.codec import KEY_COLUMNS, decode_key, encode_key
from stoker.store.port import ApiKey
from stoker.store.schema import api_keys
from stoker.store.transaction import Transaction

TOUCH_SECONDS = 60.0
"""How old `last_used_at` may be; a write for every request would cost each an fsync."""

_ALL = select(*KEY_COLUMNS).order_by(api_keys.c.created_at, api_keys.c.prefix)
_OF_OWNER = _ALL.where(api_keys.c.owner == bindparam("owner"))
_ONE = select(*KEY_COLUMNS).where(api_keys.c.prefix == bindparam("prefix"))
_ADD = insert(api_keys)
_REVOKE = update(api_keys).where(
    api_keys.c.prefix == bindparam("_prefix"),
    api_keys.c.revoked_at.is_(None),
    or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > bindparam("_at")),
)
_TOUCH = update(api_keys).where(api_keys.c.prefix == bindparam("_prefix"))


def add(tx: Transaction, key: ApiKey) -> None:
    """See `Store.add_key`."""
    if find(tx.connection, key.prefix) is not None:
        raise Conflict(f"There is a key {key.prefix} already. Make another one")
    tx.connection.execute(_ADD, encode_key(key))


def listing(connection: Connection, owner: str | None) -> list[ApiKey]:
    """See `Store.keys`."""
    rows = connection.execute(_ALL) if owner is None else connection.execute(_OF_OWNER, {"owner": owner})
    return [decode_key(row) for row in rows.all()]


def find(connection: Connection, prefix: str) -> ApiKey | None:
    """See `Store.find_key`."""
    row = connection.execute(_ONE, {"prefix": prefix}).first()
    return None if row is None else decode_key(row)


def revoke(tx: Transaction, prefix: str, at: float) -> bool:
    """See `Store.revoke_key`."""
    return tx.connection.execute(_REVOKE, {"_prefix": prefix, "_at": at, "revoked_at": at}).rowcount == 1


def is_worth_touching(connection: Connection, prefix: str, at: float) -> bool:
    """Tell whether the last use on record is old enough to write a new one."""
    key = find(connection, prefix)
    return key is not None and (key.last_used_at is None or at - key.last_used_at >= TOUCH_SECONDS)


def touch(tx: Transaction, prefix: str, at: float) -> None:
    """Record a use."""
    tx.connection.execute(_TOUCH, {"_prefix": prefix, "last_used_at": at})
