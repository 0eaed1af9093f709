"""The writer of an inbox: stores what many requests bring, as many at once as there are."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import timedelta
from queue import Empty, SimpleQueue
from time import monotonic

from ..error_notes import place_of
from ..errors import DeadLetterStoreError
from ..letters.inbox import InboxStore, Receipt
from ..letters.letter import DeadLetter, utc_now

logger = logging.getLogger("missive.webhooks.inbox")

#: How many messages go into one transaction, at most.
AT_ONCE = 100
#: How often records of messages that were done long ago are pruned, in seconds.
PRUNE_EVERY = 600.0
#: How many of them in one transaction, so that no request waits long for it.
PRUNE_AT_ONCE = 1000

Written = tuple[DeadLetter, Future[Receipt]]


class InboxWriter:
    """Stores messages in a thread of its own: those that come meanwhile share a transaction.

    :param store: the store.
    :param remember: for how long a message is known after it was done.
    """

    def __init__(self, store: InboxStore, remember: timedelta) -> None:
        self._store = store
        self._remember = remember
        self._queue: SimpleQueue[Written | None] = SimpleQueue()
        self._prune_at = monotonic()
        self._thread = threading.Thread(target=self._run, name="missive-inbox-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, letter: DeadLetter) -> Future[Receipt]:
        """Have a letter stored; from any thread.

        :returns: a future that ends when it is stored, or fails by what the store raised.
        """
        future: Future[Receipt] = Future()
        future.set_running_or_notify_cancel()  # it is stored even if nobody waits
        self._queue.put((letter, future))
        return future

    def close(self) -> None:
        """Write what was put, and stop."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            batch, over = self._next_batch()
            if batch:
                self._write(batch)
            if over:
                return
            if monotonic() >= self._prune_at:
                self._prune()

    def _next_batch(self) -> tuple[list[Written], bool]:
        """Return what was put, and whether nothing follows; wait until it is time to prune."""
        batch: list[Written] = []
        timeout: float | None = max(self._prune_at - monotonic(), 0.0)
        try:
            while len(batch) < AT_ONCE:
                written = self._queue.get(timeout=timeout)
                if written is None:
                    return batch, True
                batch.append(written)
                timeout = 0.0
        except Empty:
            pass
        return batch, False

    def _write(self, batch: Sequence[Written]) -> None:
        try:
            receipts = self._store.receive([letter for letter, _ in batch])
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, DeadLetterStoreError):
                for written in batch:  # one of them cannot be stored, whatever it is
                    self._write((written,))
                return
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), receipt in zip(batch, receipts, strict=True):
            future.set_result(receipt)

    def _prune(self) -> None:
        """Forget some of what was done long ago; soon again where there is more of it."""
        self._prune_at = monotonic() + PRUNE_EVERY
        try:
            count = self._store.forget_done(utc_now() - self._remember, limit=PRUNE_AT_ONCE)
        except Exception as error:
            logger.warning(
                "what was done long ago cannot be pruned (%s at %s); trying again",
                type(error).__name__,
                place_of(error),
            )
            return
        if count >= PRUNE_AT_ONCE:
            self._prune_at = monotonic()
