"""stoker submit: queue a job."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from stoker.cli import exits, options
from stoker.cli.connect import connect
from stoker.cli.output import emit, say
from stoker.cli.request import Given, build
from stoker.client import Client

F = TypeVar("F", bound=Callable[..., Any])

FIELDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "recipe": (("--recipe",), {"metavar": "NAME", "help": "The kind of job: finetune, or command."}),
    "execution_id": (("--id",), {"metavar": "ID", "help": "An id of your own; makes repeating harmless."}),
    "name": (("--name",), {"metavar": "TEXT", "help": "A name for people."}),
    "priority": (("--priority",), {"type": int, "metavar": "N", "help": "-1000 to 1000; higher starts first."}),
    "gpus": (("--gpus",), {"type": int, "metavar": "N", "help": "How many GPUs."}),
    "artifacts": (("--artifact",), {"multiple": True, "metavar": "GLOB", "help": "Must match at the end. Repeatable."}),
    "cwd": (("--cwd",), {"metavar": "DIR", "help": "A command's working directory. Default: this one."}),
    "python": (("--python",), {"metavar": "PATH", "help": "A command's interpreter, virtual or conda environment."}),
    "prefix": (("--prefix",), {"multiple": True, "metavar": "WORD", "help": "A word before the command. Repeatable."}),
}
"""Flags that are fields of the request."""

CONFIG: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "model.name": (("--model", "-m"), {"metavar": "NAME", "help": "The model: its name or its folder."}),
    "training.method": (("--method",), {"metavar": "NAME", "help": "How to train: sft."}),
    "training.use_lora": (("--lora/--full",), {"default": None, "help": "Train an adapter, or all weights."}),
    "training.num_epochs": (("--epochs",), {"type": float, "metavar": "N", "help": "Passes over the data."}),
    "training.max_steps": (("--max-steps",), {"type": int, "metavar": "N", "help": "End after N steps."}),
    "training.learning_rate": (("--learning-rate", "--lr"), {"type": float, "metavar": "X", "help": "The highest."}),
    "training.batch_size": (("--batch-size",), {"type": int, "metavar": "N", "help": "Rows per device and step."}),
}
"""Flags that are fields of a fine-tuning job's config."""

LIMITS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "stall_seconds": (
        ("--stall",),
        {"type": options.span, "metavar": "SPAN", "help": "Fail after so long without progress: 90s, 10m."},
    ),
    "start_seconds": (
        ("--start",),
        {"type": options.span, "metavar": "SPAN", "help": "Fail if nothing is reported within this time."},
    ),
    "time_limit_seconds": (
        ("--time-limit",),
        {"type": options.span, "metavar": "SPAN", "help": "Stop after so long: 8h."},
    ),
    "checkpoint_seconds": (
        ("--checkpoint-time",),
        {"type": options.span, "metavar": "SPAN", "help": "How long a stop waits for a checkpoint."},
    ),
    "grace_seconds": (("--grace",), {"type": options.span, "metavar": "SPAN", "help": "Between terminate and kill."}),
}
"""Flags that are limits."""


def _parameter(name: str) -> str:
    return name.replace(".", "_")


def _flags(table: Mapping[str, tuple[tuple[str, ...], dict[str, Any]]]) -> Callable[[F], F]:
    """Give a decorator that adds the flags of a table; each is passed on under its name there, dots as underscores."""

    def add(function: F) -> F:
        for name, (flags, settings) in reversed(tuple(table.items())):
            function = click.option(*flags, _parameter(name), **settings)(function)
        return function

    return add


@click.command("submit", epilog="Secrets never go on the command line: --secret reads them from where they are.")
@click.argument("file", required=False, metavar="[FILE] [-- COMMAND...]")
@_flags(FIELDS)
@_flags(CONFIG)
@click.option("--set", "sets", multiple=True, metavar="F=X", help="A field of config: training.seed=7. Repeatable.")
@click.option("--dataset", "-d", metavar="PATH", help="The file of the data set.")
@click.option("--upload", is_flag=True, help="Send the data set along with the request.")
@click.option("--env", "-e", multiple=True, metavar="NAME[=X]", help="A variable; without =X, yours. Repeatable.")
@click.option("--secret", multiple=True, metavar="NAME[=@FILE]", help="A secret, from your environment or a file.")
@_flags(LIMITS)
@click.option("--wait", "-w", is_flag=True, help="Watch it to its end, and exit as it ends.")
@click.option("--dry-run", is_flag=True, help="Check it and show the plan; queue nothing.")
@click.option("--quiet", "-q", is_flag=True, help="Print the id alone.")
@options.url
@options.as_json
@click.pass_obj
def command(behind: list[str], /, url: str | None, as_json: bool, **flags: Any) -> None:
    """Queue a job: from a YAML or JSON file (- for standard input), from flags, or a command behind `--`.

    \b
    stoker submit job.yaml
    stoker submit --model ./base --dataset rows.jsonl --epochs 3
    stoker submit --name nightly -- python train.py --seed 7
    """  # noqa: D301 - \b keeps click from filling the lines
    request = build(_given(behind, flags))
    with connect(url) as client:
        if flags["dry_run"]:
            _show_plan(client, request, as_json=as_json)
        else:
            _queue(client, request, wait=flags["wait"], quiet=flags["quiet"], as_json=as_json)


def _given(behind: list[str], flags: Mapping[str, Any]) -> Given:
    return Given(
        file=flags["file"],
        command=behind,
        fields=_named(FIELDS, flags),
        config=_named(CONFIG, flags),
        limits=_named(LIMITS, flags),
        sets=flags["sets"],
        env=flags["env"],
        secrets=flags["secret"],
        dataset=flags["dataset"],
        upload=flags["upload"],
    )


def _named(table: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: flags[_parameter(name)] for name in table}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()
            if value not in (None, ())}  # fmt: skip


def _show_plan(client: Client, request: Mapping[str, Any], *, as_json: bool) -> None:
    answer = client.validate_spec(request)
    if as_json:
        emit(answer)
        return
    plan = answer["plan"]
    say("The request is right; nothing was queued. It would run:")
    say(f"  {' '.join(plan['argv'])}")
    say(f"  in {plan['cwd']}, by the engine {plan['engine']}")
    for name, value in sorted(plan["env"].items()):
        say(f"  {name}={value}")


def _queue(client: Client, request: Mapping[str, Any], *, wait: bool, quiet: bool, as_json: bool) -> None:
    answer = client.submit(request)
    job = answer["job_id"]
    if as_json:
        emit(answer)
    elif quiet:
        say(job)
    else:
        say(f"{job} {answer['status']}. {answer['message'].rstrip('.')}.")
    if wait:
        from stoker.cli.watch import follow

        sys.exit(exits.of_job(follow(client, job, as_json=as_json)))
    if not (as_json or quiet):
        say(f"Watch it: stoker watch {job}")
