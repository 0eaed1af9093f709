"""AckTracker: how far everything is settled, for transports that commit positions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive.polling import AckTracker


@given(st.data())
def test_nothing_unsettled_is_ever_committable(data: Any) -> None:
    """In whatever order positions are settled, the committable one is just below the first gap."""
    steps = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=30), label="steps")
    positions = [sum(steps[: n + 1]) for n in range(len(steps))]
    order = data.draw(st.permutations(positions), label="order")
    tracker = AckTracker()
    for position in positions:
        tracker.begin("source", position)
    settled: set[int] = set()
    before = None
    for position in order:
        risen = tracker.done("source", position)
        settled.add(position)
        pending = [known for known in positions if known not in settled]
        below = [known for known in positions if not pending or known < pending[0]]
        expected = below[-1] if below else None
        assert tracker.committable("source") == expected
        assert risen == (expected if expected != before else None)
        assert tracker.pending("source") == pending
        assert tracker.gap("source") == len(positions) - len(below)
        before = expected
    assert before == positions[-1]


def test_positions_of_a_source_must_rise() -> None:
    """A position that is not above the last one that is begun is refused, and named."""
    tracker = AckTracker()
    tracker.begin("a", 5)
    for position in (4, 5):
        with pytest.raises(ValueError, match=rf"position {position} of 'a' is not above 5"):
            tracker.begin("a", position)
    tracker.begin("b", 1)
    assert (tracker.pending("a"), tracker.pending("b")) == ([5], [1])


def test_sources_are_independent() -> None:
    """A gap in one source does not hold up another."""
    tracker = AckTracker()
    for source in ("a", "b"):
        tracker.begin(source, 1)
        tracker.begin(source, 2)
    assert tracker.done("a", 2) is None
    assert tracker.done("b", 1) == 1
    assert (tracker.committable("a"), tracker.committable("b")) == (None, 1)
    assert (tracker.gap("a"), tracker.gap("b")) == (2, 1)
    assert tracker.sources() == ["a", "b"]


def test_a_position_that_was_never_begun_is_forgotten() -> None:
    """Settling it raises nothing, and does not count for a message that takes its place later."""
    tracker = AckTracker()
    tracker.begin("a", 1)
    assert tracker.done("a", 1) == 1
    assert tracker.done("a", 2) is None
    tracker.begin("a", 2)
    assert tracker.pending("a") == [2]
    assert tracker.committable("a") == 1


def test_a_source_that_was_dropped_is_not_known() -> None:
    """After ``drop`` a late settlement changes nothing, and the source may begin again anywhere."""
    tracker = AckTracker()
    tracker.begin("a", 10)
    tracker.drop("a")
    tracker.drop("a")
    assert tracker.done("a", 10) is None
    assert tracker.committable("a") is None
    assert (tracker.gap("a"), tracker.pending("a"), tracker.sources()) == (0, [], [])
    tracker.begin("a", 3)
    assert tracker.pending("a") == [3]
