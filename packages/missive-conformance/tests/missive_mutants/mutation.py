"""Mutants: broken variants of sound adapters and stores, and which checks must catch them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from missive.conformance import AdapterConformance, DLQConformance

C = TypeVar("C", bound="type[Any]")


@dataclass(frozen=True)
class Mutant:
    """One broken class.

    :ivar suite: judges it.
    :ivar caught_by: the ids of the checks that are run on it, each of which must fail.
    """

    name: str
    what: str
    suite: Any
    caught_by: tuple[str, ...]


class Mutants(dict[str, Mutant]):
    """The mutants of one kind, by name."""

    def __init__(
        self, kind: type[AdapterConformance] | type[DLQConformance], attribute: str
    ) -> None:
        super().__init__()
        self._kind = kind
        self._attribute = attribute

    def add(self, harness: type[Any], *caught_by: str) -> Callable[[C], C]:
        """Register the decorated class; its docstring says what is broken.

        :param harness: the harness of the sound class; the mutant gets one of its own.
        :param caught_by: the checks that must catch it.
        """

        def register(cls: C) -> C:
            name = cls.__name__
            module = sys.modules[cls.__module__]
            # Child processes look the harness up in its module.
            own: Any = type(
                f"{name}Harness",
                (harness,),
                {
                    self._attribute: cls,
                    "__module__": cls.__module__,
                    # A mutant mostly fails by what it does not do, so this is what the proof takes.
                    "patience": 1.0,
                },
            )
            setattr(module, own.__name__, own)
            suite = type(f"Test{name}", (self._kind,), {"harness": own})
            what = " ".join((cls.__doc__ or "").split())
            self[name] = Mutant(name, what, suite, caught_by)
            return cls

        return register
