"""The ledger: what a fault run is judged by, noted on disk by publisher and workers as it
happens.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any

#: What may be noted of a message, in the order of its life.
EVENTS = ("confirmed", "started", "decided", "acked", "nacked", "dead-lettered")


def numbered_body(number: int, size: int = 64) -> bytes:
    """Make a body that says which it is, and of which every byte is known.

    :param size: its length in bytes, at the least.
    """
    text = f"ledger {number:08d} "
    filler = sha256(text.encode()).hexdigest()
    return (text + filler * (size // len(filler) + 1))[: max(size, len(text))].encode()


def number_of(body: bytes) -> int | None:
    """Return the number of a body of :func:`numbered_body`; None where even that is damaged."""
    word, _, rest = body.partition(b" ")
    digits = rest[:8]
    return int(digits) if word == b"ledger" and digits.isdigit() else None


class Ledger:
    """A file that one process appends to; every line is on the disk when ``note`` returns.

    :param path: the file; each process has its own, all in one folder.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("ab", buffering=0)

    def note(self, event: str, body: bytes, **more: Any) -> None:
        """Note what happened to a message.

        :param event: one of ``EVENTS``.
        :param more: whatever else is worth keeping; JSON.
        """
        digest = sha256(body).hexdigest()
        line = {"event": event, "number": number_of(body), "digest": digest, "at": time(), **more}
        self.mark(line)

    def mark(self, line: dict[str, Any]) -> None:
        """Note something that concerns no single message."""
        self._file.write(json.dumps({"pid": os.getpid(), **line}).encode() + b"\n")
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_ledgers(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of all ledgers in a folder; a line that a kill cut short is left out."""
    lines: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.ledger")):
        lines += map(json.loads, path.read_bytes().split(b"\n")[:-1])
    return lines


@dataclass(frozen=True)
class Account:
    """What became of each message that the broker confirmed; the numbers of the messages.

    :ivar acked: the handler's ack was carried out. So it was where a worker was killed after the
        decision and before it could note the outcome, and the transport has the message no more.
    :ivar dead_lettered: it is kept as a dead letter.
    :ivar on_transport: the transport still has it, and nobody had the time to take it.
    :ivar lost: nobody has it.
    :ivar corrupted: a handler saw other bytes than were published.
    :ivar duplicated: it was acked more than once.
    :ivar stuck: the transport still has it although a healthy worker had its time.
    """

    title: str
    confirmed: int
    acked: list[int] = field(default_factory=list[int])
    dead_lettered: list[int] = field(default_factory=list[int])
    on_transport: list[int] = field(default_factory=list[int])
    lost: list[int] = field(default_factory=list[int])
    corrupted: list[int] = field(default_factory=list[int])
    duplicated: list[int] = field(default_factory=list[int])
    stuck: list[int] = field(default_factory=list[int])

    @property
    def at_fault(self) -> str | None:
        """What breaks the promise of at-least-once, in words; None if nothing does."""
        names = ("lost", "corrupted", "stuck")
        found = [f"{len(getattr(self, name))} {name}" for name in names if getattr(self, name)]
        return f"of {self.confirmed} confirmed messages: {', '.join(found)}" if found else None

    def text(self) -> str:
        """Return the account on one line, for people."""
        counts = [
            f"{len(numbers)} {name.replace('_', ' ')}"
            for name, numbers in asdict(self).items()
            if name not in ("title", "confirmed")
        ]
        return f"{self.title}: {self.confirmed} confirmed; {', '.join(counts)}"

    def write(self, path: Path) -> None:
        """Keep the account as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def balance(
    title: str, lines: Iterable[dict[str, Any]], *, remaining: int, drained: bool
) -> Account:
    """Say what became of each message that the broker confirmed.

    :param title: what was done, for people.
    :param remaining: how many messages the transport still has.
    :param drained: whether a healthy worker had the time to take all of them: then what the
        transport still has is stuck.
    """
    published: dict[int, str] = {}
    seen: dict[str, Counter[int]] = {event: Counter() for event in EVENTS}
    corrupted: set[int] = set()
    rows = list(lines)
    for row in rows:
        if row.get("event") == "confirmed":
            published[row["number"]] = row["digest"]
    for row in rows:
        event, number = row.get("event"), row.get("number")
        if event not in seen or event == "confirmed":
            continue
        if number is None or published.get(number, row["digest"]) != row["digest"]:
            corrupted.add(-1 if number is None else number)
            continue
        seen[event][number] += 1
    acked = [number for number in sorted(published) if seen["acked"][number]]
    dead = [number for number in sorted(published) if seen["dead-lettered"][number]]
    open_ones = sorted(
        set(published) - set(acked) - set(dead),
        key=lambda number: (seen["decided"][number], number),
    )
    # The transport says how many it has, not which: the first of those that no handler has decided
    # on are taken for them.
    there, gone = open_ones[:remaining], open_ones[remaining:]
    acked = sorted(acked + [number for number in gone if seen["decided"][number]])
    lost = [number for number in gone if not seen["decided"][number]]
    return Account(
        title,
        len(published),
        acked=acked,
        dead_lettered=dead,
        on_transport=[] if drained else there,
        lost=lost,
        corrupted=sorted(corrupted),
        duplicated=[number for number in acked if seen["acked"][number] > 1],
        stuck=there if drained else [],
    )
