"""A command starts fast, because it imports only what it needs."""

import resource
import subprocess
import sys
import time

import pytest

HEAVY = (
    "fastapi",
    "starlette",
    "sqlalchemy",
    "torch",
    "transformers",
    "httpx",
    "pydantic",
    "structlog",
    "alembic",
    "typer",
)
MOST_SECONDS = 0.5
"""Of processor time, which a busy machine does not lengthen as it does the wait; alone, a command takes a quarter."""


def times_of(run):
    """Give the wait and the processor time of one run, in seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    assert run().returncode == 0
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    return ended - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("words", [("ls",), ("--help",), ("ls", "--json")])
def test_a_command_starts_fast(stoker, words, record_property):
    waits, used = zip(*(times_of(lambda: stoker(*words)) for _ in range(5)), strict=True)
    print(f"stoker {' '.join(words)}: {min(waits) * 1000:.0f} ms, of processor time {min(used) * 1000:.0f} ms")
    record_property("milliseconds", round(min(waits) * 1000))

    assert min(used) < MOST_SECONDS


@pytest.mark.parametrize(
    "words", [["ls"], ["show", "x"], ["cancel", "x"], ["submit", "-q", "--", "true"], ["logs", "x"], ["--help"]]
)
def test_no_heavy_module_is_imported(stoker, words):
    code = (
        "import sys\nfrom stoker.cli.main import run\ntry:\n    run(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=30, check=True,
        env=stoker.environment(),
    )  # fmt: skip

    assert done.stderr.splitlines()[-1] == "[]"
