"""The parts of the client that touch no wire: addresses, the decoder of the feed, the decision to try again."""

import pytest

from stoker.client import Client
from stoker.client.address import find_address
from stoker.client.calls import Call, Reply, understand
from stoker.client.errors import AnswerLost, ClientError, Conflict, ServerUnreachable
from stoker.client.feed import FeedDecoder
from stoker.client.persistence import Broken, NoConnection, Send, Sleep, Terms, persist
from stoker.client.verbs import Verbs

REFUSED = NoConnection(ConnectionRefusedError(111, "Connection refused"))
LOST = Broken(ConnectionResetError(104, "Connection reset by peer"))
OK = Reply(200, {}, b"{}")


def steps(outcomes, *, repeatable=True, was_reached=False, patience=10.0):
    """Carry a call out against given outcomes, on a clock that only waiting moves; give the reply and the waits."""
    now, waits = [0.0], []
    terms = Terms(address="there", patience=patience, was_reached=was_reached)
    going = persist(Call(method="GET", path="/", repeatable=repeatable), terms, clock=lambda: now[0])
    step, left = next(going), list(outcomes)
    try:
        while True:
            match step:
                case Sleep(seconds):
                    now[0] += seconds
                    waits.append(seconds)
                    step = going.send(OK)
                case Send():
                    step = going.send(left.pop(0) if len(left) > 1 else left[0])
    except StopIteration as end:
        return end.value, waits


def test_a_server_that_was_never_reached_is_not_waited_for():
    with pytest.raises(ServerUnreachable, match="Connection refused"):
        steps([REFUSED])


def test_a_server_that_was_reached_before_is_waited_for_with_growing_pauses():
    reply, waits = steps([REFUSED, REFUSED, REFUSED, OK], was_reached=True)

    assert reply is OK
    assert len(waits) == 3
    assert waits[0] < waits[2] <= 2


def test_waiting_ends_when_patience_does():
    with pytest.raises(ServerUnreachable):
        steps([REFUSED], was_reached=True, patience=5.0)


def test_a_lost_answer_is_asked_for_again_if_that_does_no_harm():
    assert steps([LOST, REFUSED, OK])[0] is OK
    with pytest.raises(AnswerLost):
        steps([LOST, OK], repeatable=False)


def test_a_call_that_can_not_be_repeated_still_waits_for_a_connection():
    assert steps([REFUSED, OK], repeatable=False, was_reached=True)[0] is OK


def test_a_kept_connection_that_was_closed_meanwhile_costs_no_wait():
    reply, waits = steps([Broken(ConnectionResetError(), was_kept=True), OK], patience=0.0)

    assert (reply, waits) == (OK, [])


def test_a_busy_server_is_asked_again_when_it_says_so():
    reply, waits = steps([Reply(503, {"retry-after": "3"}, b""), OK])

    assert (reply, waits) == (OK, [3.0])


def test_a_server_that_stays_busy_is_believed_in_the_end():
    assert steps([Reply(503, {"retry-after": "4"}, b"{}")])[0].status == 503


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://host:9000", "http://host:9000"),
        ("https://host", "https://host:443"),
        ("http://[::1]:8000/stoker/", "http://[::1]:8000/stoker"),
        ("unix:/run/stoker.sock", "unix:/run/stoker.sock"),
        ("unix:///run/stoker.sock", "unix:/run/stoker.sock"),
    ],
)
def test_addresses_are_understood(url, told):
    assert str(find_address(url, {})) == told


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http://user:pw@host", "http://host:port"])
def test_what_is_no_address_is_refused_with_the_forms_there_are(url):
    with pytest.raises(ClientError, match="Use http://HOST:PORT"):
        find_address(url, {})


def test_the_address_comes_from_the_environment_then_from_the_home_then_by_default(tmp_path):
    home = {"STOKER_HOME": str(tmp_path)}

    assert str(find_address(None, {"STOKER_URL": "http://a:1", **home})) == "http://a:1"
    assert str(find_address(None, home)) == "http://127.0.0.1:8000"
    (tmp_path / "server.sock").touch()
    assert str(find_address(None, home)) == f"unix:{tmp_path}/server.sock"


def decoded(*lines):
    decoder = FeedDecoder()
    return [event for line in lines if (event := decoder.take(line)) is not None], decoder


def test_the_first_sign_of_a_feed_opens_it():
    events, decoder = decoded(": keep-alive", "id: 7", "", ": keep-alive", "id: 9", "")

    assert [(event.kind, event.id) for event in events] == [("opened", "7")]
    assert decoder.last_id == "9"


def test_an_event_of_several_lines_is_put_together():
    events, _ = decoded("id: 3", "event: log", 'data: {"text":', 'data: "a"}', "")

    assert (events[0].kind, events[0].data) == ("log", {"text": "a"})


def test_an_event_that_was_cut_off_is_not_resumed_after():
    _, decoder = decoded("id: 3", "event: state", "data: {}", "", "id: 4", "data: {")
    decoder.break_off()

    assert decoder.last_id == "3"
    assert decoder.take("") is not None  # the next opening


@pytest.mark.parametrize(
    ("kind", "data", "ends"),
    [
        ("state", {"status": "failed"}, True),
        ("state", {"status": "paused"}, False),
        ("deleted", {}, True),
        ("log", {}, False),
    ],
)
def test_an_event_says_whether_its_job_ended(kind, data, ends):
    events, _ = decoded("id: 1", f"event: {kind}", f"data: {data}".replace("'", '"'), "")

    assert events[0].ends_job is ends


def test_a_refusal_without_an_explanation_is_still_a_sentence():
    with pytest.raises(Conflict, match="status 409 and no explanation"):
        understand(Reply(409, {}, b"<html>"))


def test_an_idle_connection_that_another_thread_takes_is_no_fault():
    class Emptied(list):
        """A pool whose last connection is always taken between a look and the taking."""

        def __bool__(self):
            return True

    client = Client("http://127.0.0.1:9")
    client._idle = Emptied()

    client.close()
    with pytest.raises(ServerUnreachable):
        client.health()


class Asked(Verbs[Call]):
    """Verbs that give the call instead of sending it."""

    def _carry_out(self, call):
        return call


def test_what_makes_the_server_read_data_has_longer_to_answer():
    asked = Asked()
    slow = [asked.submit({}), asked.validate_spec({}), asked.resume("job")]

    assert [call.answer_seconds(30.0) for call in slow] == [600.0] * 3
    assert asked.status("job").answer_seconds(30.0) == 30.0


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (Asked().submit({}, idempotency_key="k7"), "look with `stoker ls` before you submit it anew.*key k7"),
        (Asked().submit({"execution_id": "mine"}), "with the same id, mine: that makes no second job"),
        (Asked().health(), "Try again; its log"),
    ],
)
def test_a_submit_without_an_answer_tells_how_not_to_make_two(call, told):
    going = persist(call, Terms(address="there", patience=0, was_reached=True))
    next(going)

    with pytest.raises(ServerUnreachable, match=told):
        going.send(LOST)
