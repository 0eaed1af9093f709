"""The reader: a member of a consumer group as the transport of a polling adapter."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from missive import Delivery, M
from missive.polling import PollingAdapter

from .assignment import Assignment, Commit
from .errors import KafkaRefused, KafkaUnavailable, is_lasting
from .member import ANSWER_TIMEOUT, Member
from .notes import read_note
from .partition import Partition
from .record import Record

logger = logging.getLogger("missive.adapters.kafka.reader")

#: How long one look for messages waits: while nothing is in flight, and while something is.
IDLE_WAIT, BUSY_WAIT = 0.1, 0.01
#: How many messages are taken at once: at first, and where they are handled quickly.
AT_FIRST, AT_MOST = 16, 500
#: Messages that are taken at once should be handled in about so many seconds.
QUICK, SLOW = 0.1, 0.5
#: How long each attempt to reach a broker waits before it counts as away, in seconds.
REACH = (0.2, 0.4, 0.8, 1.6, 3.0)


class GroupReader(PollingAdapter[M]):
    """Receives, pauses, commits and gives up partitions, in the thread of ``run``.

    While a handler occupies that thread, `keepalive` is called in another one instead.
    """

    topics: tuple[str, ...]
    commit_every: int
    poll_limit: float
    settings: Callable[[], Mapping[str, Any]]
    _assignment: Assignment
    _member: Member | None = None
    _all_paused = _was_down = False
    _thread = _settled = _losses = 0
    _commit_at = _handed_at = 0.0
    _at_once = AT_FIRST

    # Connecting.

    def open(self) -> None:
        """Join the group, and return when it has said which partitions this process gets."""
        self._thread = threading.get_ident()
        self._incoming: list[Any] = []  # what came while handlers were busy
        member = self._member = Member(
            self.settings(),
            self.topics,
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._taken_away,
            on_commit=self._committed,
        )
        wrong = self._reach(member)
        self._losses, self._was_down = member.losses, False
        for topic, error in wrong.items():
            if error is not None:
                raise KafkaRefused(self, error, f"the topic {topic!r}")
        member.join()
        while not member.is_assigned:
            if self.stopping:
                raise KafkaUnavailable("given up while joining the group")
            self._incoming += member.poll(1, IDLE_WAIT)
            self._check(member)
            if member.is_down:
                member.probe()

    def _reach(self, member: Member) -> Mapping[str, KafkaError | None]:
        """Return what is wrong with each topic, once a broker answers.

        :raises KafkaUnavailable: none does.
        """
        for wait in REACH:
            try:
                wrong = member.reach(wait)
            except KafkaUnavailable:
                member.poll(1, BUSY_WAIT)  # hears why
                self._check(member)
                if self.stopping or (member.is_down and wait > REACH[0]):
                    break
            else:
                member.is_down = False
                return wrong
        raise KafkaUnavailable(member.problem)

    def _check(self, member: Member) -> None:
        """Raise what the client said that no new attempt mends.

        :raises KafkaRefused: it did.
        """
        if member.failure is not None:
            raise KafkaRefused(self, member.failure)

    def close(self) -> None:
        """Commit what is settled, and leave the group."""
        member, self._member = self._member, None
        if member is None:
            return
        partitions = self._assignment.remove(list(self._assignment.partitions))
        try:
            if member.failure is None and not member.is_down:
                member.commit(self._assignment.last_commits(partitions))
                member.wait_for_commits()
        finally:
            member.leave()

    def _connected(self) -> Member:
        if self._member is None:
            raise KafkaUnavailable("the adapter is not connected")
        return self._member

    # Partitions come and go: called by librdkafka within `poll`.

    def _assigned(self, places: Sequence[TopicPartition]) -> None:
        member = self._connected()
        try:
            for place in member.consumer.committed(list(places), timeout=ANSWER_TIMEOUT):
                self._assignment.add(self._found(member, place))
        except KafkaException as error:
            said: KafkaError = error.args[0]
            if is_lasting(said):
                raise KafkaRefused(self, said) from error
            raise KafkaUnavailable(said.str()) from error
        mine = self._assignment.partitions
        member.assign(
            [
                TopicPartition(p.topic, p.partition, mine[p.topic, p.partition].position)
                for p in places
            ]
        )
        # So that a process which has this partition next knows that one was at work.
        self._commit(member)
        names = ", ".join(mine[place.topic, place.partition].name for place in places)
        logger.info("%s gets %s", type(self).__name__, names or "no partition")

    def _found(self, member: Member, place: TopicPartition) -> Partition:
        """Return a partition, at the position where this process begins."""
        position = place.offset
        note = read_note(position, place.metadata)
        low = high = 0
        if position == OFFSET_INVALID or note.suspects:
            low, high = member.consumer.get_watermark_offsets(place, timeout=ANSWER_TIMEOUT)
        if position == OFFSET_INVALID:
            position = low if self.begins_at_start else high
        return Partition(place.topic, place.partition, position, note, high)

    @property
    def begins_at_start(self) -> bool:
        """Whether a partition of which nothing was committed is read from its start."""
        raise NotImplementedError

    def _revoked(self, places: Sequence[TopicPartition]) -> None:
        inline = threading.get_ident() != self._thread  # its handler waits for this very call
        wait = 0.0 if inline else min(self.drain_timeout, self.poll_limit / 2)
        partitions = self._take_back(places, wait)
        if self._member is not None:
            self._member.commit(self._assignment.last_commits(partitions), wait=True)
        names = ", ".join(partition.name for partition in partitions)
        logger.info("%s gives up %s", type(self).__name__, names or "no partition")

    def _taken_away(self, places: Sequence[TopicPartition]) -> None:
        partitions = self._take_back(places, 0.0)
        names = ", ".join(partition.name for partition in partitions)
        logger.warning(
            "%s lost %s: the group counted it as dead; its messages in flight are handled again",
            type(self).__name__,
            names or "its membership",
        )

    def _take_back(self, places: Sequence[TopicPartition], timeout: float) -> list[Partition]:
        keys = {(place.topic, place.partition) for place in places}
        gone = {p for key, p in self._assignment.partitions.items() if key in keys}
        if any(partition.gap for partition in gone):
            self.withdraw(lambda envelope: getattr(envelope, "partition", None) in gone, timeout)
        self._incoming = [
            native for native in self._incoming if (native.topic(), native.partition()) not in keys
        ]
        return self._assignment.remove(keys)

    # Receiving.

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Return what has come; wait for something if nothing has."""
        member = self._connected()
        self._resume(member)
        incoming, self._incoming = self._incoming, []
        records = self._assignment.take(incoming, member.complain)
        if not records:
            records = self._poll(member, timeout)
        records += self._assignment.next_suspects(self._is_calm, self._note_suspect)
        self._check(member)
        self._look_after(member)
        return records

    def _poll(self, member: Member, timeout: float) -> list[Record]:
        if self._handed_at:
            took = monotonic() - self._handed_at
            if took < QUICK:
                self._at_once = min(2 * self._at_once, AT_MOST)
            elif took > SLOW:
                self._at_once = max(self._at_once // 2, 1)
        busy = self._assignment.waits
        messages = member.poll(self._at_once, 0.0 if busy else min(timeout, IDLE_WAIT))
        if not messages and busy and timeout > 0:
            self.wait(min(timeout, BUSY_WAIT))  # which a handler that returns ends
            messages = member.poll(self._at_once, 0.0)
        self._handed_at = monotonic() if messages else 0.0
        return self._assignment.take(messages, member.complain)

    def _is_calm(self) -> bool:
        return len(self.unsettled()) <= self.status().held

    def _note_suspect(self, commits: Sequence[Commit]) -> bool:
        return self._connected().commit(commits, wait=True) is None

    def _look_after(self, member: Member) -> None:
        """Commit what is due, pause what is full, and tell whether Kafka can be reached."""
        self._pause_full(member)
        if monotonic() >= self._commit_at or self._assignment.is_ahead:
            self._commit(member)
        self._tell_reach(member)
        if member.is_assigned and not member.is_down:
            self.ready.set()
        else:
            self.ready.clear()

    def _tell_reach(self, member: Member) -> None:
        """Tell when Kafka cannot be reached, and when it can again."""
        if member.losses > self._losses:
            self._losses = member.losses
            self._was_down = True
            self.counters.reconnections += 1
            logger.warning(
                "%s lost its brokers (%s); trying again until it reaches one",
                type(self).__name__,
                member.problem,
            )
        if member.is_down:
            member.probe()
        if self._was_down and not member.is_down:
            self._was_down = False
            logger.warning("%s reaches Kafka again", type(self).__name__)

    # Pausing.

    def _pause_full(self, member: Member) -> None:
        full = self._assignment.to_pause()
        if full:
            member.pause(full)
        free = self._assignment.to_resume()
        if free:
            member.resume(free)

    def _resume(self, member: Member) -> None:
        if self._all_paused:
            self._all_paused = False
            member.resume([p for p in self._assignment.partitions.values() if not p.is_paused])

    def keepalive(self) -> None:
        """Poll although nothing can be taken, so that the group does not take this for dead."""
        member = self._member
        if member is None:
            return
        # Within a handler of the receiving thread a rebalance would be too early for its message.
        inline = threading.get_ident() != self._thread
        longest = self.poll_limit / 2 if inline else self.keepalive_interval or 0.0
        if monotonic() - member.polled_at >= longest:
            member.pause(list(self._assignment.partitions.values()))
            self._all_paused = True
            self._incoming += member.poll(1, 0.0)
        if monotonic() >= self._commit_at:
            self._commit(member)

    # Settling.

    def ack(self, message: M) -> None:
        """Note that the message is settled; offsets are committed together."""
        record: Any = message.envelope
        record.partition.settle(record.offset)
        if record is self._assignment.alone:
            self._assignment.alone = None
            self._commit_at = 0.0
        self._settled += 1
        if self._settled >= self.commit_every and self._member is not None:
            self._commit(self._member)

    def nack(self, message: M) -> None:
        """Leave the message unsettled."""

    def give_back(self, deliveries: Sequence[Delivery | bytes]) -> None:
        """Note what was not handled: it did nothing to this process."""
        for record in deliveries:
            if isinstance(record, Record):
                record.partition.given_back += 1

    def flush(self) -> None:
        """Commit what is settled, where it is due or ``run`` is ending."""
        member = self._member
        if member is not None and (self.ending or monotonic() >= self._commit_at):
            self._commit(member)

    def _commit(self, member: Member) -> None:
        if not member.is_down:
            self._settled = 0
            self._commit_at = monotonic() + (self.flush_interval or 0.0)
            member.commit(self._assignment.commits())

    def _committed(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        if error is not None and is_lasting(error) and self._member is not None:
            self._member.failure = error
        for place in places:
            failed = place.error or error
            if failed is not None:
                too_long = failed.code() == KafkaError.OFFSET_METADATA_TOO_LARGE
                self._assignment.refused((place.topic, place.partition), too_long)
                logger.debug("an offset was not committed: %s", failed.name())
