"""Notes: what is kept in the metadata of a committed offset, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: The longest note in bytes; Kafka's brokers take 4096 unless they are told otherwise.
LONGEST = 4000
#: What a note begins with, so that the metadata of other programs is not taken for one.
MARK = "missive1"
_RUN = re.compile(r"([0-9]{1,12})\.([0-9]{1,12})")
_NUMBER = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True)
class Note:
    """What a process knew of a partition when it committed an offset.

    :ivar suspects: how many messages from the committed offset on may be handled by now; 0 where
        the process gave the partition up in order.
    :ivar alone: the offset of the message that is being handled alone; None for none.
    :ivar deliveries: how often that message was begun, this time included.
    :ivar settled: runs of settled offsets above the committed one, as (first, last).
    """

    suspects: int = 0
    alone: int | None = None
    deliveries: int = 0
    settled: tuple[tuple[int, int], ...] = ()

    def write(self, position: int, longest: int = LONGEST) -> str:
        """Return the note as metadata.

        Where there are too many runs, the highest are left out: their messages are handled again
        after a crash.

        :param position: the offset that is committed with it.
        :param longest: the most bytes that the metadata may have.
        """
        if self == _NOTHING:
            return ""
        alone = "" if self.alone is None else f"{self.alone - position}x{self.deliveries}"
        text = f"{MARK} {self.suspects} {alone} "
        runs: list[str] = []
        room, before = longest - len(text), position
        for first, last in self.settled:
            run = f"{first - before}.{last - first}"
            room -= len(run) + 1
            if room < 0:
                break
            runs.append(run)
            before = last
        return text + ",".join(runs)


_NOTHING = Note()


def read_note(position: int, metadata: str | None) -> Note:
    """Return the note in the metadata of a committed offset; an empty one where it is not ours.

    :param position: the committed offset.
    """
    parts = (metadata or "").split(" ")
    if len(parts) != 4 or parts[0] != MARK or not _NUMBER.fullmatch(parts[1]):
        return _NOTHING
    ahead, _, deliveries = parts[2].partition("x")
    alone = None
    if parts[2]:
        if not (_NUMBER.fullmatch(ahead) and _NUMBER.fullmatch(deliveries)):
            return _NOTHING
        alone = position + int(ahead)
    settled: list[tuple[int, int]] = []
    before = position
    for run in filter(None, parts[3].split(",")):
        found = _RUN.fullmatch(run)
        if found is None:
            return _NOTHING
        first = before + int(found[1])
        before = first + int(found[2])
        settled.append((first, before))
    return Note(int(parts[1]), alone, int(deliveries or 0), tuple(settled))


def runs_between(pending: Sequence[int], last: int) -> Iterable[tuple[int, int]]:
    """Yield the runs of offsets that are settled: those between the pending ones, up to the last.

    :param pending: the offsets that are begun and not settled, rising; the first is the lowest
        that is not settled.
    :param last: the highest offset that was begun.
    """
    for before, after in zip(pending, [*pending[1:], last + 1], strict=True):
        if after - before > 1:
            yield before + 1, after - 1
