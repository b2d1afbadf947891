"""What a submit may say: every fault is told at once, and nothing in it is ever more than data."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.domain.errors import InvalidRequest
from stoker.domain.limits import LIMIT_NAMES
from stoker.service.request import LimitsRequest, SubmitRequest, check, to_spec

CANARIES = [
    "$(touch /tmp/x)",
    "`touch x`",
    "; rm -rf /",
    "| cat",
    "&& true",
    "${IFS}",
    "%s%n",
    "../../x",
    "{{7*7}}",
    "' OR 1=1 --",
    "line\nbreak",
    "\x1b[31mred",
    "ünïcödé",
    "-rf",
    "*",
]


def problems_of(**facts):
    try:
        check(SubmitRequest(**facts))
    except InvalidRequest as error:
        return {problem.field: problem for problem in error.problems}
    return {}


def test_an_empty_request_has_no_fault_of_its_own():
    assert problems_of() == {}


def test_every_fault_is_told_at_once_each_with_its_remedy():
    found = problems_of(
        execution_id="a b",
        name="x" * 501,
        user_id="two\nlines",
        dataset_path="/data/x.jsonl",
        dataset_content="{}",
        command=["a\0b"],
        prefix=["\0"],
        env={"1BAD": "x", "GOOD": "x\0", "STOKER_HOME": "x", "TWICE": "x"},
        secrets={"TWICE": "y", "no good": "z", "STOKER_X": "z"},
        gpus=1,
        priority=1001,
        artifacts=["/etc/passwd", "../x", "", "a\0b"],
        limits=LimitsRequest(stall_seconds=0, start_seconds=-1, time_limit_seconds=math.nan, grace_seconds=-0.5),
    )

    assert set(found) == {
        "execution_id",
        "name",
        "user_id",
        "dataset_content",
        "command",
        "prefix",
        "env.1BAD",
        "env.GOOD",
        "env.STOKER_HOME",
        "secrets.TWICE",
        "secrets.no good",
        "secrets.STOKER_X",
        "gpus",
        "priority",
        "artifacts",
        "limits.stall_seconds",
        "limits.start_seconds",
        "limits.time_limit_seconds",
        "limits.grace_seconds",
    }
    assert all(problem.message and problem.remedy for problem in found.values())


def test_no_secret_is_told_in_a_fault_or_a_repr():
    request = SubmitRequest(secrets={"NO GOOD": "hush", "HF_TOKEN": "hush"}, execution_id="a b")
    with pytest.raises(InvalidRequest) as refused:
        check(request)

    assert "hush" not in str(refused.value)
    assert "hush" not in repr(request)
    assert "hush" not in repr(to_spec(request, {}))


@pytest.mark.parametrize("name", LIMIT_NAMES)
@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan, -1.0])
def test_a_limit_that_is_no_time_span_is_refused(name, seconds):
    assert set(problems_of(limits=LimitsRequest(**{name: seconds}))) == {f"limits.{name}"}


def test_a_stop_may_give_no_time_at_all_but_a_limit_of_nothing_is_none():
    assert problems_of(limits=LimitsRequest(checkpoint_seconds=0, grace_seconds=0)) == {}
    assert set(problems_of(limits=LimitsRequest(stall_seconds=0))) == {"limits.stall_seconds"}


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("grace_seconds", 3600),
        ("checkpoint_seconds", 86_400),
        ("stall_seconds", 315_360_000),
        ("start_seconds", 315_360_000),
        ("time_limit_seconds", 315_360_000),
    ],
)
def test_no_limit_is_as_good_as_for_ever(name, most):
    over = problems_of(limits=LimitsRequest(**{name: most + 1.0}))

    assert problems_of(limits=LimitsRequest(**{name: float(most)})) == {}
    assert str(most) in over[f"limits.{name}"].remedy
    assert set(problems_of(limits=LimitsRequest(**{name: 1e300}))) == {f"limits.{name}"}


@pytest.mark.parametrize(("priority", "faults"), [(-1001, 1), (-1000, 0), (0, 0), (1000, 0), (1001, 1)])
def test_priorities_have_a_range(priority, faults):
    assert len(problems_of(priority=priority)) == faults


@pytest.mark.parametrize("gpus", [-1, 1, 8])
def test_gpus_that_this_server_can_not_give_are_refused(gpus):
    assert set(problems_of(gpus=gpus)) == {"gpus"}


@pytest.mark.parametrize("canary", CANARIES)
def test_whatever_a_shell_would_read_passes_through_as_data(canary):
    request = SubmitRequest(
        config={"note": canary},
        command=["echo", canary],
        env={"CANARY": canary},
        secrets={"SECRET": canary},
        prefix=[canary],
        recipe="command",
    )
    check(request)
    spec = to_spec(request, {})

    assert spec.command == ("echo", canary)
    assert spec.prefix == (canary,)
    assert (spec.env["CANARY"], spec.config["note"]) == (canary, canary)
    assert spec.secrets == ("SECRET",)


@given(st.dictionaries(st.sampled_from(LIMIT_NAMES), st.floats(0.001, 1e6)))
def test_limits_that_are_left_out_have_the_defaults(given_limits):
    limits = to_spec(SubmitRequest(limits=LimitsRequest(**given_limits)), {"training": 5.0}).limits

    assert {name: getattr(limits, name) for name in given_limits} == given_limits
    assert limits.phase_seconds == {"training": 5.0}
    if "grace_seconds" not in given_limits:
        assert limits.grace_seconds == 30.0


@given(st.text(), st.text(), st.lists(st.text()), st.dictionaries(st.text(), st.text()))
def test_no_text_breaks_the_checks(name, execution_id, words, variables):
    found = problems_of(name=name, execution_id=execution_id, command=words, artifacts=words, env=variables)

    assert all(problem.remedy for problem in found.values())
