"""Directives about the conformance kit: all points of the contract, or those that a section explains.

A failing check tells its author to read ``conformance#A01`` and the section that explains the point,
so each point has just that anchor, and each such section must exist.
"""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes
from missive.conformance import AdapterConformance, Check, DLQConformance
from missive.conformance.contract import checks_in
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)
SUITES = {"adapters": AdapterConformance, "stores": DLQConformance}
#: Where a page that a check names is, where that is not at the top.
PLACES = ("", "guide/")


def points(suite: type) -> Iterator[Check]:
    """Return the points of a suite, in the order of their numbers."""
    found = [check for _, check in checks_in(suite)]
    yield from sorted(found, key=lambda check: (check.id[0], int(check.id[1:])))


#: What a need of a check calls kinds of handlers.
KINDS = {"plain": "plain functions", "async": "coroutines", "batch": "for batches"}


def condition(need: str) -> str:
    """Say in words when a check applies."""
    if need.startswith("harness."):
        return f"the harness has `{need.removeprefix('harness.')}`"
    if need.startswith("handlers"):
        kind = need.partition("=")[2]
        return f"handlers are not {KINDS[kind]}" if "!=" in need else f"handlers are {KINDS[kind]}"
    if need[0].isupper():
        return f"it is a `{need}`"
    return f"`{need}`"


class Points(SphinxDirective):
    """All points of one suite, each with an anchor of its own."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make a definition list."""
        self.env.note_reread()  # what it is made from is code
        listed = nodes.definition_list()
        for check in points(SUITES[self.arguments[0]]):
            term = nodes.term("", "", nodes.literal("", check.id), ids=[check.id])
            page, _, anchor = check.read.partition("#")
            home = resolve_page(self.env, page)
            lines = [f"{check.sentence} [Why]({home}.md#{anchor})."]
            when = [condition(need) for need in check.needs]
            notes = [f"Profile `{check.profile}`."] if check.profile != "quick" else []
            notes += [f"Where {', '.join(when)}."] if when else []
            lines.append(" ".join(notes))
            body = self.parse_text_to_nodes("\n\n".join(filter(None, lines)))
            listed += nodes.definition_list_item("", term, nodes.definition("", *body))
        return [listed]


def resolve_page(env: BuildEnvironment, page: str) -> str:
    """Return the document that a check means by the name of a page."""
    for place in PLACES:
        if place + page in env.found_docs:
            return "/" + place + page
    logger.warning("a check says to read on in %s, and there is no such page", page)
    return "/" + page


class Explained(SphinxDirective):
    """The points that a section explains, as links with their sentences."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make a list."""
        self.env.note_reread()  # what it is made from is code
        lines = [
            f"- [`{check.id}`](/conformance.md#{check.id}) {check.sentence}"
            for suite in SUITES.values()
            for check in points(suite)
            if check.read == self.arguments[0]
        ]
        if not lines:
            raise self.error(f"no check says to read {self.arguments[0]}")
        return list(self.parse_text_to_nodes("\n".join(lines)))


def note_anchors(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Let pages link to the points."""
    slugs = env.metadata.get("conformance", {}).setdefault("myst_slugs", {})
    for suite in SUITES.values():
        for check in points(suite):
            slugs[check.id] = (0, check.id, check.id)
    return []


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("points", Points)
    app.add_directive("explained-points", Explained)
    app.connect("env-updated", note_anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
