"""The start: detached, claimed once, contained and on record before a single instruction of the job runs."""

import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from stoker.rundir.claim import abandon, is_locked
from stoker.rundir.durable import read_regular, write_durably
from stoker.rundir.identity import identify, is_alive, read_proc, read_stat, send_signal
from stoker.rundir.layout import PROTOCOL
from stoker.rundir.records import encode, read_exit, read_process
from stoker.supervisor.containment import Containment, LaunchError, own_group
from stoker.supervisor.gate import fork_held
from stoker.supervisor.sweep import end_leftovers
from tests.supervisor.attempts import PYTHON, python
from tests.waiting import wait_until

SHOW = """
    import json, os, signal, sys
    places = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd") if int(fd) > 2]
    ignored = [n for n in range(1, 65) if n not in (9, 19, 32, 33) and signal.getsignal(n) == signal.SIG_IGN]
    print(json.dumps({
        "fds": [os.readlink(place) for place in places if os.path.lexists(place)],
        "stdin": os.readlink("/proc/self/fd/0"),
        "session": os.getsid(0) == os.getpid(),
        "ignored": ignored,
        "blocked": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "umask": os.umask(0),
        "oom": int(open("/proc/self/oom_score_adj").read()),
        "env": dict(os.environ),
        "cwd": os.getcwd(),
    }))
    """


@pytest.fixture
def shown(make_attempt, tmp_path):
    """Give a maker of what a trainer sees of itself."""

    def show(**order):
        attempt = make_attempt(python(SHOW), **order)
        attempt.result()
        return attempt, json.loads(attempt.log())

    return show


def test_the_trainer_gets_a_clean_process(shown):
    _, seen = shown()

    assert seen["fds"] == []
    assert seen["stdin"] == "/dev/null"
    assert seen["session"]
    # Python itself ignores SIGPIPE and SIGXFSZ.
    assert set(seen["ignored"]) == {signal.SIGPIPE, signal.SIGXFSZ}
    assert seen["blocked"] == []
    assert seen["umask"] == 0o077


def test_the_kernel_would_rather_kill_the_trainer_than_its_supervisor(shown):
    own = int(read_proc("self/oom_score_adj"))
    _, seen = shown()

    assert seen["oom"] == min(1000, own + 500)


def test_the_trainer_gets_exactly_the_orders_environment_and_the_marks(shown):
    attempt, seen = shown(
        env={"PATH": os.environ["PATH"], "HF_HOME": "/x", "STOKER_NONCE": "other"}, gpus=("GPU-a", "GPU-b")
    )
    seen["env"].pop("LC_CTYPE", None)  # which Python sets for itself

    assert seen["env"] == {
        "PATH": os.environ["PATH"],
        "HF_HOME": "/x",
        "CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b",
        "STOKER_JOB_ID": "job",
        "STOKER_ATTEMPT": "1",
        "STOKER_RUN_DIR": attempt.run.root,
        "STOKER_HOME_ID": "home",
        "STOKER_NONCE": attempt.nonce,
    }


def test_the_trainer_starts_in_its_working_directory(shown, tmp_path):
    _, seen = shown(cwd=str(tmp_path))

    assert seen["cwd"] == str(tmp_path)


def test_secrets_reach_the_trainer_and_nothing_else(shown, tmp_path):
    secret = "s3cr3t-of-the-job"
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"HF_TOKEN": secret}))
    attempt, seen = shown(secrets_file=str(file))

    assert seen["env"]["HF_TOKEN"] == secret
    for folder, _, names in os.walk(attempt.directory.root):
        for name in names:
            if not name.startswith("log."):
                assert secret.encode() not in (read_regular(os.path.join(folder, name)) or b""), name


@pytest.mark.parametrize("content", [None, "{", '{"A": 1}'])
def test_secrets_that_can_not_be_read_keep_the_job_from_running(make_attempt, tmp_path, content):
    file = tmp_path / "secrets.json"
    if content is not None:
        file.write_text(content)
    record = make_attempt(["true"], secrets_file=str(file)).result()

    assert "secrets" in record.launch_error
    assert not record.executed


def test_whoever_starts_a_supervisor_is_not_its_parent(make_attempt):
    attempt = make_attempt(["sleep", "60"]).start()
    supervisor = attempt.supervisor()

    assert read_stat(supervisor.pid).parent != os.getpid()
    assert os.getsid(supervisor.pid) == supervisor.pid
    assert os.readlink(f"/proc/{supervisor.pid}/fd/0") == "/dev/null"
    assert os.readlink(f"/proc/{supervisor.pid}/fd/2") == attempt.directory.diagnostics


