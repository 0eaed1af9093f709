"""The lab for DLQs: what a check of a dead letter store works with."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from missive import DeadLetter, Envelope, RawMessage
from missive.letters import Claim

from .children import Child
from .contract import expect
from .harness import DLQHarness
from .ledger import Account

#: When the letters of these checks failed; each a minute after the one before.
THEN = datetime(2024, 2, 29, 12, 0, tzinfo=timezone.utc)


def message(
    key: bytes,
    body: bytes = b"a body",
    *,
    headers: dict[str, str] | None = None,
    source: str | None = None,
) -> RawMessage:
    """Make a message with an id and an envelope, as an adapter would."""
    made = RawMessage(body)
    made.put_in(Envelope(message_id=key, headers=headers, source=source))
    return made


def letter(
    number: int,
    body: bytes = b"a body",
    *,
    id: bytes | None = None,
    reason: str = "it failed",
    **fields: Any,
) -> DeadLetter:
    """Make a dead letter with an id, and a time, that follow from a number."""
    at = THEN + timedelta(minutes=number)
    key = b"letter-%d" % number if id is None else id
    told: dict[str, Any] = {
        "id": key,
        "message_id": key,
        "raw_data": body,
        "reason": reason,
        "stage": "handling",
        "first_failed": at,
        "last_failed": at,
        "source": "a-source",
        **fields,
    }
    return DeadLetter(**told)


def deferred(number: int, body: bytes = b"a body", **fields: Any) -> DeadLetter:
    """Make a deferred message like :func:`letter`; due a second after it failed, unless told."""
    made = letter(number, body, **fields)
    due = made.due if made.due is not None else made.last_failed + timedelta(seconds=1)
    return made._replace(state="deferred", due=due)


class DLQLab:
    """A started harness, and what a check does with it.

    :param harness_cls: the harness of the DLQ under test.
    :param folder: an empty folder.
    :param artefacts: where ledgers are kept; the folder itself unless given.
    """

    def __init__(
        self, harness_cls: type[DLQHarness], folder: Path, artefacts: Path | None = None
    ) -> None:
        self.harness_cls = harness_cls
        self.folder = folder
        self.artefacts = artefacts or folder
        self.patience = harness_cls.patience
        #: A time that does not come while the checks run.
        self.far = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=365)
        self.accounts: list[Account] = []
        #: What the end of the lab is to undo, last first.
        self.at_end = ExitStack()
        self._children: list[Child] = []

    def __enter__(self) -> DLQLab:
        folder = self.folder / "harness"
        folder.mkdir(parents=True)
        self.harness = self.harness_cls(folder)
        self.at_end.callback(self.harness.stop)
        self.harness.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in self._children:
            child.end()
        self.at_end.close()

    def open(self) -> Any:
        """Open the DLQ; it is closed at the end, if it can be."""
        dlq: Any = self.harness.open()
        if hasattr(dlq, "close"):
            self.at_end.callback(dlq.close)
        return dlq

    def child(self, scenario: str, **settings: Any) -> Child:
        """Start a process that opens the same DLQ; see ``scenarios``."""
        child = Child(
            self.harness,
            scenario,
            settings,
            folder=self.folder / f"child-{len(self._children) + 1}",
        )
        self._children.append(child)
        return child


def expect_entry(dlq: Any, key: bytes, body: bytes, reason: str) -> None:
    """Make sure that a DLQ gives back a message and its reason."""
    expect(key in dlq, "a key that was written is not there")
    found, why = dlq[key]
    expect(
        found.raw_data == body,
        f"a body of {len(body)} bytes came back changed, with {len(found.raw_data)} bytes",
    )
    expect(why == reason, f"a reason of {len(reason)} characters came back changed")


def claimed(store: Any, id: bytes, lease: float = 300.0) -> Claim:
    """Claim a letter that nobody holds, and make sure that it came with its claim."""
    found = store.claim(id, lease=lease)
    expect(found is not None, "a letter that nobody holds cannot be claimed")
    claim, letter = found
    expect(letter.id == claim.id == id, "claim() gives another letter")
    expect(letter == store.letter(id), "claim() gives the letter otherwise than letter()")
    return cast("Claim", claim)
