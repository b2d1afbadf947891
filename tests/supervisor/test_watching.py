"""Who is stuck and who is not: reports, progress files, output, clocks."""

import json
import math
import os
import signal
import struct
import textwrap
import time

import pytest

from stoker.domain.limits import Limits
from stoker.domain.outcome import End, conclude
from stoker.domain.policy import Signs, judge
from stoker.domain.progress import Phase, WatchedBy
from stoker.domain.stop import StopKind
from stoker.rundir.durable import replace
from stoker.rundir.journal import boottime
from stoker.supervisor.clocks import LATE_SECONDS, AwakeClock
from stoker.supervisor.loop import tick_seconds
from stoker.supervisor.progressfile import WHOLE_BYTES, ProgressFile
from stoker.supervisor.watching import Watch
from tests.supervisor.attempts import python
from tests.waiting import wait_until

REPORT = """
    import json, os, sys, time
    run = os.environ["STOKER_RUN_DIR"]
    def report(**line):
        with open(run + "/metrics.jsonl", "a") as file:
            file.write(json.dumps(line) + "\\n")
    """


def reporting(code: str) -> tuple[str, ...]:
    """Give a program that can report."""
    return python(textwrap.dedent(REPORT) + textwrap.dedent(code))


def test_a_normal_run_meets_no_limit(make_attempt):
    code = """
        report(kind="hello")
        report(kind="phase", phase="training")
        for step in range(10):
            report(kind="step", step=step)
            time.sleep(0.1)
        """
    limits = Limits(stall_seconds=0.9, start_seconds=5, time_limit_seconds=30)
    attempt = make_attempt(reporting(code), reports=True, limits=limits)
    record = attempt.result()

    assert (record.exit_code, record.stop, record.stop_sent) == (0, None, False)
    assert record.reported
    assert record.phase == "training"
    assert attempt.notes("suspect") == []


def test_a_trainer_that_stops_moving_is_ended_as_stalled(make_attempt):
    code = """
        report(kind="step", step=1)
        time.sleep(100)
        """
    attempt = make_attempt(reporting(code), limits=Limits(stall_seconds=1, grace_seconds=0.5))
    began_at = time.monotonic()
    record = attempt.result()

    assert (record.stop, record.stop_sent, record.stop_limit) == ("stalled", True, 1)
    assert 1 <= time.monotonic() - began_at < 4
    end = End(signal=record.signal, stop=StopKind(record.stop), stop_sent=True, stop_limit=record.stop_limit)
    assert conclude(end).error == "Training timed out - no progress for 1 second"


def test_a_heartbeat_does_not_hide_a_stuck_main_thread(make_attempt):
    code = """
        import struct, threading
        def beat():
            while True:
                with open(run + "/beat", "wb") as file:
                    file.write(struct.pack("<d", time.clock_gettime(time.CLOCK_BOOTTIME)))
                time.sleep(0.05)
        threading.Thread(target=beat, daemon=True).start()
        report(kind="step", step=1)
        threading.Event().wait()
        """
    attempt = make_attempt(reporting(code), limits=Limits(stall_seconds=1, grace_seconds=0.2)).start()
    wait_until(lambda: attempt.vitals()["heartbeat_at"])
    record = attempt.exit()

    assert record.stop == "stalled"


def test_a_slow_evaluation_that_advances_is_no_stall(make_attempt):
    code = """
        report(kind="phase", phase="evaluating")
        for batch in range(25):
            report(kind="eval", batch=batch)
            time.sleep(0.1)
        """
    record = make_attempt(reporting(code), limits=Limits(stall_seconds=1)).result()

    assert (record.exit_code, record.stop) == (0, None)
    assert record.phase == "evaluating"


def test_each_phase_has_its_own_limit(make_attempt):
    code = """
        report(kind="phase", phase="loading")
        time.sleep(1.5)
        report(kind="phase", phase="training")
        time.sleep(100)
        """
    limits = Limits(phase_seconds={"loading": 60, "training": 1}, grace_seconds=0.2)
    attempt = make_attempt(reporting(code), reports=True, limits=limits)
    record = attempt.result()

    assert (record.stop, record.stop_limit, record.phase) == ("stalled", 1, "training")
    assert [note["phase"] for note in attempt.notes("phase")] == ["training"]


