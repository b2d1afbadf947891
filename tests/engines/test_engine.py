"""What every engine must do: one suite over a list of engines."""

import dataclasses
import json
import os
import select
import time
from itertools import pairwise

import pytest

from stoker.domain.limits import Limits
from stoker.engines.port import Finding, News
from stoker.rundir.records import StopRecord
from tests.engines.given_engine import python
from tests.waiting import wait_until

SLEEP = ("sleep", "1000")


def stop(kind="cancelled", epoch=1):
    return StopRecord(kind=kind, who="test", why="because", at=time.time(), epoch=epoch)


def tree_of(folder):
    return sorted(os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)


# Plan and launch


def test_a_plan_is_pure_and_says_all_that_would_be_done(bench, engine, tmp_path):
    before = tree_of(tmp_path)
    plan = bench.plan(SLEEP, files={"config.json": b"{}"})

    assert tree_of(tmp_path) == before
    assert plan == engine.plan(plan.order, {"config.json": b"{}"})
    assert plan.argv
    assert plan.directory
    assert dict(plan.files) == {"config.json": b"{}"}
    assert engine.find(plan.attempt_id, {}) is Finding.ABSENT


def test_a_launched_attempt_runs_to_its_end_and_its_exit_code_is_kept(bench, engine):
    attempt_id, handle = bench.launch(python("raise SystemExit(7)"))
    record = bench.end_of(attempt_id)

    assert (record.exit_code, record.signal, record.executed, record.survivors) == (7, None, True, ())
    assert engine.find(attempt_id, handle) is Finding.ENDED
    assert json.loads(json.dumps(handle)) == handle


def test_files_of_a_plan_lie_in_the_run_folder(bench):
    code = "import os; print(open(os.environ['STOKER_RUN_DIR'] + '/config.json').read())"
    attempt_id, _ = bench.launch(python(code), files={"config.json": b'{"a": 1}'})
    bench.end_of(attempt_id)

    assert bench.engine.channel(attempt_id).log_lines(0, 10) == (0, [b'{"a": 1}'])


def test_to_launch_twice_starts_one(bench, engine, tmp_path):
    witness = tmp_path / "witness"
    plan = bench.plan(python(f"import time; open({str(witness)!r}, 'a').write('ran\\n'); time.sleep(0.3)"))
    for _ in range(3):
        engine.launch(plan)
    bench.end_of(plan.attempt_id)
    engine.launch(plan)
    again = engine.find(plan.attempt_id, {})

    assert again is Finding.ENDED
    assert witness.read_text() == "ran\n"


def test_a_program_that_is_not_there_is_an_end_and_not_a_failed_launch(bench):
    attempt_id, _ = bench.launch(("/nowhere/at-all",))

    assert "not found" in bench.end_of(attempt_id).launch_error


# Find


def test_what_was_never_launched_is_absent(engine):
    assert engine.find("no-such-attempt", {}) is Finding.ABSENT


def test_a_running_attempt_is_alive_to_this_server_and_to_the_next_one(bench, engine):
    attempt_id, handle = bench.launch(SLEEP)
    bench.supervisor(attempt_id)
    wait_until(lambda: engine.find(attempt_id, handle) is Finding.ALIVE)
    successor = bench.another_engine()

    assert successor.find(attempt_id, {}) is Finding.ALIVE
    successor.close()


def test_an_attempt_that_no_supervisor_took_is_unclaimed(bench, engine):
    plan = bench.plan(SLEEP)
    bench.lay_out(plan)

    assert engine.find(plan.attempt_id, {}) is Finding.UNCLAIMED


def test_a_supervisor_that_does_not_answer_is_unresponsive_and_never_lost(bench, engine, monkeypatch):
    monkeypatch.setattr("stoker.engines.local.HELLO_SECONDS", 0.2)
    attempt_id, handle = bench.launch(SLEEP)
    wait_until(lambda: engine.find(attempt_id, handle) is Finding.ALIVE)
    bench.freeze(attempt_id)

    assert engine.find(attempt_id, handle) is Finding.UNRESPONSIVE
    wait_until(lambda: engine.find(attempt_id, handle) is Finding.ALIVE, why="the wake-up that comes with the look")


def test_a_supervisor_that_was_killed_is_dead_though_its_trainer_lives(bench, engine):
    attempt_id, handle = bench.launch(SLEEP)
    wait_until(lambda: engine.channel(attempt_id).vitals())
    wait_until(lambda: bench.marked(attempt_id))
    bench.kill(attempt_id)

    assert engine.find(attempt_id, handle) is Finding.DEAD


