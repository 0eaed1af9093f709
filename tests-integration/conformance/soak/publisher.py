"""The publisher of a soak: a thread that publishes at a rate, and notes what was confirmed."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from missive.conformance.ledger import numbered_body

from .books import REPEATED, SoakLedger

#: Until it sends again what could not be sent, and for how long in all, in seconds.
AGAIN, PATIENCE = 0.1, 120.0
#: How often it counts what the transport has, in seconds.
COUNTED = 1.0


class Publisher(threading.Thread):
    """Publishes numbered messages, each once the transport has confirmed the former.

    :param harness: publishes a message, and counts what the transport has.
    :param ledger: where it is noted.

    :ivar rate: messages a second; None for as many as there can be.
    :ivar published: how many were confirmed.
    :ivar depth: how many messages the transport had when it was last asked.
    """

    def __init__(self, harness: Any, ledger: SoakLedger) -> None:
        super().__init__(name="missive-publisher", daemon=True)
        self.rate: float | None = None
        self.published = 0
        self.depth = 0
        self.error: Exception | None = None
        self._harness = harness
        self._ledger = ledger
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._ending = threading.Event()

    def run(self) -> None:
        """Publish until it is to end."""
        due = counted = monotonic()
        try:
            while not self._ending.is_set():
                self._flowing.wait()
                now = monotonic()
                if now >= counted + COUNTED:
                    self.count()
                    counted = now
                if self.rate is not None:
                    if due > now:
                        self._ending.wait(min(due - now, 0.01))
                        continue
                    # After an outage it goes on at its rate, rather than making up for it.
                    due = max(due, now - 1.0) + 1.0 / self.rate
                self._publish()
        except Exception as error:  # raised by check(), in the main thread
            self.error = error

    def check(self) -> None:
        """Raise what ended the thread.

        :raises Exception: what could not be published, whatever it is for this transport.
        """
        if self.error is not None:
            raise self.error

    def count(self) -> None:
        """Count what the transport has."""
        with self._lock:
            self.depth = self._harness.remaining()

    def _publish(self) -> None:
        body = numbered_body(self.published)
        deadline = monotonic() + PATIENCE
        while True:
            try:
                with self._lock:
                    confirmed = self._harness.publish(body)
            except Exception:  # the errors of transports have no common class
                if monotonic() > deadline:
                    raise
                confirmed = False
            if confirmed:
                break
            self._ledger.note(REPEATED, body)
            if self._ending.wait(AGAIN):
                return
        self._ledger.note("confirmed", body)
        self.published += 1

    def go(self, rate: float | None = None) -> None:
        """Publish from now on.

        :param rate: messages a second; as many as there can be unless given.
        """
        self.rate = rate
        self._flowing.set()

    def halt(self) -> None:
        """Publish nothing more, until ``go``; return when the last message was confirmed."""
        self._flowing.clear()
        with self._lock:
            pass

    @contextmanager
    def held(self) -> Generator[None]:
        """Let nothing be published meanwhile."""
        with self._lock:
            yield

    def end(self) -> None:
        """End the thread."""
        self._ending.set()
        self._flowing.set()
        self.join(PATIENCE)
