"""What a kill leaves: letters that were written are there, and a new run goes on."""

from __future__ import annotations

import json
import signal

import pytest

SQLiteDLQ = pytest.importorskip("missive.dlq.sqlite").SQLiteDLQ

BREAK = '{"label": "break", "why": "because"}'


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_letters_survive(start, missive, project, signum):
    """A letter of which the log has told is in the store, however the process ended."""
    process = start("run", "app:adapter", "--dlq", "sqlite:///dead.db")
    process.send(*[BREAK] * 3)
    process.wait_until(lambda: process.stderr.count("dead-lettered 0x") == 3, "three letters")
    process.popen.send_signal(signum)
    assert process.ended() == (0 if signum == signal.SIGTERM else -signal.SIGKILL)
    with SQLiteDLQ(project / "dead.db") as store:
        assert {letter.reason for letter in store.letters()} == {"because"}
        assert len(store) == 3
    done = missive("run", "app:adapter", "--dlq", "sqlite:///dead.db", input=BREAK)
    assert done.returncode == 0, done.stderr
    assert "4 letters in 1 group\n" in missive("dlq", "summary", "sqlite:///dead.db").stderr


def test_a_replay_that_was_killed_can_be_repeated(start, missive, project):
    """A kill in the middle of a replay leaves the letter in flight, and it is replayed later."""
    wait = json.dumps({"label": "wait", "for": "go"})
    run = start("run", "app:adapter", "--dlq", "sqlite:///dead.db")
    run.send(*[BREAK] * 2)
    run.wait_until(lambda: run.stderr.count("dead-lettered 0x") == 2, "two letters")
    run.popen.send_signal(signal.SIGTERM)
    assert run.ended() == 0
    with SQLiteDLQ(project / "dead.db") as store:
        first = next(store.letters())
        store.restore(first._replace(raw_data=wait.encode()))
        replay = start("dlq", "replay", "sqlite:///dead.db", "app:adapter")
        replay.wait_for("waiting")
        replay.popen.kill()
        replay.ended()
        assert first.id in store
        (project / "go").touch()
        # The claim of the dead process holds for a while: nobody else takes the letter meanwhile.
        done = missive("dlq", "replay", "sqlite:///dead.db", "app:adapter", "--json")
        *_, counts = [json.loads(line) for line in done.stdout.splitlines() if line[0] == "{"]
        assert counts == {"acked": 0, "failed": 1, "nacked": 0, "skipped": 1}
        assert len(store) == 2
