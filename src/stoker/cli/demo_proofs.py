"""What the demonstration claims, and how each claim is checked."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.cli import demo_tree
from stoker.cli.demo_server import DemoFailed
from stoker.client import Answer, Client
from stoker.rundir.identity import MARK, ProcessId, all_pids, identify, is_alive, read_proc

BARS = "▁▂▃▄▅▆▇█"
ENOUGH = 0.9
GRACE_SECONDS = 1.0
TREE_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One claim: what was to be shown, the evidence, and whether it held."""

    name: str
    held: bool
    evidence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Restart:
    """What was seen of a job around the server's death."""

    trainer: ProcessId
    before: Answer
    after: Answer
    away_seconds: float
    ready_seconds: float
    trained_meanwhile: bool


def trainer_of(status: Mapping[str, Any]) -> ProcessId:
    """Give the identity of a running job's trainer."""
    found = identify(int(status["process_pid"]))
    if found is None:
        raise DemoFailed("The trainer was gone before the server was killed")
    return found


def claim_survival(seen: Restart) -> Claim:
    """The trainer outlived the server."""
    same = seen.after["process_pid"] == seen.before["process_pid"] and seen.after["attempt"] == seen.before["attempt"]
    went_on = seen.after["current_step"] > seen.before["current_step"]
    return Claim(
        name="server killed with -9",
        held=bool(same and went_on and seen.trained_meanwhile),
        evidence=f"trainer {seen.trainer.pid} went on from step {seen.before['current_step']} to "
        f"{seen.after['current_step']} in the {seen.away_seconds:.1f} s without a server; "
        f"found again {seen.ready_seconds * 1000:.0f} ms after the restart",
    )


def claim_no_gap(points: Sequence[Mapping[str, Any]], total_steps: int) -> Claim:
    """Every point was taken in once, and every step is there."""
    numbers = [one["seq"] for one in points]
    steps = [one["step"] for one in points if one.get("loss") is not None]
    whole = numbers == list(range(len(points)))
    each_once = steps == list(range(1, total_steps + 1))
    return Claim(
        name="no gap, no repetition",
        held=whole and each_once and len({one["attempt"] for one in points}) == 1,
        evidence=f"{len(points)} points, each once; steps 1 to {max(steps, default=0)} of {total_steps}, one attempt",
    )


def claim_learning(chance: float, before: float, after: float, rows: int) -> Claim:
    """The model learned what it could not know."""
    return Claim(
        name="fine-tuning",
        held=after > ENOUGH > max(chance, before),
        evidence=f"{after:.1%} of {rows} held-out rows right; guessing gives {chance:.1%}, the untrained model "
        f"{before:.1%}",
    )


def claim_loss(losses: Sequence[float]) -> Claim:
    """The loss fell."""
    held = bool(losses) and losses[-1] < losses[0] / 2
    ends = f"{losses[0]:.3g} to {losses[-1]:.3g}" if losses else "nothing reported"
    return Claim(name="loss", held=held, evidence=f"{sparkline(losses)}  {ends}")


def claim_cancel(client: Client, folder: Path, job_id: str) -> Claim:
    """Cancel a job whose tree resists, and look for anything that is left of it."""
    pids = folder / f"{job_id}.pids"
    client.submit(
        {
            "execution_id": job_id,
            "name": "a tree that resists",
            "recipe": "command",
            "command": ["python3", demo_tree.__file__, str(pids)],
            "cwd": str(folder),
            "limits": {"grace_seconds": GRACE_SECONDS},
        }
    )
    tree = _tree(pids)
    nonce = _mark(tree)
    began = time.monotonic()
    client.cancel(job_id)
    end = client.wait(job_id, timeout=60.0)
    took = time.monotonic() - began
    left = [who.pid for who in tree if is_alive(who)] + _marked(nonce)
    return Claim(
        name="a tree that resists",
        held=end["status"] == "cancelled" and not left and not end["unclean"],
        evidence=f"{len(tree)} processes (SIGTERM ignored, own session, daemon): {len(left)} left, "
        f"{end['status']} {took * 1000:.0f} ms after the request, {GRACE_SECONDS * 1000:.0f} ms of it grace",
    )


def _tree(path: Path) -> list[ProcessId]:
    """Wait until the whole tree stands."""
    ends = time.monotonic() + TREE_SECONDS
    while time.monotonic() < ends:
        lines = path.read_text().splitlines() if path.exists() else []
        found = [who for line in lines if (who := identify(int(line.split()[0]))) is not None]
        if len(found) == demo_tree.PROCESSES:
            return found
        time.sleep(0.02)
    raise DemoFailed(f"The second job's tree did not stand within {TREE_SECONDS:.0f} seconds")


def _mark(tree: Iterable[ProcessId]) -> bytes:
    marks = [one for who in tree for one in _environment(who.pid) if one.startswith(MARK.encode() + b"=")]
    if not marks:
        raise DemoFailed("The second job's processes carry no mark")
    return marks[0]


def _marked(mark: bytes) -> list[int]:
    return [pid for pid in all_pids() if pid != os.getpid() and mark in _environment(pid)]


def _environment(pid: int) -> list[bytes]:
    return read_proc(f"{pid}/environ").split(b"\0")


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Draw values as a line of bars, the mean of each stretch."""
    if not values:
        return ""
    count = min(width, len(values))
    parts = [values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means), max(means)
    return "".join(BARS[round((mean - low) / ((high - low) or 1) * (len(BARS) - 1))] for mean in means)
