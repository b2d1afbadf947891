"""Doctor: what it finds on this machine, and what it says of worse ones."""

import json
import os
import subprocess
import sys

import pytest

from stoker.cli.checks import home, machine, training
from stoker.cli.checks.finding import Level
from stoker.settings import Settings
from tests.daemon.given_jobs import python
from tests.waiting import wait_until


def test_doctor_looks_at_everything(stoker):
    told, answer = stoker("doctor"), json.loads(stoker("doctor", "--json").stdout)
    names = {finding["name"] for finding in answer["findings"]}

    assert {"python", "sqlite", "cgroup", "inotify", "home's disk", "server", "leftovers", "gpu", "torch"} <= names
    assert "ok       server             runs: " in told.stdout
    assert all(finding["remedy"] for finding in answer["findings"] if finding["level"] in ("warning", "fault"))
    assert answer["healthy"] is (told.returncode == 0)


def test_doctor_exits_with_1_when_something_must_be_mended(stoker, tmp_path):
    locked = tmp_path / "not-a-folder"
    locked.write_text("")
    done = stoker("doctor", "--json", "--home", str(locked / "home"))

    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert not json.loads(done.stdout)["healthy"]


@pytest.mark.parametrize("version", [(3, 51, 3), (3, 44, 6), (3, 50, 9), (3, 52, 0)])
def test_a_mended_sqlite_is_well(version):
    assert machine.check_sqlite(version).level is Level.OK


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 44, 5), (3, 50, 6), (3, 51, 2)])
def test_an_older_sqlite_is_told_with_how_its_fault_is_avoided(version):
    found = machine.check_sqlite(version)

    assert found.level is Level.NOTE
    assert "one connection does all writes and all checkpoints" in found.told


def test_a_clock_that_was_never_set_is_a_fault():
    assert machine.check_clock(0.0).level is Level.FAULT
    assert machine.check_clock(1.9e9).level is Level.OK


def test_this_kernel_has_what_supervisors_need():
    assert machine.check_pidfd().level is Level.OK
    assert machine.check_subreaper().level is Level.OK
    assert machine.check_cgroup().level in (Level.OK, Level.NOTE)
    assert machine.check_inotify().level in (Level.OK, Level.WARNING)


def test_a_low_limit_of_files_is_told_with_its_remedy():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))\n"
        "from stoker.cli.checks.machine import check_limits\n"
        "print([f'{one.name}: {one.level} {one.remedy}' for one in check_limits()])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert "limit of files: warning Raise it: ulimit -n 65536" in done.stdout
    assert "limit of file size: warning" in done.stdout


def test_a_home_in_memory_or_on_a_network_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(home, "file_system", lambda _: "nfs4")
    assert home.check_file_system(tmp_path).level is Level.FAULT
    monkeypatch.setattr(home, "file_system", lambda _: "tmpfs")
    assert home.check_file_system(tmp_path).level is Level.WARNING
    monkeypatch.setattr(home, "file_system", lambda _: "ext4")
    assert home.check_file_system(tmp_path).level is Level.OK


def test_a_home_that_is_open_to_others_is_told(tmp_path):
    assert home.check_rights(tmp_path / "not-yet").level is Level.NOTE
    tmp_path.chmod(0o755)
    assert home.check_rights(tmp_path).remedy == f"Close it: chmod 700 {tmp_path}"
    tmp_path.chmod(0o700)
    assert home.check_rights(tmp_path).level is Level.OK


def test_a_disk_with_little_room_is_told(tmp_path):
    assert home.check_room("home", tmp_path / "not" / "yet", 1 << 60).level is Level.WARNING
    assert home.check_room("home", tmp_path, 1).level is Level.OK


def test_a_home_without_a_server_is_no_fault(tmp_path):
    assert home.check_server(Settings(home=tmp_path)).remedy == "Start it: stoker serve"


def test_a_server_that_holds_the_home_and_does_not_answer_is_a_fault(alone):
    alone.server.process.send_signal(19)  # SIGSTOP
    try:
        found = home.check_server(Settings(home=alone.server.home))
    finally:
        alone.server.process.send_signal(18)  # SIGCONT

    assert found.level is Level.FAULT
    assert f"process {alone.server.pid} holds the home and does not answer" in found.told


def test_what_a_dead_supervisor_left_is_found_and_named(alone):
    job = alone.submit(python("import time; time.sleep(600)"))
    with alone.client() as client:
        status = wait_until(lambda: (found := client.status(job))["status"] == "running" and found, 30)
    before = alone("doctor", "--json")
    alone.server.kill9()
    os.kill(status["supervisor_pid"], 9)
    wait_until(lambda: home.check_leftovers(Settings(home=alone.server.home)).level is Level.FAULT, 20)
    done = alone("doctor", "--json")
    told = next(one for one in json.loads(done.stdout)["findings"] if one["name"] == "leftovers")

    assert '"name": "leftovers", "level": "ok"' in before.stdout
    assert done.returncode == 1
    assert str(status["process_pid"]) in told["told"]
    alone.server.start()
    wait_until(lambda: home.check_leftovers(Settings(home=alone.server.home)).level is Level.OK, 30)


def test_the_packages_of_training_are_those_that_are_declared():
    names = {name for name, _ in training.needed()}

    assert {"torch", "transformers", "trl", "peft", "datasets", "accelerate"} <= names


def test_a_package_that_is_missing_or_old_is_told_with_the_command_that_mends_it():
    missing = training.check_package("no-such-package-here", "1.0", has_driver=False)
    old = training.check_package("click", "999.0", has_driver=False)

    assert missing.level is old.level is Level.WARNING
    assert "pip install 'no-such-package-here>=1.0'" in missing.remedy
    assert "is older than 999.0" in old.told


def test_a_build_for_the_processor_beside_a_gpu_is_told(monkeypatch):
    monkeypatch.setattr(training, "version", lambda _: "2.13.0+cpu")

    assert training.check_package("torch", "2.8", has_driver=True).told == "2.13.0+cpu can't use the GPU"
    assert training.check_package("torch", "2.8", has_driver=False).level is Level.OK


def smi(tmp_path, monkeypatch, text):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return training.check_gpus()


def test_gpus_are_counted(tmp_path, monkeypatch):
    assert smi(tmp_path, monkeypatch, "echo 'H200, 570.1'; echo 'H200, 570.1'").told.startswith("2: H200")


def test_a_driver_that_fails_or_hangs_is_a_fault(tmp_path, monkeypatch):
    assert "nvidia-smi failed: no devices" in smi(tmp_path, monkeypatch, "echo no devices; exit 9").told
    monkeypatch.setattr(training, "ASK_SECONDS", 0.2)
    assert "did not answer" in smi(tmp_path, monkeypatch, "exec sleep 30").told
