"""Settings of the documentation: Sphinx, with pages in Markdown."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info < (3, 11):
    # wsgiref.types, for one, is read for the reference.
    sys.exit(
        "the documentation is built on Python 3.11 or newer; this is " + sys.version.split()[0]
    )

import tomllib

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "Missive"
author = "The Missive developers"
copyright = author  # noqa: A001

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_click",
    "sphinx_copybutton",
    # Our own, in _ext:
    "api_names",
    "benchmark_tables",
    "capability_tables",
    "changelogs",
    "cli_help",
    "conformance_points",
    "error_entries",
    "postgresql_schema",
    "soak_runs",
    "sqlite_schema",
]

exclude_patterns = ["_build", "tests", "inventories"]
nitpicky = True
nitpick_ignore_regex = [
    # Type variables, and what the standard library does not document as an object.
    ("py:.*", r"(missive\..*\.)?(A|F|K|V|T|M_co)"),
    # Functions of the conformance kit that its docstrings name and that are not public.
    ("py:func", "check|describe_check"),
    # Clients whose inventories are not among ours.
    ("py:class", r"(pika|nats|confluent_kafka|opentelemetry|prometheus_client|psycopg.*)\..*"),
    ("py:class", r"ssl\.SSLContext|collections\.abc\.AsyncGenerator"),
    # Bases that are private to a distribution.
    ("py:class", r"missive\..*\.(ConnectedAdapter|JudgingOptions|Pool|WebhookDelivery)"),
]

# Pages.

myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
templates_path: list[str] = []

# Quotes stay as they are typed; "--" becomes a dash.
smartquotes_action = "De"

# Other projects. Each inventory is an excerpt of what the project publishes: the few names that
# these pages link to, so that building needs no network (docs/inventories/README.md).
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.inv"),
    "redis": ("https://redis.readthedocs.io/en/stable", "inventories/redis.inv"),
    "werkzeug": ("https://werkzeug.palletsprojects.com/en/stable", "inventories/werkzeug.inv"),
}
intersphinx_disabled_reftypes = ["std:doc"]

# Reference.

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_use_legacy_class_based = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
python_display_short_literal_types = True
add_module_names = False
toc_object_entries_show_parents = "hide"

# Looks. Nothing is loaded from another host: fonts are the reader's own.

html_theme = "furo"
VERSION = (
    (HERE.parent / "packages/missive-core/src/missive/__about__.py").read_text().split('"')[-2]
)
html_title = f"Missive {VERSION}"
html_static_path = ["_static"]
html_css_files = ["missive.css"]
html_copy_source = False
html_show_sphinx = False
html_search_scorer = str(HERE / "search_scorer.js")
PROJECT = tomllib.loads((HERE.parent / "packages/missive-core/pyproject.toml").read_text("utf-8"))
html_baseurl = PROJECT["project"]["urls"]["Documentation"]
html_theme_options = {
    "source_repository": PROJECT["project"]["urls"]["Source"],
    "source_branch": "main",
    "source_directory": "docs/",
    "navigation_with_keys": True,
    "top_of_page_buttons": [],
}
pygments_style = "tango"
pygments_dark_style = "github-dark"

copybutton_prompt_text = r"\$ |>>> |\.\.\. |> "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
copybutton_here_doc_delimiter = "EOF"