def test_a_trainer_that_never_reports_is_ended_when_its_time_to_start_is_over(make_attempt):
    attempt = make_attempt(["sleep", "100"], reports=True, limits=Limits(start_seconds=1, grace_seconds=0.2))
    record = attempt.result()

    assert (record.stop, record.stop_limit, record.reported) == ("start_timeout", 1, False)
    assert attempt.notes("stacks")


def test_a_greeting_is_a_report_and_no_progress(make_attempt):
    code = """
        for _ in range(100):
            report(kind="hello", can_save=False)
            time.sleep(0.1)
        """
    record = make_attempt(reporting(code), limits=Limits(stall_seconds=1, grace_seconds=0.2)).result()

    assert record.reported
    assert record.stop == "stalled"


def test_the_time_limit_ends_a_job_that_makes_progress(make_attempt):
    code = """
        for step in range(1000):
            report(kind="step", step=step)
            time.sleep(0.05)
        """
    attempt = make_attempt(reporting(code), limits=Limits(time_limit_seconds=1, grace_seconds=0.5))
    record = attempt.result()

    assert (record.stop, record.stop_limit) == ("timed_out", 1)
    assert attempt.notes("stacks") == []


def test_a_natural_end_is_never_called_a_stall(make_attempt):
    code = """
        report(kind="step", step=1)
        time.sleep(0.98)
        """
    for _ in range(3):
        record = make_attempt(reporting(code), limits=Limits(stall_seconds=1)).result()

        assert (record.exit_code, record.stop_sent) in ((0, False), (None, True))
        assert (record.exit_code == 0) == (not record.stop_sent)


def test_silence_only_makes_a_plain_command_suspect(make_attempt):
    attempt = make_attempt(
        ["sh", "-c", "echo begin; sleep 100"], limits=Limits(phase_seconds={"training": 0.5})
    ).start()
    note = attempt.wait_for("suspect")
    wait_until(lambda: attempt.vitals()["suspect"] == note["text"])
    vitals = attempt.vitals()

    assert "no sign of progress" in note["text"]
    assert (vitals["watched_by"], vitals["stop"]) == ("log", None)


def test_suspicion_ends_with_the_next_sign(make_attempt):
    code = "echo begin; sleep 1; echo again; sleep 100"
    attempt = make_attempt(["sh", "-c", code], limits=Limits(phase_seconds={"training": 0.5})).start()
    attempt.wait_for("suspect")
    attempt.wait_for("suspect", text=None)

    assert attempt.vitals()["stop"] is None


def test_output_counts_against_a_stall_limit_that_was_set_by_hand(make_attempt):
    talks = make_attempt(
        ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.2; done"], limits=Limits(stall_seconds=1)
    )
    hangs = make_attempt(["sh", "-c", "echo 1; sleep 100"], limits=Limits(stall_seconds=1, grace_seconds=0.2))

    assert talks.result().exit_code == 0
    assert hangs.result().stop == "stalled"


def test_a_better_signal_replaces_a_worse_one_and_never_the_other_way(make_attempt):
    attempt = make_attempt(["sh", "-c", "echo out; sleep 0.3; echo out; sleep 100"], progress_files=("p",)).start()
    attempt.wait_for("watch", watched_by="log")
    attempt.report(kind="step", step=1)
    attempt.wait_for("watch", watched_by="callback")
    attempt.wait_for("reported", watched_by="callback")
    wait_until(lambda: attempt.vitals()["watched_by"] == "callback")

    assert [note["watched_by"] for note in attempt.notes("watch")] == ["log", "callback"]


def test_a_job_that_talks_and_reports_is_judged_by_its_reports(make_attempt):
    code = """
        report(kind="step", step=1)
        while True:
            print("still here", flush=True)
            time.sleep(0.1)
        """
    record = make_attempt(reporting(code), limits=Limits(stall_seconds=1, grace_seconds=0.2)).result()

    assert record.stop == "stalled"


