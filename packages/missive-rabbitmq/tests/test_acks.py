"""Which frames ack what is settled."""

from __future__ import annotations

from missive.adapters.rabbitmq.acks import Acks, Returns


def acked(*tags: int) -> Acks:
    """Return acks with these tags noted."""
    acks = Acks()
    for tag in tags:
        acks.ack(tag)
    return acks


def test_contiguous_tags_take_one_frame() -> None:
    """All tags up to the first that is unsettled are acked by one frame, in whatever order."""
    assert acked(2, 1, 3).take() == [(3, True)]
    assert acked(1).take() == [(1, False)]


def test_tags_beyond_a_gap_take_a_frame_each() -> None:
    """What is unsettled is never acked by a frame for others."""
    acks = acked(1, 2, 4, 5)
    assert acks.take() == [(2, True), (4, False), (5, False)]
    acks.ack(3)
    acks.ack(6)
    assert acks.take() == [(6, True)]
    assert acks.take() == []


def test_the_frame_names_a_tag_that_waits_to_be_acked() -> None:
    """A tag that was acked or returned before is not named again: the broker would refuse it."""
    acks = acked(2)
    assert acks.take() == [(2, False)]
    acks.ack(1)
    assert acks.take() == [(1, False)]
    acks.returned(4)
    acks.ack(3)
    assert acks.take() == [(3, False)]
    acks.ack(5)
    assert (acks.unsent, acks.take()) == (1, [(5, False)])


def test_returns_are_due_in_the_order_of_time() -> None:
    """A held delivery is due once, after its time."""
    returns = Returns()
    returns.hold(1, 3600.0)
    returns.hold(2, 0.0)
    assert returns.due() == [2]
    assert returns.due() == []
    left = returns.seconds_to_next()
    assert left is not None
    assert 3000 < left <= 3600
