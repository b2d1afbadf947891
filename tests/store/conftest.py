"""Every test of the suite runs on each store of one list."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.store.sql import SqlStore, open_store

STORES = {"sqlite": lambda folder: str(folder / "stoker.db")}
"""How to name a fresh database of each kind."""


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return STORES[request.param](tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture
def epoch(store: SqlStore) -> int:
    return store.acquire_term("this server")
