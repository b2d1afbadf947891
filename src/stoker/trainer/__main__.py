"""Our trainer's process: `python -m stoker.trainer RUN_DIR`. Exit 0: completed, 75: stopped as asked, 1: failed."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from stoker.domain.failure import Reason
from stoker.domain.progress import Phase
from stoker.rundir import checkpoints
from stoker.trainer.bars import Bars
from stoker.trainer.diagnose import diagnose
from stoker.trainer.early_stop import EXIT_STOPPED, EarlyStop
from stoker.trainer.reporter import Reporter
from stoker.trainer.resuming import begin_line
from stoker.trainer.run_config import RunConfig, read_run_config

if TYPE_CHECKING:
    from stoker.trainer.sft import Trained

EXIT_FAILED = 1


def main(argv: list[str]) -> int:
    """Train as the run folder orders, and say there how it ended."""
    if len(argv) != 1:
        print("Usage: python -m stoker.trainer RUN_DIR", file=sys.stderr)  # noqa: T201 - a command says how it is used
        return 2
    reporter = Reporter(argv[0])
    reporter.catch_terminate()
    try:
        run = read_run_config(argv[0])
        begin_line(run, run.resume_from)  # before the first sign of life: from then on an end looks for the newest
        reporter.hello(can_save=True)
        reporter.phase(Phase.LOADING)
        return _run(run, reporter)
    except Exception as error:  # noqa: BLE001 - the edge of the trainer: whatever it was must be told
        traceback.print_exc()
        return _failed(reporter, *diagnose(error))


def _run(run: RunConfig, reporter: Reporter) -> int:
    early = EarlyStop(reporter, run.resume_from, checkpoints.step_of(run.resume_from) or 0)
    bars = Bars(lambda units: reporter.phase(reporter.last_phase, moved=units))
    early.begin()
    bars.listen()

    def on_begin() -> None:
        bars.stop()
        early.end()

    try:
        from stoker.trainer.sft import train  # heavy: after hello, so that the start is seen

        return _ended(reporter, train(run, reporter, on_begin))
    finally:
        on_begin()


def _ended(reporter: Reporter, trained: Trained) -> int:
    if trained.stopped:
        reporter.write_outcome("stopped", step=trained.step, checkpoint=trained.checkpoint)
        reporter.done("stopped")
        return EXIT_STOPPED
    reporter.write_outcome("completed", step=trained.step, checkpoint=trained.checkpoint, model=trained.model)
    reporter.done("completed")
    return 0


def _failed(reporter: Reporter, reason: Reason | None, sentence: str) -> int:
    print(f"Failed: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - for the job's log
    reporter.write_outcome("failed", reason=reason, error=sentence)
    reporter.done("failed")
    return EXIT_FAILED


def leave(code: int) -> NoReturn:
    """Exit at once: the outcome is on disk, and taking the training packages apart would only take a second more."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
