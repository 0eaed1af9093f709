"""What the stores in databases keep alike: headers, digests, numbers, prefixes."""

from __future__ import annotations

from typing import Any

import missive
import pytest
from missive.letters import (
    group_number,
    headers_from_json,
    headers_to_json,
    shared_beginning,
    shortest_prefixes,
    summary_digest,
)


@pytest.mark.parametrize("headers", [{}, {"a": "b"}, {"a": "\udcff", "é": "\x00"}])
def test_headers_come_back_as_they_went(headers: dict[str, str]) -> None:
    """Any text survives, lone surrogates and NUL included, as pure ASCII."""
    kept = headers_to_json(headers)
    assert kept is None or kept.isascii()
    assert headers_from_json(kept) == headers


@pytest.mark.parametrize("value", [None, "no JSON", "[1]", 7, "[" * 100_000])
def test_headers_that_cannot_be_read_are_empty(value: Any) -> None:
    """What somebody else wrote there does not stop a letter from being read."""
    assert headers_from_json(value) == {}


def test_values_of_headers_are_text() -> None:
    """A value of another type becomes its text."""
    assert headers_from_json('{"a": 1}') == {"a": "1"}


def test_letters_of_one_kind_have_one_digest() -> None:
    """Error, handler and reason count, each for itself; long reasons as short ones do."""
    digests = {
        summary_digest(*parts)
        for parts in [
            ("KeyError", "app.sell", "no"),
            ("KeyError", None, "no"),
            (None, "app.sell", "no"),
            ("KeyError", "", "no"),
            ("KeyError", "app.sell", "n" * 2000),
            ("KeyError", "app.sell", "n" * 2001),
        ]
    }
    assert len(digests) == 6
    assert all(-(2**63) <= digest < 2**63 for digest in digests)
    long = "n" * 2000
    assert summary_digest("KeyError", None, long) == summary_digest("KeyError", None, long)


@pytest.mark.parametrize(
    ("digits", "number"),
    [("7", 7), ("007", 7), ("", -1), ("x", -1), ("٣", -1), ("9" * 19, -1), ("9" * 30, -1)],
)
def test_a_group_is_a_number(digits: str, number: int) -> None:
    """What is no number, or none that a database holds, is of no group."""
    assert group_number(digits) == number


def test_prefixes_are_as_short_as_can_be() -> None:
    """A text that another begins with is shown whole."""
    assert shortest_prefixes([], 3) == {}
    assert shortest_prefixes(["abc", "abcd", "xyz"], 2) == {
        "abc": "abc",
        "abcd": "abcd",
        "xyz": "xy",
    }
    assert shared_beginning("ab", "abc") == 2
    assert shared_beginning("abd", "abc") == 2


def test_the_newest_letter_is_taken_once() -> None:
    """A store that takes letters without a way of its own takes each once, the newest first."""
    store = missive.MemoryDLQ()
    for body in (b"1", b"2"):
        store[body] = (missive.RawMessage(body), "no")
    taken = [missive.DeadLetterStore.take_newest(store) for _ in range(3)]
    assert [letter and letter.id for letter in taken] == [b"2", b"1", None]


def test_a_letter_that_is_gone_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process took meanwhile is passed over."""
    store = missive.MemoryDLQ()
    for body in (b"1", b"2"):
        store[body] = (missive.RawMessage(body), "no")
    take = missive.DeadLetterStore.take

    def take_but_the_second(key: bytes) -> missive.DeadLetter | None:
        return None if key == b"2" else take(store, key)

    monkeypatch.setattr(store, "take", take_but_the_second)
    letter = missive.DeadLetterStore.take_newest(store)
    assert letter is not None
    assert letter.id == b"1"
    assert take(store, b"3") is None


def test_a_letter_that_cannot_be_taken_is_not_popped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store may say so by KeyError: ``pop`` raises that, or returns its default."""
    store = missive.MemoryDLQ()

    def refuse(key: bytes) -> missive.DeadLetter | None:
        raise KeyError(key)

    monkeypatch.setattr(store, "take", refuse)
    with pytest.raises(KeyError):
        store.pop(b"1")
    assert store.pop(b"1", None) is None
