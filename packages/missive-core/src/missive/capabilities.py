"""Capabilities: what a transport, and so its adapter, can promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Capabilities:
    """What an adapter's transport guarantees; a class attribute of the adapter.

    The core settles by it, the conformance kit chooses its tests by it, and the documentation says
    by it what can be lost. The defaults guarantee least, but a nack is passed to the adapter.
    """

    #: How often a message may be handled: never twice, never lost, or as the sender decides.
    delivery: Literal["at-most-once", "at-least-once", "request-reply"] = "at-most-once"
    #: What a nack does: the transport redelivers; it cannot, so the nack is refused (it becomes a
    #: dead letter); or the sender is answered with an error.
    nack: Literal["redeliver", "drop-refused", "error-response"] = "redeliver"
    #: Messages survive a restart of the transport's server.
    persistent: bool = False
    #: A crashed process's unfinished messages are redelivered.
    crash_redelivery: bool = False
    #: In which order messages are delivered: none promised, by source, or one order over all.
    ordering: Literal["none", "source", "total"] = "none"
    #: Several adapters share the messages of one source.
    competing_consumers: bool = False
    #: ``message_id`` is the same on redelivery.
    stable_id: bool = False
    #: ``delivery_count`` is set.
    delivery_count: bool = False
    #: ``headers`` are carried.
    headers: bool = False
    #: All 256 byte values pass unchanged.
    binary_safe: bool = True
    #: A body of no bytes is delivered.
    empty_body: bool = True
    #: The longest body in bytes; None where nothing limits it.
    max_bytes: int | None = None
    #: A lost connection is opened again.
    reconnects: bool = False
    #: The transport takes acks only in the order of delivery, for each source. The receive loop
    #: sends them so, whatever order the handlers finish in.
    ordered_acks: bool = False
    #: A nack may ask for a delay, which the transport keeps; it counts the deliveries by itself.
    delayed_nack: bool = False
    #: The longest delay of a nack, in seconds; None where nothing limits it.
    max_delay: float | None = None
    #: A message may be settled on another connection than the one that delivered it.
    settles_across_connections: bool = False
    #: The most messages that the transport hands out unsettled; None where nothing limits it.
    max_in_flight: int | None = None


#: What is promised where the messages are letters of a store.
OF_A_STORE = Capabilities(
    delivery="at-least-once",
    nack="redeliver",
    persistent=True,
    crash_redelivery=True,
    competing_consumers=True,
    stable_id=True,
    headers=True,
)
