from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import missive.errors
import pytest
from missive import ConfigurationError, DrainTimeout, MissiveError, RawMessage, UnknownScheme
from missive.errors import DeadLetterStoreBusy, DeadLetterStoreRefused, NoMatchingHandler


@pytest.mark.parametrize("carry", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])
@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("wrong"),
        DeadLetterStoreBusy("a.db", 2.5),
        DeadLetterStoreRefused("a.db", "it is a directory"),
        DrainTimeout(["1", "2"], 3.0),
        NoMatchingHandler(RawMessage(b"body")),
        UnknownScheme("x", "adapter", ["stdin"], "install it"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling(
    error: MissiveError, carry: Callable[[MissiveError], MissiveError]
) -> None:
    """An error comes out of another process with its text and its data."""
    carried = carry(error)
    assert type(carried) is type(error)
    assert str(carried) == str(error)
    assert vars(carried) == vars(error)


@pytest.mark.parametrize("name", missive.errors.__all__)
def test_errors_are_called_by_the_module_they_are_imported_from(name: str) -> None:
    """A traceback and a dead letter name the public module of an error."""
    assert getattr(missive.errors, name).__module__ == "missive.errors"
