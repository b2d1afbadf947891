"""The feed as server-sent events: resumed exactly, over any break and any restart, whatever its readers do."""

import contextlib
import json
import random
import threading
import time

import pytest

from stoker.api import stream as stream_module
from stoker.api.broadcast import Stream
from stoker.api.feeding import FeedReader, Selection
from stoker.domain.actor import LOCAL_ACTOR
from stoker.domain.errors import Unavailable
from tests.api.given_api import Reading, kinds_seen
from tests.api.given_stream import StreamClient
from tests.api.test_callers import bearer, make_key
from tests.daemon.given_jobs import REPORTS, all_metrics, python, status, submit, wait_for, wait_for_step
from tests.server import running_server
from tests.waiting import wait_until

API = "/api/training"


def ends(job_id):
    return lambda event: (
        event.kind == "state" and event.data["job_id"] == job_id and event.data["status"] == "completed"
    )


def test_a_stream_tells_of_states_progress_metrics_and_logs(server):
    with StreamClient(server.port).opened() as stream:
        job_id = submit(server, python(REPORTS, 5, 0.01))
        seen = [event for event in stream.until(ends(job_id)) if event.data["job_id"] == job_id]

    states = [event.data["status"] for event in seen if event.kind == "state"]
    points = [point for event in seen if event.kind == "metrics" for point in event.data["metrics"]]
    text = "".join(event.data["text"] for event in seen if event.kind == "log")

    assert states == ["queued", "pending", "running", "completed"]
    assert points == all_metrics(server, job_id)
    assert text == "".join(f"step {number}\n" for number in range(1, 6))
    assert [
        event.data["progress"]["current_step"] for event in seen if event.kind == "progress" and event.data["progress"]
    ][-1] == 5
    assert [event.id for event in seen] == sorted({event.id for event in seen})
    assert "text/event-stream" in stream.head


def test_a_stream_shows_only_the_jobs_and_kinds_that_were_asked_for(server):
    wanted, other = "stream-wanted", "stream-other"
    with StreamClient(server.port, f"?jobs={wanted},absent&kinds=state,log").opened() as stream:
        submit(server, python("print('other')"), execution_id=other)
        wait_for(server, other, "completed")
        submit(server, python("print('wanted')"), execution_id=wanted)
        seen = stream.until(ends(wanted))

    assert {event.data["job_id"] for event in seen} == {wanted}
    assert {event.kind for event in seen} == {"state", "log"}


def test_f2_a_stream_resumed_over_restarts_has_no_gap_and_no_repetition(tmp_path):
    with running_server(tmp_path / "home") as server:
        job_id = submit(server, python(REPORTS, 400, 0.05))
        wait_for_step(server, job_id, 1)
        seen, last_id = [], 0
        for how in ("cut", "kill", "stop", "kill", "cut"):
            with StreamClient(server.port, last_id=last_id) as stream:
                events = stream.events()
                seen += [next(events) for _ in range(5)]
                last_id = seen[-1].id
                if how == "kill":
                    server.kill9()
                elif how == "stop":
                    server.stop()
            if how != "cut":
                server.start()
        with StreamClient(server.port, last_id=last_id) as stream:
            seen += stream.until(ends(job_id))
        with StreamClient(server.port, f"?last_event_id=0&jobs={job_id}") as stream:
            whole = stream.until(ends(job_id))
        points = all_metrics(server, job_id)

    assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    assert [point["seq"] for event in seen if event.kind == "metrics" for point in event.data["metrics"]] == list(
        range(400)
    )
    assert [event.data for event in seen] == [event.data for event in whole]
    assert [point for event in seen if event.kind == "metrics" for point in event.data["metrics"]] == points
    assert "".join(event.data["text"] for event in seen if event.kind == "log") == "".join(
        f"step {number}\n" for number in range(1, 401)
    )


@pytest.mark.parametrize("how", ["header", "query"])
def test_an_id_that_was_never_given_out_is_answered_with_a_reset(server, how):
    submit(server, ["true"])
    client = (
        StreamClient(server.port, "?last_event_id=99999999")
        if how == "query"
        else StreamClient(server.port, last_id=99999999)
    )
    with client as stream:
        first = next(stream.events())
        job_id = submit(server, ["true"])
        later = stream.until(ends(job_id))

    assert first.kind == "reset"
    assert first.id == first.data["newest"] < 99999999
    assert later[0].id > first.id


