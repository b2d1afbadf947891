"""What processes cost: memory and processor time, as the kernel counts them."""

import os

TICKS = os.sysconf("SC_CLK_TCK")


def pss_megabytes(pid: int) -> float:
    """Give a process's memory with its share of what it shares."""
    return _from_rollup(pid, "Pss:")


def rss_megabytes(pid: int) -> float:
    """Give a process's memory, all that is shared included."""
    return _from_rollup(pid, "Rss:")


def processor_seconds(pid: int) -> float:
    """Give the processor time that all threads of a process have used, by the scheduler's own count."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return 1e-9 * total


def switches(pid: int) -> int:
    """Count how often all threads of a process went to sleep by themselves: each is a wake-up later."""
    count = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status") as file:
            count += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    return count


def _from_rollup(pid: int, name: str) -> float:
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(name)) / 1024
