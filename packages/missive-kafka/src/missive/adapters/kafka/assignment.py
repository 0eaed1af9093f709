"""The assignment: the partitions that this process has, and which messages may be handled."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .notes import LONGEST
from .partition import Partition
from .record import Record

logger = logging.getLogger("missive.adapters.kafka.assignment")

#: What is committed: topic, partition, offset, metadata.
Commit = tuple[str, int, int, str]


class Assignment:
    """The partitions of one process.

    :param max_deliveries: a message that was begun so often, alone, is rejected.
    :param max_gap: how many messages of a partition may be received above the lowest unsettled one.

    :ivar partitions: by topic and number.
    :ivar longest: the most bytes of metadata that the broker takes.
    :ivar alone: the message that is being handled alone.
    """

    def __init__(self, max_deliveries: int, max_gap: int) -> None:
        self.partitions: dict[tuple[str, int], Partition] = {}
        self.longest = LONGEST
        self._max_deliveries = max_deliveries
        self._max_gap = max_gap
        self._careful = False
        self.alone: Record | None = None

    def add(self, partition: Partition) -> None:
        """Take a partition."""
        self.partitions[partition.topic, partition.number] = partition
        self._careful = self._careful or partition.careful

    def remove(self, places: Iterable[tuple[str, int]]) -> list[Partition]:
        """Forget partitions; return those that were here."""
        removed = [p for p in (self.partitions.pop(place, None) for place in places) if p]
        if self.alone is not None and self.alone.partition in removed:
            self.alone = None
        return removed

    # Receiving.

    def take(self, messages: Iterable[Any], complain: Callable[[Any], None]) -> list[Record]:
        """Return what may be handled of what has come; suspects wait.

        :param messages: confluent-kafka's.
        :param complain: called with the errors among them.
        """
        records: list[Record] = []
        topic = number = partition = None
        for native in messages:
            if native.error() is not None:
                complain(native.error())
                continue
            # Most messages are of the same partition as the one before them.
            if native.partition() != number or native.topic() != topic:
                topic, number = native.topic(), native.partition()
                partition = self.partitions.get((topic, number))
            if partition is None:  # revoked meanwhile
                continue
            offset = native.offset()
            if not partition.receive(offset):
                if offset >= partition.start:
                    continue
                partition = self._begin_again(partition, offset)
            record = Record(partition, offset, native, native.value() or b"")
            if partition.careful:
                partition.waiting.append(record)
            else:
                records.append(record)
        return records

    def _begin_again(self, partition: Partition, offset: int) -> Partition:
        """Return a partition in place of one that ends below the position it was assigned at.

        Its topic was made again, or its broker lost messages.
        """
        logger.warning(
            "%s ends before the committed offset %d; reading it from %d on",
            partition.name,
            partition.start,
            offset,
        )
        begun = Partition(partition.topic, partition.number, offset)
        begun.receive(offset)
        self.add(begun)
        return begun

    def next_suspects(
        self, is_calm: Callable[[], bool], commit: Callable[[Sequence[Commit]], bool]
    ) -> list[Record]:
        """Return a message to be handled alone, and what need not be any more.

        :param is_calm: returns whether nothing is being handled.
        :param commit: commits, waits, and returns whether it was taken.
        """
        if not self._careful or (self.alone is not None and not is_calm()):
            return []
        careful = [p for p in self.partitions.values() if p.careful]
        self._careful = bool(careful)
        random.shuffle(careful)  # so that one that kills does not keep the same others waiting
        released: list[Record] = []
        for partition in careful:
            if partition.is_cleared and commit(self._commits([partition])):
                released += partition.take_waiting()
            record = partition.take_suspect(self._max_deliveries)
            if record is None:
                continue
            if record.rejection is None and not commit(self._commits([partition])):
                partition.put_back(record)
                partition.uncommit()
                continue
            self.alone = record
            return [*released, record]
        return released

    # Pausing.

    def to_pause(self) -> list[Partition]:
        """Return partitions of which too much is received, once each time."""
        full = [p for p in self.partitions.values() if not p.is_paused and p.gap >= self._max_gap]
        for partition in full:
            partition.is_paused = True
        return full

    def to_resume(self) -> list[Partition]:
        """Return partitions that have room again, once each time."""
        paused = [p for p in self.partitions.values() if p.is_paused]
        free = [p for p in paused if p.gap <= self._max_gap // 2]
        for partition in free:
            partition.is_paused = False
        return free

    @property
    def waits(self) -> bool:
        """Whether some message is received and not settled."""
        return any(partition.gap for partition in self.partitions.values())

    # Committing.

    @property
    def is_ahead(self) -> bool:
        """Whether more messages may have been begun than was committed."""
        return any(partition.is_ahead for partition in self.partitions.values())

    def commits(self) -> list[Commit]:
        """Return what is to be committed now: what has changed."""
        return self._commits(self.partitions.values())

    def _commits(self, partitions: Iterable[Partition]) -> list[Commit]:
        commits: list[Commit] = []
        for partition in partitions:
            commit = partition.commit(self.longest)
            if commit is not None:
                commits.append((partition.topic, partition.number, *commit))
        return commits

    def last_commits(self, partitions: Iterable[Partition]) -> list[Commit]:
        """Return what is to be committed of partitions that this process gives up."""
        return [
            (p.topic, p.number, *commit)
            for p in partitions
            if (commit := p.give_up(self.longest)) is not None
        ]

    def refused(self, place: tuple[str, int], too_long: bool) -> None:
        """Note that a commit did not arrive, so that it is sent again.

        :param too_long: whether the metadata was.
        """
        if too_long:
            self.longest //= 2
        if place in self.partitions:
            self.partitions[place].uncommit()
