"""stoker doctor: what is wrong with this machine, and how to mend it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from stoker.cli import options
from stoker.cli.exits import Exit
from stoker.cli.output import emit, say


@click.command("doctor")
@options.home
@click.option("--runs", metavar="DIR", help="Where checkpoints and models go. Default: within the home.")
@options.as_json
def command(home: str | None, runs: str | None, as_json: bool) -> None:
    """Say what is wrong with this machine and how to mend it.

    Exits with 1 if something does not work until it is mended.
    """
    from stoker.cli.checks.finding import Finding, Level
    from stoker.cli.checks.home import check_home
    from stoker.cli.checks.machine import check_machine
    from stoker.cli.checks.training import check_training
    from stoker.settings import from_environment

    settings = from_environment(os.environ, home=_path(home), runs=_path(runs))
    found: list[Finding] = []
    for finding in (*check_machine(), *check_home(settings), *check_training()):
        found.append(finding)
        if not as_json:
            _show(finding.name, finding.level.value, finding.told, finding.remedy)
    faults = sum(one.level is Level.FAULT for one in found)
    if as_json:
        emit({"healthy": not faults, "findings": [one.as_dict() for one in found]})
    else:
        warnings = sum(one.level is Level.WARNING for one in found)
        say(f"{faults} faults, {warnings} warnings." if faults or warnings else "All is well.")
    sys.exit(Exit.FAILED if faults else Exit.OK)


def _show(name: str, level: str, told: str, remedy: str | None) -> None:
    colour = {"ok": "green", "note": "cyan", "warning": "yellow", "fault": "red"}[level]
    click.echo(f"{click.style(level.ljust(8), fg=colour)} {name.ljust(18)} {told}")
    if remedy:
        click.echo(f"{' ' * 27} {remedy}")


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser().absolute()
