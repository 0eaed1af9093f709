"""What a store in memory received for an inbox."""

from __future__ import annotations

from datetime import timedelta

import pytest
from missive import ConfigurationError, DeadLetter, Envelope, MemoryDLQ, RawMessage
from missive.letters import InboxStore, Receipt, inbox_key, received_letter, utc_now


def received(body: bytes = b"body", id: bytes = b"id", source: str | None = "/hook") -> DeadLetter:
    """Return the letter of a message that an inbox received."""
    message = RawMessage(body)
    message.put_in(Envelope(id, {"Colour": "blue"}, source))
    return received_letter(message)


def test_the_letter_of_a_received_message() -> None:
    """It is due at once, has not failed, and its first try is its first attempt."""
    letter = received()
    assert (letter.state, letter.attempt, letter.failures) == ("deferred", 0, 0)
    assert letter.due is not None
    assert letter.due <= utc_now()
    assert (letter.headers, letter.source, letter.reason) == (
        {"Colour": "blue"},
        "/hook",
        "received",
    )
    assert letter.delivery().attempt == letter.delivery().delivery_count == 1


def test_the_key_of_a_message() -> None:
    """Source and id make the first half, the body the second; none runs into another."""
    keys = {
        inbox_key(received(source=source, id=id))[0]
        for source, id in ((None, b"id"), ("", b"id1"), ("/a", b"b"), ("/", b"ab"), ("\udcff", b""))
    }
    assert len(keys) == 5
    assert inbox_key(received(b"1"))[1] != inbox_key(received(b"2"))[1]
    assert {len(half) for half in inbox_key(received())} == {16}


def test_each_message_once() -> None:
    """A message is known while its letter is stored, and after it was removed, by whatever way."""
    store = MemoryDLQ()
    assert isinstance(store, InboxStore)
    assert store.receive([received(), received()]) == [Receipt.NEW, Receipt.KNOWN]
    ((claim, letter),) = store.claim_due(10)
    assert letter.failures == 0
    assert store.receive([received()]) == [Receipt.KNOWN]
    store.put(letter._replace(reason="it failed", failures=1))
    assert store.letter(b"id").failures == 1
    assert store.receive([received()]) == [Receipt.KNOWN]
    assert not store.remove(claim)
    store.clear()
    assert store.receive([received()]) == [Receipt.KNOWN]
    assert store.counts() == (0, 0, 0, 0)


def test_another_body_is_kept_beside() -> None:
    """The same id with another body is another message, and so is it from another source."""
    store = MemoryDLQ()
    letters = [received(), received(b"other"), received(b"other"), received(source="/b")]
    assert store.receive(letters) == [
        Receipt.NEW,
        Receipt.BESIDE,
        Receipt.KNOWN,
        Receipt.NEW,
    ]
    assert store.counts().deferred == 3


def test_a_message_without_a_record() -> None:
    """A message that is stored already is known, and remembered from then on."""
    store = MemoryDLQ()
    store.put(received().given_up())
    assert store.receive([received()]) == [Receipt.KNOWN]
    store.clear()
    assert store.receive([received()]) == [Receipt.KNOWN]


def test_done_records_are_forgotten() -> None:
    """Records done before a time are forgotten, so many at once; open ones never are."""
    store = MemoryDLQ()
    store.receive([received(b"%d" % number, id=b"%d" % (number % 2)) for number in range(4)])
    for claim, _ in store.claim_due(3):
        assert store.remove(claim)
    assert store.forget_done(utc_now() - timedelta(hours=1)) == 0
    later = utc_now() + timedelta(hours=1)
    assert [store.forget_done(later, limit=limit) for limit in (-1, 2, 1000)] == [0, 2, 1]
    again = store.receive(
        [received(b"%d" % number, id=b"%d" % (number % 2)) for number in range(4)]
    )
    assert again == [Receipt.NEW, Receipt.BESIDE, Receipt.BESIDE, Receipt.KNOWN]


def test_a_batch_is_received_whole_or_not_at_all() -> None:
    """Where one is never due, none is kept."""
    store = MemoryDLQ()
    with pytest.raises(ConfigurationError):
        store.receive([received(), received(b"other")._replace(due=None)])
    assert store.receive([received()]) == [Receipt.NEW]
    assert repr(Receipt.NEW) == "Receipt.NEW"
