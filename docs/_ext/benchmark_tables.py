"""The directives ``benchmarks``: tables and plots of a run of the benchmarks, and
``benchmarks-in-short``: what they say in four sentences, a picture, and a box.

They lie in ``docs/performance``, where ``./dev bench --publish`` puts them: ``tables.txt``, which is
Markdown with a section for each suite, and plots as SVG whose names begin with that of their suite.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
#: What the figures say, with their places in it.
SENTENCES = """\
Missive matches a message, calls its handler and checks that it was settled in {dispatch} µs.
An entry of a Redis stream, read in batches, handled and acked, takes {entry} µs: {of_loop} times
what redis-py's own loop takes, while FastStream takes {faststream} times as long as Missive.
A webhook under gunicorn takes {webhook} times as long as under a function that reads the body and looks
at nothing.
A dead letter that survives a power cut takes {letter} µs, of which {disk} are the disk's.
"""
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


class Benchmarks(SphinxDirective):
    """The tables and plots of each suite, and what they were measured on."""

    def run(self) -> list[nodes.Node]:
        """Make a section of each suite; a remark where there are no results."""
        folder = Path(self.env.srcdir, "performance")
        path = folder / "tables.txt"
        self.env.note_dependency(str(path))
        if not path.exists():
            return list(self.parse_text_to_nodes("No results are kept in this tree."))
        parts = HEADING.split(path.read_text(encoding="utf-8"))
        names = names_by_title()
        text = parts[0]
        for title, section in zip(parts[1::2], parts[2::2], strict=True):
            text += f"## {title}\n{section}\n"
            name = names.get(title)
            for plot in sorted(folder.glob(f"{name}*.svg")) if name else ():
                text += f"![{describe(plot, name)}](/performance/{plot.name})\n\n"
        return list(self.parse_text_to_nodes(text, allow_section_headings=True))


class InShort(SphinxDirective):
    """Four sentences, the plot of all suites, and what each variant in it does in its time."""

    def run(self) -> list[nodes.Node]:
        """Take the figures from the published run; a remark where there is none."""
        folder = Path(self.env.srcdir, "performance")
        path = folder / "results.json"
        self.env.note_dependency(str(path))
        if not path.exists():
            return list(self.parse_text_to_nodes("No results are kept in this tree."))
        with benchmarks_on_path():
            text = in_short(path)
        return list(self.parse_text_to_nodes(text))


def in_short(path: Path) -> str:
    """Write the sentences, the picture and the box, in Markdown."""
    import run as benchmarks
    from instrument import results
    from instrument.figures import Figures
    from instrument.plots import headline
    from instrument.report import number

    figures = Figures(results.read(path)["measurements"])
    suites = {name: benchmarks.load(name) for name in benchmarks.MODULES}

    def cost(suite: str, case: str, variant: str) -> str:
        spread = figures.spread(suites[suite], case, variant)
        return number(spread.median * suites[suite].scale)

    def ratio(suite: str, case: str, top: str, bottom: str) -> str:
        return number(figures.ratio(suites[suite], case, top, bottom).median)

    loop = "XREADGROUP + one XACK a batch"
    beside = "COUNT 100, beside FastStream"
    sentences = SENTENCES.format(
        dispatch=cost("dispatch", "send, 1 handler", "Missive"),
        entry=cost("streams", "COUNT 100", "Missive"),
        of_loop=ratio("streams", "COUNT 100", "Missive", loop),
        faststream=ratio("streams", beside, "FastStream", "Missive"),
        webhook=ratio("wsgi", "gunicorn sync", "Missive", "bare function"),
        letter=cost("dlq", "1 KB, a commit each", "Missive"),
        disk=cost("dlq", "1 KB, a commit each", "append and fdatasync"),
    )
    chosen = [(suite, case) for suite in suites.values() if (case := headline(suite, figures))]
    box: list[str] = []
    for suite, case in chosen:
        box.append(f"- {suite.title}")
        box += [f"  - **{name}**: {suite.variants[name].semantics}" for name in case.variants]
    alt = f"Plot: what one message costs in {len(chosen)} settings, Missive beside others"
    return "\n\n".join(
        (
            sentences,
            f"![{alt}](/performance/overview.svg)",
            "```{admonition} What each does in that time\n" + "\n".join(box) + "\n```",
        )
    )


@contextmanager
def benchmarks_on_path() -> Iterator[None]:
    """Let the modules of the benchmarks be imported."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield
    finally:
        sys.path.remove(str(BENCHMARKS))


def names_by_title() -> dict[str, str]:
    """Return the names of the suites by the titles of their sections."""
    with benchmarks_on_path():
        import run as benchmarks

        suites = [benchmarks.load(name) for name in benchmarks.MODULES]
    return {suite.title: suite.name for suite in suites}


def describe(plot: Path, name: str) -> str:
    """Say what a plot shows, for those who cannot see it: its name, as words."""
    curve = plot.stem.removeprefix(name).strip("-").replace("-", " ")
    return f"Plot: cost by {curve}" if curve else "Plot: the figures of the tables above"


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("benchmarks", Benchmarks)
    app.add_directive("benchmarks-in-short", InShort)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
