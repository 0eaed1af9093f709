"""What is noted and logged about an error: where it was raised, and what else went wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from .errors import describe

logger = logging.getLogger("missive.errors")


def note_later_error(
    first: BaseException, later: BaseException, culprit: Callable[..., Any] | None = None
) -> None:
    """Log an error that came after the one that decides, and note it on that one.

    The note names type and place only: an error's own text may hold a message's content.
    """
    if later is first:  # the same one was raised again
        return
    what = f"{type(later).__name__} at {place_of(later)}"
    if culprit is not None:
        what += f" in {describe(culprit)}"
    logger.error("after %s: %s", type(first).__name__, what)
    logger.debug("the later error in full", exc_info=later)
    # add_note is new in Python 3.11; the attribute it fills works everywhere, and set like this it
    # works on errors that are frozen dataclasses too.
    notes = [*getattr(first, "__notes__", ()), f"then also: {what}"]
    object.__setattr__(first, "__notes__", notes)


def place_of(error: BaseException) -> str:
    """Return the file and line where an error, or else its cause, was raised."""
    traceback = error.__traceback__
    if traceback is None and error.__cause__ is not None:
        traceback = error.__cause__.__traceback__
    if traceback is None:
        return "an unknown place"
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"


def log_hook_error(kind: str, error: BaseException) -> None:
    """Log what a hook raised that can no longer change anything.

    :param kind: what the hook was registered with, such as ``on_settled``.
    """
    logger.error("an %s hook raised %s at %s", kind, type(error).__name__, place_of(error))
    logger.debug("the %s hook's error in full", kind, exc_info=error)
