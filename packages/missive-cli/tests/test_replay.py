"""How ``missive dlq replay`` is stopped and bounded, as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import datetime, timezone

import pytest
from missive import DeadLetter

SQLiteDLQ = pytest.importorskip("missive.dlq.sqlite").SQLiteDLQ

URL = "sqlite:///dead.db"
THEN = datetime(2026, 3, 1, tzinfo=timezone.utc)
GREET = {"label": "greet", "name": "Ada"}
BREAK = {"label": "break", "why": "because"}
WAIT = {"label": "wait", "for": "go"}
EXIT = {"label": "exit"}


def letter(id: str, body: object, reason: str) -> DeadLetter:
    """Make a letter of the group that the reason names."""
    return DeadLetter(
        id=id.encode(),
        raw_data=json.dumps(body).encode(),
        reason=reason,
        stage="handling",
        first_failed=THEN,
        last_failed=THEN,
        error_type="ValueError",
    )


@pytest.fixture
def store(project):
    """An empty store."""
    with SQLiteDLQ(project / "dead.db") as dlq:
        yield dlq


def counts(done) -> dict[str, int]:
    """Return the counts that end a replay's JSON."""
    return json.loads(done.stdout.splitlines()[-1])


# canaries


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_during_the_canary_leaves_the_rest(start, project, store, signum):
    """Who stops the replay while a canary is handled does not start the others by that."""
    store.restore_many([letter("a", WAIT, "one"), letter("b", GREET, "one")])
    replay = start("dlq", "replay", URL, "app:adapter", "--canary")
    replay.wait_for("waiting")
    replay.popen.send_signal(signum)
    (project / "go").touch()
    assert replay.ended() == 0
    assert list(store) == [b"b"]
    assert "stopped; the other letters were not touched" in replay.stderr
    assert "1 acked, 0 failed, 0 nacked, 0 skipped" in replay.stderr


def test_a_canary_that_is_claimed_gives_way_to_the_next_of_its_group(missive, store):
    """Of a group whose first letter another replay has, the next is the canary."""
    store.restore_many(letter(id, body, "one") for id, body in {"a": GREET, "b": BREAK}.items())
    store.restore(letter("c", GREET, "one"))
    store.claim(b"a")
    done = missive("dlq", "replay", URL, "app:adapter", "--canary")
    assert done.returncode == 1
    assert "the canary failed" in done.stderr
    assert b"c" in store


def test_what_a_canary_skips_is_counted_once(missive, store):
    """A letter that is skipped by the canary, and again with the rest, is one letter."""
    store.restore_many(letter(id, GREET, "one") for id in "abc")
    store.claim(b"a")
    done = missive("dlq", "replay", URL, "app:adapter", "--canary", "--json")
    assert done.returncode == 0
    assert counts(done) == {"acked": 2, "failed": 0, "nacked": 0, "skipped": 1}


def test_a_group_without_a_canary_does_not_keep_the_others(missive, store):
    """Where another replay has every letter of a group, only the other groups are replayed."""
    store.restore_many([letter("a", GREET, "one"), letter("b", GREET, "two")])
    store.restore(letter("c", GREET, "two"))
    store.claim(b"a")
    done = missive("dlq", "replay", URL, "app:adapter", "--canary")
    assert done.returncode == 1
    assert "is claimed by another replay" in done.stderr
    assert list(store) == [b"a"]


@pytest.mark.parametrize(("limit", "left"), [(1, 3), (3, 1), (9, 0)])
def test_limit_bounds_the_canary_too(missive, store, limit, left):
    """At most so many letters are handled, the canaries counted."""
    store.restore_many(
        [letter("a", GREET, "one"), letter("b", GREET, "two"), letter("c", GREET, "two")]
    )
    store.restore(letter("d", GREET, "two"))
    done = missive("dlq", "replay", URL, "app:adapter", "--canary", "--limit", limit)
    assert done.returncode == 0
    assert f"{4 - left} acked" in done.stderr
    assert len(store) == left


def test_what_arrives_during_the_canary_is_left(start, project, store):
    """No letter that came, or failed anew, while a canary was handled follows it."""
    store.restore_many([letter("a", WAIT, "one"), letter("b", GREET, "one")])
    store.restore(letter("c", GREET, "one"))
    replay = start("dlq", "replay", URL, "app:adapter", "--canary")
    replay.wait_for("waiting")
    store.restore(letter("d", GREET, "two"))
    store.put(letter("c", GREET, "another"))
    (project / "go").touch()
    assert replay.ended() == 0
    assert list(store) == [b"c", b"d"]
    assert "2 acked, 0 failed, 0 nacked, 1 skipped" in replay.stderr


