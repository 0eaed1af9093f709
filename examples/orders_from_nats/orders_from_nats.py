"""Ship the orders of a stream of JetStream, each kind of order by a handler of its own.

A shop publishes to ``orders.placed`` and ``orders.cancelled``, both in the stream ORDERS. Run as
many of these processes as needed; they share the consumer ``shipping``, which the first creates:

    SERVERS=nats://localhost:4222 python orders_from_nats.py
"""

from __future__ import annotations

import os

import missive
from missive.adapters.nats import NATSAdapter

letters = missive.MemoryDLQ()
processor: missive.Processor[missive.JSONMessage] = missive.Processor()
processor.set_dlq(letters)
by_subject = missive.route_on(lambda message: message.source)


class WarehouseBusy(Exception):
    """The warehouse takes no order at the moment."""


# The server keeps an order until its next try is due, also when this process ends.
@processor.handle_for(
    by_subject("orders.placed"), retry=missive.Retry(on=(WarehouseBusy,), attempts=4, delay=1.0)
)
async def ship(
    message: missive.JSONMessage, ctx: missive.HandlingContext[missive.JSONMessage]
) -> None:
    """Ship one order."""
    order = message.get_json()
    if order.get("busy", 0) >= ctx.attempt:
        raise WarehouseBusy
    print(f"order {order['id']} is shipped", flush=True)
    ctx.ack()


@processor.handle_for(by_subject("orders.cancelled"))
async def cancel(
    message: missive.JSONMessage, ctx: missive.HandlingContext[missive.JSONMessage]
) -> None:
    """Take note that an order is not wanted any more."""
    print(f"order {message.get_json()['id']} is cancelled", flush=True)
    ctx.ack()


def main() -> None:
    """Ship orders until the process is told to stop."""
    adapter = NATSAdapter(
        missive.JSONMessage,
        processor,
        os.environ.get("STREAM", "ORDERS"),
        "shipping",
        servers=os.environ.get("SERVERS", "nats://localhost:4222"),
        create=True,
    )
    adapter.run()


if __name__ == "__main__":
    main()
