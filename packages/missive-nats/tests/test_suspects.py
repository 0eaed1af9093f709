"""Which messages are handled alone."""

from __future__ import annotations

from collections import deque
from typing import Any

from missive.adapters.nats.messages import StreamMessage
from missive.adapters.nats.suspects import Suspects
from nats.aio.msg import Msg


def message(sequence: int, deliveries: int) -> StreamMessage:
    """Return a message that was delivered so often."""
    client: Any = None
    reply = f"$JS.ACK.S.c.{deliveries}.{sequence}.1.1.1"
    return StreamMessage(Msg(client, subject="s", reply=reply, data=b"x"), 0.0)


def sequences(taken: list[StreamMessage]) -> list[int]:
    """Return the numbers of messages."""
    return [one.sequence for one in taken]


def test_a_suspect_is_handled_alone() -> None:
    """It waits for what is in flight; what follows waits for it."""
    suspects = Suspects(5)
    arrivals = deque([message(1, 2), message(2, 3), message(3, 1)])
    assert sequences(suspects.take(arrivals, 10, lambda: True)) == [1]
    assert suspects.take(arrivals, 10, lambda: False) == []
    assert sequences(suspects.take(arrivals, 10, lambda: True)) == [2]
    assert suspects.in_flight
    assert suspects.take(arrivals, 10, lambda: False) == []
    assert sequences(suspects.take(arrivals, 10, lambda: True)) == [3]
    assert not suspects.in_flight


def test_messages_are_fetched_singly_while_suspects_come() -> None:
    """At first, and after a suspect; no longer after one that is none."""
    suspects = Suspects(5)
    assert suspects.come
    suspects.take(deque([message(1, 1)]), 10, lambda: True)
    assert not suspects.come
    suspects.take(deque([message(2, 4)]), 10, lambda: True)
    assert suspects.come


def test_what_is_no_suspect() -> None:
    """What this process nacked itself, and what is not handled again, are passed on with others."""
    suspects = Suspects(5)
    suspects.note_nack(message(1, 3))
    arrivals = deque([message(1, 4), message(2, 6), message(3, 1)])
    assert sequences(suspects.take(arrivals, 2, lambda: False)) == [1, 2]
    assert sequences(suspects.take(arrivals, 2, lambda: False)) == [3]


def test_nacks_are_forgotten_before_they_are_too_many(monkeypatch: Any) -> None:
    """What is remembered of nacks has a bound."""
    monkeypatch.setattr("missive.adapters.nats.suspects.REMEMBERED", 2)
    suspects = Suspects(5)
    for sequence in range(3):
        suspects.note_nack(message(sequence, 2))
    assert suspects.take(deque([message(0, 3)]), 10, lambda: False) == []
    assert sequences(suspects.take(deque([message(2, 3)]), 10, lambda: False)) == [2]
