"""Ship the orders of a FIFO queue: in order for each customer, customers beside each other.

The sender sets the message group to the customer. Run it with the queue's URL, or its name:

    QUEUE=https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo python orders_from_sqs.py

ENDPOINT names a stand-in for SQS, such as http://127.0.0.1:5000.
"""

from __future__ import annotations

import os

import missive
from missive.adapters.sqs import SQSAdapter

letters = missive.MemoryDLQ()
processor: missive.Processor[missive.JSONMessage] = missive.Processor()
processor.set_dlq(letters)


class WarehouseBusy(Exception):
    """The warehouse takes no order at the moment."""


# The next orders of a customer wait for the one that is tried again.
@processor.handle_for(
    missive.otherwise,
    retry=missive.Retry(on=(WarehouseBusy,), attempts=4, delay=1.0, in_order=True),
)
def ship(message: missive.JSONMessage, ctx: missive.HandlingContext[missive.JSONMessage]) -> None:
    """Ship one order."""
    order = message.get_json()
    if order.get("busy", 0) >= ctx.attempt:
        raise WarehouseBusy
    print(f"{message.native.group}: order {order['id']} is shipped\n", end="", flush=True)
    ctx.ack()


def main() -> None:
    """Ship orders until the process is told to stop."""
    adapter = SQSAdapter(
        missive.JSONMessage,
        processor,
        os.environ["QUEUE"],
        endpoint=os.environ.get("ENDPOINT"),
        workers=4,
        wait_time=5,
    )
    adapter.run()


if __name__ == "__main__":
    main()
