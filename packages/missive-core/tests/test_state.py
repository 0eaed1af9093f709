"""The state bag."""

from __future__ import annotations

import missive
import pytest


def test_state_keeps_what_is_put_in_it() -> None:
    """Any attribute can be set, read, listed and deleted."""
    state = missive.State()
    state.session = "open"
    state.count = 3
    assert state.session == "open"
    assert "count" in state
    assert list(state) == ["session", "count"]
    del state.count
    assert "count" not in state


def test_a_missing_attribute_is_named_with_those_that_are_there() -> None:
    """The error tells what the state has."""
    state = missive.State()
    with pytest.raises(AttributeError, match="state has no 'session'; so far there is nothing"):
        _ = state.session
    state.session = 1
    with pytest.raises(AttributeError, match="no 'sesion'; so far there is session"):
        _ = state.sesion


def test_the_repr_shows_names_only() -> None:
    """Values may hold payload."""
    state = missive.State()
    assert repr(state) == "<State: empty>"
    state.body = "secret"
    assert repr(state) == "<State: body>"
