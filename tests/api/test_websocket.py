"""The original's WebSocket: its frames, each field of them, to the end."""

import json
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from stoker.api.websocket import FRAME
from stoker.service.view import ORIGINAL_PROGRESS
from tests.api.test_callers import bearer, make_key
from tests.daemon.given_jobs import REPORTS, python, status, submit, wait_for
from tests.server import running_server
from tests.waiting import wait_until

ORIGINAL_FRAME = {
    "job_id", "status", "progress", "current_epoch", "total_epochs", "current_step", "total_steps", "loss", "eval_loss",
    "samples_per_second", "gpu_memory_allocated_gb", "gpu_utilization_percent", "eta_seconds", "timestamp", "complete",
}  # fmt: skip
ORIGINAL_LAST = {"status", "progress", "final_loss", "eval_loss", "complete", "completed_at", "error"}


def frames_of(server, job_id: str, headers: dict[str, str] | None = None) -> tuple[list[dict], int]:
    """Read every frame to the end; give them and the code of the close."""
    frames = []
    with connect(f"ws://127.0.0.1:{server.port}/ws/training/{job_id}", additional_headers=headers) as websocket:
        try:
            while True:
                frames.append(json.loads(websocket.recv(timeout=30)))
        except ConnectionClosed as closed:
            return frames, closed.rcvd.code


def test_od3_a_client_receives_every_field_to_the_end(server):
    job_id = submit(server, python(REPORTS, 30, 0.1))
    frames, code = frames_of(server, job_id)
    hello, *middle, last = frames

    assert code == 1000
    assert set(hello) >= {"job_id", "status", "message", "timestamp"}
    assert len(middle) >= 3
    assert all(set(frame) >= ORIGINAL_FRAME and frame["complete"] is False for frame in middle)
    assert set(last) >= ORIGINAL_FRAME | ORIGINAL_LAST
    assert (last["complete"], last["status"], last["progress"], last["error"]) == (True, "completed", 100.0, None)
    assert last["final_loss"] == pytest.approx(1 / 30)
    assert last["completed_at"] == status(server, job_id)["completed_at"]
    assert any(frame["eta_seconds"] is not None for frame in middle)


def test_every_field_of_a_frame_is_one_that_a_job_has():
    assert set(FRAME) - {"job_id", "status"} <= set(ORIGINAL_PROGRESS)


def test_a_job_that_has_ended_gives_its_last_frame_at_once(server):
    job_id = submit(server, ["false"])
    wait_until(lambda: status(server, job_id)["status"] == "failed")
    began = time.monotonic()
    frames, code = frames_of(server, job_id)

    assert time.monotonic() - began < 1.0
    assert (len(frames), code) == (2, 1000)
    assert frames[1]["complete"] is True
    assert frames[1]["error"] == frames[1]["error_message"] == status(server, job_id)["error"]


def test_the_last_frame_comes_when_the_job_ends_and_not_a_second_later(server):
    job_id = submit(server, python("import time; time.sleep(600)"))
    wait_for(server, job_id, "running")
    with connect(f"ws://127.0.0.1:{server.port}/ws/training/{job_id}") as websocket:
        for _ in range(3):
            websocket.recv(timeout=10)
        server.post(f"/api/training/cancel/{job_id}")
        wait_for(server, job_id, "cancelled")
        began = time.monotonic()
        frames = []
        while not frames or not frames[-1]["complete"]:
            frames.append(json.loads(websocket.recv(timeout=10)))

    assert time.monotonic() - began < 0.9
    assert frames[-1]["status"] == "cancelled"


@pytest.mark.parametrize("job_id", ["unknown", "..", "_x", "a%20b"])
def test_an_unknown_job_closes_with_1008(server, job_id):
    assert frames_of(server, job_id) == ([], 1008)


def test_a_job_of_another_owner_is_unknown(server):
    job_id = submit(server, ["true"])

    assert frames_of(server, job_id, bearer(make_key(server, owner="watcher"))) == ([], 1008)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Authorization": "Bearer stk_x"}, 401),
        ({"Origin": "http://evil.com"}, 403),
        ({"X-Forwarded-For": "1.2.3.4"}, 401),
    ],
)
def test_r3_a_page_of_another_site_opens_no_websocket(server, headers, expected):
    with pytest.raises(InvalidStatus) as refused:
        frames_of(server, "any", headers)

    assert refused.value.response.status_code == expected
    assert json.loads(refused.value.response.body)["status"] == expected


def test_what_a_client_sends_is_passed_over(server):
    job_id = submit(server, python("import time; time.sleep(600)"))
    wait_for(server, job_id, "running")
    with connect(f"ws://127.0.0.1:{server.port}/ws/training/{job_id}") as websocket:
        for _ in range(20):
            websocket.send("ping")
            websocket.send(b"\x00\xff")
        frames = [json.loads(websocket.recv(timeout=10)) for _ in range(3)]
    server.post(f"/api/training/cancel/{job_id}")

    assert all(frame["job_id"] == job_id for frame in frames)


def test_f4_a_stop_closes_websockets(tmp_path):
    with running_server(tmp_path / "home") as server:
        job_id = submit(server, python("import time; time.sleep(600)"))
        wait_for(server, job_id, "running")
        with connect(f"ws://127.0.0.1:{server.port}/ws/training/{job_id}") as websocket:
            websocket.recv(timeout=10)
            began = time.monotonic()
            server.stop()
            took = time.monotonic() - began
            code = closing_code(websocket)

    assert took < 6.0
    assert code in (1001, 1012)


def closing_code(websocket) -> int:
    """Read to the end and give the code of the close."""
    try:
        while True:
            websocket.recv(timeout=10)
    except ConnectionClosed as closed:
        return closed.rcvd.code