def test_an_attempt_of_an_earlier_boot_is_rebooted_unless_its_end_is_known(bench, engine):
    plan = bench.plan(SLEEP)
    bench.lay_out(plan)
    attempt_id, handle = bench.launch(("true",))
    bench.end_of(attempt_id)

    assert engine.find(plan.attempt_id, bench.handle_of_another_boot(handle)) is Finding.REBOOTED
    assert engine.find(attempt_id, bench.handle_of_another_boot(handle)) is Finding.ENDED


# Abandon


def test_an_attempt_that_was_given_up_never_runs(bench, engine, tmp_path):
    witness = tmp_path / "witness"
    plan = bench.plan(("touch", str(witness)))
    bench.lay_out(plan)

    assert engine.abandon(plan.attempt_id, 1)
    assert engine.abandon(plan.attempt_id, 2)
    assert engine.find(plan.attempt_id, {}) is Finding.ABSENT
    engine.launch(plan)
    bench.settle(plan.attempt_id)
    assert not witness.exists()


def test_an_attempt_that_was_never_laid_out_is_given_up_at_once(engine):
    assert engine.abandon("no-such-attempt", 1)


def test_an_attempt_that_has_a_supervisor_is_not_given_up(bench, engine):
    attempt_id, handle = bench.launch(SLEEP)
    wait_until(lambda: engine.find(attempt_id, handle) is Finding.ALIVE)

    assert not engine.abandon(attempt_id, 1)
    assert engine.find(attempt_id, handle) is Finding.ALIVE


def test_giving_up_and_starting_never_both_win(bench, engine, tmp_path):
    outcomes = set()
    for turn in range(16):
        witness = tmp_path / f"witness-{turn}"
        plan = bench.plan(("touch", str(witness)))
        bench.lay_out(plan)
        engine.launch(plan)
        time.sleep(turn % 8 * 0.008)
        given_up = engine.abandon(plan.attempt_id, 1)
        bench.settle(plan.attempt_id)
        if not given_up:
            bench.end_of(plan.attempt_id)
        outcomes.add(given_up)

        assert given_up != witness.exists()
    assert True in outcomes


# Stop and fence


def test_a_stop_ends_the_attempt_and_the_record_says_so(bench, engine):
    attempt_id, handle = bench.launch(SLEEP)
    wait_until(lambda: engine.find(attempt_id, handle) is Finding.ALIVE)
    channel = engine.channel(attempt_id)
    channel.send_stop(stop())
    channel.send_stop(stop())
    record = bench.end_of(attempt_id)

    assert (record.stop, record.stop_sent, record.signal) == ("cancelled", True, 15)
    assert bench.marked(attempt_id) == []


def test_a_stop_that_came_before_the_start_is_found(bench, engine, tmp_path):
    witness = tmp_path / "witness"
    plan = bench.plan(("touch", str(witness)))
    bench.lay_out(plan)
    engine.channel(plan.attempt_id).send_stop(stop())
    engine.launch(plan)
    record = bench.end_of(plan.attempt_id)

    assert (record.stop, record.executed, record.exit_code) == ("cancelled", False, None)
    assert not witness.exists()


def test_a_server_that_was_replaced_is_not_obeyed(bench, engine):
    attempt_id, handle = bench.launch(SLEEP)
    wait_until(lambda: engine.find(attempt_id, handle) is Finding.ALIVE)
    channel = engine.channel(attempt_id)
    channel.fence(5)
    channel.fence(5)
    channel.fence(3)
    channel.send_stop(stop(epoch=4))
    time.sleep(0.3)

    assert engine.find(attempt_id, handle) is Finding.ALIVE
    channel.send_stop(stop("paused", epoch=5))
    assert bench.end_of(attempt_id).stop == "paused"


def test_a_stop_that_can_not_be_kept_is_an_error(engine):
    with pytest.raises(OSError, match="No such file"):
        engine.channel("no-such-attempt").send_stop(stop())


def test_a_supervisor_whose_end_was_taken_in_goes(bench, engine):
    attempt_id, handle = bench.launch(python("import time; time.sleep(0.5)"))
    wait_until(lambda: engine.find(attempt_id, handle) is Finding.ALIVE)
    bench.end_of(attempt_id)
    engine.channel(attempt_id).acknowledge()

    wait_until(lambda: bench.is_gone(attempt_id), 5.0)


# Reading


def test_an_attempt_that_is_not_there_reads_as_empty(engine):
    channel = engine.channel("no-such-attempt")
    records = channel.read("")

    assert (records.journal, records.metrics, records.progress_file, records.more) == ((), (), None, False)
    assert (records.log_from, records.log_to, records.bad_lines) == (0, 0, 0)
    assert channel.read(records.cursor, final=True) == records
    assert (channel.exit(), channel.vitals(), channel.log_size(), channel.log_whole_lines()) == (None, None, (0, 0), 0)
    assert (channel.log_lines(4, 10), channel.log_range(3, 9)) == ((4, []), (3, b""))
    channel.acknowledge()


