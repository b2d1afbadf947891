"""Process trees that do not want to end: each resists in its own way, and names its processes in a file."""

import os
import shutil
import subprocess

HOP = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def hop(seconds_to_live):
    ends_at = time.monotonic() + seconds_to_live
    while time.monotonic() < ends_at:
        if os.fork():
            os._exit(0)
if os.fork() == 0:
    os.setsid()
    hop(60)
"""
"""A chain that forks and exits as fast as it can, in its own session and deaf to SIGTERM; it gives up in a minute."""

HOP_IN_C = """
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **words) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t end = now.tv_sec + 60;
    clearenv();
    signal(SIGTERM, SIG_IGN);
    if (fork()) return 0;
    setsid();
    while (now.tv_sec < end) {
        if (fork() > 0) _exit(0);
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
    return 0;
}
"""

UNRULY = """
import os, signal, sys, time

def child(run):
    pid = os.fork()
    if pid == 0:
        try:
            run()
            while True:
                time.sleep(60)
        finally:
            os._exit(1)
    return pid

def ignores():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

def leaves_session():
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

def daemon():
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", SLEEP, sys.argv[-1]], {})

def stopped():
    os.setsid()
    os.kill(os.getpid(), signal.SIGSTOP)

SLEEP = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
for run in (ignores, leaves_session, daemon, stopped):
    child(run)
if len(sys.argv) > 1:
    os.spawnvpe(os.P_WAIT, sys.argv[1], sys.argv[1:], os.environ)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    time.sleep(60)
"""
"""One main process that ignores SIGTERM, with a child that does too, one that left the session, a double-forked daemon
with a cleared environment, a stopped one, and whatever program it is given."""


def build_hopper(folder) -> str | None:
    """Compile the hopping chain; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    program = os.path.join(folder, "hopper")
    subprocess.run([compiler, "-O2", "-x", "c", "-o", program, "-"], input=HOP_IN_C.encode(), check=True, timeout=60)
    return program
