"""A consumer whose handlers never return: ``python tasks_worker.py URL JOURNAL COUNT``.

It notes each message that it begins, and is there to be killed with so many of them in flight.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import missive
from missive.adapters.redis import RedisStreamsAdapter
from worker import Journal


def main(url: str, journal_path: str, count: str) -> None:
    """Run until killed."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    journal = Journal(journal_path)

    @processor.handle_for(missive.otherwise)
    async def handle(message: missive.RawMessage, ctx: Any) -> None:
        journal.write(message.raw_data.decode())
        await asyncio.Event().wait()

    RedisStreamsAdapter(
        missive.RawMessage,
        processor,
        "orders",
        "billing",
        url=url,
        retry_after=1.0,
        max_in_flight=int(count),
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
