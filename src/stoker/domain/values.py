"""Values that every supervisor loads: frozen, slotted dataclasses without generated code.

`dataclass(frozen=True)` writes and compiles six functions for each class. For the classes that a supervisor makes when
it starts, that was a third of all the work of its start. Here they share a few functions. To type checkers, and to
`fields`, `replace` and `asdict`, they are dataclasses.
"""

from __future__ import annotations

from dataclasses import MISSING, FrozenInstanceError, dataclass

__all__ = ["value"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as value
    from typing import Any


def _make_value(*, frozen: bool, slots: bool, kw_only: bool = False) -> Callable[[type], type]:
    """Make a dataclass of a class, as `dataclass` does with the same words; other words are not known here."""
    if not (frozen and slots):
        raise TypeError("A value is frozen and slotted. Use dataclass for anything else")

    def make(cls: type) -> type:
        made: type = dataclass(slots=True, init=False, repr=False, eq=False, kw_only=kw_only)(cls)
        for name, function in _SHARED.items():
            setattr(made, name, function)
        return made

    return make


if not TYPE_CHECKING:
    value = _make_value

_put = object.__setattr__


def _init(self: Any, *values: object, **given: object) -> None:
    names = self.__match_args__
    if len(values) > len(names) or not given.keys().isdisjoint(names[: len(values)]):
        raise TypeError(f"{type(self).__name__} takes {', '.join(names) or 'nothing'} by position, and each once")
    given.update(zip(names, values, strict=False))
    for name, field in self.__dataclass_fields__.items():
        _put(self, name, given.pop(name) if name in given else _default(self, field))
    if given:
        raise TypeError(f"{type(self).__name__} has no {', '.join(given)}")


def _default(self: Any, field: Any) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    if field.default is MISSING:
        raise TypeError(f"{type(self).__name__} needs {field.name}")
    return field.default


def _content(self: Any) -> tuple[object, ...]:
    return tuple([getattr(self, name) for name in self.__dataclass_fields__])


def _repr(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name, field in self.__dataclass_fields__.items() if field.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: Any, other: object) -> bool:
    return _content(self) == _content(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_content(self))


def _refuse(self: Any, name: str, *_: object) -> None:
    raise FrozenInstanceError(f"{type(self).__name__}.{name} can't be changed: make another value with `replace`")


def _restore(self: Any, content: tuple[object, ...]) -> None:
    for name, value_of_it in zip(self.__dataclass_fields__, content, strict=True):
        _put(self, name, value_of_it)


_SHARED = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__getstate__": _content,
    "__setstate__": _restore,
}
