"""What a report costs the trainer: the hook's own call, and everything that our callback does at a step."""

import os
import time
from collections.abc import Callable

from stoker.trainer.reporter import Reporter
from tests.bench import floor
from tests.bench.measure import Figure
from tests.bench.place import Place

TARGET_MICROSECONDS = 50.0


def measure(place: Place) -> list[Figure]:
    """Report steps into a run folder, as a trainer does."""
    folder = place.file("run")
    os.mkdir(folder)
    reporter = Reporter(folder)
    try:
        count = place.count(20_000, 2_000)
        figures = [
            _figure("progress: Reporter.step", count, _direct(reporter)),
            _figure("progress: callback, one step with its log", count, _through_transformers(reporter)),
        ]
    finally:
        reporter.close()
    return figures


def _figure(name: str, count: int, call: Callable[[int], None]) -> Figure:
    spent = []
    for step in range(count + 100):
        began = time.perf_counter_ns()
        call(step)
        spent.append(1e-3 * (time.perf_counter_ns() - began))
    return Figure(name=name, unit="µs", values=tuple(spent[100:]), target=TARGET_MICROSECONDS, floor=floor.APPEND)


def _direct(reporter: Reporter) -> Callable[[int], None]:
    def call(step: int) -> None:
        reporter.step(step, 100_000, step / 1000, loss=1.5, learning_rate=2e-4, grad_norm=0.7)

    return call


def _through_transformers(reporter: Reporter) -> Callable[[int], None]:
    """Give what transformers calls of ours at each step that is logged, without the training around it."""
    from transformers import TrainerControl, TrainerState, TrainingArguments  # noqa: PLC0415 - takes seconds

    from stoker.trainer.callback import Callback  # noqa: PLC0415 - imports it too

    args = TrainingArguments(output_dir=reporter.run.root, report_to=[], use_cpu=True)
    state, control = TrainerState(max_steps=100_000, is_world_process_zero=True), TrainerControl()
    callback = Callback(reporter)
    callback.on_train_begin(args, state, control)

    def call(step: int) -> None:
        state.global_step, state.epoch, control.should_log = step, step / 1000, True
        callback.on_step_end(args, state, control)
        callback.on_log(args, state, control, logs={"loss": 1.5, "grad_norm": 0.7, "learning_rate": 2e-4})

    return call