TALKER = """
    import json, os, sys, time
    run = os.environ["STOKER_RUN_DIR"]
    spool = open(run + "/metrics.jsonl", "a")
    for n in range(400):
        text = json.dumps({"kind": "step", "step": n, "loss": 1.0 / (n + 1), "pad": "x" * (n % 97)}) + "\\n"
        spool.write(text[:11]); spool.flush()
        spool.write(text[11:]); spool.flush()
        if n % 50 == 7:
            spool.write("not json\\n")
        sys.stdout.write("line %d " % n); sys.stdout.flush()
        sys.stdout.write("ends\\n"); sys.stdout.flush()
        if n % 40 == 0:
            with open(run + "/p.new", "w") as file:
                json.dump({"current_step": n}, file)
            os.rename(run + "/p.new", run + "/progress.json")
            time.sleep(0.01)
    sys.stdout.write("no newline at the end"); sys.stdout.flush()
"""


def take_all(bench, attempt_id):
    """Read an attempt from start to end, through nothing but cursors."""
    cursor, taken, ended = "", [], False
    while True:
        ended = bench.engine.channel(attempt_id).exit() is not None
        records = bench.engine.channel(attempt_id).read(cursor, final=ended)
        cursor = records.cursor
        taken.append(records)
        if ended and not records.more:
            return taken


@pytest.fixture
def talk(bench):
    """Give all records of an attempt that talked, read while it did."""
    plan = bench.plan(python(TALKER))
    progress = os.path.join(plan.directory, "run", "progress.json")
    plan = dataclasses.replace(plan, order=dataclasses.replace(plan.order, progress_files=(progress,)))
    bench.engine.launch(plan)
    wait_until(lambda: bench.engine.channel(plan.attempt_id).read("").journal)
    return plan.attempt_id, take_all(bench, plan.attempt_id)


def test_every_record_is_read_exactly_once(bench, talk):
    attempt_id, taken = talk
    metrics = [pair for records in taken for pair in records.metrics]
    notes = [line["seq"] for records in taken for line in records.journal]
    figures = [records.progress_file["current_step"] for records in taken if records.progress_file]
    whole = bench.engine.channel(attempt_id).read("", final=True)

    assert [seq for seq, _ in metrics] == list(range(400))
    assert [line["step"] for _, line in metrics] == list(range(400))
    assert notes == list(range(len(notes)))
    assert len(notes) >= 4
    assert figures == sorted(set(figures))
    assert figures[-1] == 360
    assert taken[-1].bad_lines == whole.bad_lines == 8
    assert whole.metrics == tuple(metrics)


def test_the_log_is_taken_in_at_the_ends_of_lines_without_gap_or_overlap(bench, talk):
    attempt_id, taken = talk
    channel = bench.engine.channel(attempt_id)
    text = b"".join(b"line %d ends\n" % n for n in range(400)) + b"no newline at the end"
    edges = [(records.log_from, records.log_to) for records in taken]
    running = [end for _, end in edges if 0 < end < len(text)]

    assert edges[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(edges))
    assert edges[-1][1] == len(text)
    assert all(text[end - 1 : end] == b"\n" for end in running)
    assert channel.log_range(0, len(text)) == (0, text)
    assert channel.log_size() == (len(text), 401)
    assert channel.log_lines(399, 5) == (399, [b"line 399 ends", b"no newline at the end"])


def test_nothing_new_is_nothing(bench, talk):
    attempt_id, taken = talk
    again = bench.engine.channel(attempt_id).read(taken[-1].cursor, final=True)

    assert (again.journal, again.metrics, again.progress_file, again.more) == ((), (), None, False)
    assert again.log_from == again.log_to
    assert again.cursor == taken[-1].cursor


def test_a_live_attempt_tells_what_its_supervisor_sees(bench, engine):
    attempt_id, _ = bench.launch(SLEEP, limits=Limits(stall_seconds=500))
    channel = engine.channel(attempt_id)
    wait_until(lambda: (channel.vitals() or {}).get("executed"))
    vitals = channel.vitals()

    assert vitals["phase"] == "training"
    assert channel.exit() is None


# News


def drain(engine, seconds=0.3):
    """Take the news until none comes for a while."""
    changed, died = set(), set()
    while select.select([engine.fileno()], [], [], seconds)[0]:
        news = engine.news()
        changed |= news.changed
        died |= news.died
    return News(frozenset(changed), frozenset(died))


