"""The files of jobs that are being made: no request waits for another's, and a failure leaves none."""

import os
import threading
from contextlib import contextmanager

import pytest

from stoker.domain.actor import LOCAL_ACTOR
from stoker.domain.errors import InvalidRequest, StorageFull
from stoker.domain.stop import StopKind, StopRequest
from stoker.recipes.finetune import FinetuneRecipe
from stoker.service.force_start import force_start
from stoker.service.request import SubmitRequest
from stoker.service.submit import submit
from stoker.service.turns import in_turn
from tests.api.given_api import Application


@pytest.fixture
def context(tmp_path):
    with Application(tmp_path / "home") as application:
        os.makedirs(application.settings.jobs_root)
        yield application.context


@contextmanager
def a_thread(target):
    thread = threading.Thread(target=target)
    thread.start()
    yield thread
    thread.join(20)


def test_a_pipe_as_a_data_set_is_refused_at_once_and_leaves_nothing(context, tmp_path):
    pipe = tmp_path / "rows.jsonl"
    os.mkfifo(pipe)
    request = SubmitRequest(config={"model": {"name": "owner/model"}}, dataset_path=str(pipe))
    with pytest.raises(InvalidRequest, match="is not a regular file"):
        submit(context, LOCAL_ACTOR, request)

    assert os.listdir(context.settings.jobs_root) == []


def test_a_long_look_at_one_request_s_data_holds_up_no_other(context, monkeypatch, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    looks, goes_on = threading.Event(), threading.Event()

    def look(_, spec):
        looks.set()
        goes_on.wait(20)
        return spec

    monkeypatch.setattr(FinetuneRecipe, "resolve", look)
    slow = SubmitRequest(execution_id="one", dataset_path=str(rows), config={})
    with a_thread(lambda: submit(context, LOCAL_ACTOR, slow)) as waits:
        assert looks.wait(20)
        quick = submit(context, LOCAL_ACTOR, SubmitRequest(recipe="command", command=("true",)))
        is_looking = waits.is_alive()
        goes_on.set()

    assert quick.created
    assert is_looking
    assert context.store.job("one") is not None


def test_requests_about_one_id_take_turns_and_others_do_not_wait():
    order, holds, goes_on = [], threading.Event(), threading.Event()

    def first():
        with in_turn("one"):
            holds.set()
            goes_on.wait(20)
            order.append("first")

    def second():
        with in_turn("one"):
            order.append("second")

    with a_thread(first):
        assert holds.wait(20)
        with a_thread(second):
            with in_turn("two"):
                order.append("other")
            goes_on.set()

    assert order == ["other", "first", "second"]


def ended_job(context):
    """Give a failed job whose data came with its submit."""
    made = submit(context, LOCAL_ACTOR, SubmitRequest(execution_id="old", recipe="command", command=("true",))).job
    inputs = context.job_dir("old").inputs
    os.makedirs(inputs, exist_ok=True)
    with open(os.path.join(inputs, "rows.jsonl"), "w") as file:
        file.write("{}\n")
    context.store.request_stop(made.id, StopRequest(kind=StopKind.CANCELLED, who="ada", why="", at=1.0))
    return made.id


def test_a_new_job_like_an_ended_one_has_durable_inputs_before_it_is_acknowledged(context, monkeypatch):
    job_id = ended_job(context)
    synced = []
    real = os.fsync

    def fsync(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    new_id = force_start(context, LOCAL_ACTOR, job_id)["job_id"]
    folder = context.job_dir(new_id)

    assert {os.path.join(folder.inputs, "rows.jsonl"), folder.inputs, folder.root} <= set(synced)
    assert str(context.settings.jobs_root) in synced


def test_a_new_job_that_can_t_be_kept_leaves_no_folder(context, monkeypatch):
    job_id = ended_job(context)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stoker.service.force_start.settle", full)
    with pytest.raises(StorageFull, match="No space left"):
        force_start(context, LOCAL_ACTOR, job_id)

    assert os.listdir(context.settings.jobs_root) == [job_id]