def test_a_progress_file_is_watched_and_judged(make_attempt, tmp_path):
    path = str(tmp_path / "progress.json")
    code = f"""
        for step in range(12):
            with open({path!r} + ".tmp", "w") as file:
                json.dump({{"current_step": step, "updated_at": time.time()}}, file)
            os.replace({path!r} + ".tmp", {path!r})
            time.sleep(0.1)
        time.sleep(100)
        """
    attempt = make_attempt(reporting(code), progress_files=(path,), limits=Limits(stall_seconds=1, grace_seconds=0.2))
    record = attempt.result()

    assert record.stop == "stalled"
    assert attempt.notes("reported")[0]["watched_by"] == "progress.json"
    assert attempt.notes("reported")[0]["t"] + 1.8 < attempt.notes("stop")[0]["t"]


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.write_bytes(b'{"current_step": 5, "metr'),
        lambda path: path.write_bytes(b"\xff\xfe\x00 not json"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.symlink_to("/etc/passwd"),
        os.mkfifo,
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b"x" * (3 << 20)),
    ],
    ids=["missing", "half", "bytes", "deep", "link", "pipe", "folder", "huge"],
)
def test_a_progress_file_that_can_not_be_understood_never_fails_a_healthy_job(make_attempt, tmp_path, make):
    path = tmp_path / "progress.json"
    attempt = make_attempt(["sleep", "1.3"], progress_files=(str(path),)).start()
    attempt.wait_for("executed")
    make(path)
    record = attempt.exit()

    assert (record.exit_code, record.stop) == (0, None)
    assert attempt.diagnostics == ""
    assert attempt.vitals()["bad_lines"] == (0 if not os.path.lexists(path) else 1)


def test_lines_that_can_not_be_understood_are_counted_and_passed_over(make_attempt):
    code = r"""
        with open(run + "/metrics.jsonl", "ab") as file:
            for line in (b"{", b"[]", b"\xff\x00", b"[" * 100000, b'{"a": 1e309, "a": 2}', b"x" * (3 << 20), b"null"):
                file.write(line + b"\n")
                file.flush()
        report(kind="step", step=1, loss=float("nan"))
        report(kind="phase", phase="no such phase")
        report(kind="phase", phase=["training"])
        with open(run + "/metrics.jsonl", "ab") as file:
            file.write(b'{"half": ')
        time.sleep(100)
        """
    attempt = make_attempt(reporting(code)).start()
    wait_until(lambda: attempt.vitals()["bad_lines"] == 6 and attempt.vitals()["reported"], why="six bad lines")

    assert attempt.diagnostics == ""


def test_metrics_that_are_truncated_or_replaced_are_read_on(make_attempt):
    attempt = make_attempt(["sleep", "100"], limits=Limits(stall_seconds=60)).start()
    attempt.report(kind="phase", phase="preparing")
    attempt.wait_for("phase", phase="preparing")
    os.truncate(attempt.run.metrics, 0)
    attempt.report(kind="phase", phase="saving")
    attempt.wait_for("phase", phase="saving")
    replace(attempt.run.metrics, b'{"kind": "phase", "phase": "loading"}\n')
    attempt.wait_for("phase", phase="loading")

    wait_until(lambda: attempt.vitals()["phase"] == "loading")


@pytest.mark.parametrize("content", [b"", b"1234", b"x" * 9, struct.pack("<d", math.nan), struct.pack("<d", 1e300)])
def test_a_heartbeat_that_makes_no_sense_is_passed_over(make_attempt, content):
    attempt = make_attempt(["sleep", "0.5"])
    with open(attempt.run.beat, "wb") as file:
        file.write(content)
    attempt.result()

    assert attempt.vitals()["heartbeat_at"] is None


def test_time_in_which_the_supervisor_was_stopped_is_not_held_against_the_trainer(make_attempt):
    code = """
        for step in range(12):
            report(kind="step", step=step)
            time.sleep(0.5)
        """
    attempt = make_attempt(reporting(code), limits=Limits(stall_seconds=1.5, time_limit_seconds=4.5)).start()
    attempt.wait_for("reported")
    attempt.signal_supervisor(signal.SIGSTOP)
    wait_until(lambda: attempt_steps(attempt) >= 10, 20.0)
    attempt.signal_supervisor(signal.SIGCONT)
    record = attempt.exit()

    assert (record.exit_code, record.stop) == (0, None)


