"""The transport of a polling adapter: what the author of one writes."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..delivery import Delivery
from .options import URL_OPTIONS


class Transport(ABC):
    """Connects, receives, and is told to flush and to keep alive; ``ack`` and ``nack`` beside that.

    All of these are only ever called in the thread that called ``run``; and ``keepalive``, while a
    handler occupies that thread, in another one instead, never both at once.
    """

    #: Errors of the transport's client that mean: the connection is lost, try again.
    connection_errors: tuple[type[Exception], ...] = ()
    #: Errors that no new attempt mends (a wrong password); looked at before connection_errors.
    fatal_errors: tuple[type[Exception], ...] = ()
    #: How long settled messages may wait to be flushed together, in seconds; None: the transport
    #: does not batch, so each message is settled before the next is handled.
    flush_interval: float | None = None
    #: How often ``keepalive`` is called at least, in seconds; None: never.
    keepalive_interval: float | None = None
    #: How long one ``receive`` may wait, in seconds.
    poll_timeout: float = 0.5
    #: A message that is nacked without a delay is handled again by this process after so many
    #: seconds; later messages of its ordering key wait behind it. None: the transport is told.
    nack_delay: float | None = None
    #: How many messages may wait in this process behind others, whatever ``max_in_flight``.
    waiting_room: int = 1000
    #: What may stand in the query of a URL, beside what an adapter adds, and how it is read.
    url_options: Mapping[str, Callable[[str], Any]] = URL_OPTIONS
    #: How many messages ``receive`` may return now, so that no more than ``max_in_flight`` are taken
    #: off the transport; of more, the rest wait here. Set before each ``receive``.
    room: int = sys.maxsize
    #: The source of messages that ``receive`` returns as bytes alone.
    source: str | None = None
    #: What the log says of messages left over by a transport that cannot redeliver them.
    where_leftovers_go = "only its next run can handle them"

    @abstractmethod
    def open(self) -> None:
        """Connect, and return when a message that is published now would be delivered."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect, from any state, also after a failed ``open``; called more than once."""

    @abstractmethod
    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        """Return what has come; wait for something if nothing has.

        Wait with :meth:`wait`, so that ``stop`` takes effect at once. Bytes alone stand for a
        delivery without an envelope of its own.

        :param timeout: wait at most so many seconds.
        :returns: the deliveries in order; empty when idle.
        :raises EndOfInput: there will never be another message.
        """

    def lag_by_source(self) -> Mapping[str, int] | None:
        """Return how many messages the transport has that are not settled, by source.

        For metrics and autoscaling: called from any thread, every few seconds, and by programs that
        never ``run``. Count what waits for any consumer, and what consumers have in flight where
        the transport tells. It opens a connection of its own if it needs one.

        :returns: the counts by the names that were subscribed to; None where they are unknown.
        :raises Exception: the transport cannot be asked now.
        """
        return None

    # These four do nothing unless a transport overrides them.

    def flush(self) -> None:  # noqa: B027
        """Send the acks that were batched; called after each batch, when idle, and on stop."""

    def keepalive(self) -> None:  # noqa: B027
        """Keep the connection, and the leases of :meth:`unsettled`, alive.

        Called at least every ``keepalive_interval``, also while handlers are busy.
        """

    def give_back(self, deliveries: Sequence[Delivery | bytes]) -> None:  # noqa: B027
        """Have what was received and not handled delivered again soon, to any consumer.

        Called when ``run`` ends, before ``close``, where the transport redelivers at all. Unless
        overridden the transport does so in its own time, as after a crash.
        """

    def dropped(self, deliveries: Sequence[Delivery]) -> None:  # noqa: B027
        """Forget deliveries that will not be handled, since their connection was lost.

        Called before the transport is opened again, which delivers them again.
        """
