"""The engine that runs attempts on this machine, each under a supervisor of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from stoker.engines.directory import DirectoryChannel
from stoker.engines.news import LocalNews
from stoker.engines.port import Finding, News, Plan
from stoker.engines.spawn import spawn, supervisor_argv, without_scope
from stoker.rundir import claim, wire
from stoker.rundir.durable import fsync_dir, replace, write_durably
from stoker.rundir.identity import boot_id, is_alive, send_signal
from stoker.rundir.layout import AttemptDir
from stoker.rundir.records import Order, Survivor, encode, read_exit, read_order, read_process
from stoker.supervisor.sweep import end_leftovers

log = structlog.get_logger()

HELLO_SECONDS = 5.0


class LocalEngine:
    """Runs attempts as processes of this machine. Their directories lie under `root`."""

    name = "local"

    def __init__(self, root: Path) -> None:
        """Take the folder of the attempts, which is made if need be."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = str(root)
        self._news = LocalNews()
        self._channels: dict[str, DirectoryChannel] = {}
        self._starting: list[tuple[subprocess.Popen[bytes], tuple[str, ...]]] = []

    def plan(self, order: Order, files: Mapping[str, bytes]) -> Plan:
        """Say what would be written and started."""
        directory = os.path.join(self._root, order.attempt_id)
        argv = supervisor_argv(directory, order.attempt_id)
        return Plan(attempt_id=order.attempt_id, order=order, argv=argv, directory=directory, files=files)

    def launch(self, plan: Plan) -> dict[str, Any]:
        """Write the attempt directory whole, then start its supervisor."""
        if not os.path.isdir(plan.directory):
            self._write_directory(plan)
        self._starting.append((spawn(plan.argv), plan.argv))
        return {"boot": boot_id(), "directory": plan.directory}

    def find(self, attempt_id: str, handle: Mapping[str, Any]) -> Finding:
        """Look for an attempt; see the table in the supervision reference of the documentation."""
        attempt = self._directory(attempt_id)
        if read_exit(attempt.exit) is not None:
            return Finding.ENDED
        if not os.path.isdir(attempt.root) or claim.is_abandoned(attempt):
            return Finding.ABSENT
        supervisor = read_process(attempt.supervisor)
        if (supervisor.boot if supervisor else handle.get("boot", boot_id())) != boot_id():
            return Finding.REBOOTED
        was_claimed = claim.is_claimed(attempt)  # looked at first: who claims holds the lock already
        if claim.is_locked(attempt):
            return self._greet(attempt)
        if not was_claimed:
            return Finding.UNCLAIMED
        return Finding.ENDED if read_exit(attempt.exit) is not None else Finding.DEAD

    def abandon(self, attempt_id: str, epoch: int) -> bool:
        """Give up an attempt that nobody claimed."""
        attempt = self._directory(attempt_id)
        return not os.path.isdir(attempt.root) or claim.abandon(attempt, epoch)

    def clean_up(self, attempt_id: str) -> tuple[Survivor, ...]:
        """End what a dead supervisor left behind."""
        attempt = self._directory(attempt_id)
        order = read_order(attempt.order)
        return end_leftovers(attempt, order.nonce if order is not None else attempt_id)

    def end_supervisor(self, attempt_id: str) -> None:
        """Kill a supervisor that lives and answers no more; its identity is checked first."""
        supervisor = read_process(self._directory(attempt_id).supervisor)
        if supervisor is not None:
            send_signal(supervisor.who, signal.SIGKILL)

    def channel(self, attempt_id: str) -> DirectoryChannel:
        """Give the channel to an attempt; while it is watched always the same one, which knows its order by then."""
        return self._channels.get(attempt_id) or DirectoryChannel(self._directory(attempt_id))

    def watch(self, attempt_id: str) -> bool:
        """Report changes of an attempt's records, and its supervisor's death once that is known."""
        self._channels.setdefault(attempt_id, DirectoryChannel(self._directory(attempt_id)))
        reports = self._news.watch(attempt_id, self._directory(attempt_id))
        self._watch_process(attempt_id)
        return reports

    def unwatch(self, attempt_id: str) -> None:
        """Report nothing more of an attempt."""
        self._channels.pop(attempt_id, None)
        self._news.unwatch(attempt_id)

    def fileno(self) -> int:
        """Give a descriptor that is readable while there is news."""
        return self._news.fileno()

    def news(self) -> News:
        """Take the news of the attempts that are watched."""
        self._mind_starters()
        news = self._news.take()
        for attempt_id in news.changed:
            self._watch_process(attempt_id)
        return news

    def remove(self, attempt_id: str) -> None:
        """Delete the records of an ended attempt."""
        shutil.rmtree(self._directory(attempt_id).root, ignore_errors=True)

    def close(self) -> None:
        """Give up the descriptors; attempts run on."""
        for starter, _ in self._starting:
            starter.wait()  # it detaches its child and is gone at once
        self._news.close()

    def _mind_starters(self) -> None:
        """Let go of the starters that are done. One whose scope was refused is started again without."""
        starting, self._starting = self._starting, []
        for starter, argv in starting:
            code, plain = starter.poll(), without_scope(argv)
            if code is None:
                self._starting.append((starter, argv))
            elif code and plain != argv:
                log.warning(
                    "scope_refused", code=code, remedy="let systemd-run make scopes, see the unit's how-to page"
                )
                self._starting.append((spawn(plain), plain))

    def _watch_process(self, attempt_id: str) -> None:
        if self._news.watches_process(attempt_id):
            return
        supervisor = read_process(self._directory(attempt_id).supervisor)
        if supervisor is not None:
            self._news.watch_process(attempt_id, supervisor.who)

    def _directory(self, attempt_id: str) -> AttemptDir:
        return AttemptDir(os.path.join(self._root, attempt_id))

    def _write_directory(self, plan: Plan) -> None:
        """Make the directory under another name first, so that a crash leaves it whole or not at all."""
        temporary = os.path.join(self._root, f".new-{plan.attempt_id}")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            for folder in (temporary, os.path.join(temporary, "run")):
                os.mkdir(folder, mode=0o700)
            for name, content in plan.files.items():
                replace(os.path.join(temporary, "run", name), content)
            write_durably(os.path.join(temporary, "spec.json"), encode(plan.order))
            os.rename(temporary, plan.directory)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        fsync_dir(self._root)

    def _greet(self, attempt: AttemptDir) -> Finding:
        order = read_order(attempt.order)
        answer = wire.ask(attempt, "hello", order.nonce, timeout=HELLO_SECONDS) if order is not None else None
        if answer is not None:
            return Finding.ALIVE
        supervisor = read_process(attempt.supervisor)
        if supervisor is not None and is_alive(supervisor.who):
            send_signal(supervisor.who, signal.SIGCONT)
        return Finding.UNRESPONSIVE if claim.is_locked(attempt) else self.find(attempt_id_of(attempt), {})


def attempt_id_of(attempt: AttemptDir) -> str:
    """Give the id of the attempt whose directory this is."""
    return os.path.basename(attempt.root)
