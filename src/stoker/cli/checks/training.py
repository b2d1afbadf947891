"""What training needs: the libraries that the trainer imports, and a GPU's driver."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from stoker.cli.checks.finding import Finding, fault, note, ok, warning

ASK_SECONDS = 10.0
DRIVER = "/proc/driver/nvidia/version"
_NUMBERS = re.compile(r"\d+")
_EXTRA = re.compile(r"""([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+).*extra\s*==\s*['"]train['"]""")


def check_training() -> Iterator[Finding]:
    """Look at all of it."""
    has_driver = os.path.exists(DRIVER)
    yield check_gpus() if has_driver else note("gpu", "no NVIDIA driver; training runs on the CPU")
    for package, least in needed():
        yield check_package(package, least, has_driver=has_driver)


def needed() -> list[tuple[str, str]]:
    """Give the packages of the extra `train` and their least versions, as this installation declares them."""
    return [(found[1], found[2]) for text in requires("stoker") or () if (found := _EXTRA.match(text))]


def check_package(package: str, least: str, *, has_driver: bool) -> Finding:
    """Say whether a package is there, new enough, and made for this machine."""
    remedy = f"pip install '{package}>={least}' (all of it: pip install 'stoker[train]')"
    try:
        found = version(package)
    except PackageNotFoundError:
        return warning(package, "is not installed here; fine-tuning needs it, commands may bring their own", remedy)
    if numbers(found) < numbers(least):
        return warning(package, f"{found} is older than {least}", remedy)
    if package == "torch" and has_driver and found.endswith("+cpu"):
        return warning(package, f"{found} can't use the GPU", "Install the build for CUDA from the index of torch")
    return ok(package, found)


def check_gpus() -> Finding:
    """Ask the driver for its GPUs, in a process of its own and within a bound: a sick driver hangs its caller."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return note("gpu", "the driver is loaded, and nvidia-smi is not on the PATH")
    ask = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        told = f"the driver did not answer within {ASK_SECONDS:.0f} seconds"
        return fault("gpu", told, "Look at the kernel's log for Xid messages; the machine may have to be restarted")
    lines = [line for line in answer.stdout.splitlines() if line.strip()]
    if answer.returncode or not lines:
        return fault("gpu", f"nvidia-smi failed: {(answer.stderr or answer.stdout).strip()}", "Mend the driver")
    return ok("gpu", f"{len(lines)}: {'; '.join(lines)}")


def numbers(text: str) -> tuple[int, ...]:
    """Give the numbers of a version, for comparing."""
    return tuple(map(int, _NUMBERS.findall(text.partition("+")[0])))
