"""How far a partition is settled, whatever order messages are settled in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive.adapters.kafka.assignment import Assignment
from missive.adapters.kafka.notes import Note, read_note
from missive.adapters.kafka.partition import Partition
from missive.adapters.kafka.record import Record

#: Offsets of a compacted topic: rising, with gaps.
OFFSETS = st.sets(st.integers(0, 200), min_size=1, max_size=60).map(sorted)


class Native:
    """What confluent-kafka delivers, as far as it is looked at."""

    def __init__(self, offset: int, number: int = 0) -> None:
        self._offset, self._number = offset, number

    def error(self) -> None:
        """Return no error."""

    def topic(self) -> str:
        """Return the topic."""
        return "t"

    def partition(self) -> int:
        """Return the number of the partition."""
        return self._number

    def offset(self) -> int:
        """Return the offset."""
        return self._offset

    def value(self) -> bytes:
        """Return the value."""
        return b"%d" % self._offset


def no_error(error: object) -> None:
    """Take no error."""
    raise AssertionError(error)


@given(OFFSETS, st.data())
def test_no_offset_is_committed_past_unsettled_work(offsets: list[int], data: Any) -> None:
    """In any order of completion the position is the lowest unsettled offset, or behind the last."""
    partition = Partition("t", 0, 0)
    for offset in offsets:
        assert partition.receive(offset)
    unsettled = set(offsets)
    for offset in data.draw(st.permutations(offsets)):
        partition.settle(offset)
        unsettled.discard(offset)
        if unsettled:
            assert partition.position <= min(unsettled)
            assert not [o for o in offsets if partition.position <= o < min(unsettled)]
        else:
            assert partition.position == offsets[-1] + 1
    assert partition.gap == 0


@given(OFFSETS, st.data())
def test_after_a_crash_exactly_the_unsettled_is_handled_again(
    offsets: list[int], data: Any
) -> None:
    """A process that begins at a commit handles what was unsettled then, and all that came after."""
    settled = data.draw(st.sets(st.sampled_from(offsets)))
    begun = data.draw(st.integers(1, len(offsets)))
    partition = Partition("t", 0, 0)
    for offset in offsets[:begun]:
        partition.receive(offset)
    for offset in settled & set(offsets[:begun]):
        partition.settle(offset)
    committed = partition.commit()
    assert committed is not None
    position, metadata = committed
    again = Partition("t", 0, position, read_note(position, metadata))
    handled = [offset for offset in offsets if offset >= position and again.receive(offset)]
    assert handled == [o for o in offsets if o not in settled or o > offsets[begun - 1]]
    for offset in handled:
        again.settle(offset)
    assert again.position >= offsets[-1] + 1 or not handled


def test_a_message_that_comes_twice_is_taken_once() -> None:
    """What the client delivers again after a pause is not handled again."""
    partition = Partition("t", 0, 5)
    assert partition.receive(5)
    assert not partition.receive(5)
    assert not partition.receive(4)
    assert partition.receive(7)


def test_nothing_new_is_not_committed_again() -> None:
    """An idle partition is committed once."""
    partition = Partition("t", 0, 5)
    assert partition.commit() is not None
    assert partition.commit() is None
    partition.receive(5)
    partition.settle(5)
    assert partition.commit() is not None
    partition.commit()
    assert partition.commit() is None
    partition.uncommit()
    assert partition.commit() is not None


def test_what_is_given_up_in_order_is_no_suspect() -> None:
    """Messages that were never begun are not suspects of the next process; one in flight is."""
    partition = Partition("t", 0, 0)
    for offset in range(3):
        partition.receive(offset)
    partition.settle(0)
    partition.given_back = 2
    assert partition.give_up() == (1, "")
    partition.given_back = 1
    position, metadata = partition.give_up()
    assert (position, read_note(position, metadata).suspects) == (1, 2)


def settle(assignment: Assignment, record: Any) -> None:
    """Settle a message, as the reader does."""
    record.partition.settle(record.offset)
    if record is assignment.alone:
        assignment.alone = None


class Group:
    """Processes that have one partition after the other, and what they handle.

    :param count: how many messages there are.
    :param poison: the offset of the one that kills.
    """

    def __init__(self, count: int, poison: int) -> None:
        self.count, self.poison = count, poison
        self.position, self.metadata = 0, ""
        self.handled: list[int] = []
        self.rejected: list[int] = []
        self.deaths = 0

    def run(self, at_once: int, commit_every: int) -> bool:
        """Let a process live until all is handled or it dies; return whether it lived."""
        note = read_note(self.position, self.metadata)
        assignment = Assignment(max_deliveries=3, max_gap=1000)
        partition = Partition("t", 0, self.position, note, self.count)
        assignment.add(partition)
        self.commit(partition)
        coming = [Native(offset) for offset in range(self.position, self.count)]
        settled = 0

        def sync(commits: Any) -> bool:
            for _, _, self.position, self.metadata in commits:
                pass
            return True

        while coming or partition.gap:
            batch, coming = coming[:at_once], coming[at_once:]
            records = assignment.take(batch, no_error)
            if assignment.is_ahead:
                self.commit(partition)
            records += assignment.next_suspects(lambda: False, sync)
            for record in records:
                if not self.handle(assignment, record):
                    return False
                settled += 1
                if settled % commit_every == 0:
                    self.commit(partition)
        self.commit(partition)
        return True

    def handle(self, assignment: Assignment, record: Record) -> bool:
        """Handle a message; return whether the process lives."""
        if record.rejection is not None:
            self.rejected.append(record.offset)
        elif record.offset == self.poison:
            self.deaths += 1
            return False
        else:
            self.handled.append(record.offset)
        settle(assignment, record)
        return True

    def commit(self, partition: Partition) -> None:
        """Commit what has changed."""
        commit = partition.commit()
        if commit is not None:
            self.position, self.metadata = commit


@given(
    st.integers(1, 120),
    st.data(),
    st.integers(1, 40),
    st.integers(1, 50),
)
def test_a_poison_is_found_and_its_neighbours_are_handled(
    count: int, data: Any, at_once: int, commit_every: int
) -> None:
    """A message that kills its process is rejected in the end, and no other is."""
    group = Group(count, data.draw(st.integers(0, count - 1)))
    while not group.run(at_once, commit_every):
        assert group.deaths < 20
    assert group.rejected == [group.poison]
    assert set(group.handled) == set(range(count)) - {group.poison}
    assert 3 <= group.deaths <= 4


def test_one_suspect_is_handled_at_a_time() -> None:
    """Of all partitions of a process only one suspect is handed out until it is settled."""
    assignment = Assignment(max_deliveries=3, max_gap=1000)
    noted: list[Any] = []

    def commit(commits: Any) -> bool:
        noted.append(commits)
        return True

    for number in range(2):
        assignment.add(Partition("t", number, 0, Note(suspects=5), end=3))
    natives = [Native(offset, number) for offset in range(3) for number in range(2)]
    assert assignment.take(natives, no_error) == []
    for _ in range(6):
        (record,) = assignment.next_suspects(lambda: False, commit)
        assert assignment.next_suspects(lambda: False, commit) == []
        note = read_note(record.offset, noted[-1][0][3])
        assert (note.alone, note.deliveries) == (record.offset, 2)
        settle(assignment, record)
    assert len(noted) == 6


def test_a_suspect_that_cannot_be_noted_is_not_begun() -> None:
    """Where the commit fails, the suspect waits, and its count does not rise."""
    assignment = Assignment(max_deliveries=3, max_gap=1000)
    assignment.add(Partition("t", 0, 0, Note(2, 0, 2), end=3))
    assignment.take([Native(0)], no_error)
    for _ in range(5):
        assert assignment.next_suspects(lambda: False, lambda commits: False) == []
    (record,) = assignment.next_suspects(lambda: False, lambda commits: True)
    assert record.rejection is None


def test_a_full_partition_is_paused_until_it_has_room() -> None:
    """At max_gap a partition is paused once, and resumed once at half of that."""
    assignment = Assignment(max_deliveries=3, max_gap=4)
    partition = Partition("t", 0, 0)
    assignment.add(partition)
    assignment.take([Native(offset) for offset in range(4)], no_error)
    assert assignment.to_pause() == [partition]
    assert assignment.to_pause() == []
    for offset in (3, 2, 1):
        partition.settle(offset)
    assert assignment.to_resume() == []
    partition.settle(0)
    assert assignment.to_resume() == [partition]
    assert assignment.to_resume() == []


def test_what_comes_of_a_partition_that_is_gone_is_dropped() -> None:
    """Messages of a partition that was revoked meanwhile are not handled."""
    assignment = Assignment(max_deliveries=3, max_gap=4)
    assignment.add(Partition("t", 0, 0))
    assignment.remove([("t", 0), ("t", 1)])
    assert assignment.take([Native(0)], no_error) == []


def test_a_partition_that_ends_below_its_offset_begins_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Messages below the offset that it was assigned at are new ones: others were lost."""
    assignment = Assignment(max_deliveries=3, max_gap=4)
    assignment.add(Partition("t", 0, 100))
    records = assignment.take([Native(0), Native(1), Native(0)], no_error)
    assert [record.offset for record in records] == [0, 1]
    for record in records:
        record.partition.settle(record.offset)
    assert [commit[:3] for commit in assignment.commits()] == [("t", 0, 2)]
    assert [r.getMessage() for r in caplog.records] == [
        "t-0 ends before the committed offset 100; reading it from 0 on"
    ]
