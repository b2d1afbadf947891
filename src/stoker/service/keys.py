"""Keys: create, list, revoke, and tell whose a key is."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any, ClassVar

from stoker.domain.actor import Actor, Scope
from stoker.domain.errors import NotFound, Unauthenticated, invalid
from stoker.service.context import Context, require
from stoker.service.view import iso
from stoker.store.port import ApiKey, Store

KEY_FORM = re.compile(r"stk_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
OWNER_FORM = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
DEFAULT_SCOPES = frozenset({Scope.READ, Scope.SUBMIT, Scope.CANCEL})
TOUCH_SECONDS = 60.0
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRequest:
    """What a new key should be: whose, for what, until when (days from now, None for ever)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    owner: str
    name: str = ""
    scopes: tuple[str, ...] = tuple(sorted(scope.value for scope in DEFAULT_SCOPES))
    days: float | None = None


def create_key(store: Store, request: KeyRequest, now: float) -> tuple[str, ApiKey]:
    """Make a key of 256 random bits; its text is given here and never again. Raises `InvalidRequest`."""
    if not OWNER_FORM.fullmatch(request.owner):
        raise invalid("owner", f"'{request.owner}' is no owner's name", "Use 1 to 64 of a-z, 0-9, '.', '_' and '-'")
    unknown = sorted(set(request.scopes) - {scope.value for scope in Scope})
    if unknown or not request.scopes:
        known = ", ".join(scope.value for scope in Scope)
        raise invalid("scopes", f"{', '.join(unknown) or 'none'} given", f"Use one or more of {known}")
    if request.days is not None and not 0 < request.days < 36_500:  # noqa: PLR2004 - a century
        raise invalid("days", f"{request.days} is no span of days", "Use a number above 0, or leave it out")
    prefix = "".join(secrets.choice(_LETTERS) for _ in range(8))
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        prefix=prefix,
        digest=digest(secret),
        owner=request.owner,
        scopes=frozenset(Scope(scope) for scope in request.scopes),
        name=request.name,
        created_at=now,
        expires_at=None if request.days is None else now + 86_400 * request.days,
    )
    store.add_key(key)
    return f"stk_{prefix}_{secret}", key


def who_holds(store: Store, text: str, now: float) -> Actor:
    """Give the actor that a key stands for. Raises `Unauthenticated` in one wording for every fault."""
    form = KEY_FORM.fullmatch(text)
    key = store.find_key(form[1]) if form else None
    expected = key.digest if key else digest("")
    is_right = hmac.compare_digest(digest(form[2] if form else "-"), expected)
    if key is None or not is_right or key.revoked_at is not None or (key.expires_at or now) < now:
        raise Unauthenticated("The key is not valid. Make one with `stoker keys create`, or check that it is whole")
    if now - (key.last_used_at or 0.0) > TOUCH_SECONDS:
        store.touch_key(key.prefix, now)
    return Actor(owner=key.owner, scopes=key.scopes, key=key.prefix)


def list_keys(context: Context, actor: Actor) -> dict[str, Any]:
    """List the actor's keys, all keys for an admin, without their secrets."""
    require(actor, Scope.READ)
    owner = None if actor.may(Scope.ADMIN) else actor.owner
    return {"keys": [shown(key) for key in context.store.keys(owner)]}


def revoke_key(context: Context, actor: Actor, prefix: str) -> dict[str, Any]:
    """Revoke a key for ever: a key may revoke itself, any other needs the scope admin.

    Raises `Forbidden`, and `NotFound` for one that is not there, not valid, or another's.
    """
    key = context.store.find_key(prefix)
    if key is not None and actor.sees(key.owner) and prefix != actor.key:
        require(actor, Scope.ADMIN)
    if key is None or not actor.sees(key.owner) or not context.store.revoke_key(prefix, context.now()):
        raise NotFound(f"There is no valid key {prefix}. List the keys to see which there are")
    return {"success": True, "prefix": prefix, "message": "The key was revoked"}


def shown(key: ApiKey) -> dict[str, Any]:
    """Give a key as people see it."""
    return {
        "prefix": key.prefix,
        "owner": key.owner,
        "name": key.name,
        "scopes": sorted(scope.value for scope in key.scopes),
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
        "last_used_at": iso(key.last_used_at),
    }


def digest(secret: str) -> str:
    """Give what is stored of a key's secret. It has 256 random bits, so a plain hash can't be searched."""
    return hashlib.sha256(secret.encode()).hexdigest()
