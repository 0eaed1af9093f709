"""Frozen dataclasses that are quick to import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

C = TypeVar("C", bound=type)


def dataclass(*, frozen: bool) -> Callable[[C], C]:
    """Make a frozen dataclass of a class all of whose fields have defaults.

    The functions of the module ``dataclasses`` (``replace``, ``asdict``, ``fields``…) take it for
    one of their own. But that module costs 5 ms and 1 MB to import, a fifth of what the core costs
    (benchmarks/import_time.py), and so it is imported when one of them is called.
    """
    assert frozen, "there is no other kind here"

    def decorate(cls: C) -> C:
        target: Any = cls
        for name in ("__init__", "__setattr__", "__delattr__", "__eq__", "__hash__", "__repr__"):
            setattr(target, name, vars(_FrozenMembers)[name])
        target.__match_args__ = tuple(cls.__annotations__)  # type: ignore[misc]
        target.__dataclass_fields__ = _Fields()
        return cls

    return decorate


class _FrozenMembers:
    """What the decorated class gets; its fields are its annotations, in ``__match_args__``."""

    __match_args__: tuple[str, ...] = ()

    def __init__(self, *values: Any, **given: Any) -> None:
        cls = type(self)
        if len(values) > len(cls.__match_args__):
            raise TypeError(f"{cls.__name__} has no more than {len(cls.__match_args__)} fields")
        for name, value in zip(cls.__match_args__, values, strict=False):
            if name in given:
                raise TypeError(f"{cls.__name__} was given {name!r} twice")
            given[name] = value
        for name in given:
            if name not in cls.__match_args__:
                raise TypeError(f"{cls.__name__} has no field {name!r}")
        vars(self).update((name, given.get(name, vars(cls)[name])) for name in cls.__match_args__)

    def __setattr__(self, name: str, value: object) -> None:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({fields})"


class _Fields:
    """Gives what ``dataclasses`` knows its own classes by; made when it first looks."""

    def __get__(self, instance: object, owner: Any) -> dict[str, Any]:
        from dataclasses import dataclass as real_dataclass

        members: dict[str, Any] = {"__annotations__": dict(owner.__annotations__)}
        members |= {name: vars(owner)[name] for name in owner.__match_args__}
        twin: Any = real_dataclass(frozen=True)(type(owner.__name__, (), members))
        fields: dict[str, Any] = twin.__dataclass_fields__
        owner.__dataclass_fields__ = fields
        return fields
