"""The transport: what spans and metrics say of the adapter of a run."""

from __future__ import annotations

from typing import Any

from missive import HandlingContext

from . import conventions as names

#: So many destinations are named, at most. Where messages come from more, such as the channels of a
#: pattern, naming each would make a metric's series, and a span's names, as many.
MOST_DESTINATIONS = 100


class Destination:
    """What deliveries from one source have in common, or those of all the sources left unnamed.

    :ivar name: the source; None where it is not named.
    :ivar attributes: those of spans and metrics alike; not to be changed.
    """

    def __init__(self, name: str | None, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self._measured: dict[str | None, dict[str, str]] = {}

    def span_name(self, operation: str) -> str:
        """Return the name of the span of an operation."""
        return operation if self.name is None else f"{operation} {self.name}"

    def measured(self, error: str | None) -> dict[str, str]:
        """Return the attributes of a measurement.

        :param error: what the delivery failed by, as ``error.type`` has it; None: it did not.
        """
        found = self._measured.get(error)
        if found is None:
            found = {**self.attributes, names.OPERATION_NAME: "process"}
            if error is not None:
                found[names.ERROR_TYPE] = error
            self._measured[error] = found
        return found


class Transport:
    """The transport of one adapter, and its destinations.

    :param adapter: the adapter.
    """

    def __init__(self, adapter: Any) -> None:
        system: str | None = getattr(adapter, "messaging_system", None)
        if system is None:
            system = type(adapter).__name__.removesuffix("Adapter").lower()
        self._common: dict[str, str] = {names.SYSTEM: system}
        group: object = getattr(adapter, "group", None)
        if isinstance(group, str):
            self._common[names.GROUP] = group
        self._unnamed = Destination(None, self._common)
        self._carries_headers: bool = adapter.capabilities.headers
        self._by_source: dict[str, Destination] = {}

    def has_headers(self, context: HandlingContext[Any]) -> bool:
        """Return whether to look for the sender's context in the headers of a delivery."""
        return self._carries_headers or context.delivery.settler is not None

    def destination(self, source: str | None) -> Destination:
        """Return the destination of a delivery."""
        if source is None:
            return self._unnamed
        found = self._by_source.get(source)
        if found is None:
            if len(self._by_source) >= MOST_DESTINATIONS:
                return self._unnamed
            found = Destination(source, {**self._common, names.DESTINATION: source})
            self._by_source[source] = found
        return found
