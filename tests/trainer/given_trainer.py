"""What the trainer's tests are given: jobs that run in this process or in one of their own, and what they reported."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

from stoker.domain.spec import JobSpec
from stoker.recipes.finetune import FinetuneRecipe
from stoker.recipes.port import LaunchRequest
from stoker.rundir.durable import read_object, replace
from stoker.rundir.layout import RunDir
from stoker.trainer.reporter import Reporter
from stoker.trainer.run_config import read_run_config

SEVEN = {
    "max_steps": 7, "batch_size": 2, "logging_steps": 1, "evaluation_strategy": "no", "learning_rate": 1e-3,
    "cpu_threads": 1,
}  # fmt: skip
"""Settings of a training that takes a moment."""


def read_lines(run_dir):
    """Give what a trainer reported so far; a half line at the end is left out."""
    try:
        text = Path(RunDir(str(run_dir)).metrics).read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split(b"\n")[:-1]]


def of_kind(run_dir, kind):
    """Give the reported lines of one kind."""
    return [line for line in read_lines(run_dir) if line["kind"] == kind]


def read_outcome(run_dir):
    """Give what a trainer said of its end."""
    return read_object(RunDir(str(run_dir)).outcome)


def ask_to_stop(run_dir, kind="cancelled"):
    """Write the stop request as a supervisor does."""
    replace(RunDir(str(run_dir)).control, json.dumps({"stop": kind}).encode())


class StoppingReporter(Reporter):
    """A reporter whose run is asked to stop at a given step, or at a given batch of an evaluation."""

    stop_at_step = stop_at_batch = None

    def step(self, step, total, epoch, **values):
        super().step(step, total, epoch, **values)
        if step == self.stop_at_step:
            ask_to_stop(self.run.root, "paused")

    def eval_progress(self, done, total):
        super().eval_progress(done, total)
        if done == self.stop_at_batch:
            ask_to_stop(self.run.root, "paused")


@dataclasses.dataclass
class Job:
    """One job of a test: its folder, and the model and rows that it trains on."""

    root: Path
    model: str
    rows: list
    config: dict
    attempts: int = 0

    @property
    def checkpoints(self):
        return str(self.root / "job" / "checkpoints")

    @property
    def output(self):
        return str(self.root / "job" / "outputs" / "model")

    def prepare(self, resume_from=None):
        """Write the run folder of a new attempt, and give the launch and the folder."""
        self.attempts += 1
        self.root.mkdir(parents=True, exist_ok=True)
        rows = self.root / "rows.jsonl"
        rows.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        spec = JobSpec(config={"model": {"name": self.model}, **self.config}, dataset_path=str(rows))
        run = self.root / f"run{self.attempts}"
        run.mkdir()
        launch = FinetuneRecipe().launch(
            LaunchRequest(
                job_id="j",
                spec=FinetuneRecipe().resolve(spec),
                attempt=self.attempts,
                job_dir=str(self.root / "job"),
                run_dir=str(run),
                resume_from=resume_from,
                environment=os.environ,
            )
        )
        for name, content in launch.files.items():
            (run / name).write_bytes(content)
        return launch, str(run)

    def train(self, resume_from=None, stop_at_step=None, stop_at_batch=None):
        """Train in this process; give how it ended and the run folder."""
        from stoker.trainer.sft import train  # noqa: PLC0415 - the other tests need no torch

        _, run = self.prepare(resume_from)
        reporter = StoppingReporter(run)
        reporter.stop_at_step, reporter.stop_at_batch = stop_at_step, stop_at_batch
        try:
            return train(read_run_config(run), reporter), run
        finally:
            reporter.close()

    def start(self, resume_from=None):
        """Train in a process of its own; give the process and the run folder."""
        launch, run = self.prepare(resume_from)
        with open(self.root / f"log{self.attempts}", "wb") as log:
            process = subprocess.Popen(launch.argv, env=dict(launch.env), cwd=launch.cwd, stdout=log, stderr=log)
        return process, run

    def log(self):
        """Give the log of the latest attempt that ran in a process of its own."""
        return (self.root / f"log{self.attempts}").read_text()


def python(*words, **kwargs):
    """Run this interpreter to its end."""
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=False, **kwargs)
