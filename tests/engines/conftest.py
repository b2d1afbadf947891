"""Every test of the suite runs on each engine of one list."""

import pytest

from tests.engines.given_engine import ENGINES


@pytest.fixture(params=ENGINES)
def bench(request, tmp_path):
    """Give an engine with the means to try it; all that it started is ended after the test."""
    made = ENGINES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def engine(bench):
    return bench.engine
