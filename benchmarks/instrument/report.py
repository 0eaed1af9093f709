"""The report: tables of figures and ratios, in plain text that is Markdown too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .figures import Figures, Spread, holds
from .rounds import Plan
from .suite import Case, Suite

#: Stands behind what was measured while the machine was disturbed.
NOISE_MARK = " ~"


#: What a suite's clock is called in its table.
CLOCKS = {"seconds": "on the wall clock", "cpu": "of processor time"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * (width - 1) + ":") if i else "-" * width for i, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])


def number(value: float) -> str:
    """Write a figure with three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def marked(spread: Spread | None, scale: float = 1.0) -> str:
    """Write a median, with a mark where it is noise; a dash where there is none."""
    if spread is None:
        return "–"
    return number(spread.median * scale) + (NOISE_MARK if spread.noisy else "")


def suite_report(suite: Suite, figures: Figures, plan: Plan) -> str:
    """Write all about a suite: cases, curves, targets, and what the variants guarantee."""
    parts = [
        f"## {suite.title}",
        f"Figures are {suite.unit}, {CLOCKS[suite.clock]}; less is better.",
    ]
    cases = plan.cases(suite)
    for case in cases:
        if case.curve is None:
            parts += [f"### {case.name}", case_table(suite, case, figures)]
    for curve in dict.fromkeys(case.curve for case in cases if case.curve):
        points = [case for case in cases if case.curve == curve]
        parts += [f"### By {curve}", curve_table(suite, points, figures)]
    names = dict.fromkeys(name for case in cases for name in case.variants)
    parts.append("\n".join(f"- **{name}**: {suite.variants[name].semantics}" for name in names))
    return "\n\n".join(parts)


def case_table(suite: Suite, case: Case, figures: Figures) -> str:
    """Write the variants of a case, each beside the limit and beside Missive."""
    variants = [suite.variants[name] for name in case.variants]
    limit = next((variant.name for variant in variants if variant.kind == "limit"), None)
    ours = next((variant.name for variant in variants if variant.kind == "missive"), None)
    rows: list[list[str]] = []
    for variant in variants:
        spread = figures.spread(suite, case.name, variant.name)
        memory = figures.spread(suite, case.name, variant.name, "megabytes")
        to_limit = figures.ratio(suite, case.name, variant.name, limit) if limit else None
        ours_to_it = figures.ratio(suite, case.name, ours, variant.name) if ours else None
        rows.append(
            [
                variant.name,
                marked(spread, suite.scale),
                f"± {spread.percent:.0f} %" if spread else "–",
                "–" if variant.name == limit else marked(to_limit),
                "–" if variant.name == ours else marked(ours_to_it),
                marked(memory),
            ]
        )
    head = ("variant", suite.unit, "spread", "× the limit", f"{ours or 'Missive'} ÷ it", "MB")
    return table(head, rows)


def curve_table(suite: Suite, points: Sequence[Case], figures: Figures) -> str:
    """Write a curve: a row for each point, a column for each variant, memory beside the time."""
    names = list(dict.fromkeys(name for case in points for name in case.variants))
    head = [str(points[0].curve)]
    for name in names:
        head += [name, "MB"]
    rows: list[list[str]] = []
    for case in points:
        row = [f"{case.x:,.0f}" if case.x is not None else case.name]
        for name in names:
            row.append(marked(figures.spread(suite, case.name, name), suite.scale))
            row.append(marked(figures.spread(suite, case.name, name, "megabytes")))
        rows.append(row)
    return table(head, rows)


def targets_report(suites: Sequence[Suite], figures: Figures) -> str:
    """Write every target of the suites: what was reached, the bound, and whether it holds."""
    rows: list[list[str]] = []
    for suite in suites:
        for target in suite.targets:
            spread = figures.reached(suite, target)
            sign, bound = (
                ("≤", target.at_most)
                if target.at_most is not None
                else (
                    "≥",
                    target.at_least,
                )
            )
            verdict = "not measured"
            if spread is not None:
                verdict = "holds" if holds(target, spread) else "MISSED"
            rows.append(
                [
                    f"{suite.name}: {target.text}",
                    marked(spread) + (f" {target.unit}" if spread and target.unit else ""),
                    f"{number(spread.low)} to {number(spread.high)}" if spread else "–",
                    f"{sign} {bound:g}" + (f" {target.unit}" if target.unit else ""),
                    verdict,
                ]
            )
    return table(("to reach", "reached", "quartiles", "bound", "verdict"), rows)


def failures_report(measurements: Sequence[dict[str, Any]]) -> str:
    """Write what could not be measured, each failure once."""
    failed: dict[tuple[str, str, str], str] = {}
    for entry in measurements:
        if entry["failure"]:
            failed.setdefault((entry["suite"], entry["case"], entry["variant"]), entry["failure"])
    return "\n\n".join(f"{' / '.join(where)}:\n{text}" for where, text in failed.items())
