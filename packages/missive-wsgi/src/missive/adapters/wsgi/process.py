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
from missive.webhooks.serving import Inbox

from .delivery import RequestDelivery

if TYPE_CHECKING:
    from .adapter import WSGIAdapter

logger = logging.getLogger("missive.adapters.wsgi.process")


class ServerProcess(Generic[M]):
    """What one adapter has in one process of a server, which may have forked since it was built.

    :param adapter: the adapter.

    :ivar ctx: the processing context; None before the first message and after the end, and where
        there is an inbox.
    :ivar inbox: the inbox, in the same way.
    :ivar stores: whether messages go to an inbox.
    :ivar broken: whether the before-hooks failed when they last ran.
    :ivar refusing: whether new messages are refused, since the end is near.
    :ivar in_hand: the deliveries that are being handled. Adding to a set and discarding from it are
        atomic, so no request waits for another's.
    """

    def __init__(self, adapter: WSGIAdapter[M]) -> None:
        self.pid = os.getpid()
        self.ctx: ProcessingContext[M] | None = None
        self.inbox: Inbox[M] | None = None
        self.stores = adapter.inbox_options is not None
        self.broken = False
        self.refusing = False
        self.in_hand: set[RequestDelivery] = set()
        self._adapter = adapter
        self._lock = threading.Lock()
        self._idle = threading.Condition()
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether the before-hooks have run, or the inbox is open."""
        return self.ctx is not None or self.inbox is not None

    def open(self) -> bool:
        """Run the before-hooks, or open the inbox, unless that was done; return False after the end.

        Threads that come meanwhile wait. Where a hook failed, the next call tries again.

        :raises BaseException: what a hook raised.
        """
        with self._lock:
            if self.is_open or self._closed:
                return not self._closed
            self.broken = True
            if self.stores:
                self.inbox = self._open_inbox()
            else:
                self.ctx = self._start_run()
            self.broken = False
            atexit.register(self._close_at_exit)
            return True

    def _open_inbox(self) -> Inbox[M]:
        adapter = self._adapter
        assert adapter.inbox_options is not None
        inbox = Inbox(
            adapter.message_cls, adapter.processor, adapter.inbox_options, adapter.drain_timeout
        )
        inbox.open()
        return inbox

    def _start_run(self) -> ProcessingContext[M]:
        adapter = self._adapter
        ctx = ProcessingContext(adapter.message_cls, adapter, adapter.processor)
        try:
            ctx.start()
        except BaseException as error:
            ctx.finish(error)
            raise
        return ctx

    # What calls the core, beside open and close.

    def take(self, delivery: RequestDelivery) -> HandlingContext[M] | None:
        """Have a delivery handled and settled, in the thread of its request.

        :returns: the context with its outcome; None after the end.
        :raises BaseException: what left it unsettled.
        """
        if self.ctx is None:
            self._adapter.open_process(self)
        ctx = self.ctx
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
            inbox, self.inbox = self.inbox, None
        atexit.unregister(self._close_at_exit)
        error = DrainTimeout([delivery.name for delivery in late], timeout) if late else None
        if ctx is not None:
            ctx.finish(error)
        if inbox is not None:
            inbox.close()
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
