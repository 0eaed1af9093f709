"""``missive run``, as a process of its own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest

HELLO = '{"label": "greet", "name": "Ada"}'
BREAK = '{"label": "break", "why": "the secret word"}'
HANG = '{"label": "wait", "for": "/nowhere/at/all"}'


def test_runs_an_adapter_to_the_end_of_its_input(missive):
    """An adapter object runs until its input ends, and that is exit code 0."""
    done = missive("run", "app:adapter", input=HELLO + "\n")
    assert (done.returncode, done.stdout) == (0, "hello Ada\n")


def test_builds_the_adapter_from_a_url(missive):
    """A processor with a URL and a message class runs as if the adapter had been written out."""
    done = missive("run", "app:processor", "--from", "stdin:", "--message", "json", input=HELLO)
    assert (done.returncode, done.stdout) == (0, "hello Ada\n")


def test_takes_a_message_class_of_the_users_own(missive):
    """``--message MODULE:CLASS`` loads the class."""
    done = missive("run", "app:processor", "--from", "stdin:", "--message", "app:Order", "--check")
    assert done.returncode == 0
    assert "messages      Order" in done.stdout


def test_dead_letters_are_no_error(missive):
    """A run in which messages became dead letters still ends with exit code 0."""
    done = missive("run", "kept:adapter", input=f"{BREAK}\n{HELLO}\n")
    assert (done.returncode, done.stdout) == (0, "hello Ada\n")
    assert "1 dead-lettered" in done.stderr


def test_says_what_is_in_effect_before_it_starts(missive):
    """The report names adapter, capabilities, DLQ, workers, handlers with their place."""
    done = missive("run", "app:adapter")
    for expected in (
        "StdinAdapter",
        "at-most-once",
        "DLQ           none",
        "workers       1, at most 1 in flight",
        "app.greet for JSON label = 'greet' (app.py:15)",
    ):
        assert expected in done.stderr


def test_check_does_nothing_but_report(missive):
    """``--check`` reads no message and calls no handler."""
    done = missive("run", "app:adapter", "--check", "--json", input=HELLO)
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert report["adapter"] == "StdinAdapter"
    assert report["capabilities"]["nack"] == "drop-refused"
    assert report["handlers"][0]["name"] == "app.greet"
    assert "hello" not in done.stdout


def test_warns_where_a_message_could_be_lost(missive):
    """No DLQ on a transport that cannot redeliver is warned of; with one it is not."""
    without = missive("run", "app:adapter", "--check")
    with_one = missive("run", "kept:adapter", "--check")
    assert "cannot redeliver" in without.stdout
    assert "cannot redeliver" not in with_one.stdout


def test_warns_of_workers_that_lose_the_order(missive):
    """Several workers without an ordering key, on a transport that keeps an order, are warned of."""
    done = missive(
        *("run", "app:processor", "--from", "stdin:", "--message", "raw"),
        *("--workers", 3, "--check", "--json"),
    )
    report = json.loads(done.stdout)
    assert report["workers"] == 3
    assert any("ordering_key" in warning for warning in report["warnings"])


def test_an_error_ends_the_run_without_showing_content(missive):
    """Without a DLQ a handler's error is exit code 1: its type and place, never its text."""
    done = missive("run", "app:adapter", input=BREAK)
    assert done.returncode == 1
    assert re.search(r"ValueError at \S*app\.py:\d+;", done.stderr)
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(missive):
    """With ``--debug`` the same error comes with its traceback."""
    done = missive("run", "app:adapter", "--debug", input=BREAK)
    assert done.returncode == 1
    assert "ValueError: the secret word" in done.stderr


def test_a_handler_that_exits_is_an_error(missive):
    """sys.exit in a handler does not choose the command's exit code."""
    done = missive("run", "app:adapter", input='{"label": "exit"}')
    assert done.returncode == 1
    assert "SystemExit 7" in done.stderr


@pytest.mark.parametrize("form", [("--log-format", "json"), ("--json",)])
def test_logs_as_json(missive, form):
    """The log is one JSON object a line, and holds no message's content."""
    done = missive("run", "kept:adapter", *form, input=BREAK)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events[0]["event"] == "in effect"
    assert events[0]["adapter"] == "StdinAdapter"
    dead = [event for event in events if event.get("logger") == "missive.settlement"]
    assert dead[0]["level"] == "warning"
    assert dead[0]["message"].startswith("dead-lettered ")
    assert "secret" not in done.stderr


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_what_ends_a_run_is_in_its_json_log(missive, debug):
    """Where the log is JSON so is its last line, with the error that ended the run."""
    done = missive("run", "app:adapter", "--log-format", "json", *debug, input=BREAK)
    assert done.returncode == 1
    last = [json.loads(line) for line in done.stderr.splitlines()][-1]
    assert last["level"] == "critical"
    assert "ValueError" in last["message"]
    assert "secret" not in last["message"]
    assert ("ValueError: the secret" in last.get("traceback", "")) is bool(debug)


