"""Who may do what, and what errors say."""

import pytest

from stoker.domain.actor import LOCAL_ACTOR, Actor, Scope
from stoker.domain.errors import HomeLocked, IllegalMove, InvalidRequest, Problem, StokerError, invalid


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_is_held_by_name_or_through_admin(scope):
    assert Actor(owner="a", scopes=frozenset({scope})).may(scope)
    assert Actor(owner="a", scopes=frozenset({Scope.ADMIN})).may(scope)
    assert not Actor(owner="a", scopes=frozenset()).may(scope)
    assert LOCAL_ACTOR.may(scope)


def test_people_see_what_is_theirs_and_an_admin_sees_all():
    ann = Actor(owner="ann", scopes=frozenset(set(Scope) - {Scope.ADMIN}))

    assert ann.sees("ann")
    assert not ann.sees("bob")
    assert LOCAL_ACTOR.sees("bob")


def test_an_invalid_request_says_every_fault_with_its_remedy():
    error = InvalidRequest(
        Problem(field="a", message="is wrong", remedy="Mend it"),
        Problem(field="b.c", message="is missing", remedy="Add it"),
    )

    assert str(error) == "a: is wrong. Mend it; b.c: is missing. Add it"
    assert isinstance(invalid("a", "b", "c"), StokerError)


def test_a_refused_move_names_the_state_and_the_verb():
    assert str(IllegalMove("job-1", "completed", "pause")) == "Job job-1 is completed; it can't be asked to pause"


@pytest.mark.parametrize(("pid", "holder"), [(7, "pid 7"), (None, "another process")])
def test_a_locked_home_names_its_holder_and_the_way_out(pid, holder):
    error = HomeLocked("/home", pid)

    assert str(error) == f"A server already runs on /home ({holder}). Stop it, or give this one another --home"
    assert error.pid == pid
