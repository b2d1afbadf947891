"""The command line: finds the command, imports it alone, and turns every error into a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from stoker.cli import exits, output
from stoker.domain.errors import StokerError

COMMANDS = {
    "serve": "Start the server.",
    "submit": "Queue a job.",
    "ls": "List jobs, with their progress and why they wait.",
    "show": "Show everything about a job.",
    "watch": "Watch a job until it ends.",
    "logs": "Show what a job printed.",
    "metrics": "Show what a trainer reported.",
    "events": "Show everything that happened to a job.",
    "errors": "Show why a job failed.",
    "checkpoints": "List what a job saved.",
    "cancel": "End jobs.",
    "pause": "Let jobs save their work and stop.",
    "resume": "Let a paused job go on.",
    "priority": "Change where a job stands in the queue.",
    "force-start": "Start a job next, or an ended one again.",
    "delete": "Delete jobs that have ended.",
    "queue": "Show what runs and what waits, and why.",
    "reconnect": "Compare the records with what really runs.",
    "keys": "Create, list and revoke API keys.",
    "doctor": "Say what is wrong with this machine and how to mend it.",
    "demo": "See it work: train, crash, go on, cancel. About two minutes.",
}
"""Every command in the order of its listing. Each is `command` in a module of its own, imported when it is named."""


class Commands(click.Group):
    """The commands, listed without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Give the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"stoker.cli.{cmd_name.replace('-', '_')}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group("stoker", cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="stoker", message="stoker %(version)s")
def stoker() -> None:
    """Stoker tends training runs: it queues them, runs them, watches them, and tells the truth about them."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = run(words)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        code = exits.Exit.OK
    finally:
        _flush()
    sys.exit(code)


def run(words: list[str]) -> int:
    """Run one command and give its exit code."""
    words, behind = _split(words)
    try:
        code = stoker.main(args=words, prog_name="stoker", standalone_mode=False, obj=behind)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        output.note("Stopped.")
        return exits.Exit.DETACHED
    except StokerError as error:
        output.complain(error, as_json="--json" in words)
        return exits.of_error(error)
    return code if isinstance(code, int) else exits.Exit.OK


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Split a submit's line at its first `--`: what follows is the job's command, whatever it looks like."""
    if words[:1] != ["submit"] or "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