def test_what_keeps_a_run_from_starting_is_in_its_json_log(missive):
    """Where the log is JSON a target that cannot be used is told in it too."""
    done = missive("run", "app:not_an_adapter", "--log-format", "json")
    assert done.returncode == 2
    (event,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert "not an adapter or a processor" in event["message"]


def test_urls_are_taken_from_the_environment(missive):
    """URLs that hold passwords need not stand in arguments, which any user can read."""
    pytest.importorskip("missive.adapters.redis")
    pytest.importorskip("missive.dlq.sqlite")
    done = missive(
        *("run", "app:processor", "--message", "json", "--check"),
        MISSIVE_FROM="redis://:hunter2@localhost/0?channels=a",
        MISSIVE_DLQ="sqlite:///letters.db",
    )
    assert done.returncode == 0, done.stderr
    assert "on redis://:***@localhost/0?channels=a" in done.stdout
    assert "sqlite:///letters.db" in done.stdout
    assert "MISSIVE_FROM" in missive("run", "--help").stdout


def test_urls_are_taken_from_files(missive, refused, project):
    """A URL may stand in a file that a variable names, with the newline that such files end with."""
    pytest.importorskip("missive.dlq.sqlite")
    (project / "from").write_text("stdin:\n")
    (project / "dlq").write_text("sqlite:///letters.db\n")
    run = ("run", "app:processor", "--message", "json", "--check")
    done = missive(*run, MISSIVE_FROM_FILE="from", MISSIVE_DLQ_FILE="dlq")
    assert done.returncode == 0, done.stderr
    assert "on stdin:" in done.stdout
    assert "sqlite:///letters.db" in done.stdout
    line = refused(missive(*run, MISSIVE_FROM_FILE="from", MISSIVE_FROM="stdin:"))
    assert "MISSIVE_FROM and MISSIVE_FROM_FILE are both set" in line
    assert "cannot be read" in refused(missive(*run, MISSIVE_FROM_FILE="nowhere"))


def test_concurrency_is_another_name_for_workers(missive):
    """``--concurrency``, as other tools call it, is taken."""
    done = missive(
        *("run", "app:processor", "--from", "stdin:", "--message", "raw"),
        *("--concurrency", 3, "--check", "--json"),
    )
    assert json.loads(done.stdout)["workers"] == 3


def test_log_level_is_taken(missive):
    """Below the level that was asked for nothing is logged."""
    done = missive("run", "kept:adapter", "--log-level", "error", input=BREAK)
    assert "dead-lettered" not in done.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_message_in_hand_finish(start, project, signum):
    """A stop by signal finishes what is in flight, begins nothing more, and is exit code 0."""
    process = start("run", "app:adapter", "--drain-timeout", 60)
    go = project / "go"
    process.send(json.dumps({"label": "wait", "for": str(go)}), HELLO)
    process.wait_for("waiting")
    process.popen.send_signal(signum)
    go.touch()
    assert process.ended() == 0
    assert process.stdout == "waiting\nthrough\n"
    assert "1 acked" in process.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_the_drain_deadline_ends_the_process(start, workers):
    """A handler that never returns does not keep the process: exit code 4 at the deadline."""
    process = start(
        *("run", "app:processor", "--from", "stdin:", "--message", "json"),
        *("--workers", workers, "--drain-timeout", 0.2),
    )
    process.send(HANG)
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 4
    assert process.stdout == "waiting\n"


def test_the_watchdog_names_the_line_that_hangs(start):
    """What is logged at the deadline names the line of the handler, where the fix belongs."""
    process = start("run", "app:adapter", "--drain-timeout", 0.1, "--health-file", "health.json")
    process.send(HANG)
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 4
    last = process.stderr.splitlines()[-1]
    assert "wait at " in last
    assert "app.py:" in last


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs the C library of Linux")
def test_the_deadline_holds_for_a_handler_that_is_stuck_in_c(start, project):
    """A handler that waits in C, where Python's own signal handlers do not run, is ended too."""
    (project / "stuck.py").write_text(STUCK)
    process = start("run", "stuck:adapter", "--drain-timeout", 0.1)
    process.send("anything")
    process.wait_for("stuck")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 4


STUCK = """\
import ctypes

import missive
from missive.adapters.stdin import StdinAdapter

processor = missive.Processor()


@processor.handle_for(missive.otherwise)
def deadlock(message, ctx):
    library = ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    print("stuck", flush=True)
    library.pthread_mutex_lock(mutex)


adapter = StdinAdapter(missive.RawMessage, processor)
"""


@pytest.mark.usefixtures("transports")
def test_the_watchdog_names_the_message(start):
    """What is abandoned is named by its id, where the transport has one; content is not shown."""
    process = start("run", "transports:one", "--drain-timeout", 0.1)
    process.wait_for("handling")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 4
    assert "order-17 is abandoned" in process.stderr
    assert "the body" not in process.stderr


TRANSPORTS = """\
import threading

import missive

processor = missive.Processor()


class Unreachable(missive.polling.PollingAdapter[missive.RawMessage]):
    connection_errors = (ConnectionError,)
    fatal_errors = (PermissionError,)
    error = ConnectionRefusedError("no")

    def open(self):
        raise self.error

    def close(self): ...

    def receive(self, timeout):
        return ()

    def ack(self, message): ...

    def nack(self, message): ...


class Refusing(Unreachable):
    error = PermissionError("password hunter2 is wrong")


class Silent(Unreachable):
    def open(self):
        print("open", self.connect_timeout, flush=True)

    def receive(self, timeout):
        self.wait(timeout)
        return ()


class One(Silent):
    def receive(self, timeout):
        return [missive.Delivery(b"the body", message_id="order-17")]


@processor.handle_for(missive.otherwise)
def hang(message, ctx):
    print("handling", flush=True)
    threading.Event().wait()


class Fetching(Silent):
    prefetch = 2


unreachable = Unreachable(missive.RawMessage, processor)
refusing = Refusing(missive.RawMessage, processor)
silent = Silent(missive.RawMessage, processor)
one = One(missive.RawMessage, processor)
fetching = Fetching(missive.RawMessage, processor, workers=4)
"""


@pytest.fixture
def transports(project):
    """A module with adapters whose transports misbehave."""
    (project / "transports.py").write_text(TRANSPORTS)


@pytest.mark.usefixtures("transports")
def test_an_unreachable_transport_is_exit_code_3(missive):
    """A first connection that does not come about in time is exit code 3."""
    done = missive("run", "transports:unreachable", "--connect-timeout", 0.2)
    assert done.returncode == 3
    assert "TransportUnreachable" in done.stderr.splitlines()[-1]


@pytest.mark.usefixtures("transports")
def test_a_transport_that_refuses_is_exit_code_3(missive):
    """A wrong password is exit code 3 at once, and is not repeated to the screen."""
    done = missive("run", "transports:refusing")
    assert done.returncode == 3
    assert "TransportRefused" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.usefixtures("transports")
def test_warns_of_more_workers_than_prefetched_messages(missive):
    """Workers that can never all have a message are warned of."""
    done = missive("run", "transports:fetching", "--check", "--json")
    assert any("only 2 messages" in text for text in json.loads(done.stdout)["warnings"])


@pytest.mark.usefixtures("transports")
def test_the_connect_timeout_is_30_seconds_unless_said(start):
    """Where neither command nor adapter says, the first connection is tried for 30 s."""
    process = start("run", "transports:silent")
    process.wait_for("open 30.0")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0


def test_a_second_run_after_kill_9_starts_clean(start, missive):
    """After kill -9 the next run starts as if nothing had been."""
    process = start("run", "app:adapter", "--health-file", "health.json")
    process.send(HELLO)
    process.wait_for("hello Ada")
    process.popen.kill()
    assert process.ended() == -signal.SIGKILL
    done = missive("run", "app:adapter", "--health-file", "health.json", input=HELLO)
    assert (done.returncode, done.stdout) == (0, "hello Ada\n")


def test_a_reader_that_goes_away_ends_it_quietly(project):
    """A closed pipe is exit code 141 and not a word on standard error."""
    command = [sys.executable, "-m", "missive.cli", "handlers", "app:processor"]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (141, b"")


def test_the_log_keeps_to_its_lines(missive, project):
    """What a text in the log holds cannot begin a line of its own or play with the terminal."""
    (project / "noisy.py").write_text(
        "import logging\n"
        "from app import adapter, processor\n"
        "@processor.before_processing\n"
        "def speak(processing_ctx):\n"
        "    logging.getLogger('app').warning('from %s', 'a\\n\\x1b[2Jb')\n"
    )
    done = missive("run", "noisy:adapter")
    assert r"WARNING  app: from a\n\x1b[2Jb" in done.stderr
    assert "\x1b" not in done.stderr
