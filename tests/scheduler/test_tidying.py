"""What a killed server left behind is cleared away at the next start, and nothing else."""

import os

from stoker.scheduler.tidying import begin_tidying
from tests.scheduler.given_scheduler import Desk, ended


def test_secrets_of_an_ended_job_go_and_those_of_a_waiting_one_stay(tmp_path):
    desk = Desk(tmp_path)
    desk.submit("over")
    desk.tick()
    desk.place("over").exit = ended()
    desk.tick(3)
    desk.submit("waits")
    for job_id in ("over", "waits"):
        os.makedirs(tmp_path / "jobs" / job_id)
        (tmp_path / "jobs" / job_id / "secrets.json").write_text("{}")
        os.utime(tmp_path / "jobs" / job_id / "secrets.json", (1, 1))
    begin_tidying(desk.scheduler._parts, 2_000_000_000.0).join(20)
    desk.scheduler.stop()

    assert not (tmp_path / "jobs" / "over" / "secrets.json").exists()
    assert (tmp_path / "jobs" / "waits" / "secrets.json").exists()


def test_an_unknown_attempt_is_reported_and_left_alone(tmp_path, capsys):
    desk = Desk(tmp_path)
    os.makedirs(tmp_path / "attempts" / "unknown")
    os.utime(tmp_path / "attempts" / "unknown", (1, 1))
    begin_tidying(desk.scheduler._parts, 2_000_000_000.0).join(20)
    desk.scheduler.stop()

    assert (tmp_path / "attempts" / "unknown").is_dir()
    assert "leftovers_found" in capsys.readouterr().out