def test_an_id_past_retention_is_answered_with_a_reset(application):
    for number in range(30):
        application.ask("POST", f"{API}/execute", body=command(f"job-{number}"))
    application.store.prune_feed(5)

    assert kinds_seen(application, 10, 1) == ["reset"]
    assert kinds_seen(application, 24, 1) == ["reset"]
    assert kinds_seen(application, 25, 5) == ["state"] * 5


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 19, "%D9%A1"])
def test_an_id_that_is_none_is_refused(application, last_id):
    answer = application.ask("GET", f"{API}/stream?last_event_id={last_id}")

    assert answer.status == 400


@pytest.mark.parametrize("query", ["kinds=metric", "jobs=a/b", "job=a"])
def test_a_wrong_selection_is_refused_with_the_remedy(application, query):
    answer = application.ask("GET", f"{API}/stream?{query}")

    assert answer.status == 400
    assert answer.body["errors"][0]["remedy"]


def test_a_stream_shows_nothing_of_another_owner(server):
    key = make_key(server, owner="streamer", scopes=["read"])
    with StreamClient(server.port, headers=bearer(key)).opened() as stream:
        foreign = submit(server, python("print('foreign')"))
        wait_for(server, foreign, "completed")
        headers = bearer(make_key(server, owner="streamer", scopes=["read", "submit", "command"]))
        body = {"recipe": "command", "command": ["true"]}
        own = server.post(f"{API}/execute", body, headers).body["job_id"]
        seen = stream.until(ends(own))

    assert {event.data["job_id"] for event in seen} == {own}


def test_a_stream_of_a_key_ends_when_the_key_is_revoked(tmp_path):
    with running_server(tmp_path / "home") as server:
        key = make_key(server, owner="ada")
        with StreamClient(server.port, headers=bearer(key)).opened() as stream:
            server.delete(f"{API}/keys/{key.split('_')[1]}")
            began = time.monotonic()
            left = list(stream.events())

    assert left == []
    assert time.monotonic() - began < stream_module.KEEP_ALIVE_SECONDS + 5


def test_a_silent_stream_gives_signs_of_life_that_move_the_id_on(application, monkeypatch):
    monkeypatch.setattr(stream_module, "KEEP_ALIVE_SECONDS", 0.1)
    application.ask("POST", f"{API}/execute", body=command("quiet"))
    with Reading(application, "?jobs=another&last_event_id=0") as reading:
        wait_until(lambda: b": keep-alive\nid: 1\n\n" in reading.data)

        assert b"quiet" not in reading.data


def test_an_idle_stream_reads_nothing(application, monkeypatch):
    reads = []
    original = application.store.feed
    with Reading(application, "") as reading:
        wait_until(lambda: reading.data)
        time.sleep(0.2)
        monkeypatch.setattr(type(application.store), "feed", lambda _, *given: reads.append(given) or original(*given))
        time.sleep(1.0)

    assert reads == []


def test_the_feed_is_read_once_for_all_streams_at_its_head(application, monkeypatch):
    reads = []
    original = application.store.feed
    readings = [Reading(application, "") for _ in range(20)]
    for reading in readings:
        reading.__enter__()
    wait_until(lambda: all(reading.data for reading in readings))
    time.sleep(0.3)
    monkeypatch.setattr(type(application.store), "feed", lambda _, *given: reads.append(given) or original(*given))
    application.ask("POST", f"{API}/execute", body=command("for-all"))
    wait_until(lambda: all(b"for-all" in reading.data for reading in readings))
    for reading in readings:
        reading.__exit__()

    assert len(reads) <= 2


def test_f3_an_owner_has_a_bounded_number_of_streams_and_others_are_served(application, monkeypatch):
    monkeypatch.setattr(stream_module, "STREAMS_PER_OWNER", 3)
    other = bearer(application.key("ada"))
    readings = [Reading(application, "") for _ in range(3)]
    for reading in readings:
        reading.__enter__()
    wait_until(lambda: all(reading.data for reading in readings))
    refused = application.ask("GET", f"{API}/stream")
    websocket = application.ask("WEBSOCKET", "/ws/training/none")
    with Reading(application, "", headers=other) as served:
        wait_until(lambda: served.data)
    readings.pop().__exit__()
    with Reading(application, "") as again:
        wait_until(lambda: again.data)
    for reading in readings:
        reading.__exit__()

    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    assert websocket.status == 429


