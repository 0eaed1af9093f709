"""Serving: adapters that are run by a server of the operator's choice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import click
from missive import Adapter, Runnable

from .exits import CannotServe

#: How many requests waitress handles at once unless told otherwise: its own default.
THREADS = 4


def takes_server(adapter: Adapter[Any]) -> bool:
    """Return whether an adapter's ``run`` can be given the function of a server, as ``server``."""
    run = getattr(adapter, "run", None)
    return run is not None and "server" in inspect.signature(run).parameters


def count_threads(workers: int | None) -> int | None:
    """Say how many requests are handled at once; None where the adapter's own server sets no limit.

    :param workers: how many are asked for.
    :raises click.UsageError: they are asked for, and only waitress would heed that.
    """
    if _find_waitress() is not None:
        return THREADS if workers is None else workers
    if workers is not None:
        raise click.UsageError("--workers needs waitress to serve with; pip install waitress")
    return None


def runner(adapter: Runnable, threads: int | None) -> Callable[[], object]:
    """Return what runs an adapter: on waitress where it takes a server and waitress is installed.

    :param threads: how many requests are handled at once; as :func:`count_threads` says.
    """
    if not (isinstance(adapter, Adapter) and takes_server(adapter)):
        return adapter.run
    waitress = _find_waitress()
    if waitress is None:
        return adapter.run  # on a server of its own, which says what that is good for
    options = {"threads": THREADS if threads is None else threads}
    limit: int | None = getattr(adapter, "max_content_length", None)
    if limit is not None:
        options["max_request_body_size"] = _with_framing(limit)
    run: Any = adapter.run
    return partial(run, server=partial(_serve, waitress, options))


def _find_waitress() -> Any:
    try:
        return import_module("waitress")
    except ImportError:
        return None


def _with_framing(limit: int) -> int:
    """Return the limit of what waitress buffers ahead of the adapter, which looks more closely.

    Waitress counts the framing of chunks too; this leaves room for that of 64 bytes or more each.
    """
    return limit + limit // 8 + 1024


def _serve(
    waitress: Any, options: Mapping[str, int], app: Callable[..., Any], *, host: str, port: int
) -> None:
    """Serve an application with waitress, until it is interrupted.

    :raises CannotServe: the address cannot be had.
    """
    try:
        server = waitress.create_server(app, host=host, port=port, **options)
    except (OSError, ValueError) as error:  # a ValueError where the host has no address
        why = getattr(error, "strerror", None) or error
        raise CannotServe(f"the server cannot listen on {host} port {port}: {why}") from error
    server.print_listen("Serving on http://{}:{}")
    server.run()
