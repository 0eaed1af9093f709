"""A partition while it is assigned to this process: how far it is settled, and what may be wrong."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from missive.polling import AckTracker

from .notes import LONGEST, Note, runs_between
from .record import Record

#: The fewest messages that may have been begun since an offset was committed, for all anyone knows.
FEWEST_SUSPECTS = 16


class Partition:
    """One partition, from its assignment to its revocation.

    A message is settled on the object that it came on. A partition that is revoked and assigned
    again is another object, so what is decided of the first settles nothing of the second.

    :param position: the first offset that is not settled.
    :param note: what was committed with that offset.
    :param end: the offset behind the last message of the partition, where the note has suspects.

    :ivar position: the offset to commit: everything below is settled.
    :ivar start: the position that it was assigned at.
    :ivar careful: whether messages are handled one at a time, since one may have killed a process.
    :ivar waiting: received messages that wait for the ones before them to be handled alone.
    :ivar given_back: how many messages were received and are not going to be handled here.
    :ivar is_paused: whether nothing is fetched, since too much is settled ahead.
    """

    def __init__(
        self, topic: str, number: int, position: int, note: Note | None = None, end: int = 0
    ) -> None:
        note = note or Note()
        self.topic, self.number = topic, number
        self.position = self.start = position
        self.name = f"{topic}-{number}"
        self.careful = note.suspects > 0 and position < end
        self.waiting: deque[Record] = deque()
        self.is_paused = False
        self._tracker = AckTracker()
        self._last = position - 1
        self._known = deque(note.settled)  # by a process before this one
        self._suspects, self._end = note.suspects, end
        self._alone, self._deliveries = note.alone, note.deliveries
        self.given_back = 0
        # Messages that were received: by now, before the last commit, and between two of these.
        self._received = self._before = self._pace = 0
        self._settled = 0  # below the position that was committed last
        self._committed: tuple[int, Note] | None = None

    @property
    def gap(self) -> int:
        """How many messages were received and are at or above the position."""
        return self._tracker.gap(None)

    def receive(self, offset: int) -> bool:
        """Note that a message came; return whether to handle it.

        Not where it came before, or a process before this one had settled it.
        """
        if offset <= self._last:
            return False
        self._last = offset
        self._received += 1
        self._tracker.begin(None, offset)
        known = self._known
        while known and known[0][1] < offset:
            known.popleft()
        if known and known[0][0] <= offset:
            self.settle(offset)
            return False
        return True

    def settle(self, offset: int) -> None:
        """Note that a message is settled."""
        risen = self._tracker.done(None, offset)
        if risen is not None:
            self.position = risen + 1
        if offset == self._alone:
            self._alone, self._deliveries = None, 0

    def take_suspect(self, max_deliveries: int) -> Record | None:
        """Return the next message to handle alone; None where there is none.

        Commit what :meth:`commit` notes of it before it begins. One that was begun
        ``max_deliveries`` times is rejected instead.
        """
        if not self.waiting or self.is_cleared:
            return None
        record = self.waiting.popleft()
        self._suspects -= 1
        if record.offset != self._alone:
            self._alone, self._deliveries = record.offset, 1  # by the process that died
        elif self._deliveries >= max_deliveries:
            times = "1 time" if self._deliveries == 1 else f"{self._deliveries} times"
            record.rejection = (f"delivered {times} without being settled", "settling")
            return record
        self._deliveries += 1
        return record

    @property
    def is_cleared(self) -> bool:
        """Whether what waits did not kill anybody: the process that died had not received it."""
        if not self.waiting:
            return False
        return self._suspects <= 0 or self.waiting[0].offset >= self._end

    def put_back(self, record: Record) -> None:
        """Have a suspect wait again: it could not be noted."""
        self.waiting.appendleft(record)
        self._suspects += 1
        self._deliveries -= 1

    def take_waiting(self) -> list[Record]:
        """Return everything that waited: no message has to be handled alone any more."""
        self.careful = False
        waiting = list(self.waiting)
        self.waiting.clear()
        return waiting

    # Committing.

    @property
    def is_ahead(self) -> bool:
        """Whether more messages may have been begun than the last commit says."""
        if self.careful or self._committed is None:
            return False
        return self._received - self._settled > self._committed[1].suspects

    def commit(self, longest: int = LONGEST) -> tuple[int, str] | None:
        """Return the offset to commit and its metadata; None where nothing has changed.

        :param longest: the most bytes of metadata.
        """
        pending = self._tracker.pending(None) if self.gap else []
        if self.careful:
            suspects = max(self._suspects, 0) + 1  # with the one that is being handled
        else:
            self._pace = max(self._received - self._before, self._pace // 2)
            ahead = max(len(pending) + 2 * self._pace, FEWEST_SUSPECTS)
            suspects = 1 << (ahead - 1).bit_length()
        self._before = self._received
        note = self._note(suspects, pending)
        if self._committed is not None:
            position, before = self._committed
            same = replace(note, suspects=before.suspects) == before
            if position == self.position and same and note.suspects <= before.suspects:
                return None
        self._committed = self.position, note
        self._settled = self._received - self.gap
        return self.position, note.write(self.position, longest)

    def give_up(self, longest: int = LONGEST) -> tuple[int, str]:
        """Return the last offset to commit and its metadata.

        Whatever was being handled alone, or was never settled although it was begun, is suspect to
        the process that has the partition next.
        """
        pending = self._tracker.pending(None)
        suspects = max(self._suspects, 0) if self.careful else 0
        in_flight = len(pending) - len(self.waiting) - self.given_back
        if in_flight > 0:
            suspects = max(suspects + 1, len(pending))
        return self.position, self._note(suspects, pending).write(self.position, longest)

    def _note(self, suspects: int, pending: list[int]) -> Note:
        runs = tuple(runs_between(pending, self._last)) if pending else ()
        return Note(suspects, self._alone, self._deliveries, runs)

    def uncommit(self) -> None:
        """Have the offset committed again: the last commit did not arrive."""
        self._committed = None