def test_f1_a_client_that_stops_reading_is_cut_off_and_loses_nothing(tmp_path):
    """It holds neither memory nor the server, and resumes by the id it saw last."""
    code = "for i in range(120_000): print('x' * 100, i)"
    with running_server(tmp_path / "home") as server:
        with StreamClient(server.port, receive_buffer=4096).opened() as stuck:
            before = memory(server.pid)
            job_id = submit(server, python(code))
            wait_for(server, job_id, "completed")
            wait_until(lambda: dropped(server) == 1, 60, "the stuck client to be cut off")
            with StreamClient(server.port, last_id=0) as other:
                whole = other.until(ends(job_id))
            grown = memory(server.pid) - before
            seen = list(stuck.events())
        with StreamClient(server.port, last_id=stuck.last_id) as stream:
            seen += stream.until(ends(job_id))

        assert [event.id for event in seen] == [event.id for event in whole]
        assert sum(len(event.data["text"]) for event in seen if event.kind == "log") == sum(
            101 + len(str(i)) + 1 for i in range(120_000)
        )
        assert all(event.data["dropped"] == 0 for event in seen if event.kind == "log")
        assert grown < 40 << 20


def test_f4_a_stop_ends_open_streams_within_five_seconds(tmp_path):
    with running_server(tmp_path / "home") as server:
        streams = [StreamClient(server.port, "?kinds=state").opened() for _ in range(5)]
        stuck = StreamClient(server.port, receive_buffer=4096).opened()
        job_id = submit(server, python("for i in range(150_000): print('x' * 100)"))
        wait_for(server, job_id, "completed")
        began = time.monotonic()
        code = server.stop()
        took = time.monotonic() - began
        for stream in streams:
            list(stream.events())
        for stream in (*streams, stuck):
            stream.__exit__()

    assert took < 3.5
    assert code == 0
    assert all(stream.is_ended for stream in streams), "each is ended in order, not cut off"


def test_a_deleted_job_is_told_of(server):
    job_id = submit(server, ["true"])
    wait_for(server, job_id, "completed")
    with StreamClient(server.port, f"?jobs={job_id}&kinds=state,deleted").opened() as stream:
        server.delete(f"{API}/{job_id}")
        event = next(stream.events())

    assert (event.kind, event.data["job_id"]) == ("deleted", job_id)


def test_points_and_text_that_were_deleted_are_declared(server):
    job_id = submit(server, python(REPORTS, 3, 0))
    wait_for(server, job_id, "completed")
    server.delete(f"{API}/{job_id}")
    with StreamClient(server.port, f"?jobs={job_id}&last_event_id=0") as stream:
        seen = stream.until(lambda event: event.kind == "deleted")

    assert sum(event.data["missing"] for event in seen if event.kind == "metrics") == 3
    assert sum(event.data["dropped"] for event in seen if event.kind == "log") == len("step 1\n") * 3


