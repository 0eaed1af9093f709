"""Instrumenting: a hook around each delivery that traces and measures it."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Literal
from weakref import WeakKeyDictionary

from missive import ConfigurationError, HandlingContext, ProcessingContext, Processor

from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, TracerProvider

from . import conventions as names
from .__about__ import __version__
from .meters import Meters
from .spans import ProcessSpan
from .transport import Destination, Transport


def instrument(
    processor: Processor[Any],
    *,
    sender: Literal["link", "parent"] = "link",
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Trace and measure every delivery of a processor, by the conventions for messaging.

    Each delivery has a span of kind CONSUMER while it is handled, current in its handler and hooks,
    and below it one for its settlement; the messages of a batch share the first. A second call for
    a processor does nothing.

    :param sender: what becomes of the sender's context in the headers: its span is linked, or is
        the parent, so that the delivery belongs to the sender's trace.
    :param tracer_provider: the global one unless given.
    :param meter_provider: the global one unless given.
    :raises ConfigurationError: ``sender`` is neither.
    """
    if sender not in ("link", "parent"):
        raise ConfigurationError(f"instrument(sender={sender!r}); give 'link' or 'parent'")
    hooks: list[Any] = processor.hooks.delivery.around
    if any(isinstance(getattr(hook, "__self__", None), _Tracing) for hook in hooks):
        return
    tracing = _Tracing(sender == "parent", tracer_provider, meter_provider)
    processor.around_delivery(tracing.around_delivery)


#: The batch whose messages are being taken, with the run and the handler that it belongs to.
_batch: ContextVar[tuple[object, object, ProcessSpan] | None] = ContextVar("batch", default=None)


class _Tracing:
    """The hook of one processor."""

    def __init__(
        self, parent: bool, tracers: TracerProvider | None, meters: MeterProvider | None
    ) -> None:
        self._sender_is_parent = parent
        self._tracer = trace.get_tracer("missive", __version__, tracers, names.SCHEMA_URL)
        self._meters = Meters(meters)
        self._transports: WeakKeyDictionary[Any, Transport] = WeakKeyDictionary()

    def around_delivery(
        self, run: ProcessingContext[Any], context: HandlingContext[Any]
    ) -> Iterator[None]:
        """Trace and measure a delivery."""
        transport = self._transports.get(run.adapter)
        if transport is None:
            transport = self._transports[run.adapter] = Transport(run.adapter)
        destination = transport.destination(context.message.source)
        parent, links = self._sender(transport, context)
        span, token = self._begin(run, context, destination, parent, links)
        error: str | None = None
        try:
            yield
        except BaseException as ended:  # the run ends, and leaves the delivery unsettled
            error = _type_of(ended)
            raise
        finally:
            if error is None and context.error is not None:
                error = _type_of(context.error)
            span.end(context, error)
            self._meters.record(context.seconds, destination.measured(error))
            detach(token)

    def _sender(
        self, transport: Transport, context: HandlingContext[Any]
    ) -> tuple[Context, list[Link]]:
        """Return the context of the span's parent, and the links of the span."""
        here = get_current()
        if not transport.has_headers(context) or not context.message.headers:
            return here, []
        extracted = propagate.extract(context.message.headers, here)
        remote = trace.get_current_span(extracted).get_span_context()
        if self._sender_is_parent or not remote.is_remote:
            return extracted, []
        # With the sender's baggage, and below what is current here, such as a server's span.
        return trace.set_span_in_context(trace.get_current_span(here), extracted), [Link(remote)]

    def _begin(
        self,
        run: ProcessingContext[Any],
        context: HandlingContext[Any],
        destination: Destination,
        parent: Context,
        links: list[Link],
    ) -> tuple[ProcessSpan, Any]:
        """Begin the span of a delivery, or join that of its batch; make it current."""
        handler, batch = context.handler, _batch.get()
        is_batched = handler is not None and handler.batch is not None
        if is_batched and batch is not None and batch[0] is run and batch[1] is handler:
            batch[2].join(links)
            return batch[2], attach(get_current())
        span = ProcessSpan(self._tracer, destination, parent, links)
        if is_batched:
            _batch.set((run, handler, span))
        return span, attach(trace.set_span_in_context(span.span, parent))


def _type_of(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