def attempt_steps(attempt) -> int:
    """Count the steps that were reported."""
    with open(attempt.run.metrics) as file:
        return len(file.readlines())


def test_a_trainer_that_is_stopped_is_stalled_and_ended(make_attempt):
    code = """
        import signal
        report(kind="step", step=1)
        os.kill(os.getpid(), signal.SIGSTOP)
        """
    attempt = make_attempt(reporting(code), limits=Limits(stall_seconds=0.5, grace_seconds=5))
    record = attempt.result()

    # TERM alone would stay pending on a stopped process until the kill.
    assert (record.stop, record.signal, record.stop_step) == ("stalled", signal.SIGTERM, "terminate")


def test_the_first_report_is_seen_soon(make_attempt):
    code = """
        report(kind="hello", at=time.clock_gettime(time.CLOCK_BOOTTIME))
        time.sleep(100)
        """
    attempt = make_attempt(reporting(code), reports=True).start()
    note = attempt.wait_for("reported")
    with open(attempt.run.metrics) as file:
        reported_at = json.loads(file.readline())["at"]

    assert note["t"] - reported_at < 0.5


# The parts that decide, on clocks and files of the test's own.


def test_the_clock_stands_still_while_its_owner_does_not_run():
    times = iter([100.0, 101.0, 150.0, 150.5])
    clock = AwakeClock(lambda: next(times))
    clock.look(1.0)
    assert clock.now == 101.0
    clock.look(1.0)
    assert clock.now == 102.0 + LATE_SECONDS
    clock.look(1.0)

    assert clock.now == 102.5 + LATE_SECONDS
    assert clock.boot == 150.5
    assert clock.missed == 48.0 - LATE_SECONDS


@pytest.mark.parametrize("late", [LATE_SECONDS + 0.5, 25.0])
def test_the_limits_fire_also_where_every_turn_is_late(late):
    now = [0.0]
    clock = AwakeClock(lambda: now[0])
    seen = {"executed_at": 0.0, "reported": False, "phase": Phase.LOADING, "progress_at": 0.0}
    limits = Limits(start_seconds=60)
    verdicts = []
    for _ in range(40):
        now[0] += late
        clock.look(0.0)
        verdicts.append(judge(Signs(now=clock.now, watched_by=WatchedBy.CALLBACK, **seen), limits).stop)

    assert verdicts[0] is None
    assert verdicts[-1] is StopKind.START_TIMEOUT


def test_a_turn_that_is_a_little_late_counts_in_full():
    times = iter([100.0, 100.0 + LATE_SECONDS + 0.9])
    clock = AwakeClock(lambda: next(times))
    clock.look(1.0)

    assert clock.missed == 0.0


@pytest.mark.parametrize(
    ("limits", "age", "awaits", "seconds"),
    [
        (Limits(), 60, False, 1.0),
        (Limits(), 60, True, 0.2),
        (Limits(), 0.5, False, 0.5),
        (Limits(), 0, False, 0.1),
        (Limits(stall_seconds=5), 60, False, 0.5),
        (Limits(stall_seconds=0.1), 60, False, 0.1),
        (Limits(start_seconds=3), 60, False, 0.3),
        (Limits(time_limit_seconds=600), 60, False, 1.0),
        (Limits(phase_seconds={"saving": 2}), 60, False, 0.2),
    ],
)
def test_the_tick_is_a_tenth_of_the_shortest_limit_and_short_at_first(limits, age, awaits, seconds):
    assert tick_seconds(limits, age, awaits_report=awaits) == pytest.approx(seconds)


def looks(path, *versions) -> list[bool]:
    """Write one version after the other and give what each look says."""
    file = ProgressFile(str(path))
    said = []
    for version in versions:
        text = version if isinstance(version, str) else json.dumps(version)
        path.with_suffix(".tmp").write_text(text)
        os.replace(path.with_suffix(".tmp"), path)
        said.append(file.look())
    return said


def test_a_progress_file_of_an_earlier_run_is_no_progress(tmp_path):
    path = tmp_path / "progress.json"
    path.write_text('{"current_step": 5}')

    assert looks(path, {"current_step": 5, "updated_at": "now"}, {"current_step": 6}) == [False, True]