def test_many_streams_and_many_jobs_at_once_all_see_everything(server):
    clients = [StreamClient(server.port).opened() for _ in range(10)]
    ids = [submit(server, python("print('a'); print('b')")) for _ in range(6)]
    last = ids[-1]
    seen = [[]] * len(clients)

    def read(place: int) -> None:
        left = set(ids)
        events = []
        for event in clients[place].events():
            events.append(event)
            if event.kind == "state" and event.data["status"] == "completed":
                left.discard(event.data["job_id"])
            if not left:
                break
        seen[place] = [event for event in events if event.data["job_id"] in ids]

    threads = [threading.Thread(target=read, args=(place,), daemon=True) for place in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for client in clients:
        client.__exit__()

    assert status(server, last)["status"] == "completed"
    assert len({json.dumps([(e.id, e.kind, e.data) for e in events]) for events in seen}) == 1
    assert len(seen[0]) > 6


def test_streams_that_begin_anywhere_while_the_feed_grows_miss_nothing_and_repeat_nothing(application):
    rng = random.Random(11)
    done = threading.Event()

    def write() -> None:
        for number in range(400):
            application.ask("POST", f"{API}/execute", body=command(f"grow-{number}"))
        done.set()

    writing = threading.Thread(target=write)
    writing.start()
    readings = []
    while not done.is_set():
        newest = application.store.feed_bounds()[1]
        after = rng.randint(0, newest)
        readings.append((after, Reading(application, f"?last_event_id={after}").__enter__()))
        if len(readings) > 40:
            readings.pop(rng.randrange(len(readings)))[1].__exit__()
        time.sleep(rng.uniform(0, 0.02))
    writing.join()
    for after, reading in readings:
        wait_until(lambda reading=reading: b"\nid: 400\nevent" in reading.data or b"\n\nid: 400\n" in reading.data, 20)
        reading.__exit__()
        blocks = [block for block in reading.data.decode().split("\n\n") if "event: state" in block]

        assert [int(block.split("id: ")[1].split("\n")[0]) for block in blocks] == list(range(after + 1, 401))


def test_a_stream_that_the_retention_overtook_is_reset(application):
    for number in range(30):
        application.ask("POST", f"{API}/execute", body=command(f"job-{number}"))
    application.store.prune_feed(5)
    stream = Stream(Selection(LOCAL_ACTOR, frozenset(), frozenset()), 10)
    application.run(application.app.state.broadcaster.catch_up(stream))

    assert stream.take(1 << 20).startswith(b"id: 30\nevent: reset\n")
    assert (stream.position, stream.is_behind) == (30, True)


@pytest.mark.parametrize("others", [0, 1])
def test_what_is_committed_while_a_stream_joins_is_not_missed(application, monkeypatch, others):
    """A row comes after the stream's last read and before it is fed; with others, while these are being fed."""
    read_part, read_share = FeedReader.part, FeedReader.share
    committed = threading.Event()

    def part(reader, *given):
        found = read_part(reader, *given)
        if not committed.is_set():
            committed.set()
            application.ask("POST", f"{API}/execute", body=command("between"))
            time.sleep(0.2)
        return found

    def share(reader, *given):
        found = read_share(reader, *given)
        time.sleep(0.5)
        return found

    with contextlib.ExitStack() as stack:
        for _ in range(others):
            other = stack.enter_context(Reading(application, ""))
            wait_until(lambda: application.app.state.broadcaster._fed)
        monkeypatch.setattr(FeedReader, "part", part)
        monkeypatch.setattr(FeedReader, "share", share)
        late = stack.enter_context(Reading(application, ""))
        wait_until(lambda: b"between" in late.data, 5)

        assert late.data.count(b"event: state") == 1
        assert not others or b"between" in other.data


def test_a_sign_of_life_never_overtakes_what_waits_to_be_sent(application):
    async def wait() -> tuple[bytes, bytes]:
        stream = Stream(Selection(LOCAL_ACTOR, frozenset(), frozenset()), 5)
        silent = await stream_module._wait(stream, 0.0)
        stream.put((b"event six",), 6)
        return silent, await stream_module._wait(stream, -1.0)

    silent, with_news = application.run(wait())

    assert silent == b": keep-alive\nid: 5\n\n"
    assert with_news == b""


def test_a_store_that_is_busy_delays_a_stream_and_does_not_end_it(application, monkeypatch):
    original, failures = application.store.feed, [Unavailable("The database is busy")] * 3

    def feed(_store, *given):
        if failures:
            raise failures.pop()
        return original(*given)

    application.ask("POST", f"{API}/execute", body=command("late"))
    monkeypatch.setattr(type(application.store), "feed", feed)
    with Reading(application, "?last_event_id=0") as reading:
        wait_until(lambda: b"late" in reading.data)
        failures += [Unavailable("The database is busy")] * 2
        application.ask("POST", f"{API}/execute", body=command("later"))
        wait_until(lambda: b"later" in reading.data)


def command(job_id: str) -> dict:
    return {"recipe": "command", "command": ["true"], "execution_id": job_id}


def memory(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def dropped(server) -> int:
    return int(float(server.get("/metrics").body.split("\nstoker_streams_dropped_total ")[1].split()[0]))