# claims


def test_says_who_holds_a_letter(missive, store):
    """A letter that a killed replay holds is named, with its process and until when."""
    store.restore_many([letter("a", GREET, "one"), letter("b", GREET, "one")])
    claim, _ = store.claim(b"a", lease=3600)
    until = f"{claim.expires:%Y-%m-%d %H:%M:%SZ}"
    done = missive("dlq", "replay", URL, "app:adapter")
    assert f"a: skipped, claimed until {until} by process " in done.stdout
    assert done.returncode == 0, "another was replayed"
    assert claim.owner in missive("dlq", "show", URL, "a").stdout
    done = missive("dlq", "replay", URL, "app:adapter", "--json")
    assert done.returncode == 1, "nothing was replayed"
    record = json.loads(done.stdout.splitlines()[0])
    assert record["claimed_until"] == claim.expires.isoformat()
    assert record["claimed_by"] == claim.owner
    store.restore(letter("b", GREET, "one"))
    assert missive("dlq", "replay", URL, "app:adapter", "a", "b").returncode == 1


# what ends a replay


@pytest.mark.parametrize("option", ["--limit=9", "--canary"])
def test_a_handler_that_exits_ends_the_replay_with_a_word(missive, store, option):
    """``sys.exit()`` in a handler is exit code 1 in one line, after the counts so far."""
    store.restore_many([letter("a", GREET, "one"), letter("b", EXIT, "two")])
    done = missive("dlq", "replay", URL, "app:adapter", option)
    assert done.returncode == 1
    counts, told = done.stderr.splitlines()
    assert counts == "1 acked, 0 failed, 0 nacked, 0 skipped"
    assert told.startswith("missive: a handler or hook ended the program (SystemExit 7)")
    assert list(store) == [b"b"]


@pytest.mark.parametrize("error", ["BrokenPipeError", "EOFError", "KeyError"])
def test_an_error_of_a_hook_is_told_by_its_name(missive, project, store, error):
    """No error of a hook is taken for a closed pipe, or for a Ctrl-C."""
    store.restore(letter("a", GREET, "one"))
    (project / "hooked.py").write_text(
        "from app import adapter, processor\n"
        "@processor.before_processing\n"
        "def connect(processing_ctx):\n"
        f"    raise {error}\n"
    )
    done = missive("dlq", "replay", URL, "hooked:adapter")
    assert done.returncode == 1
    assert f"missive: the replay ended with {error} at " in done.stderr
    assert "0 acked, 0 failed, 0 nacked, 0 skipped" in done.stderr


def test_a_reader_that_goes_away_ends_the_replay(project, store):
    """A closed pipe ends the replay with 141, and without an error."""
    store.restore_many([letter("a", BREAK, "one"), letter("b", BREAK, "one")])
    process = subprocess.Popen(
        [sys.executable, "-m", "missive.cli", "dlq", "replay", URL, "app:adapter"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 141
    assert b"missive:" not in stderr


# ids


def test_ids_that_are_not_there_are_named(missive, store):
    """Letters that are there are replayed, those that are not are named, with exit code 1."""
    store.restore_many([letter("a", GREET, "one"), letter("b", GREET, "one")])
    done = missive("dlq", "replay", URL, "app:adapter", "gone", "a", "gone")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "1 acked, 0 failed, 0 nacked, 0 skipped",
        "missive: not in the store (any more): gone; missive dlq list shows what is there",
    ]
    assert list(store) == [b"b"]


# terminals


def test_the_bar_leaves_the_lines_of_a_replay_whole(terminal, store):
    """On a terminal what is told of a letter stands on a line of its own, above the bar."""
    store.restore_many(letter(id, BREAK, "one") for id in "abc")
    code, shown = terminal("dlq", "replay", URL, "app:adapter")
    assert code == 1
    # The bar's line is erased before anything else is written there.
    for id in "abc":
        before, told, after = shown.partition(f"{id}: failed in app.fail: ValueError")
        assert told
        assert before.endswith(("\x1b[2K", "\n", "\r"))
        assert after.startswith("\n")
