"""What both adapters of NATS share: a link, and messages that it hands over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from missive import Delivery, M
from missive.errors import TransportRefused
from missive.polling import PollingAdapter

from .errors import NATS_ERRORS, NATSUnavailable, raise_lasting
from .link import Link
from .servers import Servers

if TYPE_CHECKING:
    from missive import Processor
    from missive.polling import PollingOptions
    from typing_extensions import Unpack


#: How many messages are returned by one ``receive`` at most.
MOST_AT_ONCE = 1000


class ConnectedAdapter(PollingAdapter[M]):
    """An adapter of NATS: connects, and takes what the link's thread hands over.

    :param servers: where and as whom to connect.
    """

    connection_errors = (NATSUnavailable,)

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        servers: Servers,
        **options: Unpack[PollingOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)
        self.servers = servers
        self._link: Link | None = None
        #: What came and was not returned by ``receive``. The link's thread appends.
        self._arrivals: deque[Any] = deque()
        self._fresh: list[Any] = []
        self._waits = False

    @contextmanager
    def _noting_loss(self, *, waits: bool = True) -> Generator[None]:
        """Raise what nats-py raises as what it means.

        :param waits: a stream or consumer that is missing may be made later.
        """
        try:
            yield
        except (NATSUnavailable, TransportRefused):
            raise
        except NATS_ERRORS as error:
            raise_lasting(error, self, waits=waits)

    def _connect(self) -> Link:
        link = self._link = Link(self.servers, self.wake, self._gives_up)
        return link

    def _gives_up(self) -> bool:
        return self.stopping

    def _connected(self) -> Link:
        if self._link is None:
            raise NATSUnavailable("the adapter is not connected")
        return self._link

    def _hang_up(self, last: Iterable[tuple[str, bytes]] = ()) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close(last)
            self._hand_over()  # what its thread had read and not handed over

    # Arrivals.

    def _arrived(self, delivery: Delivery) -> None:
        """Take a message, on the link's loop; those that were read together go over together."""
        self._fresh.append(delivery)
        if len(self._fresh) == 1:
            link = self._link
            assert link is not None
            link.loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._arrivals.extend(self._fresh)
        self._fresh.clear()
        if self._waits:
            self.wake()

    def _wait_for_arrivals(self, timeout: float) -> None:
        if timeout > 0 and not self._arrivals:
            self._waits = True
            if not self._arrivals:
                self.wait(timeout)
            self._waits = False

    def _take_arrivals(self) -> list[Any]:
        taken: list[Any] = []
        arrivals = self._arrivals
        while arrivals and len(taken) < MOST_AT_ONCE:
            taken.append(arrivals.popleft())
        return taken