def test_nothing_of_the_starter_is_inherited(make_attempt, tmp_path):
    attempt = make_attempt(["sleep", "60"])
    with open(tmp_path / "held", "w") as held:
        subprocess.run(attempt.command, check=True, pass_fds=[held.fileno()], timeout=30)
    supervisor = attempt.supervisor()
    names = [os.readlink(f"/proc/{supervisor.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{supervisor.pid}/fd")]

    assert str(tmp_path / "held") not in names


def test_it_can_be_started_as_a_module(make_attempt):
    attempt = make_attempt(["true"])
    subprocess.run([sys.executable, "-m", "stoker.supervisor", attempt.directory.root], check=True, timeout=30)

    assert attempt.exit().exit_code == 0


def test_without_a_directory_it_says_how_it_is_used(make_attempt, tmp_path):
    attempt = make_attempt(["true"])
    program = attempt.command[:-1]
    usage = subprocess.run(program, capture_output=True, timeout=30, check=False)
    missing = subprocess.run([*program, str(tmp_path / "none")], capture_output=True, timeout=30, check=False)

    assert (usage.returncode, missing.returncode) == (64, 66)
    assert b"Usage" in usage.stderr
    assert b"no attempt directory" in missing.stderr


def test_a_second_supervisor_leaves_the_attempt_alone(make_attempt):
    attempt = make_attempt(["sleep", "60"]).start()
    attempt.wait_for("executed")
    second = attempt.in_foreground()

    assert second.wait(10) == 75
    second.stderr.close()
    assert is_alive(attempt.trainer())
    assert len(attempt.notes("started")) == 1


def test_an_attempt_whose_supervisor_died_is_not_taken_up_by_another(make_attempt):
    attempt = make_attempt(["sleep", "60"]).start()
    attempt.wait_for("executed")
    attempt.kill_supervisor()
    second = attempt.in_foreground()

    assert second.wait(10) == 75
    second.stderr.close()
    assert len(attempt.notes("started")) == 1


def test_an_abandoned_attempt_is_not_carried_out(make_attempt):
    attempt = make_attempt(["true"])
    assert abandon(attempt.directory, 2)
    supervisor = attempt.in_foreground()

    assert supervisor.wait(10) == 0
    supervisor.stderr.close()
    assert not os.path.exists(attempt.directory.journal)
    assert not os.path.exists(attempt.directory.exit)


def test_of_many_supervisors_exactly_one_runs_the_job(make_attempt):
    attempt = make_attempt(["sh", "-c", "echo run; sleep 1"])
    racers = [attempt.in_foreground() for _ in range(5)]
    codes = sorted(racer.wait(30) for racer in racers)
    for racer in racers:
        racer.stderr.close()

    assert codes == [0, 75, 75, 75, 75]
    assert attempt.log() == b"run\n"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", json.dumps({"argv": []}).encode()])
def test_an_order_that_is_not_whole_is_left_to_the_server(make_attempt, content):
    attempt = make_attempt(["true"])
    write_durably(attempt.directory.order, content)
    supervisor = attempt.in_foreground()

    assert supervisor.wait(10) == 65
    supervisor.stderr.close()
    assert not os.path.exists(attempt.directory.claim)


def test_an_order_of_a_newer_version_is_left_to_the_server(make_attempt):
    attempt = make_attempt(["true"], protocol=PROTOCOL + 1)
    supervisor = attempt.in_foreground()

    assert supervisor.wait(10) == 65
    supervisor.stderr.close()
    assert not os.path.exists(attempt.directory.claim)


def test_fields_that_a_newer_server_adds_are_passed_over(make_attempt):
    attempt = make_attempt(["true"])
    order = json.loads(encode(attempt.order)) | {"colour": "blue"}
    write_durably(attempt.directory.order, json.dumps(order).encode())

    assert attempt.result().exit_code == 0


def test_the_records_say_who_runs(make_attempt):
    attempt = make_attempt(["sleep", "60"]).start()
    attempt.wait_for("executed")
    trainer, supervisor = attempt.trainer(), attempt.supervisor()

    assert trainer == identify(trainer.pid)
    assert supervisor == identify(supervisor.pid)
    assert read_stat(trainer.pid).parent == supervisor.pid
    assert read_process(attempt.directory.trainer).nonce == attempt.nonce
    assert is_locked(attempt.directory)


def test_all_records_are_private(make_attempt):
    attempt = make_attempt(["true"])
    attempt.result()
    modes = {
        name: stat.S_IMODE(os.stat(attempt.directory.path(name)).st_mode)
        for name in os.listdir(attempt.directory.root)
        if name not in ("run", "spec.json")
    }

    assert {mode & 0o077 for mode in modes.values()} == {0}, modes


