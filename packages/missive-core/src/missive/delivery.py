"""Deliveries: the bytes of one message with its envelope, as a transport hands them over."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from .headers import HeaderSource

#: Where a message failed.
Stage = Literal["decoding", "matching", "handling", "settling"]


class EnvelopeFields(TypedDict, total=False):
    """The keyword arguments of an :class:`Envelope`, all optional."""

    message_id: bytes | str | None
    headers: HeaderSource | None
    source: str | None
    delivery_count: int | None
    native: object


class Envelope:
    """What a transport says about a message, beside its bytes.

    A transport for which headers or the native object are costly subclasses :class:`Delivery` and
    makes them on first use in :meth:`read_headers` and :meth:`make_native`.

    :ivar attempt: which try at handling this is, from 1, where something counts them itself (a
        store of deferred messages, a retry in place); None leaves it to the transport's own
        delivery count.
    :ivar generation: the number of the connection that delivered it; set by the receive loop.
    :ivar rejection: why the message is to be dead-lettered without being handled, as (reason,
        stage); None for a message to handle.
    :ivar settler: what settles the message instead of the adapter; None for the adapter.
    """

    attempt: int | None = None
    generation: int = 0
    rejection: tuple[str, Stage] | None = None
    settler: Any = None

    def __init__(
        self,
        message_id: bytes | str | None = None,
        headers: HeaderSource | None = None,
        source: str | None = None,
        delivery_count: int | None = None,
        native: object = None,
    ) -> None:
        self.message_id = message_id
        self.headers = headers
        self.source = source
        self.delivery_count = delivery_count
        self.native = native
        # On the instance, where CPython reads them three times as fast (benchmarks/dispatch.py).
        self.rejection = self.settler = None

    def read_headers(self) -> HeaderSource:
        """Return the headers; called at most once for a message, and only when they are read."""
        return self.headers or ()

    def make_native(self) -> object:
        """Return the transport's own object; called only when it is read."""
        return self.native


class Delivery(Envelope):
    """One message as a transport delivers it: raw bytes and an envelope.

    To have a message dead-lettered without being handled (a missing body, too many deliveries),
    set ``rejection`` to the reason and the stage it failed in.
    """

    def __init__(
        self,
        raw_data: bytes,
        message_id: bytes | str | None = None,
        headers: HeaderSource | None = None,
        source: str | None = None,
        delivery_count: int | None = None,
        native: object = None,
        *,
        rejection: tuple[str, Stage] | None = None,
    ) -> None:
        # Written out, not super().__init__(): this runs for every message of a transport.
        self.raw_data = raw_data
        self.message_id = message_id
        self.headers = headers
        self.source = source
        self.delivery_count = delivery_count
        self.native = native
        self.rejection = rejection
        self.settler = None
