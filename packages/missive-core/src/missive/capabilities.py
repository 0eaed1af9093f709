"""Capabilities: what a transport, and so its adapter, can promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    from .frozen import dataclass


@dataclass(frozen=True)
class Capabilities:
    """What an adapter's transport guarantees; a class attribute of the adapter.

    Core reads it to settle, the conformance kit to choose its tests, the documentation to say what
    can be lost. The defaults promise least, save that a nack is passed to the adapter.
    """

    #: How often a message may be handled: never twice, never lost, or as the sender decides.
    delivery: Literal["at-most-once", "at-least-once", "request-reply"] = "at-most-once"
    #: What a nack does: the transport redelivers; it cannot, so the nack is refused (it becomes a
    #: dead letter); or the sender is answered with an error.
    nack: Literal["redeliver", "drop-refused", "error-response"] = "redeliver"
    #: Messages survive a restart of the transport's server.
    persistent: bool = False
    #: What a crashed process had in hand is delivered again.
    crash_redelivery: bool = False
    #: In which order messages are delivered: none promised, by source, or one order over all.
    ordering: Literal["none", "source", "total"] = "none"
    #: Several adapters share the messages of one source.
    competing_consumers: bool = False
    #: ``message_id`` is the same on redelivery.
    stable_id: bool = False
    #: ``delivery_count`` is given.
    delivery_count: bool = False
    #: ``headers`` are carried.
    headers: bool = False
    #: All 256 byte values pass unchanged.
    binary_safe: bool = True
    #: A body of no bytes is delivered.
    empty_body: bool = True
    #: The longest body in bytes; None where nothing limits it.
    max_bytes: int | None = None
    #: A lost connection is taken up again.
    reconnects: bool = False
    #: Messages may be acked in another order than they came.
    out_of_order_ack: bool = True
