"""Tables: how columns are fitted to a terminal, and times and counts in words."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from missive.cli.terminal import _fit, ago, plural

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
NATURAL = {"id": 8, "error": 20, "reason": 60}


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (200, {"id": 8, "error": 20, "reason": 60}),
        (60, {"id": 8, "error": 20, "reason": 28}),
        (42, {"id": 8, "error": 15, "reason": 15}),
        (32, {"id": 8, "error": 10, "reason": 10}),
        (31, {"error": 14, "reason": 15}),
        (22, {"error": 10, "reason": 10}),
        (21, None),
    ],
)
def test_the_widest_columns_are_cut_first(room, expected):
    """Flexible columns are cut, then optional ones left out, and then there is no table."""
    assert _fit(NATURAL, {"error", "reason"}, ["id"], room) == expected


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(seconds=5), "5 s ago"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=2), "2 h ago"),
        (timedelta(days=3), "3 d ago"),
        (timedelta(days=200), "2025-08-13"),
        (timedelta(seconds=-5), "2026-03-01 12:00:05Z"),
    ],
)
def test_times_are_told_as_how_long_ago(span, expected):
    """Long ago is a date, and the future, by another machine's clock, a time."""
    assert ago(NOW - span, NOW).short == expected


def test_one_thing_is_not_several():
    """The noun agrees with the number."""
    assert [plural(count, "letter") for count in (0, 1, 2)] == [
        "0 letters",
        "1 letter",
        "2 letters",
    ]
