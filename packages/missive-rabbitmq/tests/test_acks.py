"""Which frames ack what is settled."""

from __future__ import annotations

from missive.adapters.rabbitmq.acks import Acks, Returns


def acked(*tags: int) -> Acks:
    """Return acks with these tags noted."""
    acks = Acks()
    for tag in range(1, 10):
        acks.begin(tag)
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


def test_a_tag_that_was_never_seen_is_acked_by_no_frame() -> None:
    """A delivery that the client kept to itself is not acked by a frame for later ones."""
    acks = Acks()
    acks.begin(2)
    acks.ack(2)
    assert acks.take() == [(2, False)]
    acks.begin(1)  # late
    acks.ack(1)
    assert acks.take() == [(1, False)]


def test_what_is_settled_is_forgotten_behind_one_that_is_not() -> None:
    """While one delivery is held, those after it are kept no longer than they are unsettled."""
    acks = Acks()
    acks.begin(1)
    for tag in range(2, 10_000):
        acks.begin(tag)
        acks.ack(tag)
        assert acks.take() == [(tag, False)]
    assert len(acks._open) == 1
    acks.ack(1)
    assert acks.take() == [(1, False)]


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
