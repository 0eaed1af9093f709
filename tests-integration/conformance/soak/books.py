"""The ledger of a soak, and the account that is made of it.

It notes the same as the kit's ledger, in a tenth of the room, and leaves the disk to the kernel: a
killed process loses nothing that it has written, and what the disk can do is not to be measured.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from missive.conformance.ledger import EVENTS, Ledger, number_of, numbered_body

#: Sent again after a failure, so that the transport may have it twice.
REPEATED = "repeated"
#: A body that a handler was given is not one that was published.
CORRUPTED = "corrupted"
CODES = {event: code for code, event in enumerate((*EVENTS, REPEATED, CORRUPTED))}
#: Event, number of the message, and the time on the clock that all processes share.
LINE = struct.Struct("<BId")
#: How many lines are read at once.
CHUNK = 4096
#: Until an ack that was decided on is on its way, a fault may come between, in seconds.
GRACE = 3.0
#: A span of time, from and to, on the clock of the ledgers.
Span = tuple[float, float]


class SoakLedger(Ledger):
    """A file that one process appends to, one short line for each event."""

    def note(self, event: str, body: bytes, **more: Any) -> None:
        """Note what happened to a message; more is not kept."""
        number = number_of(body)
        if number is None or body != numbered_body(number):
            event = CORRUPTED
        self._file.write(LINE.pack(CODES[event], number or 0, monotonic()))

    def mark(self, line: dict[str, Any]) -> None:
        """Leave an empty file beside the ledger, named after the event."""
        self.path.with_suffix(f".{line['event']}").touch()


def read_lines(paths: Iterable[Path]) -> Iterator[tuple[int, int, float]]:
    """Read ledgers, a part at a time; a line that a kill cut short is left out."""
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK * LINE.size):
                yield from LINE.iter_unpack(chunk[: len(chunk) // LINE.size * LINE.size])


@dataclass(frozen=True)
class SoakAccount:
    """What became of the messages of a soak.

    :ivar confirmed: how many the transport has confirmed.
    :ivar settled: how many of these were acked or dead-lettered.
    :ivar redelivered: how often one was begun again that had not been settled.
    :ivar doubled: how often one was begun again that had been settled within reach of a fault, so that
        its ack may not have arrived.
    :ivar undue: the same, out of reach of any fault.
    :ivar lost: the numbers of those that nobody has settled, unless the transport may lose them.
    :ivar missed: of a transport that delivers at most once, how many were published within reach of a
        fault and settled by nobody.
    :ivar dead_lettered: how many became dead letters, although no handler fails.
    :ivar corrupted: how often a handler was given other bytes than were published.
    :ivar stuck: how many the transport still had at the end.
    """

    confirmed: int
    settled: int
    redelivered: int
    doubled: int
    undue: int
    lost: list[int]
    missed: int
    dead_lettered: int
    corrupted: int
    stuck: int

    @property
    def at_fault(self) -> str | None:
        """What breaks the promise of the transport, in words; None if nothing does."""
        wrong = {
            "lost": len(self.lost),
            "handled again long after they were settled": self.undue,
            "dead-lettered": self.dead_lettered,
            "corrupted": self.corrupted,
            "stuck": self.stuck,
        }
        found = [f"{count} {what}" for what, count in wrong.items() if count]
        return f"of {self.confirmed} confirmed messages: {', '.join(found)}" if found else None


def within(at: float, faults: Sequence[Span], grace: float = GRACE) -> bool:
    """Return whether a moment is within reach of a fault."""
    return any(begin - grace <= at <= end + grace for begin, end in faults)


class Books:
    """What the ledgers say of each message, in arrays: a soak has millions.

    :param paths: the ledgers of the publisher and of all workers.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        size = 1 + max((number for _, number, _ in read_lines(paths)), default=0)
        self.confirmed = array("d", bytes(8 * size))
        self.settled = array("d", bytes(8 * size))
        self.flags = {name: bytearray(size) for name in (REPEATED, "decided", "dead-lettered")}
        self.corrupted = 0
        for code, number, at in read_lines(paths):
            self._note(code, number, at)

    def _note(self, code: int, number: int, at: float) -> None:
        if code == CODES["confirmed"]:
            self.confirmed[number] = at
        elif code == CODES["acked"] or code == CODES["dead-lettered"]:
            self.settled[number] = min(at, self.settled[number] or at)
            self.flags["dead-lettered"][number] |= code == CODES["dead-lettered"]
        elif code == CODES[CORRUPTED]:
            self.corrupted += 1
        elif code == CODES["decided"]:
            self.flags["decided"][number] = 1
        elif code == CODES[REPEATED]:
            self.flags[REPEATED][number] = 1

    def account(
        self, faults: Sequence[Span], *, stuck: int, at_most_once: bool = False
    ) -> SoakAccount:
        """Say what became of the messages.

        :param faults: when there was one.
        :param stuck: how many messages the transport still has.
        :param at_most_once: whether a fault may lose messages.
        """
        open_ones = [
            number
            for number, at in enumerate(self.confirmed)
            if at and not self.settled[number] and not self.flags["decided"][number]
        ]
        missed = [n for n in open_ones if at_most_once and within(self.confirmed[n], faults)]
        redelivered, doubled, undue = self._begun_again(faults)
        return SoakAccount(
            confirmed=sum(map(bool, self.confirmed)),
            settled=sum(map(bool, self.settled)),
            redelivered=redelivered,
            doubled=doubled,
            undue=undue,
            lost=sorted(set(open_ones) - set(missed)),
            missed=len(missed),
            dead_lettered=sum(self.flags["dead-lettered"]),
            corrupted=self.corrupted,
            stuck=stuck,
        )

    def _begun_again(self, faults: Sequence[Span]) -> tuple[int, int, int]:
        """Count what was begun more than once: not settled before, in reach of a fault, or neither."""
        started = bytearray(len(self.confirmed))
        redelivered = doubled = undue = 0
        for code, number, at in read_lines(self.paths):
            if code != CODES["started"]:
                continue
            settled = self.settled[number]
            if settled and at > settled:
                if self.flags[REPEATED][number] or within(settled, faults):
                    doubled += 1
                else:
                    undue += 1
            elif started[number]:
                redelivered += 1
            started[number] = 1
        return redelivered, doubled, undue
