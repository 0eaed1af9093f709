"""The pump of an inbox: handles stored messages in a thread of the server's process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from ..adapters.deferred import DeferredAdapter
from ..error_notes import place_of
from ..errors import DrainTimeout
from ..processor import Processor

logger = logging.getLogger("missive.webhooks.inbox")

#: After how many seconds a run that failed begins again; twice as many each time, up to the longest.
PAUSE, LONGEST_PAUSE = 1.0, 30.0
#: How much longer than the drain deadline the end of a run is waited for, in seconds.
GRACE = 5.0


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
