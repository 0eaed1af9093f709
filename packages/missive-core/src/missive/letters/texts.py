"""Texts that are too long, cut."""

from __future__ import annotations

#: Room for the words that say how much was cut.
_NOTE = 40


def shortened(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters: its beginning, and how much was cut.

    :param limit: at least 40.
    """
    if len(text) <= limit:
        return text
    kept = limit - _NOTE
    return f"{text[:kept]}… [{len(text) - kept} more characters cut]"
