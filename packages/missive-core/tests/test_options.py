"""Options: what adapters check of theirs, in the same words."""

from __future__ import annotations

from typing import Any

import pytest
from missive import ConfigurationError
from missive.polling import check_count, check_names, check_seconds


class Adapter:
    """Stands for an adapter, of which only the name of its class is read."""


@pytest.mark.parametrize("given", [0, -1, 1.0, True, "2", None])
def test_a_count_is_a_whole_number_from_1(given: Any) -> None:
    """Anything else is refused, with the adapter, the option and what was given."""
    check_count(Adapter(), "prefetch", 1)
    with pytest.raises(ConfigurationError) as caught:
        check_count(Adapter(), "prefetch", given)
    assert str(caught.value).startswith(
        f"prefetch of Adapter must be a whole number from 1, not {given!r}"
    )


def test_a_count_may_have_a_limit() -> None:
    """The limit itself is allowed, and named where more is asked for."""
    check_count(Adapter(), "prefetch", 65535, 65535)
    with pytest.raises(ConfigurationError, match="from 1 to 65535, not 65536"):
        check_count(Adapter(), "prefetch", 65536, 65535)


@pytest.mark.parametrize("given", [-1, 10.5, True, "2", None, float("nan"), float("inf")])
def test_seconds_are_a_number_within_limits(given: Any) -> None:
    """Anything else is refused, with the limits."""
    check_seconds(Adapter(), "retry_after", 0, zero=True, most=10)
    check_seconds(Adapter(), "retry_after", 10, zero=False, most=10)
    with pytest.raises(ConfigurationError, match="seconds, 0 or more and at most 10, not"):
        check_seconds(Adapter(), "retry_after", given, zero=True, most=10)


def test_no_seconds_at_all_may_be_refused() -> None:
    """An adapter says whether 0 makes sense."""
    with pytest.raises(ConfigurationError, match="seconds, more than 0 and at most 10, not 0"):
        check_seconds(Adapter(), "retry_after", 0, zero=False, most=10)


@pytest.mark.parametrize("given", [[""], [1], ["long"], [None]])
def test_names_are_those_that_the_transport_can_have(given: Any) -> None:
    """What it cannot have is refused; a name that stands twice counts once, in its first place."""
    assert check_names(Adapter(), "queues", "one", len) == ("one",)
    assert check_names(Adapter(), "queues", ["b", "a", "b"], len) == ("b", "a")
    assert check_names(Adapter(), "queues", (), len) == ()
    with pytest.raises(ConfigurationError, match="queues of Adapter must be a name, not"):
        check_names(Adapter(), "queues", given, lambda name: len(name) < 4)