def test_a_stop_before_the_gate_opens_never_runs_the_job(make_attempt):
    attempt = make_attempt(["sh", "-c", "echo ran"])
    attempt.stop("cancelled", tell=False)
    record = attempt.result()

    assert (record.stop, record.stop_sent, record.executed) == ("cancelled", False, False)
    assert (record.exit_code, record.signal, record.launch_error) == (None, None, None)
    assert attempt.log() == b""


def groups_of(attempt) -> list[str]:
    """List the control groups of an attempt that are still there."""
    names = [own_group("cgroup2"), own_group("cgroup", b"memory")]
    paths = [os.path.join(name, f"stoker-{attempt.order.attempt_id}") for name in names if name is not None]
    return [path for path in paths if os.path.exists(path)]


def test_a_trainer_is_never_left_behind_by_a_supervisor_that_dies_at_its_start(make_attempt):
    left = []
    for step in range(40):
        attempt = make_attempt([*PYTHON, "import time; time.sleep(100)"])
        supervisor = attempt.in_foreground()
        time.sleep(0.02 + step * 0.002)  # where it dies is what varies here
        supervisor.kill()
        supervisor.wait()
        supervisor.stderr.close()
        end_leftovers(attempt.directory, attempt.nonce, 10.0)
        left += attempt.marked() + groups_of(attempt)
        held = read_process(attempt.directory.trainer)
        if held is not None:
            wait_until(lambda who=held.who: not is_alive(who), 5.0, "the held process to end")
        assert read_exit(attempt.directory.exit) is None

    assert left == []


def test_a_process_that_waits_at_the_gate_ends_when_its_supervisor_dies(tmp_path):
    code = """
        import os, sys
        sys.path.insert(0, sys.argv[1])
        from stoker.supervisor.gate import fork_held
        gate = fork_held(1, None)
        print(gate.pid, flush=True)
        os.kill(os.getpid(), 9)
        """
    source = os.path.dirname(os.path.dirname(os.path.dirname(sys.modules["stoker.supervisor.sweep"].__file__)))
    ended = subprocess.run([*python(code), source], capture_output=True, timeout=30, check=False)
    held = int(ended.stdout)

    wait_until(lambda: (found := read_stat(held)) is None or not found.is_alive, 5.0)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("program", "fails"), [("/bin/true", False), ("/no/such/program", True)])
def test_all_that_a_process_said_at_the_gate_is_heard_once_it_has_ended(program, fails):
    gate = fork_held(1, None)
    gate.open((program,), {}, None)
    os.waitpid(gate.pid, 0)
    settled = gate.hear()
    os.close(gate.report)

    assert settled
    assert (gate.has_passed, gate.failure is not None) == (not fails, fails)


@pytest.fixture
def no_groups(monkeypatch):
    """Take control groups away."""
    monkeypatch.setattr("stoker.supervisor.containment.own_group", lambda kind, controller=b"": None)


def test_a_control_group_that_is_insisted_on_and_can_not_be_had_is_said(no_groups):
    with pytest.raises(LaunchError, match="control group"):
        Containment("none", "cgroup").make()


def test_without_a_writable_group_the_sweep_does_the_work(no_groups):
    contained = Containment("none", "auto")
    contained.make()
    contained.take_in(os.getpid())
    contained.remove()

    assert contained.group is None


def test_a_group_that_refuses_the_process_is_given_up(monkeypatch):
    contained = Containment(f"test-{os.getpid()}", "auto")
    monkeypatch.setattr("stoker.supervisor.containment.Group.add", refuse)
    contained.make()
    contained.take_in(os.getpid())

    assert contained.group is None
    assert contained.group_path is None or not os.path.exists(contained.group_path)
    contained.remove()


def refuse(group, pid):
    """Refuse, as the kernel may."""
    raise PermissionError


def test_a_supervisor_outlives_the_signals_of_a_terminal(make_attempt):
    attempt = make_attempt(["sleep", "60"]).start()
    attempt.wait_for("executed")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTSTP):
        attempt.signal_supervisor(number)

    assert attempt.ask("hello")["nonce"] == attempt.nonce
    assert is_alive(attempt.trainer())


def test_a_trainer_that_dies_while_it_waits_is_told_apart(make_attempt):
    attempt = make_attempt(["sleep", "60"]).start()
    attempt.wait_for("executed")
    send_signal(attempt.trainer(), signal.SIGKILL)

    assert attempt.exit().executed
