"""The spans of one delivery, or of the messages that a batch handler takes together."""

from __future__ import annotations

from collections.abc import Sequence
from time import time_ns
from typing import Any

from missive import HandlingContext, Outcome, format_id

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer

from . import conventions as names
from .transport import Destination


class ProcessSpan:
    """The span of handling: a delivery's own, or that of a whole batch.

    :param tracer: makes the spans.
    :param destination: where the message came from.
    :param parent: the context of the span's parent.
    :param links: to the sender's span.
    """

    def __init__(
        self, tracer: Tracer, destination: Destination, parent: Context, links: Sequence[Link]
    ) -> None:
        self._tracer = tracer
        self._destination = destination
        self._begun = time_ns()
        self._ends = 0
        self._open = 1
        self._count = 1
        self._errors: list[str] = []
        self.span: Span = tracer.start_span(
            destination.span_name("process"),
            parent,
            SpanKind.CONSUMER,
            {
                **destination.attributes,
                names.OPERATION_NAME: "process",
                names.OPERATION_TYPE: "process",
            },
            links,
            start_time=self._begun,
        )

    def join(self, links: Sequence[Link]) -> None:
        """Take one more message of the batch."""
        self._open += 1
        self._count += 1
        for link in links:
            self.span.add_link(link.context)

    def end(self, context: HandlingContext[Any], error: str | None) -> None:
        """End the handling of a message, and with that of the last one the span."""
        self._open -= 1
        ended = self._begun + int(context.seconds * 1e9)
        self._ends = max(self._ends, min(ended, time_ns()))
        if error is not None:
            self._errors.append(error)
        if self.span.is_recording():
            self._describe(context)
            self._settle(context)
        if self._open == 0:
            if self._count > 1:
                self.span.set_attribute(names.BATCH_COUNT, self._count)
            if self._errors:
                self.span.set_attribute(names.ERROR_TYPE, self._errors[0])
                self.span.set_status(Status(StatusCode.ERROR))
            self.span.end(self._ends)

    def _describe(self, context: HandlingContext[Any]) -> None:
        span = self.span
        if context.handler is not None:
            span.set_attribute(names.HANDLER, context.handler.name)
        if self._count > 1:
            return  # what differs between the messages of a batch is with their settlement
        span.set_attributes(_of_message(context))

    def _settle(self, context: HandlingContext[Any]) -> None:
        """Make the span of settling a message, from the end of its handling until now."""
        operation = "nack" if context.outcome is Outcome.NACKED else "ack"
        span = self._tracer.start_span(
            self._destination.span_name(operation),
            trace.set_span_in_context(self.span),
            SpanKind.CLIENT,
            {
                **self._destination.attributes,
                names.OPERATION_NAME: operation,
                names.OPERATION_TYPE: "settle",
                **_of_message(context),
            },
            start_time=self._ends,
        )
        if context.outcome is None:
            span.set_attribute(names.ERROR_TYPE, names.UNSETTLED)
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def _of_message(context: HandlingContext[Any]) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        names.MESSAGE_ID: format_id(context.message.message_id),
        names.ATTEMPT: context.attempt,
    }
    if context.outcome is not None:
        found[names.OUTCOME] = context.outcome.value
    if context.error is not None:
        found[names.STAGE] = context.stage
    return found
