"""Names: of streams, groups, consumers, fields and channels, as text and as Redis has them."""

from __future__ import annotations

from collections.abc import Iterable

from missive import ConfigurationError


def encode(name: str) -> bytes:
    """Return a name as Redis has it; surrogate escapes stand for bytes that are not UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def decode(name: bytes) -> str:
    """Return the text of a name."""
    return name.decode("utf-8", "surrogateescape")


def check_names(adapter: object, what: str, given: Iterable[object]) -> tuple[str, ...]:
    """Return names without those that stand twice.

    :raises ConfigurationError: one of them is not a name that Redis can have.
    """
    names = tuple(given)
    for name in names:
        if not isinstance(name, str) or not name or not _is_encodable(name):
            raise ConfigurationError(
                f"{what} of {type(adapter).__name__} must be a name, not {name!r}"
            )
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def _is_encodable(name: str) -> bool:
    try:
        encode(name)
    except UnicodeEncodeError:  # half of a pair of UTF-16, which stands for nothing
        return False
    return True
