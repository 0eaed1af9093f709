"""Lag: how far the readers of the queues are behind, for probes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Lag:
    """How much waits in the queues of an adapter.

    :ivar ready: messages that were delivered to no consumer yet, or were returned.
    :ivar unsettled: messages that this adapter received and has not settled; those of other
        consumers are not counted, since AMQP does not tell.
    :ivar consumers: how many consumers the queues have, this adapter's included.
    :ivar queues: ``ready`` of each queue by name.
    """

    ready: int
    unsettled: int
    consumers: int
    queues: Mapping[str, int] = field(default_factory=dict[str, int], repr=False)
