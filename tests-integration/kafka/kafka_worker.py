"""A process that notes what it handles; some messages kill it.

Arguments: the address of the broker, the topic, the group, a file for what was handled, one for dead
letters, how many workers there are, and the timeout of its session in milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import missive
from missive.adapters.kafka import KafkaAdapter
from missive.dlq.sqlite import SQLiteDLQ

bootstrap, topic, group, handled, letters, workers, timeout = sys.argv[1:]
processor: missive.Processor[missive.RawMessage] = missive.Processor()
processor.set_dlq(SQLiteDLQ(letters))
ledger = os.open(handled, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@processor.handle_for(missive.otherwise)
def handle(message: missive.RawMessage, ctx: Any) -> None:
    """Note the message with the time, and die of it where it says so."""
    if message.raw_data == b"poison":
        os.kill(os.getpid(), signal.SIGKILL)
    os.write(ledger, b"%s %d %d\n" % (message.raw_data, time.monotonic_ns(), os.getpid()))
    time.sleep(0.002)
    ctx.ack()


adapter = KafkaAdapter(
    missive.RawMessage,
    processor,
    [topic],
    group,
    bootstrap=bootstrap,
    commit_interval=0.05,
    workers=int(workers),
    config={"session.timeout.ms": int(timeout), "heartbeat.interval.ms": 200},
)
if __name__ == "__main__":
    adapter.run()
