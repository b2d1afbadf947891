"""Every test of the suite runs on each store of one list."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.store.sql import SqlStore, open_store

STORES = {"sqlite": lambda folder: str(folder / "stoker.db")}
"""How to name a fresh database of each kind."""


@pytest.fixture(params=STORES)
def name_database(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    return STORES[request.param]


@pytest.fixture
def url(name_database: Callable[[Path], str], tmp_path: Path) -> str:
    return name_database(tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture
def epoch(store: SqlStore) -> int:
    return store.acquire_term("this server")
