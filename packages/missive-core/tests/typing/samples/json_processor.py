"""A processor of JSON messages, with every kind of matcher, hooks with state, and a dict as DLQ."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from time import monotonic

import missive
from missive.adapters.stdin import StdinAdapter

Processing = missive.ProcessingContext[missive.JSONMessage]
Handling = missive.HandlingContext[missive.JSONMessage]

processor: missive.Processor[missive.JSONMessage] = missive.Processor()


class HasLabel:
    def __init__(self, label: str) -> None:
        self.label = label

    def __call__(self, message: missive.JSONMessage) -> bool:
        return bool(message.get_json()["label"] == self.label)


def label_of(message: missive.JSONMessage) -> object:
    return message.get_json().get("label", missive.NO_KEY)


by_label = missive.route_on(label_of)
by_event = missive.route_on_json("event")


@processor.handle_for(HasLabel("greeting"))
def by_class(message: missive.JSONMessage, ctx: Handling) -> None:
    ctx.ack()


@processor.handle_for(lambda message: message.get_json() is None)
def by_lambda(message: missive.JSONMessage, ctx: Handling) -> None:
    ctx.nack()


@processor.handle_for(by_label("sign-in", "sign-out"))
def by_key(message: missive.JSONMessage, ctx: Handling) -> None:
    ctx.ack()


@processor.handle_for(by_event("created"))
def by_field(message: missive.JSONMessage, ctx: Handling) -> None:
    ctx.ack()


@processor.handle_for(missive.otherwise)
def by_default(message: missive.JSONMessage, ctx: Handling) -> None:
    ctx.state.seen = message.message_id
    ctx.processing_ctx.state.last_source = message.source
    ctx.ack()


@processor.before_processing
def count_from_zero(processing_ctx: Processing) -> None:
    processing_ctx.state.count = 0


@processor.before_handling
def start_clock(processing_ctx: Processing, handling_ctx: Handling) -> None:
    handling_ctx.state.started = monotonic()


@processor.after_handling
def stop_clock(processing_ctx: Processing, handling_ctx: Handling) -> None:
    processing_ctx.state.count += 1
    took: float = monotonic() - handling_ctx.state.started
    if handling_ctx.error is not None and took > 1:
        handling_ctx.nack()


@processor.around_handling
def transaction(processing_ctx: Processing, handling_ctx: Handling) -> Iterator[None]:
    yield


def reports() -> missive.Outcome:
    client = processor.test_client()
    outcome = client.send(missive.JSONMessage(b"{}"))
    acked: list[missive.JSONMessage] = list(client.acked)
    return outcome if acked else missive.Outcome.NACKED


dead: dict[bytes, tuple[missive.Message, str]] = {}
processor.set_dlq(dead)
adapter = StdinAdapter(missive.JSONMessage, processor)

csv_processor: missive.Processor[missive.DictMessage] = missive.Processor()


def decode(raw: bytes) -> dict[str, str]:
    return dict(zip(("name", "value"), raw.decode().split(","), strict=True))


csv_adapter = StdinAdapter(partial(missive.DictMessage, decoder=decode), csv_processor)
