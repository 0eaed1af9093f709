"""Tracebacks as text, for dead letters: quick enough for a storm of them."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from types import CodeType
from typing import Any, cast

#: The longest traceback that a dead letter carries, in characters; the end is kept.
MAX_TRACEBACK = 65_536

#: The longest reason that a dead letter carries, in characters; the beginning is kept. The text of
#: an exception in a traceback is no longer either.
MAX_REASON = 8192

#: Room for the words that say how much of a text was cut.
_NOTE = 40

#: How many lines of tracebacks are remembered; beyond that, all are forgotten and learned again.
_MAX_REMEMBERED = 2048
#: From (id of a code object, instruction) to the code object, so that the id stays its own, and text.
_remembered: dict[tuple[int, int], tuple[CodeType, str]] = {}

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"
#: How often one line of a recursion is shown before the rest is counted, as Python itself does.
_MAX_SHOWN = 3


def shortened(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters: its beginning, and how much was cut.

    :param limit: at least 40.
    """
    if len(text) <= limit:
        return text
    kept = limit - _NOTE
    return f"{text[:kept]}… [{len(text) - kept} more characters cut]"


def format_traceback(error: BaseException) -> str | None:
    """Return an exception's traceback as Python prints it, with its causes; None without one.

    At most MAX_TRACEBACK characters are kept, those at the end, where what was raised last is shown.
    Only what Python guesses ("Did you mean…") is left out.
    """
    try:
        if error.__traceback__ is None:
            return None
        text = _format(error)
    except Exception as trouble:  # a letter must not be lost for an error that cannot be shown
        text = (
            f"<the traceback cannot be shown: {type(trouble).__name__}>\n{type(error).__name__}\n"
        )
    return text[-MAX_TRACEBACK:]


def _format(error: BaseException) -> str:
    chain = _chain(error)
    if not all(_is_plain(link) for link, _ in chain):
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    parts: list[str] = []
    for link, bridge in reversed(chain):
        _append(parts, link)
        parts.append(bridge)
    return "".join(parts)


def _chain(error: BaseException) -> list[tuple[BaseException, str]]:
    """List an exception and what led to it, newest first, each with what joins it to the newer."""
    chain: list[tuple[BaseException, str]] = []
    seen: set[int] = set()
    following: BaseException | None = error
    bridge = ""
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        chain.append((following, bridge))
        if following.__cause__ is not None:
            following, bridge = following.__cause__, _CAUSE
        elif following.__suppress_context__:
            break
        else:
            following, bridge = following.__context__, _CONTEXT
    return chain


def _is_plain(error: BaseException) -> bool:
    """Return whether an exception is printed in one line; groups and syntax errors are not."""
    return not isinstance(error, SyntaxError) and not hasattr(error, "exceptions")


def _append(parts: list[str], error: BaseException) -> None:
    """Append what Python prints of one exception without its causes."""
    # traceback.format_exception takes 50 to 500 µs, most of it to find the text of the same lines
    # again and again; remembering it makes this some 3 µs (benchmarks/dlq.py, "letter").
    entry = error.__traceback__
    if entry is not None:
        parts.append("Traceback (most recent call last):\n")
    before, repeated = "", 0
    while entry is not None:
        code = entry.tb_frame.f_code
        known = _remembered.get((id(code), entry.tb_lasti))
        text = known[1] if known is not None else _learn(entry, code)
        if text == before:
            repeated += 1
        else:
            _append_repeats(parts, repeated)
            before, repeated = text, 0
        if repeated < _MAX_SHOWN:
            parts.append(text)
        entry = entry.tb_next
    _append_repeats(parts, repeated)
    parts.append(_last_lines(error))


def _append_repeats(parts: list[str], repeated: int) -> None:
    hidden = repeated + 1 - _MAX_SHOWN
    if hidden > 0:
        times = f"{hidden} more time{'s' if hidden > 1 else ''}"
        parts.append(f"  [Previous line repeated {times}]\n")


def _learn(entry: Any, code: CodeType) -> str:
    if len(_remembered) >= _MAX_REMEMBERED:
        _remembered.clear()
    text = "".join(traceback.format_tb(entry, limit=1))
    _remembered[id(code), entry.tb_lasti] = (code, text)
    return text


def _last_lines(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    try:
        said = str(error)
    except Exception:  # a broken __str__ must not lose the rest
        said = "<exception str() failed>"
    said = shortened(said, MAX_REASON)
    notes = getattr(error, "__notes__", ())
    if not isinstance(notes, (list, tuple)):
        notes = (repr(notes),)
    shown = "".join(f"{note}\n" for note in cast("Sequence[object]", notes))
    return f"{name}: {said}\n{shown}" if said else f"{name}\n{shown}"
