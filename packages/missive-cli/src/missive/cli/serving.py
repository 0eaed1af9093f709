"""Serving: adapters that are run by a server of the operator's choice."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from missive import Adapter, Runnable


def takes_server(adapter: Adapter[Any]) -> bool:
    """Tell whether an adapter's ``run`` can be given the function of a server, as ``server``."""
    run = getattr(adapter, "run", None)
    return run is not None and "server" in inspect.signature(run).parameters


def runner(adapter: Runnable, threads: int | None) -> Callable[[], object]:
    """Give what runs an adapter: on waitress where it takes a server and waitress is installed.

    :param threads: how many requests are handled at once; as the server has it unless given.
    """
    if not (isinstance(adapter, Adapter) and takes_server(adapter)):
        return adapter.run
    try:
        waitress: Any = import_module("waitress")
    except ImportError:
        return adapter.run  # on a server of its own, which says what that is good for
    serve = waitress.serve if threads is None else partial(waitress.serve, threads=threads)
    run: Any = adapter.run
    return partial(run, server=serve)
