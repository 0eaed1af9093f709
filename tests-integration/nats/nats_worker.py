"""A process that notes what it handles; some messages kill it.

Arguments: the URL of the server, the stream, a file for what was handled, one for dead letters.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import missive
from missive.adapters.nats import NATSAdapter
from missive.dlq.sqlite import SQLiteDLQ

url, stream, handled, letters = sys.argv[1:]
processor: missive.Processor[missive.RawMessage] = missive.Processor()
processor.set_dlq(SQLiteDLQ(letters))
ledger = os.open(handled, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@processor.handle_for(missive.otherwise)
def handle(message: missive.RawMessage, ctx: Any) -> None:
    """Note the message, and die of it where it says so."""
    if message.raw_data == b"poison":
        os.kill(os.getpid(), signal.SIGKILL)
    os.write(ledger, message.raw_data + b"\n")
    ctx.ack()


adapter = NATSAdapter(missive.RawMessage, processor, stream, "workers", servers=url)
if __name__ == "__main__":
    adapter.run()
