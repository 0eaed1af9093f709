"""The watch: what must go on while the receiving thread is occupied."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from ..error_notes import place_of
from ..handling import HandlingContext

logger = logging.getLogger("missive.polling.watch")


class Turnstile:
    """Lets one thread at a time talk to the transport.

    The receiving thread holds it, except while it does something else for long, such as a handler:
    ``with turnstile`` around that lets the watch in.

    :ivar open: lets the watch in; what entering it does, in one call.
    :ivar shut: lets it in no longer, and waits until it is out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.open, self.shut = self._lock.release, self._lock.acquire
        self._inside: int | None = None  # the thread that was let in

    def __enter__(self) -> None:
        # Not for the watch, as where a keepalive finds that messages have to be settled.
        if self._inside != threading.get_ident():
            self._lock.release()

    def __exit__(self, *exception: object) -> None:
        if self._inside != threading.get_ident():
            self._lock.acquire()

    def pass_through(self, timeout: float, action: Callable[[], None]) -> bool:
        """Do something while it is open; return whether there was an occasion.

        :param timeout: how long to wait for one, in seconds.
        """
        if not self._lock.acquire(timeout=timeout):
            return False
        self._inside = threading.get_ident()
        try:
            action()
        finally:
            self._inside = None
            self._lock.release()
        return True


class Watch:
    """A thread that looks after a run while the receiving thread is occupied.

    :param turnstile: entered by the receiving thread around what may take long.
    :param interval: how often to call, in seconds.
    :param keepalive: keeps the transport alive; called within the turnstile.
    :param look: looks at what is being handled.
    :param recoverable: the errors that the receiving thread deals with by itself, since it meets
        them too; others end the run.
    """

    def __init__(
        self,
        turnstile: Turnstile,
        interval: float,
        keepalive: Callable[[], None],
        look: Callable[[], object],
        recoverable: tuple[type[BaseException], ...],
    ) -> None:
        self._turnstile = turnstile
        self._interval = interval
        self._keepalive = keepalive
        self._look = look
        self._recoverable = recoverable
        self._failing = False
        self._over = threading.Event()
        #: What ended the watch, to be raised in the receiving thread.
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="missive-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; called by the receiving thread, which holds the turnstile."""
        self._over.set()
        with self._turnstile:  # the watch may be waiting there
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._interval):
            self._beat()
            if self.failure is not None:
                return

    def _beat(self) -> None:
        try:
            self._look()
            if self._turnstile.pass_through(self._interval, self._keep_alive):
                self._failing = False
        except self._recoverable as error:
            if not self._failing:
                logger.warning("keepalive failed: %s at %s", type(error).__name__, place_of(error))
            self._failing = True
        except BaseException as error:
            self.failure = error

    def _keep_alive(self) -> None:
        if not self._over.is_set():  # it is being closed, after the end of the run
            self._keepalive()


class HandlerTimeouts:
    """Names the handlers that run for longer than they should; nothing is killed."""

    def __init__(self) -> None:
        self._seen: dict[int, float] = {}
        self._named: set[int] = set()

    def overdue(self, begun: list[HandlingContext[Any]], limit: float | None) -> tuple[str, ...]:
        """Return the names of handlers that are overdue; log each once a message.

        :param begun: what is being handled now.
        :param limit: how long a handler may run, in seconds; None: as long as it likes.
        """
        if limit is None:
            return ()
        now = monotonic()
        names: list[str] = []
        contexts = {id(context): context for context in begun}
        self._seen = {key: self._seen.get(key, now) for key in contexts}
        self._named &= contexts.keys()
        for key, context in contexts.items():
            if now - self._seen[key] < limit or context.handler is None:
                continue
            names.append(context.handler.name)
            if key not in self._named:
                self._named.add(key)
                logger.warning(
                    "%s has been running for over %g s, its handler_timeout",
                    context.handler.name,
                    limit,
                )
        return tuple(names)
