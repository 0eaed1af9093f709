"""The directive ``missive-error``: one entry of the error reference.

The text of an error ends with ``errors#ClassName``, so the entry's anchor is exactly that.
"""

from __future__ import annotations

import importlib
import inspect

from api_names import PACKAGES, public_names
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)
PAGE = "errors"


def all_errors() -> dict[str, str]:
    """Return every error of all installed distributions: its name, and where it is imported from."""
    base = importlib.import_module("missive").MissiveError
    return {
        name: package
        for package in reversed(PACKAGES)
        for name, value in public_names(package).items()
        if inspect.isclass(value) and issubclass(value, base)
    }


class ErrorEntry(SphinxDirective):
    """Document one error: its reference, and below it what to do about it."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Make the section, with the anchor that the error's text names."""
        self.env.note_reread()  # what it is made from is code
        name = self.arguments[0]
        package = all_errors().get(name)
        if package is None:
            raise self.error(f"no distribution has the error {name}")
        self.env.metadata[self.env.docname].setdefault("missive-errors", "")
        self.env.metadata[self.env.docname]["missive-errors"] += f" {name}"
        section = nodes.section(ids=[name], names=[name])
        section += nodes.title("", name)
        reference = (
            f"```{{eval-rst}}\n.. autoexception:: {package}.{name}\n   :show-inheritance:\n```"
        )
        for text in (reference, "\n".join(self.content)):
            section += self.parse_text_to_nodes(text)
        return [section]


def check_complete(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Let pages link to the entries, and warn of errors that have none."""
    metadata = env.metadata.get(PAGE, {})
    documented = metadata.get("missive-errors", "").split()
    for name in documented:
        metadata.setdefault("myst_slugs", {})[name] = (0, name, name)
    for name in sorted(set(all_errors()) - set(documented)):
        logger.warning("the error %s has no entry on the page %s", name, PAGE)
    return []


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("missive-error", ErrorEntry)
    app.connect("env-updated", check_complete)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
