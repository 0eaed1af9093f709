"""``missive dlq watch``, and the completion of ids."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from missive import DeadLetter

SQLiteDLQ = pytest.importorskip("missive.dlq.sqlite").SQLiteDLQ

BREAK = '{"label": "break", "why": "no"}'


@pytest.fixture
def store(missive, project):
    """A store with two letters, which the command made."""
    missive("run", "app:adapter", "--dlq", "sqlite:///dead.db", input=f"{BREAK}\n{BREAK}\n")
    with SQLiteDLQ(project / "dead.db") as opened:
        yield opened


def put_another(store) -> DeadLetter:
    """Put a letter into the store that was not there before."""
    letter = next(store.letters())._replace(id=b"another-%d" % len(store))
    store.put(letter)
    return letter


def test_new_letters_are_written_as_they_come(start, store):
    """In a pipe each new letter is a line; those that were there before are not shown."""
    process = start("dlq", "watch", "sqlite:///dead.db", "--json", "--interval", 0.1)
    assert len(store) == 2
    process.wait_until(lambda: put_another(store) and process.stdout, "line of the new letter")
    ids = {json.loads(line)["id"] for line in process.stdout.splitlines()}
    assert ids
    assert all(id.startswith("another-") for id in ids)
    process.popen.send_signal(signal.SIGINT)
    assert process.ended() == 0


def test_a_terminal_shows_counts_and_the_newest_letters(terminal, store):
    """The screen is drawn anew at every look; Ctrl-C ends it."""
    put_another(store)
    code, shown = terminal("dlq", "watch", "sqlite:///dead.db", "--interval", 0.1, until="another")
    assert code == 0
    assert "3 dead letters, 0 deferred messages" in shown
    assert "ValueError" in shown


def completed(project, *words: str, **env: str) -> list[str]:
    """Return what the shell offers for the last of these words."""
    done = subprocess.run(
        [sys.executable, "-c", "from missive.cli import main; main()"],
        cwd=project,
        env={
            **os.environ,
            **env,
            "_MISSIVE_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("missive", *words)),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines() if "," in line]


@pytest.mark.parametrize("command", ["show", "delete", "retry-now", "give-up"])
def test_ids_are_completed(project, store, command):
    """What is typed of an id is completed from the store, named or in the environment."""
    from missive import format_id

    ids = {format_id(letter.id) for letter in store.letters()}
    assert set(completed(project, "dlq", command, "sqlite:///dead.db", "0x")) == ids
    assert set(completed(project, "dlq", command, "0x", MISSIVE_DLQ="sqlite:///dead.db")) == ids
    one = min(ids)
    assert one in completed(project, "dlq", command, "sqlite:///dead.db", one[:-1])


def test_nothing_is_offered_where_there_is_no_store(project):
    """A store that is not named, or cannot be opened, is no error of the shell's."""
    assert completed(project, "dlq", "show", "sqlite:///gone.db", "0x") == []
