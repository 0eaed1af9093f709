"""Retries and deferred messages, by the command: as processes of their own."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import missive as core
import pytest

SQLiteDLQ = pytest.importorskip("missive.dlq.sqlite").SQLiteDLQ

URL = "sqlite:///letters.db"
THEN = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
LATER = datetime.now(timezone.utc) + timedelta(days=1)


def letter(id: bytes, due: datetime | None = None, **changes) -> core.DeadLetter:
    """Make a dead letter, or a deferred one."""
    return core.DeadLetter(
        id=id,
        message_id=id,
        raw_data=b'{"label": "greet", "name": "Ada"}',
        reason="the database is down",
        stage="handling",
        first_failed=THEN,
        last_failed=THEN,
        error_type="ConnectionError",
        handler="app.greet",
        source="stdin",
        due=due,
        state="dead" if due is None else "deferred",
        **changes,
    )


@pytest.fixture
def store(project):
    """A store with a dead letter and two deferred ones."""
    with SQLiteDLQ(project / "letters.db") as store:
        store.put(letter(b"dead"))
        store.defer([letter(b"wait-1", LATER, attempt=2), letter(b"wait-2", LATER)])
        yield store


def rows_of(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_list_keeps_the_states_apart(missive, store):
    """Dead letters unless told otherwise."""
    for args, expected in (
        ((), ["dead"]),
        (("--state", "deferred"), ["wait-1", "wait-2"]),
        (("--state", "all"), ["dead", "wait-1", "wait-2"]),
    ):
        rows = rows_of(missive("dlq", "list", URL, "--json", *args))
        assert [row["id"] for row in rows] == expected
    assert (rows[1]["state"], rows[1]["attempt"]) == ("deferred", 2)
    assert datetime.fromisoformat(rows[1]["due"]) > datetime.now(timezone.utc)
    assert "due" in missive("dlq", "list", URL, "--state", "deferred").stdout.splitlines()[0]


def test_summary_counts_what_waits_beside(missive, store):
    """Not among the dead letters."""
    done = missive("dlq", "summary", URL)
    assert "1 letter in 1 group" in done.stderr
    assert "beside 2 deferred messages" in done.stderr
    assert [r["count"] for r in rows_of(missive("dlq", "summary", URL, "--json", "--state", "all"))]


def test_export_purge_and_delete_leave_alone_what_waits(missive, store):
    """Unless they are told the state."""
    assert len(rows_of(missive("dlq", "export", URL))) == 1
    assert len(rows_of(missive("dlq", "export", URL, "--state", "all"))) == 3
    assert missive("dlq", "purge", URL, "--older-than", "0s", "--yes").returncode == 0
    assert (store.counts().dead, store.counts().deferred) == (0, 2)
    args = ("dlq", "purge", URL, "--older-than", "0s", "--state", "deferred", "--yes")
    assert missive(*args).returncode == 0
    assert store.counts().deferred == 0


def test_show_says_when_a_message_is_due(missive, store):
    """And how often it was tried; a dead letter is never due."""
    lines = [
        " ".join(line.split()) for line in missive("dlq", "show", URL, "wait-1").stdout.split("\n")
    ]
    assert "state deferred after 2 attempts" in lines
    assert f"due {LATER:%Y-%m-%d %H:%M:%SZ}" in lines
    assert "due " not in missive("dlq", "show", URL, "dead").stdout


def test_retry_now_makes_messages_due(missive, store):
    """By the beginning of an id, by filter, or all."""
    assert missive("dlq", "retry-now", URL, "wait-1").stderr == "1 message due now\n"
    assert store.counts().due == 1
    done = missive("dlq", "retry-now", URL, "--handler", "app.greet", "--json")
    assert rows_of(done) == [{"due": 2}]
    assert missive("dlq", "retry-now", URL, "--all").returncode == 0
    assert store.counts().dead == 1


def test_give_up_makes_dead_letters(missive, store):
    """They are tried no more."""
    assert missive("dlq", "give-up", URL, "wait-2").stderr == "1 message given up\n"
    assert (store.counts().dead, store.counts().deferred) == (2, 1)
    assert rows_of(missive("dlq", "give-up", URL, "--all", "--json")) == [{"dead": 1}]


@pytest.mark.parametrize("command", ["retry-now", "give-up"])
@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ((), 2, "--all"),
        (("wait-1", "--all"), 2, "--all"),
        (("none",), 1, "not in the store"),
        (("dead",), 1, "none of these is a deferred message"),
        (("--handler", "other"), 1, "the store has 2 deferred messages"),
    ],
)
def test_what_does_not_wait_is_refused_by_name(missive, store, command, args, code, text):
    """Nothing is changed."""
    done = missive("dlq", command, URL, *args)
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr
    assert (store.counts().dead, store.counts().deferred, store.counts().due) == (1, 2, 0)


FLAKY = """\
import missive

