"""What the PostgreSQL store makes of many messages of an inbox at once."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from missive import DeadLetter, Envelope, MemoryDLQ, RawMessage
from missive.dlq.postgresql import PostgreSQLDLQ
from missive.letters import Receipt, received_letter
from patience import DEADLINE
from postgresql_server import PostgreSQLServer

Opener = Callable[..., PostgreSQLDLQ]


def received(id: bytes, body: bytes = b"body", source: str = "/hook") -> DeadLetter:
    """Return the letter of a message that an inbox received."""
    message = RawMessage(body)
    message.put_in(Envelope(id, {}, source))
    return received_letter(message)


#: Few ids, bodies and sources, so that many messages are known, and many are beside others.
messages = st.builds(
    received,
    st.sampled_from([b"1", b"2", b"3"]),
    st.sampled_from([b"a", b"b"]),
    st.sampled_from("xy"),
)
batches = st.lists(st.lists(messages, max_size=4), max_size=6)


def test_batches_are_received_as_by_the_store_in_memory(
    server: PostgreSQLServer, database: str, store: Opener
) -> None:
    """Any batches give the receipts and leave the letters that they give and leave in a MemoryDLQ."""
    opened = store()

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(batches, st.sets(st.integers(0, 5)))
    def same(given_batches: list[list[DeadLetter]], removing: set[int]) -> None:
        server.execute("TRUNCATE missive_letters, missive_letters_received", database)
        model = MemoryDLQ()
        for number, batch in enumerate(given_batches):
            assert opened.receive(batch) == model.receive(batch)
            kept = [
                sorted((letter.source, letter.raw_data) for letter in each.letters(state=None))
                for each in (opened, model)
            ]
            assert kept[0] == kept[1]
            if number in removing:  # what is done stays known
                for each in (opened, model):
                    each.give_up()
                    each.clear()

    same()


def test_new_messages_beside_others(store: Opener) -> None:
    """Of new messages, those whose ids came with another body are told from the rest, done or stored."""
    opened = store()
    assert opened.receive([received(b"1"), received(b"2")]) == [Receipt.NEW] * 2
    for claim, letter in opened.claim_due(2):
        if letter.id == b"1":
            assert opened.remove(claim)
    opened.put(received(b"3", b"dead").given_up())
    assert opened.receive([received(b"1", b"other"), received(b"4")]) == [
        Receipt.BESIDE,
        Receipt.NEW,
    ]
    assert opened.receive([received(b"2", b"other"), received(b"5")]) == [
        Receipt.BESIDE,
        Receipt.NEW,
    ]
    assert opened.receive([received(b"3", b"dead"), received(b"6")]) == [Receipt.KNOWN, Receipt.NEW]
    kept = sorted((letter.message_id, letter.raw_data) for letter in opened.letters(state=None))
    ones = [(b"1", b"other"), (b"2", b"body"), (b"2", b"other"), (b"3", b"dead")]
    assert kept == [*ones, *((number, b"body") for number in (b"4", b"5", b"6"))]


def test_overlapping_batches_at_once(store: Opener) -> None:
    """Of many that receive the same messages at once, in any order, one is told that each is new."""
    opened = store()
    letters = [received(b"%d" % number) for number in range(40)]
    start = threading.Barrier(6)
    new: list[bytes] = []

    def receive(seed: int) -> None:
        mine = random.Random(seed).sample(letters, len(letters))
        start.wait(DEADLINE)
        for first in range(0, len(mine), 8):
            batch = mine[first : first + 8]
            for letter, receipt in zip(batch, opened.receive(batch), strict=True):
                assert receipt is not Receipt.BESIDE
                if receipt is Receipt.NEW:
                    new.append(letter.id)

    threads = [threading.Thread(target=receive, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert Counter(new) == Counter(letter.id for letter in letters)
    assert opened.counts().deferred == len(letters)
