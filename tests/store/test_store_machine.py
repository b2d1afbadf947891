"""Any sequence of verbs, at random, against a model that fits on a page."""

import tempfile
from pathlib import Path

from given_store import attempt, ending, intake, new, rows, stop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from stoker.domain.errors import EpochLost, IdTaken, IllegalMove, NotFound
from stoker.domain.states import ACTIVE, TERMINAL, JobState, may_move
from stoker.domain.stop import ASKED_BY_USER, StopKind, outranks
from stoker.store.sql import open_store

IDS = st.sampled_from(["a", "b", "c", "d", "e"])
BODIES = st.sampled_from(["one", "two"])
ENDS = st.sampled_from(sorted(set(JobState) - ACTIVE))


class Modelled:
    def __init__(self, body, sequence):
        self.body, self.sequence = body, sequence
        self.state, self.stop, self.attempt, self.epoch = JobState.QUEUED, None, 0, 0
        self.priority, self.head, self.lost, self.cursor, self.metrics = 0, 0, 0, 0, 0

    @property
    def place(self):
        return (-self.head, -self.priority, self.sequence)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self, name_database):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.url = name_database(Path(self.folder.name))
        self.store = open_store(self.url)
        self.jobs, self.deleted = {}, set()
        self.epoch = self.sequence = self.heads = self.told = 0

    def teardown(self):
        self.store.close()
        self.folder.cleanup()

    def refuses(self, error, call):
        before = self.store.feed_bounds()
        try:
            call()
        except error:
            assert self.store.feed_bounds() == before
            return True
        return False

    @rule(job_id=IDS, body=BODIES)
    def submit(self, job_id, body):
        submit = lambda: self.store.submit(new(job_id, body_hash=body))  # noqa: E731
        known = self.jobs.get(job_id)
        if job_id in self.deleted or (known is not None and known.body != body):
            assert self.refuses(IdTaken, submit)
            return
        assert submit()[1] == (known is None)
        if known is None:
            self.sequence += 1
            self.jobs[job_id] = Modelled(body, self.sequence)
            self.told += 1

    @rule(job_id=IDS, kind=st.sampled_from([StopKind.CANCELLED, StopKind.PAUSED, StopKind.SHUTDOWN]))
    def request_stop(self, job_id, kind):
        ask = lambda: self.store.request_stop(job_id, stop(kind))  # noqa: E731
        job = self.jobs.get(job_id)
        if job is None:
            assert self.refuses(NotFound, ask)
        elif job.state in ACTIVE:
            assert ask().previous is job.state
            if job.stop is None or outranks(kind, job.stop):
                job.stop = kind
                self.told += 1
        elif job.state in TERMINAL or kind is not StopKind.CANCELLED:
            assert self.refuses(IllegalMove, ask)
        else:
            assert ask().previous is job.state
            job.state, job.stop = JobState.CANCELLED, kind
            self.told += 1

    @rule(job_id=IDS)
    def resume(self, job_id):
        job = self.jobs.get(job_id)
        if job is not None and job.state is JobState.PAUSED:
            self.store.resume(job_id, None, 20.0)
            job.state, job.head = JobState.QUEUED, 0
            self.told += 1
        else:
            assert self.refuses((IllegalMove, NotFound), lambda: self.store.resume(job_id, None, 20.0))

    @rule(job_id=IDS)
    def move_to_head(self, job_id):
        job = self.jobs.get(job_id)
        if job is not None and job.state is JobState.QUEUED:
            self.store.move_to_head(job_id, 20.0)
            self.heads += 1
            job.head = self.heads
            self.told += 1
        else:
            assert self.refuses((IllegalMove, NotFound), lambda: self.store.move_to_head(job_id, 20.0))

    @rule(job_id=IDS, priority=st.integers(-2, 2))
    def set_priority(self, job_id, priority):
        job = self.jobs.get(job_id)
        if job is None or job.state in TERMINAL:
            assert self.refuses((IllegalMove, NotFound), lambda: self.store.set_priority(job_id, priority, 20.0))
            return
        self.store.set_priority(job_id, priority, 20.0)
        self.told += priority != job.priority
        job.priority = priority

    @rule(job_id=IDS)
    def delete(self, job_id):
        job = self.jobs.get(job_id)
        if job is None or job.state not in TERMINAL:
            assert self.refuses((IllegalMove, NotFound), lambda: self.store.delete(job_id, 20.0))
            return
        self.store.delete(job_id, 20.0)
        del self.jobs[job_id]
        self.deleted.add(job_id)
        self.told += 1

    @rule()
    def begin_a_term(self):
        self.epoch = self.store.acquire_term("server")

    @rule(job_id=IDS, is_late=st.booleans())
    def open_attempt(self, job_id, is_late):
        job, epoch = self.jobs.get(job_id), self.epoch - is_late
        number = 1 if job is None else job.attempt + 1
        open_it = lambda: self.store.open_attempt(attempt(job_id, number), epoch)  # noqa: E731
        if is_late:
            assert self.refuses(EpochLost, open_it)
        elif job is None:
            assert self.refuses(NotFound, open_it)
        elif job.state is not JobState.QUEUED:
            assert open_it() is None
        else:
            assert open_it().state is JobState.PENDING
            job.state, job.attempt, job.epoch, job.cursor, job.metrics = JobState.PENDING, number, epoch, 0, 0
            self.told += 1

    @rule(job_id=IDS)
    def adopt(self, job_id):
        job = self.jobs.get(job_id)
        is_open = job is not None and job.state in ACTIVE
        number = 1 if job is None else job.attempt
        assert self.store.adopt(f"{job_id}/{number}", "server", self.epoch, 99.0) == is_open
        if is_open:
            job.epoch = self.epoch

    @rule(job_id=IDS, is_late=st.booleans())
    def mark_running(self, job_id, is_late):
        job, epoch = self.jobs.get(job_id), self.epoch - is_late
        is_right = job is not None and job.state is JobState.PENDING and job.epoch == epoch == self.epoch
        assert self.store.mark_running(job_id, job.attempt if job else 1, epoch, 3.0) == is_right
        if is_right:
            job.state = JobState.RUNNING
            self.told += 1

    @rule(job_id=IDS, count=st.integers(0, 3), is_again=st.booleans())
    def take_in(self, job_id, count, is_again):
        job = self.jobs.get(job_id)
        number, cursor, first = (1, 0, 0) if job is None else (job.attempt, job.cursor, job.metrics)
        before = str(cursor - is_again) if cursor else ""
        batch = intake(before, str(cursor + 1), metrics=rows(first, first + count - 1))
        is_open = job is not None and job.state in ACTIVE and job.epoch == self.epoch
        is_right = is_open and not (is_again and cursor)
        assert self.store.take_in(f"{job_id}/{number}", self.epoch, batch) == is_right
        if is_right:
            job.cursor, job.metrics = cursor + 1, first + count
            self.told += count > 0

    @rule(job_id=IDS, state=ENDS, ran=st.booleans(), is_late=st.booleans())
    def conclude(self, job_id, state, ran, is_late):
        job, epoch = self.jobs.get(job_id), self.epoch - is_late
        end = lambda: self.store.conclude(job_id, job.attempt if job else 1, epoch, ending(state, ran=ran))  # noqa: E731
        is_right = job is not None and job.state in ACTIVE and job.epoch == epoch == self.epoch
        if not is_right or (state is JobState.QUEUED and job.stop in ASKED_BY_USER):
            assert end() is None
            return
        source = JobState.RUNNING if ran else job.state
        if not may_move(source, state):
            assert self.refuses(IllegalMove, end)
            return
        assert end().state is state
        self.told += 1 + (source is not job.state)
        job.state, job.stop = state, job.stop if state in TERMINAL else None

    @rule()
    def restart(self):
        self.store.close()
        self.store = open_store(self.url)

    @invariant()
    def every_job_is_as_modelled(self):
        for job_id, job in self.jobs.items():
            found, newest = self.store.job_with_attempt(job_id)
            assert (found.state, found.attempt, found.priority) == (job.state, job.attempt, job.priority)
            assert (found.stop and found.stop.kind) == job.stop
            assert [event.version for event in self.store.events(job_id)] == list(range(1, found.version + 1))
            if newest is not None:
                assert newest.is_open == (job.state in ACTIVE)
                assert [row.seq for row in self.store.metrics(newest.id)] == list(range(job.metrics))
        for job_id in self.deleted:
            assert self.store.job(job_id) is None

    @invariant()
    def the_queue_is_in_order(self):
        waiting = [(job.place, job_id) for job_id, job in self.jobs.items() if job.state is JobState.QUEUED]
        assert [job.id for job in self.store.queue(99)] == [job_id for _, job_id in sorted(waiting)]
        for position, (_, job_id) in enumerate(sorted(waiting), 1):
            assert self.store.queue_position(job_id) == position

    @invariant()
    def the_feed_has_a_row_for_each_change_and_no_gap(self):
        assert [row.id for row in self.store.feed(0, limit=10_000)] == list(range(1, self.told + 1))

    @precondition(lambda self: self.jobs)
    @invariant()
    def active_jobs_have_open_attempts(self):
        active = {job_id for job_id, job in self.jobs.items() if job.state in ACTIVE}
        assert {job.id for job, _ in self.store.active_jobs()} == active


def test_any_sequence_of_verbs_leaves_the_store_as_the_model_says(name_database):
    chosen = settings(max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(lambda: StoreMachine(name_database), settings=chosen)
