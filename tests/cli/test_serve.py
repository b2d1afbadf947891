"""Starting the server from the command line, and the unit that does it under systemd."""

import configparser
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.cli.exits import Exit
from tests.cli.conftest import Stoker
from tests.server import Server
from tests.waiting import wait_until

UNIT = Path(__file__).parents[2] / "packaging" / "stoker.service"


def test_a_start_says_where_the_server_is_and_how_it_is_stopped(tmp_path):
    stoker = Stoker(Server(tmp_path / "home"), tmp_path)
    process = stoker.start("serve", "--home", str(tmp_path / "home"), "--port", "0", "--slots", "3")
    try:
        said = []
        wait_until(lambda: said.append(process.stderr.readline()) or "server_started" in said[-1], 60)
        found = stoker("ls")
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
    finally:
        process.kill()

    assert f"on {tmp_path / 'home' / 'server.sock'}" in said[0]
    assert f"Home: {tmp_path / 'home'}" in said[1]
    assert "Slots: 3" in said[1]
    assert "jobs that run go on" in said[2]
    assert found.returncode == 0, found.stderr
    assert process.returncode == 0, rest


def test_a_home_that_is_not_the_users_to_use_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    done = Stoker(Server(tmp_path / "home"), tmp_path)(
        "serve", "--home", str(tmp_path / "file" / "home"), "--port", "0"
    )

    assert done.returncode == Exit.HOME
    assert "Choose another --home" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bind_beyond_this_machine_without_a_key_is_refused_before_anything_is_said(tmp_path):
    done = Stoker(Server(tmp_path / "home"), tmp_path)(
        "serve", "--home", str(tmp_path / "home"), "--port", "0", "--host", "0.0.0.0"
    )

    assert done.returncode == Exit.OPEN
    assert "stoker keys create" in done.stderr
    assert "Stoker listens" not in done.stderr


def unit():
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str
    parser.read(UNIT)
    return parser


def test_the_unit_ends_the_server_alone():
    service = unit()["Service"]

    assert service["KillMode"] == "process"
    assert service["Delegate"] == "yes"
    assert (service["Type"], service["Restart"]) == ("exec", "always")
    assert "stoker serve" in service["ExecStart"]


def test_the_unit_does_not_start_again_what_can_not_start():
    prevented = set(unit()["Service"]["RestartPreventExitStatus"].split())

    assert prevented == {str(int(code)) for code in (Exit.USAGE, Exit.HOME, Exit.OPEN, Exit.PORT)}


def test_the_unit_puts_no_fence_around_the_jobs():
    fences = (
        "NoNewPrivileges",
        "ProtectSystem",
        "ProtectHome",
        "PrivateTmp",
        "PrivateDevices",
        "MemoryMax",
        "CPUQuota",
    )

    assert not set(fences) & set(unit()["Service"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path):
    copy = tmp_path / "stoker.service"
    copy.write_text(UNIT.read_text().replace("%h/.local/bin/stoker", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    about_us = [line for line in done.stderr.splitlines() if "stoker.service" in line]

    assert about_us == []
