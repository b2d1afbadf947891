"""The callback for transformers: reports every step, and turns a stop request into a checkpoint and a clean end."""
# ruff: noqa: ARG002 - transformers fixes what an event is called with

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from stoker.domain.failure import Reason
from stoker.domain.progress import Phase
from stoker.rundir.checkpoints import Progress, rotate, seal
from stoker.trainer.diagnose import Failure
from stoker.trainer.pace import Pace
from stoker.trainer.pulse import Pulse
from stoker.trainer.reporter import Reporter
from stoker.trainer.saving import SavingWatch, now_and_then

NOT_PASSED_ON = frozenset({"epoch", "loss", "num_tokens", "total_flos", "train_loss", "train_runtime"})
"""Logged values that have their own place in a line, or that are not true of a resumed run."""

NAN_STEPS = 2
"""So many steps in a row whose loss is no number end the job: weights that are NaN never recover."""


class EvaluationInterrupted(Exception):
    """A stop was asked for in the middle of an evaluation."""


class LossIsNan(Failure):
    """The loss is no number any more."""


class Callback(TrainerCallback):  # type: ignore[misc]
    """Reports to the run folder. One per training; the trainer's other callbacks come first."""

    def __init__(self, reporter: Reporter, pulse: Pulse | None = None, **options: Any) -> None:
        """Take the reporter and, where there is one, what counts rows, tokens and losses.

        Options: `keep`, how many checkpoints stay; `protect`, one that stays in any case; `stop_on_nan`;
        `interrupts`, whether an evaluation may be broken off by `EvaluationInterrupted`; `on_begin`, called when
        training begins; `on_sealed`, called when a checkpoint is complete.
        """
        self.reporter, self.pulse, self.pace = reporter, pulse, Pace()
        self.keep: int | None = options.get("keep")
        self.protect: tuple[str, ...] = tuple(filter(None, [options.get("protect")]))
        self.stop_on_nan: bool = options.get("stop_on_nan", False)
        self.interrupts: bool = options.get("interrupts", False)
        self.on_begin: Callable[[], None] | None = options.get("on_begin")
        self.on_sealed: Callable[[], None] | None = options.get("on_sealed")
        self.stopped = False
        self.checkpoint: str | None = None
        self._phase: Phase | None = None
        self._pending: dict[str, Any] | None = None
        self._loss: float | None = None
        self._evaluated: tuple[int, float] | None = None
        self._predicted = 0
        self._nans = 0
        self._rate: float | None = None
        self._saving: SavingWatch | None = None

    # The course of a training

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Training begins: say what was asked for."""
        if self.on_begin is not None:
            self.on_begin()
        self._enter(Phase.TRAINING)
        self._next_rate(kwargs)
        if state.is_world_process_zero:
            facts = {
                "total_epochs": state.num_train_epochs,
                "batch_size": args.per_device_train_batch_size,
                "gradient_accumulation_steps": args.gradient_accumulation_steps,
                "max_learning_rate": args.learning_rate,
            }
            self.reporter.log({"step": state.global_step, "total": state.max_steps, **facts})

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step is done: report it, now or together with what is logged of it, and look for a stop request."""
        self._flush()
        line = {"step": state.global_step, "total": state.max_steps, "epoch": state.epoch, **self._measured(state)}
        line["learning_rate"] = self._next_rate(kwargs)
        self._pending = line if state.is_world_process_zero else None
        if not control.should_log:
            self._flush()
        self._heed_stop(control)
        self._judge_loss(state.global_step, control)
        self._next(args, state, control, logged=not control.should_log)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Something is logged: it belongs to the step that waits for it, else to an evaluation."""
        values = {name: value for name, value in (logs or {}).items() if name not in NOT_PASSED_ON}
        if self._pending is not None and not _is_evaluation(values):
            self._pending.setdefault("loss", (logs or {}).get("loss"))
            self._pending |= values | _gpu_memory()
            self._flush()
            self._next(args, state, control, logged=True)
        elif _is_evaluation(values) and state.is_world_process_zero:
            loss = values.get("eval_loss")
            self._evaluated = None if loss is None else (state.global_step, float(loss))
            self.reporter.log({"step": state.global_step, "epoch": state.epoch, **values})

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A batch of an evaluation is through."""
        self._predicted += 1
        if state.is_world_process_zero:
            self.reporter.eval_progress(self._predicted, _length(kwargs.get("eval_dataloader")))
        if self.interrupts and self.reporter.stop_requested() is not None:
            raise EvaluationInterrupted

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An evaluation is over."""
        self._predicted = 0
        self._next(args, state, control, logged=True, evaluated=True)

    def evaluation_broken_off(self, args: Any, state: Any, control: Any) -> None:
        """An evaluation was broken off by a stop request: save and end, unless this was the last step anyway."""
        self._predicted = 0
        self._heed_stop(control)
        self._next(args, state, control, logged=True, evaluated=True)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The trainer's files are written: seal them, and let older checkpoints go. Raises `OSError`."""
        if self._saving is not None:
            self._saving.stop()
            self._saving = None
        if state.is_world_process_zero:
            self._seal(args, state)
        self._enter(Phase.TRAINING)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An epoch is over, or was left: then nothing more is done than what the stop asked for."""
        if self.stopped:
            control.should_log = control.should_evaluate = control.should_save = False
            return
        self._heed_stop(control)
        self._next(args, state, control, logged=not control.should_log)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Training is over."""
        self._flush()
        self.pace.hold()

    # How it is done

    def _heed_stop(self, control: Any) -> None:
        """Turn a stop request into a save and the end, unless training is at its end anyway."""
        if not control.should_training_stop and self.reporter.stop_requested() is not None:
            self.stopped = control.should_training_stop = control.should_save = True
            control.should_evaluate = False

    def _measured(self, state: Any) -> dict[str, Any]:
        if self.pulse is None:
            return self.pace.step(0, 0)
        beat = self.pulse.take()
        self._loss = beat.loss
        state.num_input_tokens_seen += beat.tokens
        rates = self.pace.step(beat.rows, beat.tokens)
        return {"loss": beat.loss, **rates, "total_tokens_processed": state.num_input_tokens_seen}

    def _judge_loss(self, step: int, control: Any) -> None:
        """Save nothing while the loss is no number, and give up when it stays so. Raises `LossIsNan`."""
        if not self.stop_on_nan or self._loss is None or math.isfinite(self._loss):
            self._nans = 0
            return
        self._nans += 1
        control.should_save = False
        if self._nans >= NAN_STEPS:
            self._flush()
            raise LossIsNan(
                f"The loss is no number ({self._loss}) since step {step - self._nans + 1}. "
                "Lower the learning rate or clip gradients harder (max_grad_norm), and look for odd rows in the data",
                Reason.NAN,
            )

    def _next_rate(self, event: dict[str, Any]) -> float | None:
        """Give the learning rate of the step that is over; the scheduler is one step ahead by now."""
        scheduler, used = event.get("lr_scheduler"), self._rate
        self._rate = None if scheduler is None else scheduler.get_last_lr()[0]
        return used

    def _flush(self) -> None:
        if self._pending is not None:
            line, self._pending = self._pending, None
            self.reporter.step(line.pop("step"), line.pop("total"), line.pop("epoch"), **line)

    def _next(self, args: Any, state: Any, control: Any, *, logged: bool, evaluated: bool = False) -> None:
        """Enter the phase that the control flags lead to: logging comes first, then evaluation, then saving."""
        if not logged:
            return
        if control.should_evaluate and not evaluated:
            self._enter(Phase.EVALUATING)
        elif control.should_save:
            self._enter(Phase.SAVING)
            if self._saving is None and state.is_world_process_zero:
                self._saving = SavingWatch(self.reporter, _folder(args, state))
        else:
            self._enter(Phase.TRAINING)

    def _enter(self, phase: Phase) -> None:
        if phase is self._phase:
            return
        self._phase = phase
        self.reporter.phase(phase)
        if phase is Phase.TRAINING:
            self.pace.run()
        else:
            self.pace.hold()

    def _seal(self, args: Any, state: Any) -> None:
        step, folder = state.global_step, _folder(args, state)
        measured_here = self._evaluated is not None and self._evaluated[0] == step
        eval_loss = self._evaluated[1] if measured_here and self._evaluated else None
        progress = Progress(step=step, epoch=state.epoch, loss=_finite(self._loss), eval_loss=_finite(eval_loss))
        seal(folder, progress, now_and_then(self.reporter.saving))
        self.checkpoint = folder
        self.reporter.checkpoint(folder, step)
        rotate(args.output_dir, self.keep, (*self.protect, folder))
        if self.on_sealed is not None:
            self.on_sealed()


def _folder(args: Any, state: Any) -> str:
    return os.path.join(args.output_dir, f"checkpoint-{state.global_step}")


def _is_evaluation(values: dict[str, Any]) -> bool:
    return any(name.startswith("eval_") for name in values)


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:
        return None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _gpu_memory() -> dict[str, float]:
    if not torch.cuda.is_initialized():
        return {}
    return {
        "gpu_memory_allocated_gb": round(torch.cuda.memory_allocated() / 2**30, 3),
        "gpu_memory_reserved_gb": round(torch.cuda.memory_reserved() / 2**30, 3),
    }