def test_what_only_tells_the_time_or_the_device_is_no_progress(tmp_path):
    base = {"current_step": 1, "metrics_history": [{"step": 1, "timestamp": 1, "gpu_memory_allocated_gb": 1}]}
    still = {
        "current_step": 1,
        "updated_at": 7,
        "elapsed_seconds": 9,
        "remaining_seconds": 4,
        "gpu_utilization_percent": 99,
        "metrics_history": [{"step": 1, "timestamp": 2, "gpu_memory_allocated_gb": 2}],
    }

    assert looks(tmp_path / "progress.json", base, still, {**still, "eval_loss": 0.5}) == [True, False, True]


def test_a_file_that_tells_nothing_but_the_time_moves_with_it(tmp_path):
    said = looks(tmp_path / "p.json", {"updated_at": 1}, {"updated_at": 1, "gpu_memory": 3}, {"updated_at": 2})

    assert said == [True, False, True]


def test_a_link_in_the_place_of_a_progress_file_is_not_followed(tmp_path):
    target, path = tmp_path / "target", tmp_path / "progress.json"
    target.write_text('{"current_step": 5}')
    file = ProgressFile(str(path))
    path.symlink_to(target)

    assert not file.look()
    assert file.bad == 1


def test_a_clock_that_jumps_back_is_a_change_like_any_other(tmp_path):
    assert looks(tmp_path / "p.json", {"updated_at": 1000}, {"updated_at": 10}) == [True, True]


def test_nan_in_a_progress_file_is_no_harm(tmp_path):
    said = looks(
        tmp_path / "p.json", '{"step": 1, "loss": NaN}', '{"step": 1, "loss": NaN }', '{"step": 2, "loss": NaN}'
    )

    assert said == [True, False, True]


def test_a_file_with_a_history_too_long_to_read_is_judged_by_its_head(tmp_path):
    history = [{"step": step, "train_loss": 1.0} for step in range(60_000)]
    versions = [{"current_step": step, "updated_at": step, "metrics_history": history} for step in (1, 2)]
    same = {"current_step": 2, "updated_at": 9, "metrics_history": history}

    assert len(json.dumps(same)) > WHOLE_BYTES
    assert looks(tmp_path / "p.json", *versions, same) == [True, True, False]


def watch_of(make_attempt, **order):
    """Give a watch over an attempt that is not started, its clock's time and what it noted."""
    attempt = make_attempt(["true"], **order)
    now = [1000.0]
    clock, notes = AwakeClock(lambda: now[0]), []
    watch = Watch(attempt.order, attempt.run, clock, lambda note, **data: notes.append((note, data)))

    def go(seconds: float) -> None:
        now[0] += seconds
        clock.look(seconds)

    return attempt, watch, go


def test_a_command_is_in_training_from_its_start_and_a_reporter_in_loading(make_attempt):
    _, command, _ = watch_of(make_attempt)
    _, reporter, _ = watch_of(make_attempt, reports=True)

    assert (command.phase, command.watched_by) == (Phase.TRAINING, WatchedBy.EXIT)
    assert (reporter.phase, reporter.watched_by) == (Phase.LOADING, WatchedBy.CALLBACK)


def test_saving_that_advances_is_known_by_its_time(make_attempt):
    attempt, watch, go = watch_of(make_attempt)
    attempt.report(kind="phase", phase="saving")
    watch.look()
    first = watch.saving_at
    go(5)
    attempt.report(kind="shard", number=2)
    watch.look()

    assert (first, watch.saving_at) == (1000.0, 1005.0)


def test_a_greeting_may_say_that_the_trainer_can_save(make_attempt):
    attempt, watch, _ = watch_of(make_attempt)
    attempt.report(kind="hello", can_save=True)
    watch.look()

    assert watch.can_save
    assert watch.reported


def test_a_heartbeat_of_this_boot_is_shown(make_attempt):
    attempt, watch, _ = watch_of(make_attempt)
    with open(attempt.run.beat, "wb") as file:
        file.write(struct.pack("<d", 999.5))
    watch.look()

    assert watch.heartbeat_boot == 999.5
    assert boottime() > 0
