"""The environment of a trainer: what the order says, the secrets, and the marks by which it is found."""

from __future__ import annotations

from stoker.rundir.durable import read_object
from stoker.rundir.identity import MARK
from stoker.supervisor.containment import LaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoker.rundir.records import Order


def environment(order: Order, run_dir: str) -> dict[str, str]:
    """Give the trainer's whole environment, the secrets included. Raises `LaunchError` if these can't be read."""
    secrets = {} if order.secrets_file is None else read_object(order.secrets_file)
    if secrets is None or not all(isinstance(value, str) for value in secrets.values()):
        raise LaunchError("The job's secrets can't be read any more. Submit it again with its secrets")
    marks = {
        MARK: order.nonce,
        "STOKER_HOME_ID": order.home_id,
        "STOKER_JOB_ID": order.job_id,
        "STOKER_ATTEMPT": str(order.number),
        "STOKER_RUN_DIR": run_dir,
    }
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(order.gpus)} if order.gpus else {}
    # The marks come first so that a sweep finds them soon, and last so that nothing overrides them.
    return {**marks, **order.env, **secrets, **gpus, **marks}  # type: ignore[dict-item]
