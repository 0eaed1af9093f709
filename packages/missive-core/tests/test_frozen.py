"""Frozen dataclasses without ``dataclasses``: Capabilities is one."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from missive import Capabilities
from missive.frozen import dataclass


def test_it_is_built_by_name_and_by_place() -> None:
    """Fields that are not given have their defaults."""
    capabilities = Capabilities("at-least-once", persistent=True)

    assert capabilities.delivery == "at-least-once"
    assert capabilities.persistent is True
    assert capabilities.nack == Capabilities().nack == "redeliver"


@pytest.mark.parametrize(
    ("values", "given"),
    [((), {"durable": True}), (("at-least-once",), {"delivery": "at-most-once"}), (range(15), {})],
    ids=["unknown", "twice", "too many"],
)
def test_fields_that_cannot_be_are_refused(values: Any, given: Any) -> None:
    """A field that is unknown, given twice or one too many is a TypeError."""
    with pytest.raises(TypeError, match="Capabilities"):
        Capabilities(*values, **given)


def test_it_cannot_be_changed() -> None:
    """Assigning and deleting raise what a frozen dataclass raises."""
    capabilities: Any = Capabilities()

    with pytest.raises(dataclasses.FrozenInstanceError, match="nack"):
        capabilities.nack = "drop-refused"
    with pytest.raises(dataclasses.FrozenInstanceError, match="nack"):
        del capabilities.nack
    assert capabilities.nack == "redeliver"


def test_equal_fields_make_equal_instances() -> None:
    """Equality and hash are by class and fields."""

    @dataclass(frozen=True)
    class Other:
        delivery: str = "at-most-once"

    assert Capabilities(headers=True) == Capabilities(headers=True)
    assert hash(Capabilities(headers=True)) == hash(Capabilities(headers=True))
    assert Capabilities(headers=True) != Capabilities()
    assert Capabilities() != Other()
    assert repr(Other()) == "Other(delivery='at-most-once')"


def test_dataclasses_take_it_for_one_of_theirs() -> None:
    """``replace``, ``fields``, ``asdict`` and ``match`` work as with any dataclass."""
    capabilities = dataclasses.replace(Capabilities(headers=True), max_bytes=10)

    assert capabilities == Capabilities(headers=True, max_bytes=10)
    assert dataclasses.is_dataclass(Capabilities)
    assert dataclasses.asdict(capabilities)["max_bytes"] == 10
    fields = {field.name: field.default for field in dataclasses.fields(Capabilities)}
    assert fields == vars(Capabilities())
    assert list(fields) == list(Capabilities.__annotations__)
    match capabilities:
        case Capabilities("at-most-once", max_bytes=size):
            assert size == 10
