"""One real server for the tests that leave it as they find it, and one application without sockets for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.given_api import Application
from tests.server import Server, running_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("api") / "home", "--slots", "2") as running:
        yield running


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    with Application(tmp_path / "home") as opened:
        yield opened