processor = missive.Processor()


@processor.handle_for(missive.otherwise)
def flaky(message, ctx):
    print("attempt", ctx.attempt, flush=True)
    if ctx.attempt < 3:
        raise ConnectionError("down")
    ctx.ack()
"""


def test_a_processor_that_declares_no_retry_is_given_one(missive, start, project):
    """The first run defers; one on ``deferred:`` handles what is due."""
    (project / "flaky.py").write_text(FLAKY)
    options = ("--message", "raw", "--dlq", URL, "--retry-attempts", "4", "--retry-delay", "0")
    done = missive("run", "flaky:processor", "--from", "stdin:", *options, input="hello\n")
    assert done.returncode == 0, done.stderr
    assert "attempt 1" in done.stdout
    assert "(flaky.py:" in done.stderr
    assert ": 4 attempts, 0 s x 2 up to 300 s" in done.stderr
    assert "ended: 1 received, 0 acked, 0 nacked, 0 dead-lettered, " in done.stderr
    assert " deferred\n" in done.stderr
    process = start("run", "flaky:processor", "--from", "deferred:", *options)
    if "attempt 3" not in done.stdout:
        process.wait_for("attempt 3")
    process.popen.terminate()
    assert process.ended() == 0
    with SQLiteDLQ(project / "letters.db") as store:
        assert (store.counts().dead, store.counts().deferred) == (0, 0)


@pytest.mark.parametrize(
    ("declared", "args", "text"),
    [
        ("retry=missive.Retry()", ("--retry-attempts", "3"), "a Retry of its own"),
        ("", ("--retry-delay", "3"), "--retry-delay needs --retry-attempts"),
        ("", ("--retry-attempts", "0"), "--retry-attempts"),
        ("", ("--retry-attempts", "2", "--retry-delay", "-1"), "--retry-delay"),
    ],
)
def test_retries_that_cannot_be_meant_are_refused(missive, project, declared, args, text):
    """The command names the option."""
    program = FLAKY.replace("Processor()", f"Processor({declared})")
    (project / "flaky.py").write_text(program)
    done = missive(
        *("run", "flaky:processor", "--from", "stdin:", "--message", "raw", "--dlq", URL), *args
    )
    assert done.returncode == 2
    assert text in done.stderr


def test_deferred_without_a_store_names_the_remedy(missive, project):
    """There is nothing to take them from."""
    (project / "flaky.py").write_text(FLAKY)
    done = missive("run", "flaky:processor", "--from", "deferred:", "--message", "raw")
    assert done.returncode != 0
    assert "--dlq URL" in done.stderr


def test_handlers_and_explain_show_the_policies(missive, project, store):
    """What is retried, how often and when; and what a breaker does."""
    (project / "flaky.py").write_text(
        FLAKY.replace(
            "missive.otherwise",
            "missive.otherwise, retry=missive.Retry(on=OSError, attempts=3),"
            " breaker=missive.Breaker(on=ConnectionError)",
        )
    )
    (row,) = rows_of(missive("handlers", "flaky:processor", "--json"))
    assert row["policy"] == (
        "3 attempts on OSError, 1 s x 2 up to 300 s;"
        " breaker on ConnectionError: 5 in 30 s pause it for 30 s"
    )
    args = ("explain", "flaky:processor", "--message", "raw", "--dlq", URL)
    *messages, totals = rows_of(missive(*args, "--state", "deferred", "--json"))
    assert [one["message"] for one in messages] == ["wait-1", "wait-2"]
    assert "3 attempts" in totals["policies"]["flaky.flaky"]
    assert "3 attempts" in missive(*args).stdout
