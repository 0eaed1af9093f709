"""Lag: how far the readers of the queue are behind, for probes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lag:
    """How much waits in the queue of an adapter; SQS calls its counts approximate.

    :ivar waiting: messages that any consumer may receive now.
    :ivar in_flight: messages that consumers have received and not settled, this one's included,
        and those that wait for a retry.
    :ivar delayed: messages that were sent with a delay which is not over.
    :ivar unsettled: messages that this adapter has received and not settled.
    """

    waiting: int
    in_flight: int
    delayed: int
    unsettled: int
