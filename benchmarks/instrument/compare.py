"""Comparison: what moved between two runs by more than the noise of both."""

from __future__ import annotations

from collections.abc import Sequence

from .figures import Figures, Spread
from .report import number, table
from .suite import Suite, Variant

#: What moved by less is taken for the machine's mood, whatever the spread says.
LEAST = 0.05


def comparison(suites: Sequence[Suite], old: Figures, new: Figures) -> str:
    """Write what moved.

    Times of two runs cannot be compared: the machine has moods. So Missive's figures are compared
    as ratios to whatever was measured beside them in the same round.
    """
    rows: list[list[str]] = []
    compared = 0
    for suite in suites:
        for case in suite.cases.values():
            variants = [suite.variants[name] for name in case.variants]
            for variant in variants:
                if variant.kind != "missive":
                    continue
                other = _reference(variants)
                if other is None:
                    continue
                was = old.ratio(suite, case.name, variant.name, other.name)
                now = new.ratio(suite, case.name, variant.name, other.name)
                if was is None or now is None:
                    continue
                compared += 1
                if moved(was, now):
                    change = now.median / was.median - 1
                    rows.append(
                        [
                            f"{suite.name}, {case.name}: {variant.name} ÷ {other.name}",
                            number(was.median),
                            number(now.median),
                            f"{100 * change:+.0f} %",
                            "slower" if change > 0 else "quicker",
                        ]
                    )
    if not rows:
        return f"Of {compared} ratios none moved beyond the noise."
    head = ("ratio", "was", "is", "change", "Missive is")
    return f"{len(rows)} of {compared} ratios moved beyond the noise.\n\n{table(head, rows)}"


def _reference(variants: Sequence[Variant]) -> Variant | None:
    """Choose what Missive is measured against: the limit, else the former release, else a peer."""
    for kind in ("limit", "former", "peer"):
        for variant in variants:
            if variant.kind == kind:
                return variant
    return None


def moved(was: Spread, now: Spread) -> bool:
    """Return whether the medians differ by more than both spreads, and by more than a little."""
    apart = abs(now.median - was.median)
    noise = (was.high - was.low + now.high - now.low) / 2
    return apart > max(noise, LEAST * was.median)
