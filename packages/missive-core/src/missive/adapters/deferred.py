"""Deferred messages as a transport: ``missive run app:processor --from deferred:``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..capabilities import OF_A_STORE
from ..errors import ConfigurationError, DeadLetterStoreError
from ..handling import HandlingContext
from ..letters.store import DeadLetterStore
from ..message import M
from ..polling.adapter import PollingAdapter
from ..processor import Processor
from ..urls import read_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..polling.options import PollingOptions

__all__ = ["DeferredAdapter"]


class DeferredAdapter(PollingAdapter[M]):
    """Handles the deferred messages of the processor's DLQ when they are due, and nothing else.

    Every polling adapter also does this. Use this one in a separate process: for webhooks, or to
    keep retries apart from new messages.

    :param options: what every :class:`~missive.polling.PollingAdapter` takes.
    """

    capabilities = OF_A_STORE
    connection_errors = (DeadLetterStoreError,)

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        **options: Unpack[PollingOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Any,
        **options: Any,
    ) -> DeferredAdapter[Any]:
        """Return the adapter for ``deferred:``, with its keyword arguments in the query.

        :raises ConfigurationError: an address follows the scheme, or an option cannot be read.
        """
        if url.partition("?")[0].partition(":")[2] not in ("", "//"):
            raise ConfigurationError(
                "deferred: takes no address, since its messages are in the processor's DLQ; name"
                " that with --dlq URL or processor.set_dlq(...)"
            )
        return cls(message_cls, processor, **{**read_options(url, cls.url_options), **options})

    def open(self) -> None:
        """Look for the store.

        :raises ConfigurationError: the processor has no DLQ that keeps deferred messages.
        """
        if not isinstance(self.processor.dlq, DeadLetterStore):
            raise ConfigurationError(
                "there are no deferred messages without a store that keeps them; name one with"
                " --dlq URL or processor.set_dlq(...), such as SQLiteDLQ"
            )

    def close(self) -> None:
        """Leave the store open: it is the processor's."""

    def receive(self, timeout: float) -> Sequence[Any]:
        """Wait: the run itself takes the due messages from the store."""
        self.wait(timeout)
        return ()

    def look(self) -> None:
        """Look into the store at once, since a message was put there; from any thread."""
        loop = self._loop
        if loop is not None:
            loop.intake.look()
        self.wake()

    def settle(self, batch: Sequence[HandlingContext[M]]) -> None:
        """Do nothing: each message is settled by the store that it came from."""

    def ack(self, message: M) -> None:
        """Do nothing; see ``settle``."""

    def nack(self, message: M) -> None:
        """Do nothing; see ``settle``."""
