"""Headers: names and values that a transport carries beside the bytes of a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

#: What a header may be built from: text, or the bytes of a transport.
HeaderText = str | bytes
#: Headers as a transport provides them: a mapping, or pairs.
HeaderSource = Mapping[Any, Any] | Iterable[tuple[Any, Any]]


class Headers(Mapping[str, str]):
    """A read-only mapping of header names to values; names compare without regard to case.

    Bytes are decoded as UTF-8; invalid bytes become surrogate escapes. The last of several headers
    with one name counts.
    """

    __slots__ = ("_by_folded",)

    def __init__(self, source: HeaderSource = ()) -> None:
        pairs: Iterable[tuple[Any, Any]] = (
            cast("Mapping[Any, Any]", source).items() if isinstance(source, Mapping) else source
        )
        self._by_folded: dict[str, tuple[str, str]] = {}
        for raw_name, raw_value in pairs:
            name = _text(raw_name)
            self._by_folded[name.lower()] = (name, _text(raw_value))

    def __getitem__(self, name: str) -> str:
        return self._by_folded[name.lower()][1]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._by_folded

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._by_folded.values())

    def __len__(self) -> int:
        return len(self._by_folded)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        mine = {folded: value for folded, (_, value) in self._by_folded.items()}
        theirs = cast("Mapping[Any, Any]", other)
        return mine == {str(name).lower(): value for name, value in theirs.items()}

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Headers: {', '.join(self) or 'none'}>"


def _text(value: HeaderText) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
