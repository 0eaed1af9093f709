"""What the tests of several stores share: a comparison with a dict, letters, and filters on them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from missive import DeadLetter, Message, RawMessage

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)


def make_letter(
    id: bytes = b"1", body: bytes = b"body", *, minutes: int = 0, **fields: Any
) -> DeadLetter:
    """Make a letter that failed so many minutes after noon."""
    at = NOON + timedelta(minutes=minutes)
    return DeadLetter(id, body, "reason", "handling", at, at, message_id=id)._replace(**fields)


class AgainstDict(RuleBasedStateMachine):
    """Do the same to a store and to a dict; a subclass opens the store."""

    keys = st.binary(max_size=2)
    reasons = st.text(st.characters(codec=None), max_size=3)  # lone surrogates included
    values = st.tuples(st.binary(max_size=2).map(RawMessage), reasons)

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[bytes, tuple[Message, str]] = {}
        self.handles = self.open()
        self.turn = 0

    def open(self) -> list[Any]:
        """Open the store, once or several times."""
        raise NotImplementedError

    @property
    def store(self) -> Any:
        """The store, by another of its handles each time."""
        self.turn += 1
        return self.handles[self.turn % len(self.handles)]

    def same(self, call: Callable[[Any], object]) -> None:
        """Make sure that a call does the same to both."""
        results: list[object] = []
        for mapping in (self.store, self.model):
            try:
                results.append(call(mapping))
            except KeyError:
                results.append(KeyError)
        assert results[0] == results[1]

    @rule(key=keys, value=values)
    def assign(self, key: bytes, value: tuple[Message, str]) -> None:
        self.store[key] = value
        self.model[key] = value

    @rule(key=keys, reason=reasons)
    def assign_same_message(self, key: bytes, reason: str) -> None:
        if key in self.model:
            self.assign(key, (self.model[key][0], reason))

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        self.same(lambda mapping: mapping.__delitem__(key))

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        self.same(lambda mapping: mapping[key])
        self.same(lambda mapping: mapping.get(key, "none"))
        self.same(lambda mapping: key in mapping)

    @rule(key=keys)
    def pop(self, key: bytes) -> None:
        self.same(lambda mapping: mapping.pop(key))

    @rule(key=keys)
    def pop_default(self, key: bytes) -> None:
        self.same(lambda mapping: mapping.pop(key, None))

    @rule()
    def popitem(self) -> None:
        self.same(lambda mapping: mapping.popitem())

    @rule(key=keys, value=values)
    def setdefault(self, key: bytes, value: tuple[Message, str]) -> None:
        self.same(lambda mapping: mapping.setdefault(key, value))

    @rule(items=st.dictionaries(keys, values, max_size=3))
    def update(self, items: dict[bytes, tuple[Message, str]]) -> None:
        self.store.update(items)
        self.model.update(items)

    @rule()
    def clear(self) -> None:
        self.store.clear()
        self.model.clear()

    @invariant()
    def equal(self) -> None:
        for store in self.handles:
            assert len(store) == len(self.model)
            assert list(store) == list(self.model)
            assert list(reversed(store)) == list(reversed(self.model))
            assert list(store.items()) == list(self.model.items())
            assert list(store.values()) == list(self.model.values())
            assert store == self.model
            assert bool(store) == bool(self.model)


def fill(store: Any) -> None:
    """Put the four letters in a store that ``FILTERED`` is about."""
    alike: dict[str, Any] = {"handler": "h", "error_type": "E"}
    store.put_many(
        [
            make_letter(b"1", reason="a", source="s", minutes=1, **alike),
            make_letter(b"2", reason="b", source="t", minutes=2, **alike),
            make_letter(b"3", reason="a", minutes=3),
            make_letter(b"4", reason="a", source="s", minutes=4, **alike),
        ]
    )


#: Arguments of ``letters()``, and the ids of the letters that they find.
FILTERED: list[tuple[dict[str, Any], bytes]] = [
    ({}, b"1234"),
    ({"reason": "a"}, b"134"),
    ({"handler": "h", "reason": "a"}, b"14"),
    ({"handler": ""}, b"3"),
    ({"error_type": "E", "source": "t"}, b"2"),
    ({"since": NOON + timedelta(minutes=3)}, b"34"),
    ({"until": NOON + timedelta(minutes=3)}, b"12"),
    ({"limit": 2}, b"12"),
    ({"limit": 0}, b""),
    ({"newest_first": True, "limit": 3}, b"432"),
    ({"after": 2}, b"34"),
    ({"after": 3, "newest_first": True}, b"21"),
    ({"reason": "a", "after": 1, "limit": 1}, b"3"),
]
