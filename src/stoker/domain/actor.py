"""Who asks: every verb of the service takes an actor and shows them only what is theirs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do. `ADMIN` includes the others; `COMMAND` is the right to run any argv."""

    READ = "read"
    SUBMIT = "submit"
    CANCEL = "cancel"
    COMMAND = "command"
    ADMIN = "admin"


ALL_SCOPES = frozenset(Scope)
LOCAL_OWNER = "local"


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """The caller: an owner's name, what they may do, and whether they are the server's own Unix user.

    The own local user may name any path that they can read; all others only paths under the data roots. `key` is the
    prefix of the key that proved who asks, if one did.
    """

    owner: str
    scopes: frozenset[Scope]
    is_local: bool = False
    key: str | None = None

    def may(self, scope: Scope) -> bool:
        """Tell whether the actor holds `scope`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, owner: str) -> bool:
        """Tell whether things of `owner` are visible to the actor."""
        return owner == self.owner or Scope.ADMIN in self.scopes


LOCAL_ACTOR = Actor(owner=LOCAL_OWNER, scopes=ALL_SCOPES, is_local=True)
