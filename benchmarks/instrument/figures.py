"""Figures: what the rounds come to. Medians, how far they spread, ratios, and what was noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from .calibration import NOISY
from .suite import Suite, Target

#: The figures of one process, and where they belong: suite, case, variant.
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Spread:
    """The median of some values and how far they lie apart.

    :ivar low: the lower quartile; likewise ``high``.
    :ivar noisy: whether most of the values were taken while the machine was disturbed.
    :ivar count: how many there are.
    """

    median: float
    low: float
    high: float
    noisy: bool
    count: int

    @property
    def percent(self) -> float:
        """Half the distance between the quartiles, in percent of the median."""
        return 50 * (self.high - self.low) / self.median if self.median else 0.0

    def scaled(self, factor: float) -> Spread:
        """Return the same in another unit."""
        low, high = sorted((self.low * factor, self.high * factor))
        return Spread(self.median * factor, low, high, self.noisy, self.count)


def spread_of(values: list[tuple[float, bool]]) -> Spread:
    """Summarise values, each with whether it is noisy; noisy ones count where most are."""
    quiet = [value for value, noisy in values if not noisy]
    noisy = 2 * len(quiet) <= len(values)
    used = sorted(value for value, _ in values) if noisy else sorted(quiet)
    last = len(used) - 1
    low, high = used[round(last * 0.25)], used[round(last * 0.75)]
    return Spread(median(used), low, high, noisy, len(used))


class Figures:
    """All figures of a run.

    :param measurements: as in the results file: mappings with ``suite``, ``case``, ``variant``,
        ``round``, ``figures`` and ``failure``.
    """

    def __init__(self, measurements: Iterable[dict[str, Any]]) -> None:
        self._rounds: dict[Key, dict[int, dict[str, float]]] = {}
        for entry in measurements:
            if not entry["failure"]:
                key = (entry["suite"], entry["case"], entry["variant"])
                self._rounds.setdefault(key, {})[entry["round"]] = entry["figures"]
        every = [figures for by in self._rounds.values() for figures in by.values()]
        self.calibration = {
            clock: min((figures[f"calibration {clock}"] for figures in every), default=0.0)
            for clock in ("seconds", "cpu")
        }

    def _noisy(self, figures: dict[str, float], figure: str) -> bool:
        best = self.calibration.get(figure)
        return best is not None and figures[f"calibration {figure}"] > NOISY * best

    def noise(self, clock: str) -> float:
        """Return the share of measurements that were disturbed, by one of the clocks."""
        every = [
            self._noisy(figures, clock)
            for rounds in self._rounds.values()
            for figures in rounds.values()
        ]
        return sum(every) / len(every) if every else 0.0

    def spread(
        self, suite: Suite, case: str, variant: str, figure: str | None = None
    ) -> Spread | None:
        """Return the spread of a figure, the suite's own unless named; None where it is missing."""
        rounds = self._rounds.get((suite.name, case, variant), {})
        figure = figure or suite.clock
        values = [
            (figures[figure], self._noisy(figures, figure))
            for figures in rounds.values()
            if figure in figures
        ]
        return spread_of(values) if values else None

    def paired(
        self,
        top: tuple[Key, str],
        bottom: tuple[Key, str],
        combine: Callable[[float, float], float],
    ) -> Spread | None:
        """Combine two figures round by round, so that what slowed a round slows both.

        :param top: suite, case and variant, and the figure; likewise ``bottom``.
        """
        (top_key, top_figure), (bottom_key, bottom_figure) = top, bottom
        tops, bottoms = self._rounds.get(top_key, {}), self._rounds.get(bottom_key, {})
        values: list[tuple[float, bool]] = []
        for number in sorted(tops.keys() & bottoms.keys()):
            above, below = tops[number], bottoms[number]
            if top_figure in above and below.get(bottom_figure):
                noisy = self._noisy(above, top_figure) or self._noisy(below, bottom_figure)
                values.append((combine(above[top_figure], below[bottom_figure]), noisy))
        return spread_of(values) if values else None

    def ratio(self, suite: Suite, case: str, top: str, bottom: str) -> Spread | None:
        """Return how many times the time of one variant is that of another, in one case."""
        keys = (suite.name, case, top), (suite.name, case, bottom)
        return self.paired((keys[0], suite.clock), (keys[1], suite.clock), lambda a, b: a / b)

    def reached(self, suite: Suite, target: Target) -> Spread | None:
        """Return what a target asks for, or None where it was not measured."""
        keys = [
            ((suite.name, point.case, point.variant), point.figure or suite.clock)
            for point in (target.top, target.bottom)
        ]
        if target.difference:
            spread = self.paired(keys[0], keys[1], lambda a, b: a - b)
        else:
            spread = self.paired(keys[0], keys[1], lambda a, b: a / b)
        return spread.scaled(target.scale) if spread else None


def holds(target: Target, spread: Spread) -> bool:
    """Return whether the median is within the bound."""
    if target.at_most is not None:
        return spread.median <= target.at_most
    return target.at_least is not None and spread.median >= target.at_least
