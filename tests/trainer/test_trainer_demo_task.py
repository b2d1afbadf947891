"""The demonstration's task: its rows, what guessing would score, and that a model learns it."""

import itertools

import pytest

from stoker.trainer import demo_task, try_it
from tests.trainer.given_trainer import Job, python

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # one training library's use of another is not ours to mend
    pytest.mark.timeout(150),
]


def test_no_word_is_both_trained_on_and_held_out():
    train, held_out = demo_task.make_rows(3, 500, held_out=100)
    prompts = [row["prompt"] for row in train + held_out]

    assert (len(train), len(held_out)) == (500, 100)
    assert len(set(prompts)) == 600
    assert demo_task.make_rows(3, 500, held_out=100) == (train, held_out)
    assert demo_task.make_rows(4, 500, held_out=100) != (train, held_out)

    with pytest.raises(ValueError, match="can't all differ"):
        demo_task.make_rows(1, 10**6)


def test_chance_is_what_a_guesser_who_knows_the_letters_scores():
    _, rows = demo_task.make_rows(0, 10, held_out=50)
    counted = []
    for row in rows:
        word = row["prompt"].removesuffix(demo_task.PROMPT_END)
        orders = {"".join(order) for order in itertools.permutations(word)}
        counted.append(sum(order == row["completion"].strip() for order in orders) / len(orders))

    assert demo_task.chance(rows) == pytest.approx(sum(counted) / len(counted))
    assert 0.04 < demo_task.chance(rows) < 0.2


def test_a_model_learns_the_task_and_can_be_tried(tmp_path):
    base = str(tmp_path / "base")
    demo_task.make_model(base, seed=1)
    train, held_out = demo_task.make_rows(1, demo_task.TRAIN_ROWS)
    job = Job(tmp_path / "job", base, train, demo_task.make_config(base, seed=1, max_steps=300))
    ended, _ = job.train()
    before, after = demo_task.accuracy(base, held_out), demo_task.accuracy(ended.model, held_out)
    print(f"chance {demo_task.chance(held_out):.3f}, before {before:.3f}, after {after:.3f}")

    assert before <= demo_task.chance(held_out) + 0.1
    assert after > 0.9

    tried = python("-m", "stoker.trainer.try_it", ended.model, held_out[0]["prompt"])

    assert tried.stdout.strip() == held_out[0]["prompt"] + held_out[0]["completion"]


def test_an_adapter_is_tried_on_its_base_model(make_job):
    job = make_job(max_steps=1)
    ended, _ = job.train()
    model, tokenizer = try_it.load(ended.model)

    assert type(model).__name__.startswith("PeftModel")
    assert len(try_it.answer_all(model, tokenizer, ["abc >", "cab >"], 3)) == 2


def test_trying_without_a_prompt_says_how():
    assert try_it.main(["only-a-folder"]) == 2
