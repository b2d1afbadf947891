"""Real fine-tuning through the server: it learns, it leaves what PEFT can load, and it resumes exactly."""

import hashlib
from pathlib import Path

import pytest

from tests.daemon.given_jobs import DATA, all_metrics, status, wait_for, wait_for_step
from tests.daemon.given_models import build_model, load_adapter, real_rows
from tests.server import running_server

ROWS, STEPS = 300, 20


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Give the rows and a model with dropout, made once."""
    folder = tmp_path_factory.mktemp("material")
    rows = real_rows(DATA, ROWS, folder / "rows.jsonl")
    return rows, build_model(folder / "model", rows, dropout=0.1)


def execute(server, material, job_id: str, *, use_lora: bool, steps: int, **training) -> str:
    rows, model = material
    config = {
        "model": {"name": model},
        "training": {
            "method": "sft", "max_steps": steps, "batch_size": 4, "learning_rate": 5e-3, "logging_steps": 1,
            "evaluation_strategy": "no", "max_length": 256, "use_lora": use_lora, "seed": 3, "cpu_threads": 1,
            "gradient_accumulation_steps": 4, "lora_config": {"r": 8, "alpha": 16, "dropout": 0.1}, **training,
        },
    }  # fmt: skip
    if not use_lora:
        del config["training"]["lora_config"]
    answer = server.post("/api/training/execute", {"config": config, "dataset_path": rows, "execution_id": job_id})

    assert answer.status == 200, answer.body
    return job_id


def losses(server, job_id: str) -> dict[int, float]:
    """Give the loss of every step; of a step that two attempts took, the later one's."""
    return {point["step"]: point["loss"] for point in all_metrics(server, job_id) if point.get("loss") is not None}


def weights(home: Path, job_id: str) -> str:
    """Give a digest of the weights that the job left."""
    found = sorted((home / "jobs" / job_id / "outputs").rglob("*.safetensors"))

    assert found, list((home / "jobs" / job_id).rglob("*"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()


@pytest.mark.timeout(240)
def test_od47_a_lora_on_real_rows_learns_on_a_cpu_and_its_adapter_loads(tmp_path, material):
    with running_server(tmp_path / "home") as server:
        job_id = execute(
            server, material, "real", use_lora=True, steps=60, gradient_accumulation_steps=1, learning_rate=1e-2
        )
        job = wait_for(server, job_id, "completed", seconds=180)
        curve = losses(server, job_id)
        adapter = next((tmp_path / "home" / "jobs" / job_id / "outputs").rglob("adapter_config.json")).parent

    loaded = load_adapter(material[1], str(adapter))

    assert job["current_step"] == 60
    assert sum(curve[step] for step in range(51, 61)) < 0.95 * sum(curve[step] for step in range(1, 11))
    assert loaded["moved"] > 0


@pytest.mark.timeout(400)
@pytest.mark.parametrize("use_lora", [False, True], ids=["full", "lora"])
def test_od2_od27_a_paused_and_resumed_run_is_bit_for_bit_one_that_was_not(tmp_path, material, use_lora):
    home = tmp_path / "home"
    with running_server(home) as server:
        whole = execute(server, material, "whole", use_lora=use_lora, steps=STEPS)
        parted = execute(server, material, "parted", use_lora=use_lora, steps=STEPS)
        wait_for(server, whole, "completed", seconds=120)
        wait_for_step(server, parted, STEPS // 4)
        server.post(f"/api/training/pause/{parted}", {})
        server.kill9()
        server.start()
        paused = wait_for(server, parted, "paused", seconds=60)
        saved = server.get(f"/api/training/checkpoints/{parted}").body["checkpoints"]
        resumed = server.post(f"/api/training/resume/{parted}", {})
        server.kill9()
        server.start()
        ended = wait_for(server, parted, "completed", seconds=120)

        assert 0 < paused["current_step"] < STEPS
        assert saved
        assert resumed.body["checkpoint_path"] == paused["stopped_at"]["checkpoint"]
        assert ended["attempt"] == 2
        assert status(server, parted)["current_step"] == STEPS
        assert losses(server, parted) == losses(server, whole)
        assert sorted(losses(server, whole)) == list(range(1, STEPS + 1))
        assert weights(home, parted) == weights(home, whole)
