"""Waiting for what must happen, with a bound, instead of sleeping for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.005


def wait_until(condition: Callable[[], T], seconds: float = 20.0, why: str = "") -> T:
    """Call `condition` until it gives something true, and return that; fail the test after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {why or condition}")
        time.sleep(POLL_SECONDS)
    return found
