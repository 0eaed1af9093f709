"""Loggers that come late, and what ``import missive`` leaves unimported."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from missive.loggers import logger_of


def test_a_late_logger_is_the_logger_of_that_name(caplog: pytest.LogCaptureFixture) -> None:
    """It logs as the real one does, whose level may change at any time."""
    logger = logger_of("missive.tests.late")
    real = logging.getLogger("missive.tests.late")
    for level in (logging.WARNING, logging.DEBUG, logging.WARNING):
        real.setLevel(level)
        assert logger.level == level
        logger.debug("at %s", level)
    logger.error("loud")
    assert [(record.name, record.message) for record in caplog.records] == [
        ("missive.tests.late", "at 10"),
        ("missive.tests.late", "loud"),
    ]


LATE = "{'dataclasses', 'inspect', 'logging', 'datetime'} & sys.modules.keys()"


def imported_after(statement: str) -> list[str]:
    """Give which of the costly modules a fresh interpreter has imported after a statement."""
    program = f"import sys; sys.path[:] = {sys.path!r}; {statement}; print(*sorted({LATE}))"
    # Without site: what a development environment imports at its start is not ours.
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_a_run_has_ready_what_it_needs_when_something_fails() -> None:
    """What reports a failure is imported when a run begins: later it may be impossible."""
    statement = "import missive; missive.Processor().test_client().__enter__()"
    assert imported_after(statement) == ["datetime", "logging"]
