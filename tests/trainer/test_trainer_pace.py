"""How fast training goes, what progress bars tell, and how a model is put into its place."""

import os

import pytest
from tqdm.auto import tqdm

from stoker.rundir.layout import JobDir
from stoker.trainer import bars as hearing
from stoker.trainer.bars import Bars
from stoker.trainer.outputs import model_folder, publish
from stoker.trainer.pace import WINDOW_STEPS, Pace
from stoker.trainer.saving import folder_size, now_and_then


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_od49_rates_are_those_of_training_alone():
    clock = Clock()
    pace = Pace(clock)
    pace.run()
    clock.now += 2.0
    first = pace.step(rows=8, tokens=100)
    pace.hold()
    clock.now += 1000.0
    pace.run()
    clock.now += 2.0
    second = pace.step(rows=4, tokens=20)

    assert first == {"steps_per_second": 0.5, "samples_per_second": 4.0, "tokens_per_second": 50.0}
    assert second == {"steps_per_second": 0.5, "samples_per_second": 3.0, "tokens_per_second": 30.0}


def test_rates_are_those_of_the_last_steps_and_what_was_not_counted_has_none():
    clock = Clock()
    pace = Pace(clock)
    pace.run()
    for _ in range(WINDOW_STEPS):
        clock.now += 100.0
        pace.step(0, 0)
    for _ in range(WINDOW_STEPS):
        clock.now += 1.0
        rates = pace.step(0, 0)

    assert rates == {"steps_per_second": 1.0}
    assert Pace(clock).step(1, 1) == {}


@pytest.mark.parametrize("hidden", [True, False])
def test_a_bar_that_moves_is_heard_shown_or_not_and_no_more_once_nobody_listens(monkeypatch, hidden, capfd):
    monkeypatch.setattr(hearing, "SECONDS_BETWEEN", 0.0)
    heard = []
    bars = Bars(heard.append)
    bars.listen()
    for _ in tqdm(range(3), disable=hidden):
        pass
    with tqdm(total=10, disable=hidden) as bar:
        bar.update(4)
        bar.update()
    bars.stop()
    bars.stop()
    with tqdm(total=10, disable=hidden) as bar:
        bar.update(4)

    assert heard[-1] >= 5
    assert capfd.readouterr().out == ""


def test_a_number_is_passed_on_now_and_then():
    told = []
    seldom, always = now_and_then(told.append, 1000.0), now_and_then(told.append, 0.0)
    seldom(1)
    always(2)

    assert told == [2]


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"123")
    (tmp_path / "y").write_bytes(b"12")

    assert folder_size(str(tmp_path)) == 5
    assert folder_size(str(tmp_path / "none")) == 0


def test_a_model_is_in_its_place_whole_or_not_at_all_wherever_it_is_cut_short(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def write(folder):
        for name in ("config.json", "model.safetensors"):
            os.close(os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY, 0o600))

    for calls in range(1, 60):
        job = JobDir(str(tmp_path / str(calls)))
        left = [calls]

        def spend(real, left=left):
            def call(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in ("mkdir", "rename", "fsync", "open"):
                patch.setattr(os, name, spend(getattr(os, name)))
            try:
                publish(job, write)
                finished = True
            except Killed:
                finished = False
        place = model_folder(job)
        found = sorted(os.listdir(place)) if os.path.exists(place) else None

        assert found in (None, ["config.json", "model.safetensors"])
        if finished:
            assert found
            return
    pytest.fail("it never came to its end")
