"""The server process: one run of the processor, from its first message to its end."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from time import monotonic
from typing import TYPE_CHECKING, Generic

from missive import DrainTimeout, HandlingContext, M, ProcessingContext
from missive.polling import place_of

from .delivery import RequestDelivery

if TYPE_CHECKING:
    from .adapter import WSGIAdapter

logger = logging.getLogger("missive.adapters.wsgi.process")


class ServerProcess(Generic[M]):
    """What one adapter has in one process of a server, which may have forked since it was built.

    :param adapter: the adapter.

    :ivar ctx: the processing context; None before the first message and after the end.
    :ivar broken: whether the before-hooks failed when they last ran.
    :ivar refusing: whether new messages are refused, since the end is near.
    :ivar in_hand: the deliveries that are being handled. Adding to a set and discarding from it are
        atomic, so no request waits for another's.
    """

    def __init__(self, adapter: WSGIAdapter[M]) -> None:
        self.pid = os.getpid()
        self.ctx: ProcessingContext[M] | None = None
        self.broken = False
        self.refusing = False
        self.in_hand: set[RequestDelivery] = set()
        self._adapter = adapter
        self._lock = threading.Lock()
        self._idle = threading.Condition()
        self._closed = False

    def open(self) -> ProcessingContext[M] | None:
        """Run the before-hooks, unless that was done, and give the context; None after the end.

        Threads that come meanwhile wait. Where a hook failed, the next call tries again.

        :raises BaseException: what a hook raised.
        """
        with self._lock:
            if self.ctx is None and not self._closed:
                processor = self._adapter.processor
                ctx = ProcessingContext(self._adapter.message_cls, self._adapter, processor)
                self.broken = True
                try:
                    ctx.start()
                except BaseException as error:
                    ctx.finish(error)
                    raise
                self.broken = False
                self.ctx = ctx
                atexit.register(self._close_at_exit)
            return self.ctx

    # What calls the core, beside open and close.

    def take(self, delivery: RequestDelivery) -> HandlingContext[M] | None:
        """Have a delivery handled and settled, in the thread of its request.

        :returns: the context with its outcome; None after the end.
        :raises BaseException: what left it unsettled.
        """
        ctx = self.ctx or self._adapter.open_process(self)
        return None if ctx is None else ctx.deliver(delivery)

    def note_done(self) -> None:
        """Tell who waits that a delivery is in flight no more; needed while ``refusing`` is set."""
        with self._idle:
            self._idle.notify_all()

    def close(self, timeout: float) -> None:
        """Refuse new messages, wait for those in flight, run the after-hooks; once.

        :param timeout: how long to wait, in seconds.
        :raises DrainTimeout: handlers were not through by then; the hooks ran all the same.
        :raises BaseException: what a hook raised.
        """
        if self.pid != os.getpid():  # inherited by a fork: the parent's, and the parent closes it
            return
        self.refusing = True
        late = self.wait_until_idle(timeout)
        with self._lock:
            self._closed = True
            ctx, self.ctx = self.ctx, None
        atexit.unregister(self._close_at_exit)
        error = DrainTimeout([delivery.name for delivery in late], timeout) if late else None
        if ctx is not None:
            ctx.finish(error)
        if error is not None:
            raise error

    def wait_until_idle(self, timeout: float) -> list[RequestDelivery]:
        """Wait until nothing is in flight; needs ``refusing`` to be set.

        :param timeout: at most so many seconds.
        :returns: what is in flight still.
        """
        deadline = monotonic() + timeout
        with self._idle:
            while self.in_hand and (remaining := deadline - monotonic()) > 0:
                self._idle.wait(min(remaining, threading.TIMEOUT_MAX))
        return list(self.in_hand)

    def _close_at_exit(self) -> None:
        try:
            self.close(self._adapter.drain_timeout)
        except Exception as error:
            # Nobody is left to be told but the log.
            logger.error("at exit: %s at %s", type(error).__name__, place_of(error))
            logger.debug("the error at exit in full", exc_info=error)
