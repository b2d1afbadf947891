"""A home is on a local disk, of one user, and held by one server."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from given_store import wait_until

from stoker.domain.errors import HomeLocked, HomeUnusable
from stoker.store import mounts
from stoker.store.home import holder_of, lock_home
from stoker.store.mounts import file_system, is_network, refuse_network_home
from stoker.store.sql import open_store

MOUNTINFO = str(Path(__file__).parent / "fixtures" / "mountinfo")

HOLD = """
import sys, time
from pathlib import Path
from stoker.store import mounts
from stoker.store.home import lock_home
lock = lock_home(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "home")], **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_home_is_made_for_its_owner_alone(tmp_path):
    with lock_home(tmp_path / "deep" / "home") as lock:
        assert stat.S_IMODE(lock.home.stat().st_mode) == 0o700
        assert stat.S_IMODE((lock.home / "server.lock").stat().st_mode) == 0o600
        assert holder_of(lock.home) == os.getpid()


def test_a_second_server_is_refused_with_the_pid_of_the_first(tmp_path, holder):
    with pytest.raises(HomeLocked, match=str(holder.pid)) as refused:
        lock_home(tmp_path / "home")

    assert refused.value.pid == holder.pid


def test_a_home_is_free_again_once_its_server_is_killed(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=10)

    with lock_home(tmp_path / "home"):
        assert holder_of(tmp_path / "home") == os.getpid()


def test_a_released_home_is_free(tmp_path):
    lock = lock_home(tmp_path / "home")
    lock.release()
    lock.release()

    with lock_home(tmp_path / "home"):
        pass


def test_a_child_does_not_keep_the_home_of_a_dead_server(tmp_path):
    lock = lock_home(tmp_path / "home")
    with subprocess.Popen(["sleep", "30"], close_fds=False) as child:
        lock.release()
        with lock_home(tmp_path / "home"):
            pass
        child.kill()


def test_the_pid_of_nobody_is_not_known(tmp_path):
    assert holder_of(tmp_path / "home") is None
    (tmp_path / "server.lock").write_text("")
    assert holder_of(tmp_path) is None


def test_a_home_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 54321)

    with pytest.raises(HomeUnusable, match="belongs to user id"):
        lock_home(tmp_path)


def test_an_empty_or_own_home_that_is_open_to_others_is_closed(tmp_path):
    tmp_path.chmod(0o755)
    lock_home(tmp_path).release()
    tmp_path.chmod(0o777)
    lock_home(tmp_path).release()

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_folder_of_other_things_is_not_closed_but_refused(tmp_path):
    (tmp_path / "diary.txt").touch()
    tmp_path.chmod(0o755)

    with pytest.raises(HomeUnusable, match="chmod 700"):
        lock_home(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_file_in_the_place_of_a_home_is_refused(tmp_path):
    (tmp_path / "home").touch()

    with pytest.raises(HomeUnusable, match="can't be made"):
        lock_home(tmp_path / "home")


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    tmp_path.chmod(0o700)
    (tmp_path / "server.lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(HomeUnusable, match="can't be opened"):
        lock_home(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib/stoker", "ext4"),
        ("/home/ada/.local/share/stoker", "nfs4"),
        ("/home/adalbert", "ext4"),
        ("/mnt/team share/x", "cifs"),
        ("/mnt/remote", "fuse.sshfs"),
        ("/mnt/remote/scratch/x", "xfs"),
        ("/lustre/project", "lustre"),
        ("/mnt/c/Users", "9p"),
        ("/over", "tmpfs"),
    ],
)
def test_the_file_system_of_a_path_is_the_one_mounted_last_and_deepest(path, kind):
    assert file_system(Path(path), MOUNTINFO) == kind


@pytest.mark.parametrize(
    "path", ["/home/ada", "/mnt/team share", "/mnt/remote", "/lustre/x", "/mnt/c", "/ceph", "/gpfs/x/y"]
)
def test_a_home_on_a_network_is_refused_with_its_kind(path):
    with pytest.raises(HomeUnusable, match="network file system"):
        refuse_network_home(Path(path), MOUNTINFO)


@pytest.mark.parametrize("use", [lock_home, lambda home: open_store(home / "stoker.db")])
def test_neither_a_lock_nor_a_database_is_made_on_a_network(tmp_path, monkeypatch, use):
    monkeypatch.setattr(mounts, "file_system", lambda *_: "nfs4")

    with pytest.raises(HomeUnusable, match="nfs4"):
        use(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/", "/var/lib/stoker", "/mnt/remote/scratch", "/over", "/mnt/usb"])
def test_a_home_on_a_local_disk_is_taken(path):
    refuse_network_home(Path(path), MOUNTINFO)


def test_where_the_kernel_does_not_tell_the_home_is_taken(tmp_path):
    refuse_network_home(tmp_path, str(tmp_path / "no such file"))
    refuse_network_home(tmp_path)


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "lustre", "gpfs", "ceph", "beegfs", "fuse.s3fs"]
)
def test_a_network_file_system_is_known_by_its_name(kind):
    assert is_network(kind)


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "fuse.fuse-overlayfs", "sshfs"]
)
def test_a_local_file_system_is_known_by_its_name(kind):
    assert not is_network(kind)


def test_a_server_that_starts_while_another_ends_gets_the_home(tmp_path, holder):
    holder.stdin.close()

    def is_free():
        try:
            lock_home(tmp_path / "home").release()
        except HomeLocked:
            return False
        return True

    wait_until(is_free)
