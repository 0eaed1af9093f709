"""Addresses: the paths and URLs that name a database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from missive import ConfigurationError
from missive.polling import read_flag, read_options


def path_in(url: str) -> str:
    """Return the path that a URL names.

    :raises ConfigurationError: it names none.
    """
    parts = urlsplit(url)
    relative = bool(parts.path) and not parts.path.startswith("/")
    if parts.netloc or parts.fragment or relative or parts.path == "/":
        raise ConfigurationError(
            f"{url} names no file: give sqlite:///relative.db, sqlite:////absolute.db or"
            " sqlite:// for one in memory"
        )
    return unquote(parts.path[1:]) or ":memory:"


def options_in(url: str) -> dict[str, Any]:
    """Return the options that stand in the query of a URL.

    :raises ConfigurationError: one is unknown, or cannot be read.
    """
    return read_options(
        url,
        {
            "synchronous": str,
            "busy_timeout": float,
            "max_traceback": int,
            "read_only": read_flag,
        },
    )


def absolute(connection_str: str | os.PathLike[str]) -> str:
    """Return the absolute path that a store is opened with, or ``:memory:``.

    :raises ConfigurationError: it is a URL, or cannot be a path.
    """
    path = os.fspath(connection_str)
    if path == ":memory:":
        return path
    for prefix in ("sqlite:", "file:"):
        if path.startswith(prefix):
            raise ConfigurationError(
                f"SQLiteDLQ takes a path, not the URL {path}; give the path, or open the URL with"
                " missive.dlq_from_url (sqlite:///relative.db, sqlite:////absolute.db)"
            )
    if not path or "\0" in path:
        raise ConfigurationError(f"{path!r} is not a path; give one, or ':memory:'")
    return str(Path(path).absolute())
