"""Names: of streams, groups, consumers, fields and channels, as text and as Redis has them."""

from __future__ import annotations


def encode(name: str) -> bytes:
    """Return a name as Redis has it; surrogate escapes stand for bytes that are not UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def decode(name: bytes) -> str:
    """Return the text of a name."""
    return name.decode("utf-8", "surrogateescape")


def can_be_name(name: str) -> bool:
    """Return whether Redis can have a name."""
    try:
        encode(name)
    except UnicodeEncodeError:  # half of a pair of UTF-16, which stands for nothing
        return False
    return True
