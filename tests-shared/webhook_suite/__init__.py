"""One suite for the adapters of webhooks, whatever calls them.

The tests of an adapter take it over: ``from webhook_suite.answers import *``. Its ``conftest.py``
says by :func:`use` what the adapter under test is, in a fixture of each test, and has the fixtures
of :mod:`webhook_suite.fixtures`.
"""

from __future__ import annotations

from typing import Any

_classes: list[Any] = []


def use(adapter_cls: Any) -> None:
    """Have the tests that follow build this class."""
    _classes[:] = [adapter_cls]


def make_adapter(*args: Any, **options: Any) -> Any:
    """Build the adapter under test."""
    return _classes[0](*args, **options)
