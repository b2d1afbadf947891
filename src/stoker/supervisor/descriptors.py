"""File descriptors across a fork: what a child must not keep."""

from __future__ import annotations

import os

STANDARD = (0, 1, 2)
"""Input, output and error."""


def close_all_but(kept: tuple[int, ...]) -> None:
    """Close every descriptor of this process but the standard ones and those in `kept`."""
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor in STANDARD or descriptor in kept:
            continue
        try:
            os.close(descriptor)
        except OSError:  # the one that listed them
            continue


def redirect(source: int, output: int) -> None:
    """Make `source` the standard input, and `output` both standard output and error."""
    for descriptor, target in ((source, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)
