"""From what a trainer reports to the figures that people see, whatever it reports."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.engines.directory import parse_line
from stoker.scheduler.snapshot import (
    LAST_MOMENT,
    MAX_NAMES,
    MEMORY,
    advance,
    from_progress_file,
    metric_row,
    trend,
)
from stoker.service.view import ORIGINAL_PROGRESS, iso

NOW = 1_800_000_000.0


def row_of(text, now=NOW):
    return metric_row(0, parse_line(text.encode()), now)


def after(*lines, progress=None):
    """Take lines in one after the other; give the latest figures."""
    progress = progress or {}
    for seq, line in enumerate(lines):
        progress = advance(progress, line, metric_row(seq, line, NOW))
    return progress


def step(number, at, total=100, **values):
    return {"kind": "step", "step": number, "total": total, "at": at, **values}


# One line


def test_a_reported_step_is_a_row():
    row = row_of('{"seq":3,"t":1.5,"at":1700000000.25,"kind":"step","step":7,"total":9,"epoch":0.5,"loss":2.5,"lr":1}')

    assert (row.at, row.step, row.epoch, row.kind) == (1700000000.25, 7, 0.5, "step")
    assert row.values == {"loss": 2.5, "lr": 1.0}
    assert row.flags == {}


@pytest.mark.parametrize(
    ("number", "flag"),
    [("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf"), ("1e309", "inf"), ("-1e309", "-inf")],
)
def test_what_is_no_finite_number_is_null_and_named(number, flag):
    row = row_of(f'{{"loss":{number}}}')

    assert row.values == {"loss": None}
    assert row.flags == {"loss": flag}


def test_an_integer_beyond_a_double_is_infinite():
    assert row_of('{"loss":1' + "0" * 400 + "}").flags == {"loss": "inf"}


def test_a_value_that_the_trainer_itself_flagged_stays_flagged():
    row = row_of('{"loss":null,"other":null,"flags":{"loss":"nan"}}')

    assert (row.values, row.flags) == ({"loss": None}, {"loss": "nan"})


@pytest.mark.parametrize("value", ["true", '"12"', "[1]", "{}", "null"])
def test_what_is_no_number_is_no_value(value):
    assert row_of(f'{{"loss":{value}}}').values == {}


@pytest.mark.parametrize("value", ["true", "-1", "1.5", '"3"', "null", "[]", str(1 << 53)])
def test_a_step_that_is_none_is_left_out(value):
    assert row_of(f'{{"step":{value}}}').step is None


@pytest.mark.parametrize("value", ["true", "0", "-5", "1e300", '"x"', "null", "Infinity", str(int(LAST_MOMENT))])
def test_a_time_that_is_none_is_now(value):
    row = row_of(f'{{"at":{value}}}')

    assert row.at == NOW
    assert iso(row.at)


def test_a_kind_that_is_no_text_is_the_plain_one_and_a_long_one_is_cut():
    assert row_of('{"kind":[1]}').kind == "metrics"
    assert row_of('{"kind":"' + "k" * 1000 + '"}').kind == "k" * 32
    assert row_of('{"kind":"a\\u0000b"}').kind == "a?b"


def test_half_characters_can_be_written_again():
    row = row_of('{"kind":"\\ud800x","\\udfff":1,"flags":{"a":"\\ud800"},"a":null}')

    assert json.dumps([row.kind, row.values, row.flags], ensure_ascii=False).encode()
    assert row.values == {"?": 1.0, "a": None}


def test_names_without_end_are_passed_over():
    many = {f"metric_{n}": 1.0 for n in range(5000)}
    row = metric_row(0, {**many, "x" * 1000: 1.0}, NOW)
    progress = {}
    for turn in range(20):
        line = {f"turn_{turn}_{n}": 1.0 for n in range(100)}
        progress = advance(progress, line, metric_row(turn, line, NOW))

    assert len(row.values) == MAX_NAMES
    assert len(progress) <= MAX_NAMES + 10


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**320)
    | st.floats()
    | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    [
        *MEMORY,
        *ORIGINAL_PROGRESS,
        "at",
        "best_eval_loss",
        "epoch",
        "eval_loss",
        "flags",
        "kind",
        "loss",
        "step",
        "total",
        "train_loss",
        "progress_percent",
    ]
) | st.text(max_size=8)
lines = st.dictionaries(names, values, max_size=8)
flagged = st.builds(
    lambda line, flags: line | {"flags": dict.fromkeys(flags, "nan")}, lines, st.lists(names, max_size=4)
)
hello = st.just({"kind": "hello", "at": NOW})


@given(st.lists(lines | flagged | hello | st.builds(step, st.integers(0, 99), st.floats()), max_size=12), lines)
def test_nothing_that_is_reported_breaks_the_figures(reported, file):
    progress = from_progress_file(after(*reported), file)
    progress = after(*reported, progress=progress)

    text = json.dumps(progress, allow_nan=False)
    assert json.loads(text) == progress


# The latest figures


def test_the_figures_have_the_originals_names():
    progress = after(
        {"kind": "hello", "at": NOW, "total_samples": 400, "batch_size": 8},
        step(1, NOW + 10, epoch=0.01, loss=2.0, learning_rate=1e-4),
    )

    assert progress["current_step"] == 1
    assert progress["total_steps"] == 100
    assert progress["progress"] == 1.0
    assert progress["current_epoch"] == 0.01
    assert progress["learning_rate"] == 1e-4
    assert progress["elapsed_seconds"] == 10.0
    assert progress["train_perplexity"] == pytest.approx(math.exp(2.0))
    assert json.dumps([progress["total_samples"], progress["batch_size"]]) == "[400, 8]"


def test_the_rest_is_estimated_from_the_steps_of_this_attempt_alone():
    progress = after({"kind": "hello", "at": NOW}, step(81, NOW + 60), step(82, NOW + 62), step(85, NOW + 68))

    assert progress["progress"] == 85.0
    assert progress["eta_seconds"] == progress["remaining_seconds"] == 15 * 2.0


def test_the_first_step_gives_no_estimate():
    assert "eta_seconds" not in after({"kind": "hello", "at": NOW}, step(5, NOW + 60))


def test_a_clock_that_is_set_back_gives_no_negative_times():
    progress = after({"kind": "hello", "at": NOW}, step(1, NOW), step(2, NOW - 3600))

    assert progress["elapsed_seconds"] == 0.0
    assert progress["eta_seconds"] == 0.0


@pytest.mark.parametrize("name", sorted(MEMORY))
def test_a_metric_that_is_called_like_our_own_memory_does_not_take_its_place(name):
    plain = after(step(1, NOW, loss=2.0), step(2, NOW + 1, loss=2.0))
    taken = after(step(1, NOW, loss=2.0, **{name: 5.0}), step(2, NOW + 1, loss=2.0, **{name: None}))

    assert taken == plain
    assert from_progress_file(plain, {name: 5.0}) == plain


def test_steps_beyond_the_total_are_all_of_it():
    progress = after(step(99, NOW, 100), step(120, NOW + 5, 100))

    assert progress["progress"] == 100.0
    assert progress["eta_seconds"] == 0.0


@pytest.mark.parametrize("total", [0, -4, None, True, "9"])
def test_a_total_that_is_none_gives_no_percentage(total):
    assert "progress" not in after({"kind": "step", "step": 3, "total": total})
    assert "progress" not in after({"kind": "step", "step": 3}, {"total_steps": -4.0}, {"step": 4})


def test_an_evaluation_counts_batches_and_not_steps():
    progress = after(step(5, NOW, 50), {"kind": "eval", "done": 3, "total": 7})

    assert progress["total_steps"] == 50


def test_a_value_that_is_no_number_any_more_is_shown_as_none():
    progress = after(step(1, NOW, loss=2.0), step(2, NOW, loss=math.nan))

    assert progress["loss"] is None
    assert progress["flags"] == {"loss": "nan"}


def test_the_best_evaluation_is_kept_with_its_step():
    progress = after(
        step(10, NOW, epoch=0.1),
        {"eval_loss": 2.0, "step": 10, "epoch": 0.1},
        {"eval_loss": 1.0, "step": 20, "epoch": 0.2},
        {"eval_loss": 1.5, "step": 30, "epoch": 0.3},
        {"eval_loss": 1.0, "step": 40, "epoch": 0.4},
    )

    assert (progress["best_eval_loss"], progress["best_step"], progress["best_epoch"]) == (1.0, 20, 0.2)
    assert progress["epochs_without_improvement"] == 2
    assert progress["perplexity"] == pytest.approx(math.e)


def test_a_loss_beyond_any_perplexity_has_none():
    assert after(step(1, NOW, loss=1e6))["train_perplexity"] is None


@pytest.mark.parametrize(
    ("losses", "word"),
    [
        ([], "insufficient_data"),
        ([2.0] * 9, "insufficient_data"),
        ([2.0] * 5 + [1.0] * 5, "improving"),
        ([1.0] * 5 + [2.0] * 5, "degrading"),
        ([1.0] * 5 + [1.005] * 5, "stable"),
        ([0.0] * 10, "stable"),
        ([-1.0] * 5 + [-2.0] * 5, "improving"),
    ],
)
def test_the_trend_is_told_from_two_means(losses, word):
    assert trend(losses) == word


def test_the_trend_looks_at_the_last_ten_losses():
    progress = after(*(step(n, NOW, loss=loss) for n, loss in enumerate([9.0] * 20 + [1.0] * 10)))

    assert progress["loss_trend"] == "stable"
    assert len(progress["recent_losses"]) == 10


# A progress.json


def test_a_progress_file_of_the_original_is_understood():
    content = {
        "status": "running",
        "progress_percent": 45.5,
        "current_step": 91,
        "total_steps": 200,
        "train_loss": 1.25,
        "loss_trend": "improving",
        "gpu_memory_allocated_gb": 3.5,
        "updated_at": "2026-01-01T00:00:00",
        "metrics_history": [{"step": 1}],
        "is_best": True,
    }

    assert from_progress_file({"loss": 9.0}, content) == {
        "loss": 1.25,
        "train_loss": 1.25,
        "progress_percent": 45.5,
        "progress": 45.5,
        "current_step": 91,
        "total_steps": 200,
        "loss_trend": "improving",
        "gpu_memory_allocated_gb": 3.5,
    }


@pytest.mark.parametrize("content", ['{"loss":NaN}', '{"loss":1e999}', '{"loss":"x"}', '{"recent_losses":5}', "{}"])
def test_a_progress_file_with_nothing_to_show_changes_nothing(content):
    before = {"loss": 1.0, "recent_losses": [1.0]}

    assert from_progress_file(before, parse_line(content.encode())) == before
