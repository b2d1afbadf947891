"""stoker serve: start the server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stoker.cli import options
from stoker.cli.output import note

if TYPE_CHECKING:
    from stoker.settings import Settings


@click.command("serve")
@options.home
@click.option("--runs", metavar="DIR", help="Where checkpoints and models go. Default: within the home.")
@click.option("--host", metavar="HOST", help="The address to listen on. Default: 127.0.0.1. Others need a key first.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="PORT", help="Default: 8000. 0 takes a free one.")
@click.option("--slots", type=click.IntRange(min=1), metavar="N", help="How many jobs run at once. Default: 1.")
@click.option("--data-root", "data_roots", multiple=True, metavar="DIR", help="What requests with a key may read. "
              "Repeatable.")  # fmt: skip
@click.option("--allowed-host", "allowed_hosts", multiple=True, metavar="NAME", help="A name beyond loopback by which "
              "it may be addressed. Repeatable.")  # fmt: skip
@click.option("--json-logs", is_flag=True, help="Log in JSON, one object per line.")
def command(json_logs: bool, **flags: Any) -> None:
    """Start the server. However it ends, every job goes on."""
    from stoker import logs
    from stoker.api.serve import serve
    from stoker.bootstrap import build
    from stoker.settings import from_environment

    settings = from_environment(os.environ, **{name: _value(name, flag) for name, flag in flags.items()})
    logs.configure(as_json=json_logs)

    def tell(port: int) -> None:
        if not json_logs:
            _tell(settings, port)

    serve(settings, build, tell)


def _tell(settings: Settings, port: int) -> None:
    """Say where the server is and how it is stopped; called once its port and its home are its own."""
    note(f"Stoker listens on http://{settings.host}:{port} and, for its own user, on {settings.socket}")
    note(f"Home: {settings.home}   Jobs: {settings.jobs_root}   Slots: {settings.slots}")
    note("Stop it with Ctrl-C or SIGTERM; jobs that run go on, and are found again at the next start.")


def _value(name: str, given: Any) -> Any:
    """Give a flag as the settings want it, None for one that was not given."""
    match name:
        case "home" | "runs":
            return None if given is None else Path(given).expanduser().absolute()
        case "data_roots":
            return tuple(Path(one).expanduser().absolute() for one in given) or None
        case "allowed_hosts":
            return given or None
        case _:
            return given
