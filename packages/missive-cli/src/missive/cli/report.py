"""The report before a run: what is in effect, and what of it cannot be safe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from missive import Adapter, DeadLetterStore, DeadLetterStoreError, MemoryDLQ, Processor

from .describe import describe_matcher, describe_policy, place

#: How many handlers the report names.
HANDLERS_SHOWN = 20
#: What a process needs to end, beyond its drain: hooks, the last acks, the interpreter; in seconds.
GRACE_MARGIN = 5.0


@dataclass(frozen=True)
class Report:
    """What is in effect for a run.

    :ivar adapter: the name of the adapter's class.
    :ivar source: the URL it was built from, without password, or None.
    :ivar capabilities: those of the adapter.
    :ivar dlq: what keeps the dead letters, or None.
    :ivar workers: how many messages are handled at once; None where the adapter does not say.
    :ivar in_flight: how many may be with workers; None where the adapter does not say.
    :ivar handlers: name, matcher, place and policy of each handler: its retries and its breaker.
    :ivar warnings: what cannot be safe, each with the remedy.
    """

    adapter: str
    source: str | None
    message_class: str | None
    capabilities: dict[str, Any]
    dlq: str | None
    workers: int | None
    in_flight: int | None
    handlers: list[dict[str, str | None]]
    warnings: list[str]

    def warn_of_drain(self, drain: float, grace: float | None) -> None:
        """Warn where a drain may outlast the time between SIGTERM and SIGKILL.

        :param drain: how long handlers may go on after a stop, in seconds.
        :param grace: the time until the process is killed, in seconds; None where it is unknown.
        """
        if grace is not None and drain + GRACE_MARGIN > grace:
            self.warnings.append(
                f"the drain may take {drain:g} s, and the process is killed {grace:g} s after SIGTERM:"
                f" give --drain-timeout {max(grace - GRACE_MARGIN, 0):g}, or a grace period of"
                f" {drain + GRACE_MARGIN:g} s"
            )

    def warn_of_processes(self, count: int) -> None:
        """Warn where several processes do not share the messages."""
        if count > 1 and not self.capabilities["competing_consumers"]:
            self.warnings.append(
                f"{count} processes, but this transport lets no consumers compete: each of them gets"
                " every message"
            )

    def lines(self) -> Iterator[str]:
        """Return the report for reading."""
        yield f"adapter       {self.adapter}{f' on {self.source}' if self.source else ''}"
        yield f"messages      {self.message_class or 'as the adapter makes them'}"
        yield f"capabilities  {_in_words(self.capabilities)}"
        yield f"DLQ           {self.dlq or 'none'}"
        if self.workers is not None:
            in_flight = "" if self.in_flight is None else f", at most {self.in_flight} in flight"
            yield f"workers       {self.workers}{in_flight}"
        yield f"handlers      {len(self.handlers)}"
        for handler in self.handlers[:HANDLERS_SHOWN]:
            policy = f": {handler['policy']}" if handler["policy"] else ""
            yield f"  {handler['name']} for {handler['matcher']} ({handler['place']}){policy}"
        if len(self.handlers) > HANDLERS_SHOWN:
            yield f"  and {len(self.handlers) - HANDLERS_SHOWN} more"
        for warning in self.warnings:
            yield f"warning: {warning}"


def make_report(
    adapter: Adapter[Any], *, workers: int | None, source: str | None, dlq: str | None
) -> Report:
    """Look at what a run would do.

    :param workers: how many messages are handled at once, where that is known.
    :param source: the URL that the adapter was built from, fit to be shown.
    :param dlq: the URL that the DLQ was opened by, fit to be shown.
    """
    processor = adapter.processor
    return Report(
        adapter=type(adapter).__name__,
        source=source,
        message_class=_message_class(adapter),
        capabilities=asdict(adapter.capabilities),
        dlq=_dlq_name(processor, dlq),
        workers=workers,
        in_flight=_in_flight(adapter),
        handlers=[
            {
                "name": handler.name,
                "matcher": describe_matcher(handler.matcher),
                "place": place(handler),
                "policy": describe_policy(handler, processor.retry),
            }
            for handler in processor.handlers
        ],
        warnings=list(_warnings(adapter)),
    )


def _warnings(adapter: Adapter[Any]) -> Iterator[str]:
    yield from _handler_warnings(adapter)
    yield from _dlq_warnings(adapter)
    yield from _worker_warnings(adapter)


def _handler_warnings(adapter: Adapter[Any]) -> Iterator[str]:
    if not adapter.processor.handlers:
        yield (
            "the processor has no handlers, so nothing can be handled;"
            " register some with @processor.handle_for(...)"
        )


def _dlq_warnings(adapter: Adapter[Any]) -> Iterator[str]:
    dlq, capabilities = adapter.processor.dlq, adapter.capabilities
    if dlq is None and capabilities.delivery == "at-most-once":
        yield (
            "no DLQ, and the transport cannot redeliver: the first message that cannot be handled"
            " ends the run and is lost; give --dlq sqlite:///dead-letters.db"
        )
    elif dlq is None and capabilities.delivery == "at-least-once":
        yield (
            "no DLQ: a message that cannot be handled ends the run, and the next run gets it"
            " again; give --dlq sqlite:///dead-letters.db"
        )
    elif dlq is not None and (isinstance(dlq, MemoryDLQ) or not isinstance(dlq, DeadLetterStore)):
        yield (
            f"the DLQ is a {type(dlq).__name__} in this process, so its letters may end with it;"
            " give --dlq sqlite:///dead-letters.db"
        )
    if isinstance(dlq, DeadLetterStore):
        try:
            dlq.check()
        except DeadLetterStoreError as error:
            yield f"the DLQ cannot be written: {error}"


def _worker_warnings(adapter: Adapter[Any]) -> Iterator[str]:
    workers = getattr(adapter, "workers", 1)
    prefetched = getattr(adapter, "prefetch", None)
    if isinstance(prefetched, int) and workers > prefetched:
        yield (
            f"{workers} workers, but only {prefetched} messages are fetched at once, so some never"
            f" work; fetch at least {workers}, or take fewer workers"
        )
    ordering = adapter.capabilities.ordering
    if workers > 1 and ordering != "none" and getattr(adapter, "ordering_key", None) is None:
        yield (
            f"{workers} workers handle messages in no fixed order, though the transport keeps one;"
            " give the adapter an ordering_key where order matters"
        )


def _dlq_name(processor: Processor[Any], url: str | None) -> str | None:
    dlq = processor.dlq
    if dlq is None:
        return None
    # A store of the program's own may tell where it is.
    where = url or getattr(dlq, "path", None)
    return f"{type(dlq).__name__} {where}" if where else type(dlq).__name__


def _in_flight(adapter: Adapter[Any]) -> int | None:
    """Inline, one message is in flight, whatever the limit says."""
    return 1 if getattr(adapter, "workers", None) == 1 else getattr(adapter, "max_in_flight", None)


def _message_class(adapter: Adapter[Any]) -> str | None:
    message_cls = getattr(adapter, "message_cls", None)
    if message_cls is None:
        return None
    return getattr(message_cls, "__qualname__", None) or repr(type(message_cls).__name__)


def _in_words(capabilities: dict[str, Any]) -> str:
    nack = {
        "redeliver": "nacks redelivered",
        "drop-refused": "nacks go to the DLQ",
        "error-response": "nacks answered with an error",
    }
    words = [
        capabilities["delivery"],
        nack[capabilities["nack"]],
        f"ordering {capabilities['ordering']}",
    ]
    flags = ("persistent", "crash_redelivery", "competing_consumers", "stable_id", "reconnects")
    words += [flag.replace("_", " ") for flag in flags if capabilities[flag]]
    return ", ".join(words)
