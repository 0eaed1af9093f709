"""Values that options take."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from missive.cli.options import read_moment

UTC = timezone.utc


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("20260301", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T15", datetime(2026, 3, 1, 15, tzinfo=UTC)),
        ("2026-03-01 15:04", datetime(2026, 3, 1, 15, 4, tzinfo=UTC)),
        ("20260301T150405", datetime(2026, 3, 1, 15, 4, 5, tzinfo=UTC)),
        ("2026-03-01T15:04:05.5", datetime(2026, 3, 1, 15, 4, 5, 500_000, tzinfo=UTC)),
        ("2026-03-01T15:04:05,123456789Z", datetime(2026, 3, 1, 15, 4, 5, 123_456, tzinfo=UTC)),
        (
            "2026-03-01T15:04:05.5+01",
            datetime(2026, 3, 1, 15, 4, 5, 500_000, tzinfo=timezone(timedelta(hours=1))),
        ),
        (
            "20260301T1504-0330",
            datetime(2026, 3, 1, 15, 4, tzinfo=timezone(-timedelta(hours=3, minutes=30))),
        ),
    ],
)
def test_moments_of_every_iso_form_are_read(text, expected):
    """Both forms of ISO 8601 and any number of decimals are read, on every Python alike."""
    assert read_moment(text) == expected


@pytest.mark.parametrize(
    "text",
    ["2026-0301", "2026-13-01", "20260301T25", "2026-03", "\u0662026-03-01", "noon", ""],
)
def test_what_is_no_moment_is_refused(text):
    """Anything else is not a valid time."""
    with pytest.raises(ValueError, match=r"ISO|month|hour"):
        read_moment(text)
