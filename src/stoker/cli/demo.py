"""stoker demo: see it work, on this machine, in about two minutes."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from stoker.cli import options
from stoker.cli.demo_proofs import (
    Claim,
    Restart,
    claim_cancel,
    claim_learning,
    claim_loss,
    claim_no_gap,
    claim_survival,
    trainer_of,
)
from stoker.cli.demo_server import DemoFailed, DemoServer
from stoker.cli.exits import Exit
from stoker.cli.following import statuses
from stoker.cli.metrics import every_point
from stoker.cli.output import complain, emit, note, say, table
from stoker.client import Answer, ClientError
from stoker.rundir.identity import is_alive

KILL_AT_PERCENT = 35.0
AWAY_SECONDS = 2.0
CATCH_UP_SECONDS = 5.0


@click.command("demo")
@click.option("--home", metavar="DIR", default="demo-home", help="A folder for all of it. Default: ./demo-home.")
@click.option("--seed", type=click.IntRange(0), default=1, metavar="N", help="Another model, other rows. Default: 1.")
@click.option("--keep", is_flag=True, help="Leave the server running, to look around.")
@options.as_json
def command(home: str, seed: int, keep: bool, as_json: bool) -> None:
    """See it work: fine-tune a small model, kill the server meanwhile, cancel a job that resists.

    Everything is made on the spot and checked; exits with 1 if a claim did not hold.
    """
    began = time.monotonic()
    demo = Demo(Path(home).expanduser().absolute(), seed)
    try:
        with demo.running(keep=keep):
            claims = demo.show()
    except DemoFailed as error:
        complain(error, as_json=as_json)
        sys.exit(Exit.FAILED)
    seconds = time.monotonic() - began
    held = all(claim.held for claim in claims)
    if as_json:
        emit({"held": held, "seconds": seconds, "model": str(demo.model), "claims": [asdict(one) for one in claims]})
    else:
        _report(demo, claims, seconds)
    sys.exit(Exit.OK if held else Exit.FAILED)


class Demo:
    """The demonstration: a folder with a server's home, the material, and in the end a trained model."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Choose the places; nothing is made yet."""
        self.folder, self._seed = folder, seed
        self.job_id = f"demo-{secrets.token_hex(3)}"
        self.model = folder / "home" / "jobs" / self.job_id / "outputs" / "model"
        self.material: dict[str, Any] = {}
        self.server = DemoServer(folder / "home", folder / "server.log", slots=2)
        self._restart: Restart | None = None

    @contextmanager
    def running(self, *, keep: bool) -> Iterator[None]:
        """Run the server for a block, and leave nothing running behind unless asked to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note("Making a small model and a data set with answers that can be checked")
        self.material = material("prepare", self.folder / "material", str(self._seed))
        try:
            seconds = self.server.start()
            note(f"Server ready after {seconds:.1f} s: http://127.0.0.1:{self.server.port} (process {self.server.pid})")
            yield
        finally:
            if keep:
                note(
                    f"The server is left running. STOKER_URL={self.server.client_url} stoker ls; kill {self.server.pid}"
                )
            else:
                self._end_all()

    def show(self) -> list[Claim]:
        """Do what is to be shown, and check it."""
        untrained = material("measure", Path(self.material["model"]), self.material["held_out"])["accuracy"]
        end = self._train()
        points = list(every_point(self.server.client, self.job_id))
        cancelled = claim_cancel(self.server.client, self.folder, f"{self.job_id}-resists")
        if end["status"] != "completed" or self._restart is None:
            raise DemoFailed(f"The training {end['status']}: {end['error'] or 'before the server could be killed'}")
        trained = material("measure", self.model, self.material["held_out"])["accuracy"]
        losses = [float(one["loss"]) for one in points if one.get("loss") is not None]
        return [
            claim_learning(self.material["chance"], untrained, trained, self.material["held_out_rows"]),
            claim_loss(losses),
            claim_survival(self._restart),
            claim_no_gap(points, end["total_steps"]),
            cancelled,
        ]

    def _train(self) -> Answer:
        """Train to the end, with the server's death on the way."""
        from stoker.cli.watch import view

        request = {
            "execution_id": self.job_id,
            "name": "sort letters",
            "dataset_path": self.material["train"],
            "config": self.material["config"],
        }
        note(f"Fine-tuning on {self.material['rows']} rows: put letters in order")
        self.server.client.submit(request)
        end: Answer = {}
        with view() as shown:
            for event, status in statuses(self.server.client, self.job_id):
                if event.kind == "closed":
                    shown.lost()
                if status is None:
                    continue
                shown.show(status)
                end = status
                if self._restart is None and status["status"] == "running" and _is_due(status):
                    self._restart = self._kill_and_restart()
        return end

    def _kill_and_restart(self) -> Restart:
        before = self.server.client.status(self.job_id)
        trainer = trainer_of(before)
        note(f"Killing the server (process {self.server.pid}) with -9 at step {before['current_step']}")
        self.server.kill()
        began = time.monotonic()
        time.sleep(AWAY_SECONDS)
        alive = is_alive(trainer)
        away = time.monotonic() - began
        ready = self.server.start()
        after = self._status_beyond(before["current_step"])
        note(f"Started again as process {self.server.pid}; the training is at step {after['current_step']}")
        return Restart(
            trainer=trainer,
            before=before,
            after=after,
            away_seconds=away,
            ready_seconds=ready,
            trained_meanwhile=alive,
        )

    def _status_beyond(self, step: int) -> Answer:
        """Give the status once it shows a later step; what was reported meanwhile is taken in within moments."""
        ends = time.monotonic() + CATCH_UP_SECONDS
        while (status := self.server.client.status(self.job_id))["current_step"] <= step and time.monotonic() < ends:
            time.sleep(0.02)
        return status

    def _end_all(self) -> None:
        """End what still runs of the demonstration, then its server."""
        try:
            for job in self.server.client.queue()["running_jobs"]:
                self.server.client.cancel(job["job_id"])
                self.server.client.wait(job["job_id"], timeout=60.0)
        except ClientError:
            note("The server did not answer at the end; `stoker doctor` says whether anything is left")
        finally:
            self.server.stop()


def material(verb: str, place: Path, more: str) -> dict[str, Any]:
    """Have the process that may use torch prepare or measure something. Raises `DemoFailed` with its last words."""
    argv = [sys.executable, "-m", "stoker.cli.demo_material", verb, str(place), more]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DemoFailed(f"The demonstration could not {verb} its model: {last}. `stoker doctor` says what is missing")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _is_due(status: Answer) -> bool:
    return (status["progress"] or 0.0) >= KILL_AT_PERCENT and status["process_pid"] is not None


def _report(demo: Demo, claims: list[Claim], seconds: float) -> None:
    say("")
    table(("SHOWN", "HELD", "EVIDENCE"), [(one.name, "yes" if one.held else "NO", one.evidence) for one in claims])
    say(f"\nAll of it took {seconds:.0f} seconds. The trained model is {demo.model}")
    say("Try it:\n")
    say(f'  {sys.executable} -m stoker.trainer.try_it {demo.model} "{demo.material["example"]["prompt"]}"')
