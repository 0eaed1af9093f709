"""Suites: what is measured, in which variants, at which points, and what is to be reached.

A suite is a module of its own. It is read twice: by the instrument, which only looks at what the
module declares, and by the process that measures, in the environment of the variant. So a suite's
module imports the standard library only, and a variant imports what it measures inside its
function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

#: Runs so many items. Gives None, and leaves it to the instrument to take the time; or, where it had
#: something to prepare that does not count, what its own ``Stopwatch`` says of the rest, beside which
#: may stand further figures, such as ``megabytes``; or the seconds alone.
Run = Callable[[int], "float | dict[str, float] | None"]
#: Prepares a variant, for the parameters of a case, and gives what runs it; or yields that, and
#: cleans up after the measurement.
Prepare = Callable[..., "Run | Iterator[Run]"]

#: What a variant is to Missive: what Python can do at best, Missive as it is in this tree, the
#: release that it replaces, or what people would use instead.
KINDS = ("limit", "missive", "former", "peer")


@dataclass(frozen=True)
class Variant:
    """One way to do a suite's work.

    :ivar name: what tables call it.
    :ivar environment: the name of a file in ``requirements/``, without ``.txt``.
    :ivar kind: one of :data:`KINDS`.
    :ivar semantics: what it guarantees, and how it is configured: printed beside its figures.
    :ivar prepare: what measures it.
    """

    name: str
    environment: str
    kind: str
    semantics: str
    prepare: Prepare


@dataclass(frozen=True)
class Case:
    """One piece of work, done by several variants.

    :ivar name: what tables call it.
    :ivar variants: the names of the variants that do it.
    :ivar parameters: what their ``prepare`` gets.
    :ivar items: how many items to run, once in a process; None to run for a set time, and take the
        best of several such spells.
    :ivar quick: whether ``--quick`` runs it.
    :ivar quick_items: how many items it takes then.
    :ivar curve: the name of the curve that it is a point of, if any.
    :ivar x: where on the curve it is.
    :ivar rounds: how many rounds it gets at most; None for as many as there are.
    """

    name: str
    variants: tuple[str, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    items: int | None = None
    quick: bool = True
    quick_items: int | None = None
    curve: str | None = None
    x: float | None = None
    rounds: int | None = None


@dataclass(frozen=True)
class Point:
    """Where a figure stands: a variant in a case.

    :ivar figure: which of the figures that the variant gives; None for the suite's own.
    """

    case: str
    variant: str
    figure: str | None = None


@dataclass(frozen=True)
class Target:
    """A ratio, or a difference, that is to be reached.

    :ivar text: what is claimed.
    :ivar top: what is divided, or taken from.
    :ivar bottom: by what, or what is taken away.
    :ivar at_most: the bound, where less is better.
    :ivar at_least: the bound, where more is better.
    :ivar difference: subtract instead of divide.
    :ivar unit: what the result is in, for a difference.
    :ivar scale: what the result is multiplied by to be in that unit.
    """

    text: str
    top: Point
    bottom: Point
    at_most: float | None = None
    at_least: float | None = None
    difference: bool = False
    unit: str = ""
    scale: float = 1.0


class Suite:
    """A named set of variants, cases and targets.

    :param name: what the command line calls it.
    :param title: what tables and plots call it.
    :param unit: what a figure is in.
    :param scale: what seconds an item are multiplied by to be in that unit.
    :param clock: the figure that counts: ``seconds`` on the wall, or ``cpu`` for what computes in
        one process and waits for nothing, which other programs on the machine disturb far less.
    :param service: a context manager that runs while the suite is measured, in the instrument's
        own process, and gives the parameters (an address, say) that every ``prepare`` gets too.
    """

    def __init__(
        self,
        name: str,
        title: str,
        *,
        unit: str = "µs",
        scale: float = 1e6,
        clock: str = "seconds",
        service: Callable[[], AbstractContextManager[dict[str, Any]]] | None = None,
    ) -> None:
        self.name = name
        self.title = title
        self.unit = unit
        self.scale = scale
        self.clock = clock
        self.service = service
        self.variants: dict[str, Variant] = {}
        self.cases: dict[str, Case] = {}
        self.targets: list[Target] = []

    def variant(
        self, name: str, *, environment: str, kind: str, semantics: str
    ) -> Callable[[Prepare], Prepare]:
        """Register the decorated function as what measures a variant.

        :raises ValueError: the name is taken, or the kind is unknown.
        """
        if name in self.variants:
            raise ValueError(f"suite {self.name} has two variants {name!r}")
        if kind not in KINDS:
            raise ValueError(f"variant {name!r} is of no kind: {kind!r} is not one of {KINDS}")

        def register(prepare: Prepare) -> Prepare:
            self.variants[name] = Variant(name, environment, kind, semantics, prepare)
            return prepare

        return register

    def case(self, name: str, variants: Sequence[str], **options: Any) -> None:
        """Add a case; the options are the fields of :class:`Case`.

        :raises ValueError: the name is taken, or a variant is not there.
        """
        if name in self.cases:
            raise ValueError(f"suite {self.name} has two cases {name!r}")
        for variant in variants:
            if variant not in self.variants:
                raise ValueError(f"case {name!r} has a variant that {self.name} lacks: {variant!r}")
        self.cases[name] = Case(name, tuple(variants), **options)

    def target(
        self, text: str, top: tuple[str, ...], bottom: tuple[str, ...], **options: Any
    ) -> None:
        """Add a target; points are given as (case, variant) or (case, variant, figure).

        :raises ValueError: a point is not measured.
        """
        target = Target(text, Point(*top), Point(*bottom), **options)
        for point in (target.top, target.bottom):
            if point.case not in self.cases or point.variant not in self.cases[point.case].variants:
                raise ValueError(f"target {text!r} is about what {self.name} does not measure")
        self.targets.append(target)
