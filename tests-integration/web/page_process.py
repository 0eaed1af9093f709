"""The page in a process of its own, whose handler keeps a journal; to be killed."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import missive
from missive.dlq.sqlite import SQLiteDLQ
from missive.web import DeadLetterApp

processor: missive.Processor[missive.RawMessage] = missive.Processor()


@processor.handle_for(missive.otherwise)
def handle(message: missive.RawMessage, ctx: Any) -> None:
    os.write(journal, message.message_id + b"\n")
    ctx.ack()


if __name__ == "__main__":
    store, journal_path = sys.argv[1:]
    journal = os.open(journal_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    # A kill takes nothing of what was written; only a power cut could.
    with SQLiteDLQ(store, synchronous="OFF") as dlq:
        app = DeadLetterApp(dlq, processor=processor, message_cls=missive.RawMessage)
        app.run(port=0, on_ready=lambda address: print(json.dumps(address), flush=True))
