"""Charts: failures over time, drawn by the server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from .shown import plural

#: The periods that can be looked at: how long, and how long a bar is.
PERIODS = {
    "hour": (timedelta(hours=1), timedelta(minutes=1)),
    "day": (timedelta(days=1), timedelta(minutes=30)),
    "week": (timedelta(days=7), timedelta(hours=4)),
}
#: How long a bar of each period is, in words.
_BARS = {"hour": "minute", "day": "half hour", "week": "four hours"}
#: The size of a chart, and of the little one beside a group, in units of the drawing.
WIDTH, HEIGHT = 1100, 150
SPARK_WIDTH, SPARK_HEIGHT = 96, 24
#: How many bars the little one has.
SPARKS = 24
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Bar(NamedTuple):
    """A bar of a chart."""

    x: float
    y: float
    width: float
    height: float
    title: str


class Chart(NamedTuple):
    """A chart, as a template draws it.

    :ivar times: what stands below it, from left to right.
    :ivar top: what the highest bar counts.
    :ivar words: what it shows, for those who do not see it.
    """

    width: int
    height: int
    bars: list[Bar]
    times: list[str]
    top: int
    words: str


def times_of(period: str, now: datetime, bars: int | None = None) -> list[datetime]:
    """Return the times between which letters are counted, up to the end of the running one."""
    length, width = PERIODS[period]
    if bars is not None:
        width = length / bars
    end = _EPOCH + ((now - _EPOCH) // width + 1) * width
    return [end - width * step for step in range(round(length / width), -1, -1)]


def draw(counts: Sequence[int], times: Sequence[datetime], period: str) -> Chart:
    """Return the chart of counts between times."""
    top = max(*counts, 1)
    step = WIDTH / len(counts)
    shape = "%H:%M" if period != "week" else "%a %H:%M"
    bars = [
        Bar(
            round(number * step + 0.5, 2),
            round(HEIGHT - HEIGHT * count / top, 2) if count else HEIGHT,
            round(step - 1, 2),
            round(max(HEIGHT * count / top, 1.5), 2) if count else 0,
            f"{times[number]:{shape}} to {times[number + 1]:%H:%M} UTC: {count:,}",
        )
        for number, count in enumerate(counts)
    ]
    bars = [bar._replace(y=min(bar.y, HEIGHT - bar.height)) for bar in bars]
    marks = [_label(times, part, period) for part in range(5)]
    peak = max(range(len(counts)), key=counts.__getitem__)
    words = f"{plural(sum(counts), 'letter')} failed in the last {period}"
    if counts[peak]:
        busiest = f"{times[peak]:{shape}} UTC, with {counts[peak]:,}"
        words += f". The busiest {_BARS[period]} began at {busiest}"
    return Chart(WIDTH, HEIGHT, bars, marks, top, words)


def _label(times: Sequence[datetime], part: int, period: str) -> str:
    when = times[round((len(times) - 1) * part / 4)]
    if part == 4:
        return "now"
    return f"{when:%a %d %b}" if period == "week" else f"{when:%H:%M}"


class Spark(NamedTuple):
    """The little chart beside a group.

    :ivar points: the corners of the area, as a polygon has them.
    :ivar words: what it shows: how many lately, and whether that is more than before.
    """

    points: str
    words: str


def spark(counts: Sequence[int], period: str) -> Spark:
    """Return the little chart of a group."""
    top = max(*counts, 1)
    step = SPARK_WIDTH / (len(counts) - 1)
    line = " ".join(
        f"{number * step:.1f},{SPARK_HEIGHT - (SPARK_HEIGHT - 2) * count / top:.1f}"
        for number, count in enumerate(counts)
    )
    half = len(counts) // 2
    before, lately = sum(counts[:half]), sum(counts[half:])
    if not before and not lately:
        trend = "none"
    elif lately > 1.2 * before:
        trend = "rising"
    elif lately < 0.8 * before:
        trend = "falling"
    else:
        trend = "steady"
    words = f"{before + lately:,} in the last {period}, {trend}"
    return Spark(f"0,{SPARK_HEIGHT} {line} {SPARK_WIDTH},{SPARK_HEIGHT}", words)
