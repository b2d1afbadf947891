"""Attempts that end with their test."""

import pytest

from stoker.supervisor.containment import own_group
from tests.supervisor.attempts import Attempt

CONTAINMENTS = ("cgroup", "sweep") if own_group("cgroup2") is not None else ("sweep",)
"""Both ways to hold a tree where this machine has both."""


@pytest.fixture
def make_attempt(tmp_path):
    """Give a maker of attempts; all that they started is ended after the test."""
    made = []

    def make(argv, **order) -> Attempt:
        made.append(Attempt(str(tmp_path), tuple(argv), **order))
        return made[-1]

    yield make
    for attempt in made:
        attempt.clean_up()


@pytest.fixture(params=CONTAINMENTS)
def containment(request) -> str:
    """Give each way to hold a tree."""
    return request.param
