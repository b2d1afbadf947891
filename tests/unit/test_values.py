"""Values behave as the frozen dataclasses that they are to everybody who uses them."""

import copy
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace

import pytest

from stoker.domain.values import value


@value(frozen=True, kw_only=True, slots=True)
class Named:
    """A value whose fields are given by name."""

    name: str
    count: int = 1
    parts: dict[str, int] = field(default_factory=dict)
    secret: str = field(default="", repr=False)


@value(frozen=True, slots=True)
class Placed:
    """A value whose fields may be given by position."""

    x: int
    y: int = 2

    @property
    def sum(self) -> int:
        return self.x + self.y


@dataclass(frozen=True, slots=True)
class Plain:
    """What dataclasses make of the same."""

    x: int
    y: int = 2


def test_what_is_left_out_has_its_default_and_every_value_its_own():
    first, second = Named(name="a"), Named(name="a")
    first.parts["x"] = 1

    assert (first.count, second.parts) == (1, {})


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Named, "needs name"),
        (lambda: Named("a"), "by position"),
        (lambda: Named(name="a", size=1), "no size"),
        (lambda: Placed(1, 2, 3), "by position"),
        (lambda: Placed(1, x=1), "each once"),
    ],
)
def test_what_does_not_fit_is_refused(make, why):
    with pytest.raises(TypeError, match=why):
        make()


def test_a_value_never_changes():
    one = Placed(1)

    with pytest.raises(FrozenInstanceError):
        one.x = 2
    with pytest.raises(FrozenInstanceError):
        del one.x
    with pytest.raises(FrozenInstanceError):
        one.z = 2
    assert one == Placed(1)


def test_values_are_equal_by_their_content_and_their_class():
    assert Placed(1) == Placed(1, y=2)
    assert Placed(1) != Placed(2)
    assert Placed(1) != Plain(1)
    assert hash(Placed(1)) == hash(Placed(1, 2)) == hash(Plain(1))


def test_a_value_shows_its_fields_but_those_that_are_not_to_be_shown():
    assert repr(Named(name="a", secret="s")) == "Named(name='a', count=1, parts={})"


def test_the_tools_for_dataclasses_work_on_values():
    assert [f.name for f in fields(Placed)] == ["x", "y"]
    assert asdict(Named(name="a")) == {"name": "a", "count": 1, "parts": {}, "secret": ""}
    assert replace(Placed(1), y=5) == Placed(1, 5)
    assert Placed(1).sum == 3


def test_a_value_can_be_copied_and_pickled():
    one = Placed(1, 7)

    assert copy.deepcopy(one) == copy.copy(one) == pickle.loads(pickle.dumps(one)) == one


def test_a_value_can_be_matched_by_position():
    match Placed(1, 7):
        case Placed(x, y):
            found = (x, y)

    assert found == (1, 7)


def test_only_frozen_and_slotted_classes_can_be_values():
    with pytest.raises(TypeError, match="dataclass"):
        value(frozen=False, slots=True)


def test_no_class_that_a_supervisor_loads_has_generated_code():
    code = """
import dataclasses, sys
import stoker.supervisor.startup
modules = [module for name, module in sys.modules.items() if name.startswith("stoker.")]
classes = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
made = [one for one in classes if dataclasses.is_dataclass(one)]
print(len(made) > 10, [one.__name__ for one in made if one.__init__.__module__ != "stoker.domain.values"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "True []"
