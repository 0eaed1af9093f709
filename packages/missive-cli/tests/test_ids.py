"""Ids by their beginnings, and the store from the environment."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from random import Random

import missive as core
import pytest
from missive.cli.dlq.prefixes import short_ids
from missive.letters import shortest_prefixes

SQLiteDLQ = pytest.importorskip("missive.dlq.sqlite").SQLiteDLQ

URL = "sqlite:///dead.db"
THEN = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
FIRST, SECOND = bytes.fromhex("5f3a" + "00" * 14), bytes.fromhex("5f3b" + "ff" * 14)


@pytest.fixture
def store(project):
    """A store with ids of several kinds."""
    with SQLiteDLQ(project / "dead.db") as dlq:
        dlq.restore_many(
            core.DeadLetter(
                id=id,
                raw_data=b'{"label": "greet", "name": "Ada"}',
                reason="boom",
                stage="handling",
                first_failed=THEN,
                last_failed=THEN,
                handler="app.greet",
            )
            for id in (FIRST, SECOND, b"order-1", b"order-17")
        )
        yield dlq


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("typed", ["0x5f3a", "0x5f3a0", "0x5F3A"])
def test_show_takes_the_beginning_of_an_id(missive, typed):
    """A beginning that one id has stands for it, with an odd number of digits too."""
    done = missive("dlq", "show", URL, typed, "--json")
    assert json.loads(done.stdout)["id"] == "0x" + FIRST.hex()


@pytest.mark.usefixtures("store")
def test_an_id_that_was_typed_whole_wins(missive):
    """An id that is the beginning of another one can still be named."""
    assert json.loads(missive("dlq", "show", URL, "order-1", "--json").stdout)["id"] == "order-1"


@pytest.mark.usefixtures("store")
def test_a_beginning_of_several_ids_is_refused(missive, refused):
    """One line names the ids that begin so."""
    line = refused(missive("dlq", "show", URL, "0x5f3"))
    assert "0x5f3 is the beginning of several ids (0x5f3a" in line


@pytest.mark.usefixtures("store")
def test_what_is_not_there_is_named_as_it_was_typed(missive):
    """An id that no letter has is told as it was typed, not as the bytes that it stands for."""
    done = missive("dlq", "show", URL, "0x5f3c")
    assert done.returncode == 1
    assert "not in the store (any more): 0x5f3c;" in done.stderr


def test_delete_takes_beginnings(missive, store):
    """``delete`` removes the letters whose ids begin so."""
    done = missive("dlq", "delete", URL, "0x5f3a", "order-17", "--yes")
    assert "2 letters removed" in done.stderr
    assert list(store) == [SECOND, b"order-1"]


def test_replay_takes_beginnings(missive, store):
    """``replay`` handles the letters whose ids begin so."""
    done = missive("dlq", "replay", URL, "app:adapter", "0x5f3a")
    assert "1 acked" in done.stderr
    assert FIRST not in store


@pytest.mark.usefixtures("store")
def test_export_takes_a_beginning(missive):
    """``export --as-pytest`` writes the test of the letter whose id begins so."""
    done = missive("dlq", "export", URL, "app:adapter", "--as-pytest", "0x5f3a")
    assert done.returncode == 0
    assert FIRST.hex() in done.stdout


@pytest.mark.usefixtures("store")
def test_a_terminal_shows_beginnings_that_are_taken(missive, terminal):
    """What the list shows of an id is enough to name it, and fits 100 columns."""
    _, shown = terminal("dlq", "list", URL, columns=100)
    assert "─" in shown
    assert "0x" + FIRST.hex() not in shown
    (short,) = {word for word in shown.split() if word.startswith("0x5f3a")}
    assert len(short) == 8
    assert missive("dlq", "show", URL, short).returncode == 0


def test_beginnings_are_as_short_as_they_can_be():
    """Each text has the shortest beginning that no other has, but no shorter than asked."""
    assert shortest_prefixes(["abcd1", "abcd2", "abxy", "q"], 2) == {
        "abcd1": "abcd1",
        "abcd2": "abcd2",
        "abxy": "abx",
        "q": "q",
    }
    assert shortest_prefixes([], 8) == {}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("list", "--limit", "2"), "order-1"),
        (("summary",), "app.greet"),
        (("show", "order-17"), "order-17"),
        (("export",), '"id":"order-17"'),
        (("export", "app:adapter", "--as-pytest", "order-17"), "order_17"),
        (("replay", "app:adapter", "--dry-run"), "would go to app.greet"),
    ],
)
def test_the_store_is_taken_from_the_environment(missive, args, expected):
    """``MISSIVE_DLQ`` stands for the URL in every command, as it does for run."""
    done = missive("dlq", *args, MISSIVE_DLQ=URL)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout or args[0] == "list"
    done = missive("dlq", *args, MISSIVE_DLQ="sqlite:///other.db")
    assert "other.db" in done.stderr


def test_what_removes_takes_the_store_from_the_environment(missive, store, project):
    """Delete, purge and import know the variable, and the file that ``_FILE`` names."""
    assert missive("dlq", "delete", "order-17", "--yes", MISSIVE_DLQ=URL).returncode == 0
    (project / "url").write_text(f"{URL}\n")
    done = missive("dlq", "purge", "--older-than", "1d", "--yes", MISSIVE_DLQ_FILE="url")
    assert "3 letters removed" in done.stderr
    assert missive("dlq", "import", "-", MISSIVE_DLQ=URL).returncode == 0


@pytest.mark.usefixtures("store")
def test_a_url_that_is_given_wins(missive):
    """An argument is what is meant, whatever the environment says."""
    done = missive("dlq", "list", URL, "--json", MISSIVE_DLQ="sqlite:///other.db")
    assert done.returncode == 0
    assert "order-17" in done.stdout


def test_without_a_store_the_variable_is_named(missive, refused):
    """Where no store is named the line says how to name one."""
    line = refused(missive("dlq", "list"))
    assert "give its URL" in line
    assert "MISSIVE_DLQ" in line


@pytest.mark.parametrize(
    "given", ["letters.db", "some/letters.sqlite", "/abs/letters.db", "odd name.db"]
)
def test_a_file_name_suggests_its_url(missive, refused, given):
    """A path of a database is answered with the URL to write, quoted for the shell."""
    line = refused(missive("dlq", "list", given))
    quoted = f"'sqlite:///{given}'" if " " in given else f"sqlite:///{given}"
    assert f"did you mean {quoted}?" in line


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("list", "--handler", "app.gret"), "the store has 4 letters; by handler: app.greet (4)"),
        (("list", "--since", "1h"), "the last failed at 2026-03-01 12:00:00Z"),
        (("summary", "--reason", "bang"), "by reason: boom (4)"),
        (("replay", "app:adapter", "--reason", "bang"), "by reason: boom (4)"),
        (("delete", "--reason", "bang", "--yes"), "by reason: boom (4)"),
        (("export", "--error-type", "KeyError"), "by error type: '' (4)"),
    ],
)
def test_a_filter_that_matches_nothing_says_what_there_is(missive, args, expected):
    """No match is exit code 1, with the values that would match."""
    done = missive("dlq", args[0], URL, *args[1:])
    assert done.returncode == 1
    assert "no letter matches" in done.stderr
    assert expected in done.stderr


def test_an_empty_store_is_no_error(missive, store):
    """Without a filter there is nothing to match, so an empty store is exit code 0."""
    store.clear()
    done = missive("dlq", "list", URL)
    assert (done.returncode, done.stderr) == (0, "no letters\n")
    assert missive("dlq", "summary", URL).returncode == 0


def test_beginnings_that_are_shown_are_unique_in_the_whole_store():
    """What is shown of an id on a page is enough among the ids of all pages."""
    with core.MemoryDLQ() as store:
        random = Random(3)
        texts = {"".join(random.choices("ab", k=random.randint(1, 14))) for _ in range(400)}
        for text in texts:
            store[text.encode()] = (core.RawMessage(b""), "boom")
        for page in (random.sample(sorted(texts), 1), random.sample(sorted(texts), 30)):
            for text, short in short_ids(store, page).items():
                begun = [other for other in texts if other.startswith(short)]
                assert begun == [text] or short == text
