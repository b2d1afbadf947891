"""Who decides an attempt, raced by real processes."""

import fcntl
import multiprocessing
import os
import subprocess
import sys

import pytest

from stoker.rundir.claim import abandon, claim_as_supervisor, is_abandoned, is_claimed, is_locked, take_lock
from stoker.rundir.layout import AttemptDir
from tests.waiting import wait_until

RACES = 200

HOLDER = """
import sys, time
from stoker.rundir.claim import take_lock
from stoker.rundir.layout import AttemptDir
print(take_lock(AttemptDir(sys.argv[1])), flush=True)
time.sleep(1000)
"""


@pytest.fixture
def attempt(tmp_path):
    return AttemptDir(str(tmp_path))


def race(roots, role, gate, answers):
    """Run in a process of its own: race the others for each attempt."""
    for root in roots:
        attempt = AttemptDir(root)
        gate.wait()
        won = claim_as_supervisor(attempt) if role == "supervisor" else abandon(attempt, epoch=1)
        answers.put((root, role, won))


def test_of_a_supervisor_and_a_server_that_gives_up_exactly_one_wins(tmp_path):
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Barrier(3, timeout=30), context.SimpleQueue()
    roots = [str(tmp_path / f"attempt-{n:03d}") for n in range(RACES)]
    for root in roots:
        os.mkdir(root)
    roles = ("supervisor", "supervisor", "server")
    racers = [context.Process(target=race, args=(roots, role, gate, answers)) for role in roles]
    for racer in racers:
        racer.start()
    found = [answers.get() for _ in range(RACES * len(roles))]
    for racer in racers:
        racer.join()
    answers.close()
    winners = {root: [role for name, role, won in found if name == root and won] for root in roots}

    assert {len(roles) for roles in winners.values()} == {1}
    for root, (winner,) in winners.items():
        assert is_abandoned(AttemptDir(root)) == (winner == "server")


def test_a_claim_stands_for_ever(attempt):
    assert not is_claimed(attempt)
    assert claim_as_supervisor(attempt)
    assert is_claimed(attempt)
    assert not claim_as_supervisor(attempt)
    assert not abandon(attempt, epoch=9)
    assert not is_abandoned(attempt)


def test_to_give_up_twice_is_to_give_up(attempt):
    assert abandon(attempt, epoch=1)
    assert abandon(attempt, epoch=2)
    assert is_abandoned(attempt)
    assert not claim_as_supervisor(attempt)
    assert os.listdir(attempt.root) == ["claim"]


# The lock


@pytest.fixture
def holder(attempt):
    """Start a process that holds the lock, and end it afterwards."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, attempt.root], stdout=subprocess.PIPE)
    assert process.stdout.readline().strip().isdigit()
    yield process
    process.kill()
    process.communicate()


def test_an_attempt_that_nobody_locked_is_free(attempt):
    assert not is_locked(attempt)
    assert os.listdir(attempt.root) == []


def test_the_lock_is_held_for_the_life_of_its_holder(attempt, holder):
    assert is_locked(attempt)
    assert take_lock(attempt) is None


def test_kill_9_frees_the_lock(attempt, holder):
    holder.kill()
    holder.wait()

    assert not is_locked(attempt)
    descriptor = take_lock(attempt)
    assert is_locked(attempt)
    os.close(descriptor)
    assert not is_locked(attempt)


def test_a_stopped_holder_holds_it_still(attempt, holder):
    holder.send_signal(19)
    wait_until(lambda: is_locked(attempt))

    assert take_lock(attempt) is None
    holder.send_signal(18)


def test_a_reader_that_only_looks_does_not_keep_a_supervisor_out(attempt):
    os.close(take_lock(attempt))
    reader = os.open(attempt.lock, os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_SH)
    looks = []

    def look_and_go(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            os.close(reader)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stoker.rundir.claim.time.sleep", look_and_go)
        descriptor = take_lock(attempt)

    assert descriptor is not None
    assert len(looks) == 3
    os.close(descriptor)


def test_many_readers_see_no_lock_where_there_are_only_readers(attempt):
    os.close(take_lock(attempt))
    reader = os.open(attempt.lock, os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_SH)

    assert not is_locked(attempt)
    os.close(reader)