def wait_for_news(engine, matches, seconds=20.0):
    """Wait, without polling, until the news match."""
    changed, died, end = set(), set(), time.monotonic() + seconds
    while time.monotonic() < end:
        select.select([engine.fileno()], [], [], end - time.monotonic())
        news = engine.news()
        changed |= news.changed
        died |= news.died
        if matches(changed, died):
            return
    raise AssertionError(f"no such news: {changed=} {died=}")


def test_news_come_when_an_attempt_changes_and_when_its_supervisor_goes(bench, engine):
    plan = bench.plan(python("import time; time.sleep(0.5)"))
    engine.launch(plan)
    engine.watch(plan.attempt_id)
    engine.watch(plan.attempt_id)
    wait_for_news(engine, lambda changed, _: plan.attempt_id in changed)
    wait_for_news(engine, lambda _, __: engine.channel(plan.attempt_id).exit() is not None)
    engine.channel(plan.attempt_id).acknowledge()

    wait_for_news(engine, lambda _, died: plan.attempt_id in died)
    assert drain(engine).died == frozenset()


def test_the_death_of_a_supervisor_is_news_at_once(bench, engine):
    attempt_id, handle = bench.launch(SLEEP)
    engine.watch(attempt_id)
    wait_until(lambda: engine.news() and engine.find(attempt_id, handle) is Finding.ALIVE)
    engine.watch(attempt_id)
    drain(engine)
    bench.kill(attempt_id)
    began = time.monotonic()
    wait_for_news(engine, lambda _, died: died == {attempt_id})

    assert time.monotonic() - began < 1.0


def test_a_death_before_the_watch_is_news_too(bench, engine):
    attempt_id, _ = bench.launch(SLEEP)
    wait_until(lambda: bench.marked(attempt_id))
    bench.kill(attempt_id)
    engine.watch(attempt_id)

    assert attempt_id in engine.news().died


def test_without_a_watch_there_is_no_news(bench, engine):
    attempt_id, handle = bench.launch(SLEEP)
    engine.watch(attempt_id)
    wait_until(lambda: engine.find(attempt_id, handle) is Finding.ALIVE)
    engine.unwatch(attempt_id)
    engine.unwatch(attempt_id)
    drain(engine)
    bench.kill(attempt_id)

    assert drain(engine) == News()


def test_what_is_not_there_can_be_watched_and_unwatched(engine):
    engine.watch("no-such-attempt")
    engine.unwatch("no-such-attempt")
    engine.unwatch("never-watched")

    assert engine.news() == News()


# The end of a supervisor, and what it leaves

FAMILY = """
    import os, subprocess, sys, time
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"
    child = [sys.executable, "-I", "-S", "-c", deaf]
    subprocess.Popen(child)
    subprocess.Popen(child, start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    print("ready", flush=True)
    time.sleep(1000)
"""


def test_what_a_killed_supervisor_left_is_ended_to_the_last_process(bench, engine):
    attempt_id, handle = bench.launch(python(FAMILY))
    wait_until(lambda: engine.channel(attempt_id).log_lines(0, 1)[1] == [b"ready"])
    wait_until(lambda: len(bench.marked(attempt_id)) >= 4)
    bench.kill(attempt_id)
    survivors = engine.clean_up(attempt_id)

    assert survivors == ()
    assert bench.marked(attempt_id) == []
    assert engine.clean_up(attempt_id) == ()
    assert engine.find(attempt_id, handle) is Finding.DEAD


def test_where_there_is_nothing_there_is_nothing_to_clean_up(bench, engine):
    assert engine.clean_up("no-such-attempt") == ()
    engine.end_supervisor("no-such-attempt")


def test_a_supervisor_that_answers_no_more_can_be_ended(bench, engine):
    attempt_id, handle = bench.launch(SLEEP)
    wait_until(lambda: engine.find(attempt_id, handle) is Finding.ALIVE)
    bench.freeze(attempt_id)
    engine.end_supervisor(attempt_id)

    wait_until(lambda: engine.find(attempt_id, handle) is Finding.DEAD)


# Remove and close


def test_records_are_removed_and_stay_so(bench, engine):
    attempt_id, handle = bench.launch(("true",))
    bench.end_of(attempt_id)
    wait_until(lambda: bench.is_gone(attempt_id))
    engine.remove(attempt_id)
    engine.remove(attempt_id)

    assert engine.find(attempt_id, handle) is Finding.ABSENT
    assert engine.channel(attempt_id).exit() is None
    assert not os.path.exists(bench.directory(attempt_id).root)


def test_attempts_run_on_when_the_engine_is_closed(bench):
    engine = bench.another_engine()
    plan = bench.plan(SLEEP)
    engine.launch(plan)
    engine.watch(plan.attempt_id)
    wait_until(lambda: engine.find(plan.attempt_id, {}) is Finding.ALIVE)
    engine.close()

    assert bench.engine.find(plan.attempt_id, {}) is Finding.ALIVE
