"""Who calls: the holder of a key, or the server's own Unix user over a local connection; nobody else."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from stoker.api.origins import Headers
from stoker.api.workers import Workers
from stoker.domain.actor import LOCAL_ACTOR, Actor
from stoker.domain.errors import Unauthenticated
from stoker.service.context import Context
from stoker.service.keys import who_holds

FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"via")
"""Marks of a request that a proxy passed on: its peer is the proxy, which says nothing about who asks."""

_NOT_VALID = "The key is not valid. Send it whole, as `Authorization: Bearer stk_…`, or make one: `stoker keys create`"
_NO_KEY = (
    "No key came with the request, and it did not come from the user that runs this server. "
    "Send `Authorization: Bearer stk_…`; `stoker keys create` makes a key"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request, and the key that proved it (None for the server's own user)."""

    actor: Actor
    key: str | None = None

    async def still_valid(self, context: Context, workers: Workers) -> bool:
        """Tell whether the key has not been revoked and has not expired since."""
        if self.key is None:
            return True
        try:
            await workers.run(who_holds, context.store, self.key, context.now())
        except Unauthenticated:
            return False
        return True


async def find_caller(context: Context, workers: Workers, headers: Headers, state: MutableMapping[str, Any]) -> Caller:
    """Tell who calls. A key that is not valid is refused, from wherever it came. Raises `Unauthenticated`."""
    key = _key_of(headers)
    if key is not None:
        return Caller(await workers.run(who_holds, context.store, key, context.now()), key)
    if state.get("is_own") is True and not any(name in headers for name in FORWARDED):
        return Caller(LOCAL_ACTOR)
    raise Unauthenticated(_NO_KEY)


def _key_of(headers: Headers) -> str | None:
    """Give the key that a request shows, None if it shows nothing at all."""
    authorization, bare = headers.get(b"authorization"), headers.get(b"x-api-key")
    if authorization is None:
        return None if bare is None else bare.decode("latin-1").strip()
    scheme, _, key = authorization.decode("latin-1").strip().partition(" ")
    if scheme.lower() != "bearer" or (bare is not None and bare.decode("latin-1").strip() != key.strip()):
        raise Unauthenticated(_NOT_VALID)
    return key.strip()
