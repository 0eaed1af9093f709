"""Groups: letters that failed alike, and the commands that take them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import missive as core
import pytest

SQLiteDLQ = pytest.importorskip("missive.dlq.sqlite").SQLiteDLQ

URL = "sqlite:///dead.db"
THEN = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
GREET = b'{"label": "greet", "name": "Ada"}'
BREAK = b'{"label": "break", "why": "because"}'


def letter(id: str, reason: str, *, line: int | None = 23, body: bytes = GREET, **more):
    """Make a letter that failed on a line."""
    trace = f'Traceback (most recent call last):\n  File "/srv/app.py", line {line}, in greet\n'
    fields = {
        "error_type": "ValueError",
        "handler": "app.greet",
        "traceback": None if line is None else f"{trace}ValueError: {reason}\n",
        **more,
    }
    return core.DeadLetter(
        id=id.encode(),
        raw_data=body,
        reason=reason,
        stage="handling",
        first_failed=THEN,
        last_failed=THEN,
        **fields,
    )


@pytest.fixture
def store(project):
    """A store with letters of three groups."""
    with SQLiteDLQ(project / "dead.db") as dlq:
        dlq.restore_many(
            [letter(f"greet-{number}", f"no customer {number}") for number in range(25)]
            + [letter(f"other-{number}", f"no customer {number}", line=40) for number in range(3)]
            + [letter("broken-1", "because", body=BREAK, handler="app.fail", line=22)]
            + [letter("broken-2", "because", body=BREAK, handler="app.fail", line=22)]
        )
        yield dlq


def numbers(missive) -> dict[str, str]:
    """Return the numbers of the groups by the lines that raised."""
    rows = map(json.loads, missive("dlq", "summary", URL, "--json").stdout.splitlines())
    return {row["place"].rpartition(":")[2]: row["group"] for row in rows}


def test_a_number_is_short_and_stays(missive, store):
    """A group's number does not change when other groups come and go."""
    before = numbers(missive)
    assert all(len(number) == 3 for number in before.values())
    for id in list(store)[:25]:
        del store[id]
    store.restore(letter("new", "new", line=99))
    after = numbers(missive)
    assert {line: after[line] for line in ("40", "22")} == {
        line: before[line] for line in ("40", "22")
    }


def test_list_takes_a_group(missive, store):
    """``list --group`` shows the letters of one group, page by page."""
    number = numbers(missive)["40"]
    done = missive("dlq", "list", URL, "--group", number, "--json")
    listed = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert listed == ["other-0", "other-1", "other-2"]
    done = missive("dlq", "list", URL, "--group", number, "--limit", 2)
    assert len(done.stdout.splitlines()) == 3
    assert "there are more" in done.stderr


def test_delete_takes_a_group(missive, store):
    """``delete --group`` removes the letters of one group and no others."""
    done = missive("dlq", "delete", URL, "--group", numbers(missive)["23"], "--yes")
    assert "25 letters removed" in done.stderr
    assert len(store) == 5


def test_replay_takes_a_group(missive, store):
    """``replay --group`` handles the letters of one group and no others."""
    done = missive("dlq", "replay", URL, "app:adapter", "--group", numbers(missive)["40"])
    assert done.returncode == 0
    assert "3 acked, 0 failed" in done.stderr
    assert len(store) == 27


def test_a_group_that_is_not_there_is_refused(missive, refused, store):
    """An unknown number is named with those that there are."""
    line = refused(missive("dlq", "list", URL, "--group", "1"))
    assert "there is no group 1; there are " in line
    assert numbers(missive)["40"] in line
    assert "there is no group" in refused(missive("dlq", "delete", URL, "--group", "x", "--yes"))


def test_the_canary_tries_every_group(missive, store):
    """Groups whose letter was acked are replayed; the others keep theirs, and are named."""
    broken = numbers(missive)["22"]
    done = missive("dlq", "replay", URL, "app:adapter", "--canary")
    assert done.returncode == 1
    assert f"the canary failed in group {broken}; its other letters were not touched" in done.stderr
    assert "28 acked, 1 failed" in done.stderr
    assert list(store) == [b"broken-1", b"broken-2"]
    assert store.letter(b"broken-2").failures == 1


def test_the_bar_of_a_canary_counts_all_letters(terminal, store):
    """Progress is of all letters, those of groups that are left alone included."""
    _, shown = terminal("dlq", "replay", URL, "app:adapter", "--canary")
    assert "30/30" in shown


def test_summary_fits_100_columns(terminal, store):
    """A summary is a table where there are 100 columns, with relative times."""
    recent = datetime.now(timezone.utc) - timedelta(hours=3, minutes=1)
    store.restore(letter("long", "x" * 200, handler="shop.orders.handlers.create_order_from_cart"))
    store.restore(letter("late", "late", line=77)._replace(last_failed=recent))
    code, shown = terminal("dlq", "summary", URL, columns=100)
    assert code == 0
    assert "─" in shown
    assert "3 h ago" in shown
    assert "app.py:23" in shown
    assert "…" in shown
