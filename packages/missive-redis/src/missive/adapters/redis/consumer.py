"""A consumer at work: the conversation with Redis for as long as one connection lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, cast

from redis import exceptions

from .entries import StreamEntry
from .errors import ServerError
from .groups import Group, is_no_group
from .ledger import Ledger, Telling
from .links import Command, Link, SpareLink
from .progress import Progress
from .replies import UNFINISHED

#: How long a read waits at the server for new entries, in seconds. It is asked again after that,
#: so this is also how soon a server that vanished is missed.
BLOCK = 2.0
#: How long an answer may be late, in seconds.
GRACE = 3.0
#: How long the answer to a read may take that was just unblocked, in seconds.
UNBLOCKED_GRACE = 1.0


class Consumer:
    """Reads entries and tells decisions, over one connection and, now and then, a second.

    A read may wait at the server until something comes. While it does, Redis does not look at what
    else its connection sends; so what must be said meanwhile goes over the second connection, which
    is opened when it is first needed.

    :param open_link: opens a connection.
    :raises RedisRefused: Redis does not allow what is needed.
    :raises redis.exceptions.RedisError: Redis cannot be asked now.
    """

    def __init__(
        self, open_link: Callable[[], Link], group: Group, ledger: Ledger, progress: Progress
    ) -> None:
        self._group = group
        self._ledger = ledger
        self._progress = progress
        self._side = SpareLink(open_link)
        self._replies: list[Any] = []
        self._expected = 0  # how many replies the read and what was sent with it will have
        self._telling: Telling | None = None
        self._due = 0.0
        self._unblocked = False  # whether the read that is under way was told to end
        self.link = open_link()
        try:
            progress.prepare(self.link)
            # Not allowed to everyone, and not needed by everyone: see finish_read.
            (client_id,) = self.link.call(("CLIENT", "ID"))
            self._client_id = client_id if isinstance(client_id, int) else None
            self.tell()
        except BaseException:
            self.link.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether the connection is as good as it was when it was last used."""
        return self.link.is_open

    @property
    def is_reading(self) -> bool:
        """Whether a read is under way."""
        return self._expected > 0

    def start_read(self, count: int, seconds: float) -> None:
        """Ask for new entries, and tell in the same write what was decided.

        :param count: at most so many of each stream.
        :param seconds: wait at the server for so long if there is nothing.
        """
        commands = [self._group.read(count, max(1, round(seconds * 1000)))]
        if self._ledger.unsent:
            self._telling = self._ledger.tell()
            commands = [*self._telling.commands, *commands]
        self.link.send(*commands)
        self._replies = []
        self._expected = len(commands)
        self._unblocked = False
        self._ledger.reading_since = monotonic()
        self._due = self._ledger.reading_since + seconds + GRACE

    def poll(self, *, readable: bool) -> Any:
        """Return the reply to the read, or ``UNFINISHED``.

        :param readable: whether the connection is readable.
        :raises redis.exceptions.RedisError: the connection is lost, or nothing came in time.
        """
        if readable:
            self._replies += self.link.read()
            if len(self._replies) >= self._expected:
                return self._end_read()
        elif monotonic() > self._due:
            self.link.close()
            raise exceptions.TimeoutError("Redis did not answer a read")
        return UNFINISHED

    def _end_read(self) -> Any:
        *confirmations, reply = self._replies
        self._expected = 0
        telling, self._telling = self._telling, None
        if telling is not None:
            self._confirm(telling, confirmations, self.link)
        return reply

    def _confirm(self, telling: Telling, confirmations: list[Any], link: Link | SpareLink) -> None:
        for confirmation in confirmations:
            # A group that is gone needs no telling; the next read finds out and mends it.
            if not is_no_group(confirmation):
                link.verify(confirmation)
        self._ledger.told(telling)
        self._progress.settled(telling.acks)

    def finish_read(self) -> list[Any]:
        """End the read that is under way, and give what it still brings: a list for each stream.

        Entries that Redis gives to a reader that has gone are pending and known to nobody. So the
        reader does not go: it has itself unblocked, or, if that is not allowed, waits.
        """
        if not self.is_reading:
            return []
        patience = max(0.0, self._due - monotonic())
        if self.unblock():
            patience = UNBLOCKED_GRACE
        while len(self._replies) < self._expected:
            self._replies += self.link.receive(patience)
        reply = self._end_read()
        return cast("list[Any]", reply) if isinstance(reply, list) else []

    def unblock(self) -> bool:
        """Have the read that is under way answered now; return whether Redis allows that."""
        if self._client_id is None or self._unblocked:
            return self._unblocked
        (reply,) = self._side.call(("CLIENT", "UNBLOCK", self._client_id))
        if isinstance(reply, ServerError):
            self._client_id = None
            return False
        self._unblocked = bool(reply)  # else it was not waiting, and its answer is on the way
        return True

    def say_aside(self, *commands: Command) -> list[Any]:
        """Send commands over the second connection; return the replies.

        A group that is gone is no error: the next read finds out, and mends it.

        :raises RedisRefused: Redis does not allow it.
        :raises redis.exceptions.RedisError: the connection is lost.
        """
        replies = self._side.call(*commands) if commands else []
        for reply in replies:
            if not is_no_group(reply):
                self._side.verify(reply)
        return replies

    def give_back(self, entries: Iterable[StreamEntry], idle: int) -> None:
        """Have entries seem not to have been delivered this time, so that any consumer takes them.

        :param idle: for how long they seem to be idle, in milliseconds.
        """
        by_count: dict[int, dict[bytes, list[bytes]]] = {}
        for entry in entries:
            ids = by_count.setdefault((entry.delivery_count or 1) - entry.counted, {})
            ids.setdefault(entry.stream, []).append(entry.entry_id)
        for count, ids in by_count.items():
            for reply in self.link.call(*self._group.keeps(ids, "IDLE", idle, "RETRYCOUNT", count)):
                if not is_no_group(reply):
                    self.link.verify(reply)

    def tell(self, *, aside: bool = False) -> None:
        """Send the pending acks and nacks, and wait until they are confirmed.

        :param aside: over the second connection, whatever the first is used for.
        :raises RedisRefused: Redis does not allow it.
        :raises redis.exceptions.RedisError: the connection is lost.
        """
        if not self._ledger.unsent:
            return
        link = self._side if aside or self.is_reading else self.link
        telling = self._ledger.tell()
        try:
            confirmations = link.call(*telling.commands)
        except BaseException:
            self._ledger.take_back(telling)
            raise
        self._confirm(telling, confirmations, link)

    def close(self) -> None:
        """Close both connections."""
        self.link.close()
        self._side.close()
