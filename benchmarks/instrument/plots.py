"""Plots: bars of cases and curves of costs, readable on light and on dark ground."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .figures import Figures
from .report import CLOCKS, number
from .rounds import Plan
from .suite import Case, Suite

#: Of middling lightness, so that they stand out from white and from black; ground is left out.
INK = "#808080"
COLOURS = {"missive": "#e0662f", "former": "#9a6fb0", "limit": "#2f9e77", "peer": "#4a8fd4"}
#: For the several curves of one kind.
DASHES = ("-", "--", ":", "-.")


def draw(suite: Suite, figures: Figures, plan: Plan, folder: Path) -> list[Path]:
    """Draw all that a suite measured, each plot as SVG and PNG.

    :param folder: where the files go; made if it is missing.
    :returns: their paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cases = [case for case in plan.cases(suite) if _measured(suite, case, figures)]
    written: list[Path] = []
    bars = [case for case in cases if case.curve is None]
    if bars:
        label = f"{suite.unit}, {CLOCKS[suite.clock]}; less is better"
        panels = [(suite, case, case.name) for case in bars]
        written += _save(_bars(panels, figures, label), folder / suite.name)
    for curve in dict.fromkeys(case.curve for case in cases if case.curve):
        points = [case for case in cases if case.curve == curve]
        if len(points) > 1:
            slug = re.sub(r"\W+", "-", curve)
            plot = _curve(suite, curve, points, figures)
            written += _save(plot, folder / f"{suite.name}-{slug}")
    return written


def _measured(suite: Suite, case: Case, figures: Figures) -> bool:
    return any(figures.spread(suite, case.name, name) for name in case.variants)


def pyplot() -> Any:
    """Import matplotlib, with colours for light and dark ground."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plots  # noqa: ICN001

    plots.rcParams.update(
        {
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "legend.frameon": False,
            "font.size": 10,
            "font.family": "DejaVu Sans",
            "svg.fonttype": "none",  # text stays text
            "svg.hashsalt": "missive",  # the same figures make the same file
            "savefig.transparent": True,
        }
    )
    return plots


def _save(figure: Any, stem: Path) -> list[Path]:
    paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    figure.savefig(paths[0], metadata={"Date": None})
    figure.savefig(paths[1], dpi=160, metadata={"Software": None})
    pyplot().close(figure)
    return paths


def plain_numbers(axis: Any) -> None:
    """Write 1000 and not a power of ten."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def overview(suites: Sequence[Suite], figures: Figures, folder: Path) -> list[Path]:
    """Draw one plot of all suites: of each the case of :func:`headline`."""
    panels = [
        (suite, case, f"{suite.title}: {case.name}")
        for suite in suites
        if (case := headline(suite, figures))
    ]
    label = "µs a message, line, request or letter; less is better"
    return _save(_bars(panels, figures, label), folder / "overview")


def headline(suite: Suite, figures: Figures) -> Case | None:
    """Choose the case of a suite that says most: beside the most others, peers before all.

    :returns: None where nothing was measured, or not in microseconds.
    """

    def worth(case: Case) -> tuple[int, int]:
        kinds = [suite.variants[name].kind for name in case.variants]
        return (kinds.count("peer"), kinds.count("limit"))

    cases = [
        case
        for case in suite.cases.values()
        if suite.scale == 1e6
        and case.curve is None
        and {"missive"} < {suite.variants[name].kind for name in case.variants}
        and _measured(suite, case, figures)
    ]
    return max(cases, key=worth, default=None)


def _bars(panels: Sequence[tuple[Suite, Case, str]], figures: Figures, label: str) -> Any:
    """Draw a panel for each case, under its title, all on one logarithmic axis."""
    figure, grid = pyplot().subplots(
        len(panels),
        1,
        figsize=(8, sum(0.3 * len(case.variants) + 0.5 for _, case, _ in panels) + 0.5),
        squeeze=False,
        sharex=True,
        layout="constrained",
        gridspec_kw={"height_ratios": [len(case.variants) for _, case, _ in panels]},
    )
    for axes, (suite, case, title) in zip(grid[:, 0], panels, strict=True):
        _panel(axes, suite, case, figures)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    grid[-1, 0].set_xlabel(label)
    return figure


def _panel(axes: Any, suite: Suite, case: Case, figures: Figures) -> None:
    """Draw a bar for each variant of a case."""
    found = [
        (suite.variants[name], spread.scaled(suite.scale))
        for name in case.variants
        if (spread := figures.spread(suite, case.name, name))
    ]
    for row, (variant, spread) in enumerate(found):
        low, high = spread.median - spread.low, spread.high - spread.median
        axes.barh(
            row,
            spread.median,
            xerr=[[low], [high]],
            color=COLOURS[variant.kind],
            ecolor=INK,
            height=0.7,
        )
        axes.annotate(
            number(spread.median),
            (spread.high, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(found)), [variant.name for variant, _ in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xscale("log")
    plain_numbers(axes.xaxis)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)


def _curve(suite: Suite, curve: str, points: Sequence[Case], figures: Figures) -> Any:
    """Draw time and memory over what the curve varies."""
    figure, panels = pyplot().subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    names = list(dict.fromkeys(name for case in points for name in case.variants))
    ordinals: dict[str, int] = {}
    for name in names:
        kind = suite.variants[name].kind
        ordinal = ordinals[kind] = ordinals.get(kind, -1) + 1
        style = {
            "color": COLOURS[kind],
            "linestyle": DASHES[ordinal % len(DASHES)],
            "marker": "o",
            "markersize": 4,
            "label": name,
        }
        for axes, wanted, scale in zip(
            panels, (None, "megabytes"), (suite.scale, 1.0), strict=True
        ):
            found = [
                (case.x, spread.scaled(scale))
                for case in points
                if (spread := figures.spread(suite, case.name, name, wanted)) and case.x is not None
            ]
            if not found:
                continue
            xs = [x for x, _ in found]
            axes.plot(xs, [spread.median for _, spread in found], **style)
            lows, highs = [s.low for _, s in found], [s.high for _, s in found]
            axes.fill_between(xs, lows, highs, color=style["color"], alpha=0.2, linewidth=0)
    for axes, title in zip(panels, (suite.unit, "MB, at its peak"), strict=True):
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
        axes.set_xlabel(curve)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=INK, alpha=0.25, linewidth=0.5)
    panels[0].set_yscale("log")
    panels[1].set_yscale("symlog", linthresh=1)
    panels[1].set_ylim(bottom=0)
    for axes in panels:
        plain_numbers(axes.yaxis)
    panels[0].legend(fontsize=8)
    return figure
