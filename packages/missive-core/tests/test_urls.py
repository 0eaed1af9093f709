"""URLs that name adapters and stores."""

from __future__ import annotations

import io
from typing import Any

import missive
import pytest
from missive.adapters.stdin import StdinAdapter


def processor() -> missive.Processor[Any]:
    return missive.Processor()


def test_a_scheme_finds_the_adapter_that_registered_it() -> None:
    """Options stand in the query or are given as keyword arguments, which win."""
    adapter = missive.from_url(
        "stdin:?workers=2&keep_empty=yes&drain_timeout=1.5",
        missive.RawMessage,
        processor(),
        workers=3,
        filelike=io.BytesIO(),
    )
    assert isinstance(adapter, StdinAdapter)
    assert (adapter.workers, adapter.keep_empty, adapter.drain_timeout) == (3, True, 1.5)


@pytest.mark.parametrize(
    ("url", "scheme", "named"),
    [
        ("carrier-pigeon://x", "carrier-pigeon", "for carrier-pigeon: "),
        ("x", "", "a URL without a scheme"),
    ],
)
def test_an_unknown_scheme_is_named_with_those_that_are_installed(
    url: str, scheme: str, named: str
) -> None:
    """The error says what there is and what to do."""
    for call in (
        lambda: missive.from_url(url, missive.RawMessage, processor()),
        lambda: missive.dlq_from_url(url),
    ):
        with pytest.raises(missive.UnknownScheme, match=named) as caught:
            call()
        assert caught.value.scheme == scheme
    assert "entry point of the group missive.dlqs" in str(caught.value)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("wrokers=2", "'wrokers' is not an option"),
        ("workers=many", "workers='many'"),
        ("workers=2&workers=3", "stands twice"),
        ("keep_empty=perhaps", "give true or false"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(query: str, problem: str) -> None:
    """A typing error in a URL is found before anything is connected to."""
    with pytest.raises(missive.ConfigurationError, match=problem):
        missive.from_url(f"stdin:?{query}", missive.RawMessage, processor())


def test_a_class_without_a_url_says_so() -> None:
    """Every adapter class has from_url."""
    with pytest.raises(missive.ConfigurationError, match="TestAdapter is not built from a URL"):
        missive.TestAdapter.from_url("test:", missive.RawMessage, processor())


def test_a_store_that_makes_nothing_is_opened_either_way() -> None:
    """Where a store keeps nothing that could be missing, asking for an existing one opens it."""
    with missive.dlq_from_url("memory:", existing=True) as store:
        assert isinstance(store, missive.MemoryDLQ)


@pytest.mark.parametrize("url", ["redis://[::1", "redis://user:sesame@ho\u2100st/"])
def test_a_url_that_cannot_be_read_is_refused_without_showing_its_password(url: str) -> None:
    """Like any other mistake in a configuration, with a remedy."""
    for call in (
        lambda: missive.from_url(url, missive.RawMessage, processor()),
        lambda: missive.dlq_from_url(url),
    ):
        with pytest.raises(missive.ConfigurationError, match="brackets of an IPv6") as caught:
            call()
        assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["stdin:/etc/passwd", "stdin://host/x?workers=2"])
def test_an_address_in_the_url_of_standard_input_is_refused(url: str) -> None:
    """Nothing would be read from there."""
    with pytest.raises(missive.ConfigurationError, match="redirect a file to it with <"):
        missive.from_url(url, missive.RawMessage, processor())
