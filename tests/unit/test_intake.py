"""From the records of an attempt to what the store takes in."""

import pytest

from stoker.engines.port import Records
from stoker.scheduler.intake import RANGE_BYTES, Seen, digest, is_empty
from tests.unit.given_unit import NOW


def taken(seen=None, **records):
    return digest(Records(cursor="next", **records), seen or Seen(), "before", NOW)


def test_nothing_new_is_empty():
    intake, seen = taken()

    assert is_empty(intake)
    assert (intake.before, intake.after) == ("before", "next")
    assert seen == Seen()


def test_metrics_are_rows_and_the_latest_figures():
    intake, seen = taken(metrics=((4, {"step": 1, "loss": 2.0}), (5, {"step": 2, "loss": 1.0})))

    assert [(row.seq, row.step) for row in intake.metrics] == [(4, 1), (5, 2)]
    assert intake.progress["loss"] == seen.progress["loss"] == 1.0
    assert not is_empty(intake)


def test_figures_that_did_not_change_are_not_written_again():
    _, seen = taken(progress_file={"loss": 1.0})
    intake, again = taken(seen, progress_file={"loss": 1.0})

    assert is_empty(intake)
    assert again == seen


def test_the_journal_tells_how_the_attempt_is_now():
    journal = (
        {"seq": 0, "t": 1.0, "at": 5.0, "note": "started", "pid": 7, "supervisor": 6, "cgroup": None},
        {"seq": 1, "t": 1.1, "at": 5.1, "note": "executed"},
        {"seq": 2, "t": 1.2, "at": 5.2, "note": "reported", "watched_by": "callback"},
        {"seq": 3, "t": 1.3, "at": 5.3, "note": "phase", "phase": "training"},
        {"seq": 4, "t": 1.4, "at": 5.4, "note": "suspect", "text": "silent"},
        {"seq": 5, "t": 1.5, "at": 5.5, "note": "suspect", "text": None},
        {"seq": 6, "t": 1.6, "at": 5.6, "note": "stop", "kind": "paused", "step": "ask"},
    )
    intake, seen = taken(journal=journal)

    assert seen.live == {
        "process_pid": 7,
        "supervisor_pid": 6,
        "cgroup": None,
        "executed": True,
        "began_at": 5.2,
        "reported": True,
        "watched_by": "callback",
        "phase": "training",
        "suspect": None,
        "stop_step": "ask",
    }
    assert (intake.notes[0].at, intake.notes[0].data["note"]) == (5.0, "started")
    assert not {"seq", "t", "at"} & intake.notes[0].data.keys()


@pytest.mark.parametrize("note", [None, 5, [], {}, "unheard of", "executed "])
def test_a_note_of_a_newer_supervisor_is_kept_and_changes_nothing(note):
    intake, seen = taken(journal=({"note": note, "at": "noon", "x": 1},))

    assert seen.live == {}
    assert intake.notes[0].at == 0.0
    assert intake.notes[0].data["x"] == 1


@pytest.mark.parametrize(
    ("live", "runs"),
    [
        ({}, False),
        ({"executed": True}, True),
        ({"executed": True, "reports": True}, False),
        ({"executed": True, "reports": True, "reported": True}, True),
        ({"reported": True}, True),
    ],
)
def test_a_trainer_runs_from_its_first_report_or_from_its_exec_where_it_makes_none(live, runs):
    assert Seen(live=live).runs is runs


def test_bad_lines_are_counted_where_people_see_it():
    intake, seen = taken(bad_lines=3)

    assert seen.live == intake.live == {"bad_lines": 3}


def test_a_long_log_is_announced_in_ranges_without_gap_or_overlap():
    intake, _ = taken(log_from=10, log_to=10 + 2 * RANGE_BYTES + 1)

    assert intake.log_ranges == (
        (10, 10 + RANGE_BYTES),
        (10 + RANGE_BYTES, 10 + 2 * RANGE_BYTES),
        (10 + 2 * RANGE_BYTES, 11 + 2 * RANGE_BYTES),
    )
