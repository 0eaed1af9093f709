"""What is noted and logged about an error: where it was raised, and what else went wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any

from .error_base import describe, safe_text_of

logger = logging.getLogger("missive.errors")

# Read past __getattribute__, which an error's class may break.
_TRACEBACK: Any = vars(BaseException)["__traceback__"]
_CAUSE: Any = vars(BaseException)["__cause__"]


def note_later_error(
    first: BaseException, later: BaseException, culprit: Callable[..., Any] | None = None
) -> None:
    """Log an error that came after the one that decides, and note it on that one.

    The note names type and place only: an error's own text may hold a message's content.
    """
    if later is first:  # the same one was raised again
        return
    what = type_and_place(later)
    if culprit is not None:
        what += f" in {describe(culprit)}"
    logger.error("after %s: %s", type(first).__name__, what)
    logger.debug("the later error in full", exc_info=later)
    # add_note is new in Python 3.11; the attribute it fills works everywhere, and set like this it
    # works on errors that are frozen dataclasses too.
    try:
        notes = [*getattr(first, "__notes__", ()), f"then also: {what}"]
        object.__setattr__(first, "__notes__", notes)
    except Exception as trouble:  # an error that cannot be annotated is raised all the same
        logger.debug("the note was not added: %s", type(trouble).__name__)


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return an error's traceback, also where its class breaks the reading of attributes."""
    found: TracebackType | None = _TRACEBACK.__get__(error)
    return found


def cause_of(error: BaseException) -> BaseException | None:
    """Return what an error was raised from, also where its class breaks reading attributes."""
    found: BaseException | None = _CAUSE.__get__(error)
    return found


def place_of(error: BaseException) -> str:
    """Return the file and line where an error, or else its cause, was raised."""
    return _place_of(error) or "an unknown place"


def _place_of(error: BaseException) -> str | None:
    traceback, cause = traceback_of(error), cause_of(error)
    if traceback is None and cause is not None:
        traceback = traceback_of(cause)
    if traceback is None:
        return None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"


def log_hook_error(kind: str, error: BaseException) -> None:
    """Log what a hook raised that can no longer change anything.

    :param kind: what the hook was registered with, such as ``on_settled``.
    """
    logger.error("an %s hook raised %s at %s", kind, type(error).__name__, place_of(error))
    logger.debug("the %s hook's error in full", kind, exc_info=error)


def type_and_place(error: BaseException) -> str:
    """Return an error's type and, if it was raised, where."""
    kind, place = type(error).__name__, _place_of(error)
    return kind if place is None else f"{kind} at {place}"


def named(error: BaseException) -> str:
    """Return what the log says of an error: its type and place, and where they are safe its words."""
    said, text = safe_text_of(error), type_and_place(error)
    return f"{said}; {text}" if said else text
