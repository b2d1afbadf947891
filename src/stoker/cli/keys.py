"""stoker keys: create, list and revoke API keys, through the running server or on the home itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stoker.cli import options
from stoker.cli.connect import connect
from stoker.cli.output import age, emit, note, say, table, tell
from stoker.client import ServerUnreachable

if TYPE_CHECKING:
    from stoker.settings import Settings
    from stoker.store.port import Store

LOCAL = "local"


@click.group("keys")
def command() -> None:
    """Create, list and revoke API keys: through the running server, or on the home where none runs."""


@command.command("create")
@click.option("--owner", default=LOCAL, metavar="NAME", help="Whose key it is; other owners' jobs stay hidden from it. "
              "Default: local.")  # fmt: skip
@click.option("--name", default="", metavar="TEXT", help="What it is for.")
@click.option("--scope", "-s", multiple=True, metavar="SCOPE", help="read, submit, cancel, command or admin. "
              "Repeatable. Default: read, submit and cancel.")  # fmt: skip
@click.option("--days", type=float, metavar="N", help="How long it is valid. Default: for ever.")
@options.home
@options.url
@options.as_json
def create(
    *,
    owner: str,
    name: str,
    scope: tuple[str, ...],
    days: float | None,
    home: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Make a key and print it, this once. It can be made before the first start of a server, too."""
    request = {"owner": owner, "name": name, "days": days} | ({"scopes": list(scope)} if scope else {})
    with _server_or_home(url, home) as (client, store):
        answer = client.create_key(_known(request)) if client else _create_on(store, _known(request))
    if as_json:
        emit(answer)
        return
    say(str(answer["key"]))
    note("Keep it: it is shown this once. Use it as STOKER_API_KEY, or as `Authorization: Bearer <key>`.")


@command.command("list")
@options.home
@options.url
@options.as_json
def list_(home: str | None, url: str | None, as_json: bool) -> None:
    """List the keys, without their secrets."""
    with _server_or_home(url, home) as (client, store):
        found = client.keys()["keys"] if client else _list_on(store)
    if as_json:
        emit({"keys": found})
        return
    table(("PREFIX", "OWNER", "NAME", "SCOPES", "AGE", "LAST USED", "STATE"), [tuple(_row(key)) for key in found])


@command.command("revoke")
@click.argument("prefix")
@options.home
@options.url
@options.as_json
def revoke(prefix: str, home: str | None, url: str | None, as_json: bool) -> None:
    """Revoke a key for ever. PREFIX is the eight letters after stk_."""
    prefix = prefix.removeprefix("stk_").partition("_")[0]
    with _server_or_home(url, home) as (client, store):
        answer = client.revoke_key(prefix) if client else _revoke_on(store, prefix)
    tell(answer, as_json=as_json)


@contextmanager
def _server_or_home(url: str | None, home: str | None) -> Iterator[tuple[Any, Any]]:
    """Give the client of the running server, or the store of a home on which none runs."""
    settings, named = _settings(home), url or (None if home is not None else os.environ.get("STOKER_URL"))
    with connect(named or f"unix:{settings.socket}") as client:
        try:
            client.health()
        except ServerUnreachable:
            if named:
                raise
        else:
            yield client, None
            return
    from stoker.bootstrap import open_home

    with open_home(settings) as store:
        yield None, store


def _settings(home: str | None) -> Settings:
    from stoker.settings import from_environment

    return from_environment(os.environ, home=Path(home).expanduser() if home else None)


def _known(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if value is not None}


def _create_on(store: Store, request: Mapping[str, Any]) -> dict[str, Any]:
    from stoker.service.keys import KeyRequest, create_key, shown

    text, key = create_key(store, KeyRequest(**request), time.time())
    return {"key": text, **shown(key)}


def _list_on(store: Store) -> list[dict[str, Any]]:
    from stoker.service.keys import shown

    return [shown(key) for key in store.keys()]  # noqa: SIM118 - a store is no dict


def _revoke_on(store: Store, prefix: str) -> dict[str, Any]:
    from stoker.domain.errors import NotFound

    if not store.revoke_key(prefix, time.time()):
        raise NotFound(f"There is no valid key {prefix}. `stoker keys list` shows which there are")
    return {"success": True, "prefix": prefix, "message": "The key was revoked"}


def _row(key: Mapping[str, Any]) -> Iterator[str]:
    yield key["prefix"]
    yield key["owner"]
    yield key["name"]
    yield ",".join(key["scopes"])
    yield age(key["created_at"])
    yield age(key["last_used_at"]) or "never"
    yield "revoked" if key["revoked_at"] else f"until {key['expires_at'][:10]}" if key["expires_at"] else "valid"
