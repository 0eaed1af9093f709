"""The inbox: messages are stored before they are answered, and handled afterwards."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, Generic, NamedTuple

from ..adapters.deferred import DeferredAdapter
from ..delivery import Delivery
from ..error_notes import place_of
from ..errors import ConfigurationError, DrainTimeout
from ..ids import format_id
from ..letters.inbox import InboxStore, Receipt, received_letter
from ..message import M, Message, RawMessage
from ..processor import Processor
from .inbox_writer import InboxWriter
from .options import check_count

logger = logging.getLogger("missive.webhooks.inbox")

#: After how many seconds a run that failed begins again; twice as many each time, up to the longest.
PAUSE, LONGEST_PAUSE = 1.0, 30.0
#: How much longer than the drain deadline the end of a run is waited for, in seconds.
GRACE = 5.0


class InboxOptions(NamedTuple):
    """What an adapter is told of its inbox.

    :ivar remember: for how long a message is known after it was done.
    :ivar workers: how many messages are handled at once in this process.
    """

    remember: timedelta
    workers: int

    @classmethod
    def checked(cls, remember: timedelta, workers: int) -> InboxOptions:
        """Refuse what cannot work.

        :raises ConfigurationError: it cannot.
        """
        if not isinstance(remember, timedelta) or remember <= timedelta(0):
            raise ConfigurationError(
                f"remember={remember!r} would have messages handled twice; give a time such as"
                " timedelta(days=3), for as long as the sender may send a message again"
            )
        check_count("inbox_workers", workers, "messages")
        return cls(remember, workers)


def store_of(processor: Processor[Any]) -> InboxStore:
    """Return the store of a processor's inbox.

    :raises ConfigurationError: it has none that can be one.
    """
    store = processor.dlq
    if not isinstance(store, InboxStore):
        what = "has no DLQ" if store is None else f"keeps its messages in a {type(store).__name__}"
        raise ConfigurationError(
            f"inbox=True needs a store that takes each message once, and the processor {what}; name"
            " one with processor.set_dlq(...), such as SQLiteDLQ or PostgreSQLDLQ"
        )
    return store


class InboxPump:
    """Runs the processor on the messages of its store that are due, until it is closed.

    A run that fails begins again after a while, since messages go on arriving.

    :param message_cls: makes a message of the bytes of a body.
    :param processor: the processor.
    :param workers: how many messages are handled at once.
    :param drain_timeout: how long handlers may go on at the end, in seconds.
    """

    def __init__(
        self,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        workers: int,
        drain_timeout: float,
    ) -> None:
        self._adapter = DeferredAdapter(
            message_cls, processor, workers=workers, drain_timeout=drain_timeout
        )
        self._closing = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="missive-inbox", daemon=True)

    def start(self) -> None:
        """Begin to handle what is stored."""
        self._thread.start()

    def look(self) -> None:
        """Look into the store: a message was stored; from any thread."""
        self._adapter.look()

    def close(self) -> None:
        """Let what is being handled finish, and stop.

        :raises DrainTimeout: handlers had not finished at the drain deadline.
        :raises BaseException: what a processing hook raised at the end.
        """
        self._closing.set()
        self._adapter.stop()
        timeout = self._adapter.drain_timeout
        self._thread.join(min(timeout + GRACE, threading.TIMEOUT_MAX))
        if self._thread.is_alive():
            raise DrainTimeout([self._adapter.status().handling or "a message"], timeout)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        pause = PAUSE
        while not self._closing.is_set():
            try:
                self._adapter.run()
                return
            except BaseException as error:  # in a thread of ours, whose end nobody would notice
                if self._closing.is_set():
                    self._error = error
                    return
                logger.error(
                    "the inbox stopped handling (%s at %s); it begins again in %.3g s",
                    type(error).__name__,
                    place_of(error),
                    pause,
                )
                logger.debug("the error in full", exc_info=error)
            self._closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


class Inbox(Generic[M]):
    """The inbox of one process: it writes messages to the store, and has them handled from there.

    :param message_cls: makes a message of the bytes of a body.
    :param processor: handles the messages; its DLQ is the store.
    :param options: how long to remember, and how many to handle at once.
    :param drain_timeout: how long handlers may go on at the end, in seconds.
    :raises ConfigurationError: the processor has no store for it.
    """

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        options: InboxOptions,
        drain_timeout: float,
    ) -> None:
        self._message_cls = message_cls
        self._writer = InboxWriter(store_of(processor), options.remember)
        self._pump = (
            InboxPump(message_cls, processor, options.workers, drain_timeout)
            if options.workers
            else None
        )

    def open(self) -> None:
        """Begin to write, and to handle what is stored."""
        self._writer.start()
        if self._pump is not None:
            self._pump.start()

    def message_of(self, delivery: Delivery) -> Message:
        """Return the message of a delivery; a RawMessage where its class cannot make it."""
        try:
            message: Message = self._message_cls(delivery.raw_data)
            message.put_in(delivery)
        except Exception:  # its handling will fail, and say so
            message = RawMessage(delivery.raw_data)
            message.put_in(delivery)
        return message

    def put(self, message: Message) -> Future[Receipt]:
        """Have a message stored; its future ends when it is, or fails by what the store raised."""
        return self._writer.put(received_letter(message))

    def note(self, message: Message, receipt: Receipt) -> None:
        """Take note that a message was stored, or known: log it, and have it handled."""
        name, source = format_id(message.message_id), message.source
        if receipt is Receipt.KNOWN:
            logger.info("%s on %s was received before; it is not handled again", name, source)
            return
        if receipt is Receipt.BESIDE:
            logger.warning(
                "%s on %s came with another body than before; both are kept and handled",
                name,
                source,
            )
        if self._pump is not None:
            self._pump.look()

    def close(self) -> None:
        """Finish what is in flight, and stop.

        :raises DrainTimeout: handlers had not finished in time.
        :raises BaseException: what a processing hook raised at the end.
        """
        self._writer.close()
        if self._pump is not None:
            self._pump.close()
