"""How long after the grace period a tree that resists is gone, on both containment paths."""

from stoker.domain.limits import Limits
from stoker.supervisor.containment import own_group
from tests.bench import floor
from tests.bench.measure import Figure, Samples
from tests.bench.place import Place
from tests.bench.programs import build
from tests.supervisor.attempts import PYTHON, Attempt
from tests.supervisor.unruly import HOP_IN_C, UNRULY

TARGET_MILLISECONDS = 50.0
GRACE_SECONDS = 0.5
CONTAINMENTS = ("sweep", "cgroup") if own_group("cgroup2") is not None else ("sweep",)


def measure(place: Place) -> list[Figure]:
    """Cancel a tree with a SIGTERM-ignorer, a setsid child, a daemon with a cleared environment and a fork-hopper."""
    figures = []
    for containment in CONTAINMENTS:
        samples = Samples()
        for _ in range(place.count(20, 4)):
            _cancel(place, containment, samples)
        name = f"unruly tree: end of grace → gone ({containment})"
        figures.append(samples.figure(name, "ms", target=TARGET_MILLISECONDS, floor=floor.DEATH))
    if "cgroup" not in CONTAINMENTS:
        figures.append(Figure(name="unruly tree (cgroup)", unit="ms", values=(), note="no cgroup v2 is writable here"))
    return figures


def _cancel(place: Place, containment: str, samples: Samples) -> None:
    hopper = build(place.folder, "hopper", HOP_IN_C)
    argv = (*PYTHON, UNRULY, hopper)
    attempt = Attempt(place.folder, argv, limits=Limits(grace_seconds=GRACE_SECONDS), containment=containment)
    try:
        attempt.start().wait_for_log(b"ready")
        attempt.stop("cancelled")
        record = attempt.exit()
        terminated, killed = (attempt.wait_for("stop", step=step)["t"] for step in ("terminate", "kill"))
        over, empty = terminated + GRACE_SECONDS, attempt.wait_for("empty")["t"]

        assert (record.survivors, attempt.marked()) == ((), []), "something of the tree is left"
        exited = attempt.wait_for("exited")["t"]
        stages = {"kill begun": killed - over, "main process gone": exited - over, "tree proven gone": empty - over}
        samples.add(1e3 * (empty - over), {name: 1e3 * moment for name, moment in stages.items()})
    finally:
        attempt.clean_up()
