"""Rows as events: whole characters wherever a text was cut, and whole events wherever a client is."""

import asyncio
import itertools
import threading
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.api.answers import encode
from stoker.api.bodies import schema
from stoker.api.broadcast import BUFFER_BYTES, Stream
from stoker.api.feeding import PART_BYTES, ROWS_AT_ONCE, FeedReader, Selection
from stoker.api.frames import LONGEST_CHARACTER, event, whole_characters
from stoker.api.workers import Workers
from stoker.domain.actor import LOCAL_ACTOR
from stoker.service.keys import KeyRequest
from stoker.service.request import SubmitRequest
from tests.api.test_door import command


@given(st.text(max_size=60), st.lists(st.integers(0, 240), max_size=12))
def test_ranges_of_a_text_join_to_the_text_wherever_it_was_cut(text, cuts):
    data = text.encode()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    parts = [
        whole_characters(data[a:b], data[b : b + LONGEST_CHARACTER - 1], is_start=a == 0)
        for a, b in itertools.pairwise(edges)
    ]

    assert "".join(parts) == text


@given(st.binary(max_size=50), st.binary(max_size=3), st.booleans())
def test_bytes_that_are_no_text_never_break_an_event(data, after, is_start):
    assert isinstance(whole_characters(data, after, is_start=is_start), str)


@given(st.recursive(st.none() | st.floats() | st.integers() | st.text(st.characters(codec=None)), st.lists))
def test_od37_any_value_can_be_answered(value):
    assert isinstance(orjson.loads(encode({"value": value})), dict)


def test_an_event_is_one_block_of_lines():
    block = event("log", 7, {"text": "a\nb\r\n\u2028"})

    assert block.startswith(b"id: 7\nevent: log\ndata: {")
    assert block.count(b"\n") == 4
    assert b"\r" not in block


def test_a_stream_that_is_given_too_much_takes_nothing_and_reads_on_by_itself():
    stream = Stream(Selection(LOCAL_ACTOR, frozenset(), frozenset()), 5)
    stream.is_behind = False

    assert stream.offer((b"x" * 10,), 6)
    assert not stream.offer((b"x" * BUFFER_BYTES,), 7)
    assert (stream.is_behind, stream.position, stream.take(100)) == (True, 6, b"x" * 10)


def test_a_part_of_the_feed_is_bounded_and_the_parts_join(application):
    total = ROWS_AT_ONCE + 100
    for number in range(total):
        application.ask("POST", "/api/training/execute", body=command(f"part-{number}"))
    reader, position, parts = FeedReader(application.context), 0, []
    while not parts or not parts[-1].is_end:
        parts.append(reader.part(position, lambda _: True))
        position = parts[-1].position

    assert len(parts) >= 2
    assert sum(len(part.frames) for part in parts) == total
    assert all(sum(map(len, part.frames)) < PART_BYTES * 2 for part in parts)


def test_workers_hand_on_results_and_errors_and_never_block_the_loop(application):
    async def work() -> tuple[list[int], str, float]:
        workers = Workers(2, "test")
        began = time.monotonic()
        results = [await workers.run(pow, 2, number) for number in range(200)]
        try:
            await workers.run(int, "x")
        except ValueError as error:
            said = str(error)
        workers.close()
        return results, said, time.monotonic() - began

    results, said, took = application.run(work())

    assert results == [2**number for number in range(200)]
    assert "invalid literal" in said
    assert took < 5


def test_an_answer_that_nobody_waits_for_any_more_is_dropped(application):
    done = threading.Event()

    async def work() -> int:
        workers = Workers(1, "test")
        slow = asyncio.ensure_future(workers.run(done.wait, 5))
        await asyncio.sleep(0.05)
        slow.cancel()
        done.set()
        answer = await workers.run(lambda: 7)
        workers.close()
        return answer

    assert application.run(work()) == 7


@pytest.mark.parametrize("shape", [SubmitRequest, KeyRequest])
def test_the_schema_of_a_body_stands_by_itself(shape):
    assert "$ref" not in str(schema(shape))
    assert "$defs" not in str(schema(shape))


def test_the_description_of_the_api_covers_every_route(application):
    description = application.ask("GET", "/openapi.json").body
    described = {(method.upper(), path) for path, item in description["paths"].items() for method in item}
    routes = {
        (method, route.path)
        for route in application.app.routes
        for method in getattr(route, "methods", None) or ()
        if route.path != "/openapi.json" and method != "HEAD"
    }

    assert routes <= described
    assert "422" not in str(description)
    assert description["paths"]["/api/training/execute"]["post"]["requestBody"]["required"] is True


def test_r24_the_figures_hold_nothing_that_a_caller_can_choose(application):
    application.ask("POST", "/api/training/execute", body=command("a-named-job"))
    application.ask("GET", "/api/training/status/a-named-job")
    application.ask("BREW", "/chosen-path")
    text = application.ask("GET", "/metrics").body.decode()

    assert 'stoker_jobs{state="queued"} 1.0' in text
    assert 'route="/api/training/status/{job_id}",status="200"' in text
    assert 'method="other"' in text
    assert "a-named-job" not in text
    assert "chosen" not in text
    assert "BREW" not in text
