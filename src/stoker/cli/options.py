"""Options and arguments that several commands share, so that they read and mean the same everywhere."""

from __future__ import annotations

import re

import click

job = click.argument("job", metavar="JOB")
jobs = click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
url = click.option(
    "--url",
    metavar="URL",
    help="Where the server is: http://HOST:PORT or unix:/PATH. Default: STOKER_URL, else the server of this user. "
    "Where a key is needed, it is read from STOKER_API_KEY.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, one object per line; errors too.")
home = click.option(
    "--home", metavar="DIR", help="The server's home. Default: STOKER_HOME, else ~/.local/share/stoker."
)

_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def span(text: str) -> float:
    """Read a span of time such as 90, 90s, 10m or 1h30m as seconds. Raises `click.BadParameter`."""
    found = _SPAN.fullmatch(text.strip().lower())
    if not text.strip() or found is None:
        raise click.BadParameter(f"'{text}' is no span of time. Use seconds, or a form such as 90s, 10m or 1h30m")
    hours, minutes, rest = (float(part) if part else 0.0 for part in found.groups())
    return hours * 3600 + minutes * 60 + rest
