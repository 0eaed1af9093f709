"""The books of a soak: what it notes, and what it finds wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from missive.conformance.ledger import numbered_body

from .books import REPEATED, Books, SoakAccount, SoakLedger


class Story:
    """The ledgers of a publisher and of a worker, written as they would."""

    def __init__(self, folder: Path) -> None:
        self.paths = [folder / "publisher.ledger", folder / "worker.ledger"]
        self.publisher, self.worker = map(SoakLedger, self.paths)
        self.begun = monotonic()

    def publish(self, *numbers: int) -> None:
        """Note that messages were confirmed."""
        for number in numbers:
            self.publisher.note("confirmed", numbered_body(number))

    def handle(self, number: int, *events: str) -> None:
        """Note what a worker does with a message: all that it should, unless given."""
        for event in events or ("started", "decided", "acked"):
            self.worker.note(event, numbered_body(number))

    def account(
        self, *, fault: bool = False, stuck: int = 0, at_most_once: bool = False
    ) -> SoakAccount:
        """Close the books.

        :param fault: there was one all the time; else there was none.
        """
        faults = [(self.begun, monotonic())] if fault else []
        return Books(self.paths).account(faults, stuck=stuck, at_most_once=at_most_once)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """Return ledgers in a folder of their own."""
    story = Story(tmp_path)
    yield story
    story.publisher.close()
    story.worker.close()


def test_what_is_settled_once_is_no_fault(story: Story) -> None:
    """Every message that was confirmed and settled is counted, and nothing is wrong."""
    story.publish(0, 1, 2)
    for number in range(3):
        story.handle(number)
    account = story.account()
    assert (account.confirmed, account.settled, account.at_fault) == (3, 3, None)


def test_what_nobody_settled_is_lost(story: Story) -> None:
    """A message that was begun and not decided on is as lost as one that nobody saw."""
    story.publish(0, 1, 2)
    story.handle(0)
    story.handle(1, "started")
    account = story.account()
    assert account.lost == [1, 2]
    assert account.at_fault == "of 3 confirmed messages: 2 lost"


def test_a_kill_between_ack_and_note_loses_nothing(story: Story) -> None:
    """The transport has no more of a message that was decided on, so it was acked."""
    story.publish(0)
    story.handle(0, "started", "decided")
    assert story.account().lost == []


def test_at_most_once_may_lose_what_was_published_in_a_fault(story: Story) -> None:
    """In reach of a fault it is missed; out of reach it is lost there too."""
    story.publish(0)
    assert story.account(fault=True, at_most_once=True).missed == 1
    assert story.account(fault=True, at_most_once=True).at_fault is None
    assert story.account(at_most_once=True).lost == [0]


def test_a_redelivery_of_what_was_unsettled_is_due(story: Story) -> None:
    """A message may be begun again for as long as it is not settled."""
    story.publish(0)
    story.handle(0, "started")
    story.handle(0)
    account = story.account()
    assert (account.redelivered, account.doubled, account.undue) == (1, 0, 0)


def test_a_double_needs_a_fault(story: Story) -> None:
    """What was settled and is begun again is a fault of the transport's, or somebody's mistake."""
    story.publish(0)
    story.handle(0)
    story.handle(0)
    assert story.account(fault=True).doubled == 1
    account = story.account()
    assert account.undue == 1
    assert account.at_fault == (
        "of 1 confirmed messages: 1 handled again long after they were settled"
    )


def test_what_was_sent_again_may_be_there_twice(story: Story) -> None:
    """A publisher that got no answer sends again, and the transport may have both."""
    story.publisher.note(REPEATED, numbered_body(0))
    story.publish(0)
    story.handle(0)
    story.handle(0)
    assert story.account().doubled == 1


def test_other_bytes_than_were_published_are_seen(story: Story) -> None:
    """A body that was cut short, or is not one of ours, is corrupted."""
    story.publish(0)
    story.handle(0)
    story.worker.note("started", numbered_body(0)[:-1])
    story.worker.note("started", b"what is this?")
    assert story.account().corrupted == 2


def test_dead_letters_and_stuck_messages_are_faults(story: Story) -> None:
    """No handler fails, so no letter should be written; and nothing should be left."""
    story.publish(0, 1)
    story.handle(0, "started", "dead-lettered")
    story.handle(1)
    at_fault = story.account(stuck=1).at_fault
    assert at_fault == "of 2 confirmed messages: 1 dead-lettered, 1 stuck"


def test_a_line_that_a_kill_cut_short_is_left_out(story: Story) -> None:
    """The rest of the ledger counts."""
    story.publish(0)
    story.handle(0)
    with story.paths[1].open("ab") as file:
        file.write(b"\x01\x02")
    assert story.account().settled == 1
