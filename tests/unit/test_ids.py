"""Which names a job may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.domain.errors import InvalidRequest
from stoker.domain.ids import ID_PATTERN, ROUTE_WORDS, check_job_id, new_attempt_id, new_job_id


@pytest.mark.parametrize("name", ["a", "9", "run-1.2_final", "A" * 128, "job.", "Execute"])
def test_plain_names_are_ids(name):
    assert check_job_id(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", ".hidden", "_a", "a" * 129, "a b", "a/b", "../a", "a\n", "ä", "a\0", "$(id)", "%2e", "a;b"],
)
def test_everything_else_is_refused_with_the_remedy(name):
    with pytest.raises(InvalidRequest) as refused:
        check_job_id(name, "job_id")

    (problem,) = refused.value.problems
    assert problem.field == "job_id"
    assert "letters, digits" in problem.remedy


@pytest.mark.parametrize("word", sorted(ROUTE_WORDS))
def test_words_of_the_api_are_no_ids(word):
    with pytest.raises(InvalidRequest, match="word of the API"):
        check_job_id(word)


@given(st.text(max_size=140))
def test_no_id_leads_out_of_a_folder_or_breaks_a_line(name):
    if ID_PATTERN.fullmatch(name):
        assert "/" not in name
        assert name not in (".", "..")
        assert name.isprintable()
        assert name.isascii()


def test_ids_that_are_made_here_are_valid_and_never_the_same():
    made = {new_job_id() for _ in range(1000)} | {new_attempt_id() for _ in range(1000)}

    assert len(made) == 2000
    assert all(check_job_id(name) for name in made)
