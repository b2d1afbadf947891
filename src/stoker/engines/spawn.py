"""Starting a supervisor so that nothing of the server's own end can touch it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import stoker.supervisor

SYSTEMD = "/run/systemd/system"


def supervisor_argv(directory: str, name: str) -> tuple[str, ...]:
    """Give the command that starts the supervisor of the attempt in `directory`.

    Under systemd each supervisor gets a scope of its own, else the restart of the server's unit would end it.
    """
    program = os.path.join(os.path.dirname(stoker.supervisor.__file__), "__main__.py")
    return (*scope_prefix(name), sys.executable, "-I", "-S", program, directory)


def scope_prefix(name: str) -> tuple[str, ...]:
    """Give the command that puts what follows into a scope of its own; nothing where the server is no unit."""
    runner = shutil.which("systemd-run")
    if runner is None or "INVOCATION_ID" not in os.environ or not os.path.isdir(SYSTEMD):
        return ()
    user = ("--user",) if os.getuid() else ()
    return (runner, *user, "--scope", "--quiet", "--collect", f"--unit=stoker-{name}", "--")


def without_scope(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Give the same command without its scope, for a systemd that refuses to make one."""
    return argv[argv.index("--") + 1 :] if "--" in argv else argv


def spawn(argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start `argv` in a session of its own, with nothing inherited. It detaches itself and returns at once."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={name: value for name, value in os.environ.items() if name in _PASSED},
        start_new_session=True,
    )


_PASSED = ("PATH", "HOME", "LANG", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "LD_LIBRARY_PATH")
