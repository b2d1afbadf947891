"""The log: nothing is lost that is not declared, nothing grows without bound, and no trainer waits for it."""

import json
import os
import subprocess
import sys
import textwrap
import time

import pytest

from stoker.rundir import logfiles
from stoker.supervisor.logpump import PIPE_BYTES, LogPump
from tests.supervisor.attempts import processor_seconds, python
from tests.waiting import wait_until

FLOOD = """
    import os, sys, time
    line = b"x" * {width} + b"\\n" * {newline}
    block = line * max(1, 65536 // len(line))
    left = {total}
    began_at = time.monotonic()
    while left > 0:
        left -= os.write(1, block[:left])
    sys.stderr.write(f"took {{time.monotonic() - began_at:.3f}}")
    """


def flood(total: int, width: int = 99, newline: int = 1) -> tuple[str, ...]:
    """Give a program that writes so many bytes as fast as it can."""
    return python(FLOOD.format(total=total, width=width, newline=newline))


def folder_bytes(path: str) -> int:
    """Give the bytes of the log's segments on disk."""
    names = [name for name in os.listdir(path) if name.startswith("log.")]
    return sum(os.stat(os.path.join(path, name)).st_size for name in names)


@pytest.mark.parametrize("newline", [1, 0], ids=["lines", "no newline"])
def test_a_flood_is_kept_within_the_cap_and_what_is_dropped_is_declared(make_attempt, newline):
    total, cap = 100_000_000, 8 << 20
    attempt = make_attempt(flood(total, newline=newline), log_bytes=cap, segment_bytes=1 << 20)
    record = attempt.result(60)
    said = len("took 0.000")
    dropped = sum(note["bytes"] for note in attempt.notes("dropped"))

    assert record.exit_code == 0
    assert record.log_bytes == pytest.approx(total + said, abs=3)
    assert folder_bytes(attempt.directory.root) <= cap
    assert dropped + folder_bytes(attempt.directory.root) == record.log_bytes
    assert attempt.log().endswith(attempt.log()[-5:])


def test_a_flood_does_not_keep_the_supervisor_from_its_other_duties(make_attempt):
    attempt = make_attempt(flood(10**12), log_bytes=4 << 20, segment_bytes=1 << 20).start()
    attempt.wait_for("dropped")
    began_at = time.monotonic()
    answer = attempt.ask("inspect")
    seconds = time.monotonic() - began_at
    attempt.stop("cancelled")

    assert answer["executed"]
    assert seconds < 2
    assert attempt.exit().stop == "cancelled"


def test_memory_stays_flat_under_a_flood(make_attempt):
    attempt = make_attempt(flood(10**12, newline=0), log_bytes=4 << 20, segment_bytes=1 << 20).start()
    attempt.wait_for("dropped")
    pid = attempt.supervisor().pid
    wait_until(lambda: attempt.ask("inspect")["log_bytes"] > 200_000_000, 60)

    with open(f"/proc/{pid}/status") as file:
        resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    assert resident < 14_000


def test_lines_are_numbered_across_segments(make_attempt):
    total = 3000
    code = f"for number in range({total}): print(f'line {{number}}')"
    attempt = make_attempt(python(code), segment_bytes=4096, log_bytes=1 << 20)
    attempt.result()
    root = attempt.directory.root

    assert len(logfiles.segments(root)) > 3
    assert logfiles.count_lines(root) == total
    assert logfiles.read_lines(root, 1234, 2) == [b"line 1234", b"line 1235"]
    assert attempt.notes("dropped") == []


def test_a_segment_begins_with_a_line_where_it_can(make_attempt):
    code = "import os; os.write(1, b''.join(b'line %d\\n' % number for number in range(2000)))"
    attempt = make_attempt(python(code), segment_bytes=2048)
    attempt.result()
    for segment in logfiles.segments(attempt.directory.root):
        with open(segment.path, "rb") as file:
            assert file.read(5) == b"line "


def test_a_trainer_that_closes_its_output_does_not_make_the_supervisor_spin(make_attempt):
    attempt = make_attempt(python("import os, time; os.close(1); os.close(2); time.sleep(100)")).start()
    attempt.wait_for("executed")
    pid, began_at = attempt.supervisor().pid, time.monotonic()
    before = processor_seconds(pid)
    wait_until(lambda: time.monotonic() > began_at + 1)

    assert processor_seconds(pid) - before < 0.3


FULL_DISK = """
    import json, os, resource, signal, sys
    from stoker.supervisor.logpump import LogPump
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    said = []
    pump = LogPump(sys.argv[1], 8 << 20, 1 << 20, said.append)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    for _ in range(4):
        os.write(pump.writer, b"y" * 60_000)
        pump.pump()
    full = pump.bytes
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    os.write(pump.writer, b"z" * 1000)
    pump.finish()
    print(json.dumps([full, pump.bytes, sum(said)]))
    """


def test_a_full_disk_costs_output_and_nothing_else(tmp_path):
    code = textwrap.dedent(FULL_DISK)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, timeout=30, check=True)
    full, total, said = json.loads(done.stdout)

    assert full == 100_000
    assert total == full + 1000
    assert said == 240_000 - full
    assert logfiles.end_byte(str(tmp_path)) == total


def test_one_turn_takes_a_bounded_amount(tmp_path):
    pump = LogPump(str(tmp_path), 8 << 20, 1 << 20, lambda count: None)
    os.write(pump.writer, b"x" * 200_000)

    assert pump.pump(budget=65536) == 65536
    assert pump.pump() == 200_000 - 65536
    assert pump.pump() == 0
    assert not pump.has_ended
    pump.hand_on()
    pump.pump()
    assert pump.has_ended


def test_the_pipe_is_large_enough_to_bridge_a_pause(tmp_path):
    pump = LogPump(str(tmp_path), 8 << 20, 1 << 20, lambda count: None)
    os.set_blocking(pump.writer, False)
    written = 0
    try:
        while True:
            written += os.write(pump.writer, b"x" * 4096)
    except BlockingIOError:
        pass

    assert written >= (PIPE_BYTES if os.getuid() == 0 else 65536)


def test_a_cap_smaller_than_a_segment_is_still_a_cap(tmp_path):
    said = []
    pump = LogPump(str(tmp_path), 1000, 8 << 20, said.append)
    for _ in range(50):
        os.write(pump.writer, b"x" * 99 + b"\n")
    pump.pump()

    assert folder_bytes(str(tmp_path)) <= 1000
    assert folder_bytes(str(tmp_path)) + sum(said) == 5000
