"""A program that was written for missive 0.8.1, and runs as it is.

It reads pickled orders from one queue, routes them by their class, opens a database session around
each, and keeps what fails in SQLite.
"""

import os
import pickle
import sqlite3
from dataclasses import dataclass

import missive
from missive.adapters.rabbitmq import RabbitMQAdapter
from missive.dlq.sqlite import SQLiteDLQ

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/")
QUEUE = os.environ.get("QUEUE", "orders")
DATABASE = os.environ.get("DATABASE", "shop.db")


@dataclass
class Placed:
    order: int
    total: int


@dataclass
class Cancelled:
    order: int


class PickledMessage(missive.Message):
    # Unpickling runs what the sender wrote: for queues that nobody else can publish to.
    def __init__(self, raw_data):
        super().__init__(raw_data)
        self.event = pickle.loads(raw_data)  # noqa: S301


processor = missive.Processor()


@processor.before_processing
def open_database(processing_ctx):
    processing_ctx.state.database = sqlite3.connect(DATABASE)
    with processing_ctx.state.database as session:
        session.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, total)")


@processor.after_processing
def close_database(processing_ctx):
    processing_ctx.state.database.close()


@processor.before_handling
def begin(processing_ctx, handling_ctx):
    handling_ctx.state.session = processing_ctx.state.database


@processor.after_handling
def finish(processing_ctx, handling_ctx):
    # Runs whether the handler succeeded or not; what it did not commit is undone.
    handling_ctx.state.session.rollback()


@processor.handle_for(lambda message: isinstance(message.event, Placed))
def place(message, ctx):
    placed = message.event
    if placed.total < 0:
        raise ValueError(f"order {placed.order} has a total below zero")
    ctx.state.session.execute(
        "INSERT OR REPLACE INTO orders VALUES (?, ?)", (placed.order, placed.total)
    )
    ctx.state.session.commit()
    ctx.ack()


@processor.handle_for(lambda message: isinstance(message.event, Cancelled))
def cancel(message, ctx):
    ctx.state.session.execute("DELETE FROM orders WHERE id = ?", (message.event.order,))
    ctx.state.session.commit()
    ctx.ack()


processor.set_dlq(SQLiteDLQ(os.environ.get("DLQ", "dead-letters.db")))

if __name__ == "__main__":
    RabbitMQAdapter(PickledMessage, processor, [QUEUE], url_or_conn=URL).run()
