"""Dead letters: a dict, a store, and a replay, as users type them."""

from __future__ import annotations

import missive
from missive.adapters.replay import ReplayAdapter, Replayed

processor: missive.Processor[missive.JSONMessage] = missive.Processor()

letters: dict[bytes, tuple[missive.Message, str]] = {}
processor.set_dlq(letters)

store = missive.MemoryDLQ(message_cls=missive.JSONMessage)
processor.set_dlq(store)

message, reason = store[b"1"]
size: int = len(message.raw_data) + len(reason)
for letter in store.letters(reason="no matching handlers", newest_first=True, limit=10):
    print(letter.first_failed.isoformat(), letter.handler or "no handler")
counts: list[int] = [row.count for row in store.summary()]

store.letters(colour="red")  # refused
store["text"] = (message, reason)  # refused


def tell(replayed: Replayed) -> None:
    print(replayed.letter.id, replayed.result.acked)


adapter = ReplayAdapter(missive.JSONMessage, processor, store, limit=5, on_progress=tell)
runnable: missive.Runnable = adapter
acked: int = adapter.run().acked

ReplayAdapter(missive.JSONMessage, processor, {})  # refused
