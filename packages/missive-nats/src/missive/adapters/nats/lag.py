"""Lag: how far the readers of a consumer are behind, for probes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lag:
    """How much waits for a consumer, by the server's own count.

    :ivar pending: messages that were delivered to no process yet.
    :ivar unsettled: messages that were delivered, to any process, and are not settled; those that
        wait for a redelivery are counted.
    :ivar redelivered: how many of those were delivered more than once.
    :ivar waiting: how many requests for messages wait at the server: about the idle processes.
    """

    pending: int
    unsettled: int
    redelivered: int
    waiting: int
