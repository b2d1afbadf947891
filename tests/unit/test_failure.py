"""The words of a failure."""

import signal

import pytest

from stoker.domain.failure import SIGNAL_NAMES, signal_name, span, stalled_text


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (600.0, "Training timed out - no progress for 10 minutes"),
        (60.0, "Training timed out - no progress for 1 minute"),
        (59.0, "Training timed out - no progress for 59 seconds"),
        (1.0, "Training timed out - no progress for 1 second"),
        (2.5, "Training timed out - no progress for 2.5 seconds"),
        (0.25, "Training timed out - no progress for 0.2 seconds"),
        (90.0, "Training timed out - no progress for 1.5 minutes"),
        (3600.0, "Training timed out - no progress for 60 minutes"),
    ],
)
def test_a_stall_is_told_in_minutes_and_below_one_in_seconds(limit, text):
    assert stalled_text(limit) == text


def test_whole_numbers_have_no_decimal_point():
    assert [span(1200), span(100 * 60), span(30)] == ["20 minutes", "100 minutes", "30 seconds"]


def test_signals_have_the_names_that_this_machine_gives_them():
    assert {number: signal.Signals(number).name for number in SIGNAL_NAMES} == SIGNAL_NAMES
    assert signal_name(50) == "signal 50"
