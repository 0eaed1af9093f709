"""The outbox: deletions and changes of visibility, on their way to SQS in batches of ten."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from time import monotonic
from typing import Any, NamedTuple

from missive import format_id

from .backoff import Backoff
from .callers import Callers
from .errors import BOTO_ERRORS, Kind, code_of, kind_of, said_by
from .sqs_message import SQSMessage, State

logger = logging.getLogger("missive.adapters.sqs.outbox")

#: The most entries of one call, a limit of SQS.
BATCH = 10


class Entry(NamedTuple):
    """What is to be done with one message.

    :ivar seconds: for how long no consumer may receive it; None: delete it.
    """

    message: SQSMessage
    seconds: int | None


class Outbox:
    """Sends what became of messages, from threads of its own; nothing is forgotten unsent.

    The receiving thread puts entries in. Entries of a call that failed are sent again. Of one
    message at most one entry is on its way, and the latest that waits counts.

    :param client: returns the client of boto3 to use now.
    :param queue_url: returns the URL of the queue.
    :param threads: how many calls are under way at most.
    :param wake: called when the receiving thread has something to look at.

    :ivar finished: messages that need no more attention; taken by the receiving thread.
    :ivar errors: errors of calls, which the receiving thread raises.
    """

    def __init__(
        self,
        client: Callable[[], Any],
        queue_url: Callable[[], str],
        threads: int,
        wake: Callable[[], None],
    ) -> None:
        self._client = client
        self._queue_url = queue_url
        self._callers = Callers(threads, "missive-sqs-outbox", wake)
        self._lock = threading.Lock()
        self._waiting: dict[SQSMessage, Entry] = {}
        self._sending: set[SQSMessage] = set()
        self._backoff = Backoff()
        self.finished: deque[SQSMessage] = deque()
        self.errors: deque[Exception] = deque()

    def __len__(self) -> int:
        """Return how many messages have something waiting or on its way."""
        with self._lock:
            return len(self._waiting.keys() | self._sending)

    def delete(self, message: SQSMessage) -> None:
        """Delete a message."""
        message.state = State.DELETED
        self._put(Entry(message, None))

    def give_back(self, message: SQSMessage, seconds: int) -> None:
        """Let other consumers have a message after so many seconds."""
        message.state = State.RETURNED
        self._put(Entry(message, seconds))

    def extend(self, message: SQSMessage, seconds: int) -> None:
        """Keep a message from other consumers for so many seconds from now."""
        with self._lock:
            if message in self._waiting or message in self._sending:
                return
            self._waiting[message] = Entry(message, seconds)

    def forget(self, message: SQSMessage) -> None:
        """Drop what waits for a message that was received anew."""
        with self._lock:
            self._waiting.pop(message, None)

    def _put(self, entry: Entry) -> None:
        with self._lock:
            self._waiting[entry.message] = entry

    def send(self, *, partly_full: bool = True) -> None:
        """Send what waits, unless SQS asked for a pause.

        :param partly_full: also batches of less than ten.
        """
        with self._lock:
            if self._backoff.seconds or (not partly_full and len(self._waiting) < BATCH):
                return
            ready = [each for each in self._waiting.values() if each.message not in self._sending]
            for is_deletion in (True, False):
                same = [each for each in ready if (each.seconds is None) is is_deletion]
                for first in range(0, len(same), BATCH):
                    batch = same[first : first + BATCH]
                    if partly_full or len(batch) == BATCH:
                        self._start(batch)

    def _start(self, batch: list[Entry]) -> None:
        for entry in batch:
            del self._waiting[entry.message]
            self._sending.add(entry.message)
        self._callers.submit(lambda: self._call(batch))

    def drain(self, timeout: float) -> bool:
        """Send everything and wait for it; return whether all of it was taken.

        :param timeout: at most so many seconds; a call that fails ends the wait sooner.
        """
        deadline = monotonic() + timeout
        while len(self) and not self.errors:
            left = deadline - monotonic()
            if left <= 0:
                break
            self.send()
            if not self._callers.wait(left):
                break
            pause = threading.Event()
            pause.wait(min(self._backoff.seconds, left))
        return not len(self)

    def close(self) -> None:
        """End the threads."""
        self._callers.close()

    # In the threads.

    def _call(self, batch: list[Entry]) -> None:
        retried = batch
        try:
            retried = self._attempt(batch)
        except Exception as error:  # a fault of ours, which must not be lost with its thread
            self.errors.append(error)
        finally:
            self._done(batch, retried)

    def _attempt(self, batch: list[Entry]) -> list[Entry]:
        """Make the call, or one for each entry; return the entries to send again."""
        try:
            return self._sent(batch)
        except BOTO_ERRORS as error:
            kind = kind_of(error)
            if kind is Kind.ENTRY and len(batch) == 1:
                self._give_up(batch[0], code_of(error))
                return []
            if kind is Kind.ENTRY:  # one of them is at fault
                return [each for entry in batch for each in self._attempt([entry])]
            if kind is Kind.THROTTLED:
                with self._lock:
                    self._pause(said_by(error))
            else:
                self.errors.append(error)
            return batch

    def _done(self, batch: Iterable[Entry], retried: Iterable[Entry]) -> None:
        again = {entry.message: entry for entry in retried}
        with self._lock:
            for entry in batch:
                message = entry.message
                self._sending.discard(message)
                if message in again:
                    # What came meanwhile counts, unless it only prolongs.
                    self._waiting.setdefault(message, again[message])
                elif message not in self._waiting and message.state is not State.HELD:
                    self.finished.append(message)

    def _sent(self, batch: list[Entry]) -> list[Entry]:
        """Make the call; return the entries to send again."""
        client, by_id = self._client(), {str(at): entry for at, entry in enumerate(batch)}
        deletes = batch[0].seconds is None
        entries: list[dict[str, Any]] = [
            {"Id": key, "ReceiptHandle": entry.message.receipt} for key, entry in by_id.items()
        ]
        if not deletes:
            for each in entries:
                each["VisibilityTimeout"] = by_id[each["Id"]].seconds
        method = "delete_message_batch" if deletes else "change_message_visibility_batch"
        asked_at = monotonic()
        answer = getattr(client, method)(QueueUrl=self._queue_url(), Entries=entries)
        for done in answer.get("Successful", ()):
            entry = by_id[done["Id"]]
            if entry.seconds is not None:
                entry.message.visible_at = asked_at + entry.seconds
        retried: list[Entry] = []
        for failed in answer.get("Failed", ()):
            entry = by_id[failed["Id"]]
            if failed.get("SenderFault"):
                self._give_up(entry, str(failed.get("Code", "unknown")))
            else:
                retried.append(entry)
        with self._lock:
            if retried:
                self._pause(f"{len(retried)} of {len(batch)} entries failed in {method}")
            else:
                self._backoff.succeed()
        return retried

    def _pause(self, why: str) -> None:
        if self._backoff.fail():
            logger.warning("SQS refused settlements (%s); sending them again", why)

    def _give_up(self, entry: Entry, code: str) -> None:
        message = entry.message
        if entry.seconds is not None and message.state is State.DELETED:
            return  # it was settled meanwhile
        message.visible_at = inf  # whatever was asked for, asking again changes nothing
        what = "could not be deleted" if entry.seconds is None else "could not be kept or returned"
        logger.warning(
            "%s %s (%s): the visibility of this delivery is over, so it may be delivered again",
            format_id(str(message.message_id).encode()),
            what,
            code,
        )
