"""No job is terminal while something of it lives, whatever its processes do to escape."""

import os

import pytest

from tests.daemon.given_jobs import alive, all_lines, living, python, status, submit
from tests.server import running_server
from tests.supervisor.conftest import CONTAINMENTS
from tests.supervisor.unruly import UNRULY, build_hopper
from tests.waiting import wait_until

CANCELS = int(os.environ.get("STOKER_CANCELS", "5"))


@pytest.mark.timeout(60 + 5 * CANCELS)
@pytest.mark.parametrize("containment", CONTAINMENTS)
def test_a_cancelled_tree_is_gone_before_its_job_is_terminal(tmp_path, containment):
    hopper = build_hopper(tmp_path)
    with running_server(tmp_path / "home", environment={"STOKER_CONTAINMENT": containment}) as server:
        for number in range(CANCELS):
            tag = f"unruly-{os.getpid()}-{containment}-{number}"
            job_id = submit(server, python(UNRULY, hopper, tag), limits={"grace_seconds": 0.2})
            wait_until(lambda job_id=job_id: "ready" in all_lines(server, job_id))
            server.post(f"/api/training/cancel/{job_id}", {})
            job = _first_terminal(server, job_id, tag)

            assert job["status"] == "cancelled"
            assert not job["unclean"]
            assert living(tag) == []


def _first_terminal(server, job_id: str, tag: str) -> dict:
    """Follow the job to its end; at no look was it terminal while something of it lived."""

    def ended() -> dict | None:
        job = status(server, job_id)
        if job["status"] in ("queued", "pending", "running"):
            return None

        assert living(tag) == [], "terminal while something lives"
        return job

    return wait_until(ended)


def test_od8_a_child_that_ignores_sigterm_is_gone_though_its_leader_obeys(tmp_path):
    code = """
    import os, signal, time
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("child", os.getpid(), flush=True)
    time.sleep(600)
    """
    with running_server(tmp_path / "home") as server:
        job_id = submit(server, python(code), limits={"grace_seconds": 0.3})
        line = wait_until(lambda: [one for one in all_lines(server, job_id) if one.startswith("child")])[0]
        server.post(f"/api/training/cancel/{job_id}", {})
        answers = [server.get("/health").status for _ in range(5)]
        job = _first_terminal(server, job_id, "no such tag")

        assert answers == [200] * 5
        assert job["status"] == "cancelled"
        assert not alive(int(line.split()[1]))


def test_a_main_process_that_ends_well_completes_only_when_its_children_are_gone(tmp_path):
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\n"
    with running_server(tmp_path / "home") as server:
        job_id = submit(server, python(code, "tag-c18"), limits={"grace_seconds": 0.5})
        job = _first_terminal(server, job_id, "tag-c18")

        assert (job["status"], job["exit_code"], job["stop_request"]) == ("completed", 0, None)
