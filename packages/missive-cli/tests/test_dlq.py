"""``missive dlq``, as processes of their own, on a store in SQLite."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import missive as core
import pytest

SQLiteDLQ = pytest.importorskip("missive.dlq.sqlite").SQLiteDLQ

URL = "sqlite:///dead.db"
THEN = datetime(2026, 3, 1, 12, 0, 0, 123456, timezone.utc)
EVIL = b'{"text": "\\u001b[31mred\\u001b[0m \\u202eright to left"}'


def letter(id: bytes, **changes) -> core.DeadLetter:
    """Make a letter that failed in a handler."""
    fields = {
        "id": id,
        "message_id": id,
        "raw_data": b'{"label": "greet", "name": "Ada"}',
        "reason": "boom",
        "stage": "handling",
        "first_failed": THEN,
        "last_failed": THEN,
        "error_type": "ValueError",
        "handler": "app.greet",
        "source": "stdin",
        "message_class": "missive.messages.JSONMessage",
        "host": "here",
        "traceback": "Traceback (most recent call last):\n  ...\nValueError: boom\n",
        **changes,
    }
    fields.setdefault(
        "history",
        (
            core.letters.Failure(
                fields["last_failed"],
                fields["stage"],
                fields["reason"],
                fields["error_type"],
                fields["handler"],
            ),
        ),
    )
    return core.DeadLetter(**fields)


@pytest.fixture
def store(project):
    """A store with five letters in it."""
    with SQLiteDLQ(project / "dead.db") as dlq:
        dlq.restore_many(
            [
                letter(b"one"),
                letter(b"two", last_failed=THEN + timedelta(hours=1)),
                letter(
                    b"three",
                    raw_data=b'{"label": "break", "why": "because"}',
                    handler="app.fail",
                    source="elsewhere",
                ),
                letter(
                    b"\x00\xff",
                    raw_data=b"\x00\x01\xfe\xff binary",
                    stage="decoding",
                    handler=None,
                    error_type="missive.errors.DecodingError",
                    reason="not JSON",
                    headers={"Kind": "odd\udcff", "X-Two": "2"},
                    last_failed=THEN + timedelta(days=1),
                ),
                letter(
                    b"evil",
                    raw_data=EVIL,
                    stage="matching",
                    handler=None,
                    error_type="missive.errors.NoMatchingHandler",
                    reason="tab\there\nand \x1b[2Jmore",
                    source=None,
                ),
            ]
        )
        yield dlq


def ids(done) -> list[str]:
    """Return the ids that a JSON listing has."""
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


# list


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((), ["one", "two", "three", "0x00ff", "evil"]),
        (("--newest-first",), ["evil", "0x00ff", "three", "two", "one"]),
        (("--handler", "app.greet"), ["one", "two"]),
        (("--handler", ""), ["0x00ff", "evil"]),
        (("--reason", "boom", "--source", "elsewhere"), ["three"]),
        (("--error-type", "missive.errors.DecodingError"), ["0x00ff"]),
        (("--since", "2026-03-01T13:00"), ["two", "0x00ff"]),
        (("--since", "2026-03-01T13:00Z", "--until", "2026-03-02"), ["two"]),
        (("--until", "2h", "--limit", "2"), ["one", "two"]),
    ],
)
@pytest.mark.usefixtures("store")
def test_list_filters_as_the_store_does(missive, filters, expected):
    """Each filter chooses letters, and several choose what all of them do."""
    done = missive("dlq", "list", URL, "--json", *filters)
    assert done.returncode == 0
    assert ids(done) == expected


@pytest.mark.usefixtures("store")
def test_list_goes_page_by_page(missive):
    """A page ends with how to go on, and going on so gives every letter once."""
    seen: list[str] = []
    after: tuple[str, ...] = ()
    for _ in range(3):
        done = missive("dlq", "list", URL, "--json", "--limit", 2, *after)
        seen += ids(done)
        after = tuple(done.stderr.split("continue with ")[-1].split())
    assert seen == ["one", "two", "three", "0x00ff", "evil"]
    assert after == ()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--limit", 10**20), ["one", "two", "three", "0x00ff", "evil"]),
        (("--after", 10**20), []),
        (("--after", -(10**20), "--limit", 1), ["one"]),
        (("--after", 10**20, "--newest-first", "--limit", 1), ["evil"]),
    ],
)
@pytest.mark.usefixtures("store")
def test_list_takes_numbers_that_no_store_reaches(missive, args, expected):
    """A limit or a position beyond all letters is as good as any such."""
    done = missive("dlq", "list", URL, "--json", *args)
    assert done.returncode == 0
    assert ids(done) == expected


@pytest.mark.usefixtures("store")
def test_list_in_a_pipe_is_a_line_a_letter(missive):
    """In a pipe there are tabs, no colours, and whatever a letter holds it stays on its line."""
    done = missive("dlq", "list", URL)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert {len(line) for line in lines} == {7}
    assert lines[5] == [
        "2026-03-01 12:00:00Z",
        "evil",
        "1",
        "matching",
        "",
        "missive.errors.NoMatchingHandler",
        r"tab\there\nand \x1b[2Jmore",
    ]
    assert "\x1b" not in done.stdout


@pytest.mark.usefixtures("store")
def test_list_on_a_terminal_escapes_what_letters_hold(terminal):
    """On a terminal there is a table in colours, and control characters of a letter are shown."""
    code, shown = terminal("dlq", "list", URL, columns=200)
    assert code == 0
    assert "\x1b[1m" in shown
    assert "\x1b[2J" not in shown
    assert r"\x1b[2Jmore" in shown


@pytest.mark.usefixtures("store")
def test_what_is_too_wide_for_a_terminal_is_shown_as_blocks(terminal):
    """Where a table would have to fold its cells, each letter is a block, a line for each cell."""
    code, shown = terminal("dlq", "list", URL, columns=60)
    assert code == 0
    assert "─" not in shown
    assert shown.count("last failed") == 5
    assert "missive.errors.NoMatchingHandler" in shown
    assert r"\x1b[2Jmore" in shown
    assert "\x1b[2J" not in shown


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("columns", [60, 200])
def test_no_color_is_heeded(terminal, monkeypatch, columns):
    """A user who sets NO_COLOR gets neither colours nor bold text, in either form of a table."""
    monkeypatch.setenv("NO_COLOR", "1")
    _, shown = terminal("dlq", "list", URL, columns=columns)
    assert "\x1b[" not in shown


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("command", ["list", "summary"])
def test_a_terminal_is_shown_what_its_encoding_can_hold(
    terminal, monkeypatch, store, command, encoding
):
    """A character that the terminal's encoding lacks is escaped in a table."""
    store.restore(letter(b"wide", reason="\u20ac are missing", traceback=None))
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    code, shown = terminal("dlq", command, URL, columns=250)
    assert code == 0
    assert r"\u20ac are missing" in shown


# show


@pytest.mark.usefixtures("store")
def test_show_gives_envelope_history_traceback_and_body(missive):
    """All that is known of a letter is shown, the body as indented JSON."""
    done = missive("dlq", "show", URL, "one")
    assert done.returncode == 0
    for expected in (
        "source        stdin",
        "handler       app.greet",
        "2026-03-01 12:00:00Z  handling, app.greet, ValueError, boom",
        "  ValueError: boom",
        "body (33 bytes, JSON)",
        '    "name": "Ada"',
    ):
        assert expected in done.stdout


@pytest.mark.usefixtures("store")
def test_show_gives_binary_bodies_in_hexadecimal(missive):
    """A body that is no text is shown byte by byte, and its headers as far as they can be."""
    done = missive("dlq", "show", URL, "0x00ff")
    assert "00000000  00 01 fe ff 20 62 69 6e 61 72 79" in done.stdout
    assert ".... binary" in done.stdout
    assert r"Kind: odd\udcff" in done.stdout


@pytest.mark.usefixtures("store")
def test_show_escapes_control_characters_on_a_terminal_alone(missive, terminal):
    """A body cannot play with the operator's terminal; a pipe gets it as it is."""
    _, shown = terminal("dlq", "show", URL, "evil")
    assert r"\u001b[31mred\u001b[0m \u202eright" in shown
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown
    assert "\u202eright" in missive("dlq", "show", URL, "evil").stdout


@pytest.mark.usefixtures("store")
def test_show_heeds_no_color(terminal, monkeypatch):
    """An operator who wants no colours gets none on a terminal either."""
    assert "\x1b[1m" in terminal("dlq", "show", URL, "one")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in terminal("dlq", "show", URL, "one")[1]


@pytest.mark.usefixtures("store")
def test_show_raw_gives_just_the_bytes(project):
    """``--raw`` writes the body, byte for byte, and nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "missive.cli", "dlq", "show", URL, "0x00ff", "--raw"],
        cwd=project,
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"\x00\x01\xfe\xff binary", b"")


@pytest.mark.usefixtures("store")
def test_show_of_what_is_not_there_is_one_line(missive):
    """An id that the store does not have is exit code 1, in one line."""
    done = missive("dlq", "show", URL, "nothere")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("missive: not in the store (any more): nothere;")
    assert len(done.stderr.splitlines()) == 1


# summary


@pytest.mark.usefixtures("store")
def test_summary_groups_and_counts(missive):
    """Letters are counted by error, handler and reason, the most frequent first."""
    done = missive("dlq", "summary", URL, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["count"] for row in rows] == [2, 1, 1, 1]
    assert rows[0]["handler"] == "app.greet"
    assert rows[0]["first_seen"] == "2026-03-01T12:00:00.123456+00:00"
    assert rows[0]["last_seen"] == "2026-03-01T13:00:00.123456+00:00"


@pytest.mark.usefixtures("store")
def test_summary_draws_when_letters_were_seen(missive):
    """The bar shows where in the whole time a group's letters were."""
    lines = missive("dlq", "summary", URL).stdout.splitlines()
    bars = {line.split("\t")[5]: line.split("\t")[-1] for line in lines[1:]}
    assert bars["not JSON"] == "█" * 8  # from its first failure to its last
    assert bars["tab here"] == "█" + 7 * "·"
    assert len(lines) == 5


@pytest.mark.usefixtures("store")
def test_summary_takes_a_limit_that_no_store_reaches(missive):
    """A limit beyond all groups shows them all."""
    assert len(missive("dlq", "summary", URL, "--limit", 10**20).stdout.splitlines()) == 5


@pytest.mark.usefixtures("store")
def test_summary_shows_the_most_frequent_groups(missive):
    """Where there are more groups than are shown, the rest is counted."""
    done = missive("dlq", "summary", URL, "--limit", 1)
    assert len(done.stdout.splitlines()) == 2
    assert "2 letters in 1 group\n" in done.stderr
    assert "3 letters are in other groups; see more with --limit" in done.stderr


# delete and purge


@pytest.mark.parametrize(
    "args",
    [
        ("delete", URL, "one"),
        ("purge", URL, "--older-than", "1d"),
        ("delete", URL, "--reason", "boom"),
    ],
)
def test_without_a_terminal_to_ask_yes_must_be_given(missive, refused, store, args):
    """What removes letters does nothing where it can ask nobody."""
    assert "pass --yes" in refused(missive("dlq", *args))
    assert len(store) == 5


@pytest.mark.parametrize(("answer", "left"), [("y\n", 4), ("n\n", 5), ("\n", 5)])
def test_delete_asks_on_a_terminal(terminal, store, answer, left):
    """A yes removes the letter; a no, or nothing, leaves it."""
    code, shown = terminal("dlq", "delete", URL, "one", answer=answer)
    assert "Remove 1 letter for good? [y/N]:" in shown
    assert len(store) == left
    assert code == (0 if left == 4 else 1)
    assert ("missive: nothing was removed" in shown) is (left == 5)


def test_purge_that_is_refused_says_that_nothing_was_removed(terminal, store):
    """A no to purge is exit code 1, and no interruption."""
    code, shown = terminal("dlq", "purge", URL, "--older-than", "1d", answer="n\n")
    assert code == 1
    assert shown.endswith("missive: nothing was removed\n")
    assert len(store) == 5


def test_delete_by_id_says_what_was_not_there(missive, store):
    """Letters that are there are removed, those that are not are named, with exit code 1."""
    ids = ("one", "nothere", "0x00ff", "one", "nothere")
    done = missive("dlq", "delete", URL, *ids, "--yes", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"removed": 2}
    assert "missive: not in the store (any more): nothere; " in done.stderr
    assert sorted(store) == [b"evil", b"three", b"two"]


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (("--handler", "app.greet"), [b"\x00\xff", b"evil", b"three"]),
        (
            ("--until", "2026-03-01T12:30", "--handler", "app.greet"),
            [b"\x00\xff", b"evil", b"three", b"two"],
        ),
    ],
)
def test_delete_by_filter(missive, store, filters, left):
    """Just the letters that match every filter are removed."""
    assert missive("dlq", "delete", URL, "--yes", *filters).returncode == 0
    assert sorted(store) == left


@pytest.mark.parametrize("args", [(), ("one", "--reason", "boom")])
@pytest.mark.usefixtures("store")
def test_delete_wants_ids_or_filters(missive, refused, args):
    """Neither is not taken for everything, and both are not guessed at."""
    assert "give ids, or a filter" in refused(missive("dlq", "delete", URL, *args, "--yes"))


def test_purge_removes_by_age(missive, store):
    """Letters older than the age go, younger ones stay."""
    store.restore(letter(b"young", last_failed=datetime.now(timezone.utc)))
    done = missive("dlq", "purge", URL, "--older-than", "1d", "--yes", "--json")
    assert json.loads(done.stdout) == {"removed": 5}
    assert list(store) == [b"young"]


def test_delete_removes_what_was_asked_about(project, store, monkeypatch, capsys):
    """What fails again, changes or arrives between the question and the answer stays, and is said."""
    from click.testing import CliRunner
    from missive.cli.dlq import removing
    from missive.cli.dlq.group import dlq

    monkeypatch.chdir(project)
    asked = []

    def confirm(question, *, yes):
        asked.append(question)
        store.put(letter(b"one", last_failed=THEN + timedelta(days=2)))  # newer than --until
        store.put(
            letter(
                b"three",
                handler="app.fail",
                source="elsewhere",
                last_failed=THEN,
                raw_data=store.letter(b"three").raw_data,
            )
        )
        store.restore(letter(b"new"))

    monkeypatch.setattr(removing, "confirm", confirm)
    done = CliRunner().invoke(dlq, ["delete", URL, "--until", "2026-03-01T12:30"])
    assert done.exit_code == 0, done.output
    assert asked == ["Remove 3 letters for good?"]
    assert list(store) == [b"one", b"two", b"three", b"\x00\xff", b"new"]
    assert "1 letter removed\n" in done.output
    assert "2 letters failed again, changed or left the store meanwhile: not removed" in done.output


def test_purge_counts_what_it_asks_about(terminal, store):
    """The question names how many letters go; those that grow old enough meanwhile stay."""
    code, shown = terminal("dlq", "purge", URL, "--older-than", "1d", answer="y\n")
    assert "Remove 5 letters that failed last more than 1 day, 0:00:00 ago for good?" in shown
    assert code == 0
    assert len(store) == 0


def test_reasons_are_cut(missive, store):
    """A reason of megabytes takes a line of a few hundred characters, and says what is missing."""
    store.clear()
    store.restore(letter(b"long", reason="r" * 3_000_000))
    listed = missive("dlq", "list", URL).stdout
    assert len(listed) < 1000
    assert "more characters cut]" in listed
    for command in ("list", "summary"):
        (line,) = missive("dlq", command, URL, "--json").stdout.splitlines()
        reason = json.loads(line)["reason"]
        assert len(reason) < 10_000
        assert reason.endswith("more characters cut]")
    shown = missive("dlq", "show", URL, "long").stdout
    assert len(shown) < 20_000
    assert (
        len(json.loads(missive("dlq", "show", URL, "long", "--json").stdout)["reason"]) == 3_000_000
    )


def test_a_long_listing_is_drawn_in_parts(terminal, store):
    """On a terminal a listing without an end is drawn a hundred rows at a time."""
    store.restore_many(letter(b"n%03d" % number) for number in range(220))
    code, shown = terminal("dlq", "list", URL, "--all")
    assert code == 0
    assert shown.count("n219") == 1


# export and import


def test_export_and_import_lose_nothing(missive, project, store):
    """What was exported and imported is the same in every field, but for its position."""
    exported = missive("dlq", "export", URL)
    imported = missive("dlq", "import", "sqlite:///new.db", input=exported.stdout)
    assert imported.returncode == 0, imported.stderr
    with SQLiteDLQ(project / "new.db") as new:
        assert list(map(unplaced, new.letters())) == list(map(unplaced, store.letters()))
        assert [*new.letters()][3].history == [*store.letters()][3].history
    again = missive("dlq", "export", "sqlite:///new.db")
    assert again.stdout == exported.stdout


def unplaced(found: core.DeadLetter) -> core.DeadLetter:
    """Leave out what is the store's own."""
    return found._replace(position=None)


@pytest.mark.usefixtures("store")
def test_export_filters_and_writes_to_a_file(missive, project):
    """Filters choose what is exported, and ``--output`` where to."""
    done = missive("dlq", "export", URL, "--source", "elsewhere", "-o", "out.jsonl")
    assert (done.returncode, done.stdout) == (0, "")
    (record,) = map(json.loads, (project / "out.jsonl").read_text().splitlines())
    assert record["id"] == "three"
    assert record["body"] == '{"label": "break", "why": "because"}'


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("[]", "it is not a JSON object"),
        ("not json", "it is not JSON"),
        ({"id": 3}, "its 'id' is not text"),
        ({"id": "0xzz"}, "its 'id' is not a message id"),
        ({"stage": "thinking"}, "its 'stage' is none of"),
        ({"first_failed": "yesterday"}, "its 'first_failed' is no ISO time"),
        ({"first_failed": "2026-03-01T12:00:00"}, "its 'first_failed' has no time zone"),
        ({"failures": -1}, "its 'failures' is less than 0"),
        ({"failures": 10**22}, "its 'failures' is more than can be counted"),
        ({"last_failed": "0001-01-01T00:00:00+05:00"}, "its 'last_failed' is before the year 1"),
        ({"last_failed": "9999-12-31T23:00:00-05:00"}, "or after 9999"),
        ({"headers": {"a": 1}}, "its 'headers' are not all text"),
        ({"body": "secret", "body_base64": "c2VjcmV0"}, "not just one of"),
        ({"body": "\ud800 secret"}, "its 'body' is not Unicode"),
        ({"history": [{"at": "2026-03-01T12:00:00Z"}]}, "it has no 'stage'"),
    ],
)
@pytest.mark.usefixtures("store")
def test_import_names_the_line_that_is_no_letter(missive, refused, change, why):
    """A line that is no record is named with what is wrong; nothing of its content is shown."""
    done = missive("dlq", "export", URL, "--source", "elsewhere")
    record = json.loads(done.stdout)
    line = change if isinstance(change, str) else json.dumps({**record, **change})
    done = missive("dlq", "import", "sqlite:///new.db", input=f"\n{line}\n")
    told = refused(done)
    assert "line 2 is not a letter" in told
    assert why in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("target", "options"),
    [(("app:adapter",), ()), (("app:processor",), ("--message", "app:Order"))],
)
def test_export_as_pytest_writes_a_test_that_runs(missive, project, store, target, options):
    """The test fails with the handler's own error, and passes once the code is mended."""
    done = missive("dlq", "export", URL, *target, *options, "--as-pytest", "three")
    assert done.returncode == 0
    (project / "test_letter.py").write_text(done.stdout)

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_letter.py"],
            cwd=project,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    failed = run()
    assert failed.returncode == 1, failed.stdout
    assert "ValueError: because" in failed.stdout
    assert store.letter(b"three").failures == 1
    app = project / "app.py"
    app.write_text(
        app.read_text().replace('raise ValueError(message.get_json()["why"])', "ctx.ack()")
    )
    passed = run()
    assert passed.returncode == 0, passed.stdout
    assert "1 passed" in passed.stdout


def test_export_as_pytest_imports_a_module_of_any_name(missive, project, store):
    """A module that no import statement can name is imported by its name in text."""
    (project / "my-app.py").write_text((project / "app.py").read_text())
    done = missive("dlq", "export", URL, "my-app:adapter", "--as-pytest", "one")
    (project / "test_letter.py").write_text(done.stdout)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_letter.py"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert store.letter(b"one").failures == 1


def test_export_as_pytest_carries_every_byte(missive, project, store):
    """Body, id, headers and source are in the test as they were, whatever they hold."""
    body = bytes(range(256)) * 3 + b'"""\\'
    store.restore(letter(b"\x00\"'\\", raw_data=body, headers={"a": "'\udcff\n"}, source='"x'))
    (project / "catching.py").write_text(
        "import missive\n"
        "processor = missive.Processor()\n"
        "@processor.handle_for(missive.otherwise)\n"
        "def catch(message, ctx):\n"
        f"    assert message.raw_data == bytes(range(256)) * 3 + {body[768:]!r}\n"
        '    assert message.message_id == b"\\x00\\"\'\\\\"\n'
        "    assert dict(message.headers) == {'a': \"'\\udcff\\n\"}\n"
        "    assert message.source == '\"x'\n"
        "    ctx.ack()\n"
    )
    done = missive(
        *("dlq", "export", URL, "catching:processor", "--message", "raw"),
        *("--as-pytest", "0x0022275c"),
    )
    (project / "test_letter.py").write_text(done.stdout)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_letter.py"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout


# replay


def test_replay_handles_letters_again(missive, store):
    """What is acked leaves the store, what fails again stays, and that is exit code 1."""
    done = missive("dlq", "replay", URL, "app:adapter")
    assert done.returncode == 1
    assert done.stdout.count("hello Ada\n") == 2
    assert "three: failed in app.fail: ValueError" in done.stdout
    assert "2 acked, 3 failed, 0 nacked, 0 skipped" in done.stderr
    assert list(store) == [b"three", b"\x00\xff", b"evil"]
    assert store.letter(b"three").failures == 2


def test_replay_of_what_is_mended_is_exit_code_0(missive, store):
    """When every letter is acked, the exit code is 0, also for a processor with a class."""
    done = missive(
        *("dlq", "replay", URL, "app:processor", "--message", "app:Order"),
        *("--handler", "app.greet", "--json"),
    )
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [line.get("outcome") for line in lines] == ["acked", "acked", None]
    assert lines[-1] == {"acked": 2, "failed": 0, "nacked": 0, "skipped": 0}
    assert len(store) == 3


def test_replay_by_id_and_limit(missive, store):
    """Only the letters named are replayed, and no more than the limit."""
    missive("dlq", "replay", URL, "app:adapter", "two")
    assert list(store) == [b"one", b"three", b"\x00\xff", b"evil"]
    missive("dlq", "replay", URL, "app:adapter", "--limit", 1)
    assert list(store) == [b"three", b"\x00\xff", b"evil"]


def test_replay_dry_run_changes_nothing(missive, store):
    """``--dry-run`` says where each would go, calls no handler, and is 1 where one has no place."""
    before = list(store.letters())
    done = missive("dlq", "replay", URL, "app:adapter", "--dry-run")
    assert done.returncode == 1
    assert "one: would go to app.greet" in done.stdout
    assert "0x00ff: failed: DecodingError" in done.stdout
    assert "evil: no handler matches" in done.stdout
    assert "hello" not in done.stdout
    assert list(store.letters()) == before


def test_a_canary_that_fails_keeps_its_group_alone(missive, store):
    """``--canary`` tries one of every group, and replays the groups whose letter was acked."""
    store.restore(letter(b"four", raw_data=b'{"label": "break", "why": "x"}', handler="app.fail"))
    done = missive("dlq", "replay", URL, "app:adapter", "--canary")
    assert done.returncode == 1
    assert "the canary failed in groups " in done.stderr
    assert "2 acked, 3 failed" in done.stderr
    assert list(store) == [b"three", b"\x00\xff", b"evil", b"four"]
    assert store.letter(b"four").failures == 1


def test_a_canary_that_is_well_lets_all_follow(missive, store):
    """When one of each group was acked the others are replayed too."""
    done = missive("dlq", "replay", URL, "app:adapter", "--canary", "--handler", "app.greet")
    assert done.returncode == 0
    assert "2 acked" in done.stderr
    assert list(store) == [b"three", b"\x00\xff", b"evil"]


@pytest.mark.usefixtures("store")
def test_replay_shows_a_bar_on_a_terminal_and_none_in_a_pipe(missive, terminal):
    """The progress bar is shown on a terminal alone."""
    code, shown = terminal("dlq", "replay", URL, "app:adapter")
    assert code == 1
    assert "replaying" in shown
    assert "5/5" in shown
    assert "2 acked, 3 failed" in shown
    assert "replaying" not in missive("dlq", "replay", URL, "app:adapter").stderr


def test_an_error_outside_of_handlers_is_one_line_without_its_text(missive, project, store):
    """A hook that raises ends the replay with the type and the place, and nothing is lost."""
    (project / "hooked.py").write_text(
        "from app import adapter, processor\n"
        "@processor.before_processing\n"
        "def connect(processing_ctx):\n"
        "    raise ValueError('hunter2')\n"
    )
    done = missive("dlq", "replay", URL, "hooked:adapter")
    assert done.returncode == 1
    counts, told = done.stderr.splitlines()
    assert counts == "0 acked, 0 failed, 0 nacked, 0 skipped"
    assert told.startswith("missive: the replay ended with ValueError at ")
    assert "hooked.py:4" in told
    assert "hunter2" not in told
    assert len(store) == 5


@pytest.mark.usefixtures("store")
def test_explain_takes_letters(missive):
    """``explain --dlq`` explains the letters of a store, by their ids."""
    done = missive("explain", "app:adapter", "--dlq", URL)
    assert done.returncode == 1
    assert "one: app.greet (JSON label = 'greet')\n" in done.stdout
    assert "evil: no handler (JSON label = " in done.stdout


# bad input


@pytest.mark.parametrize(
    ("args", "remedy"),
    [
        (("list", "sqlite:///app.py"), "not a SQLite database"),
        (("list", "sqlite:///nothere.db"), "nothere.db"),
        (("list", "sqlite://host/x.db"), "sqlite:///relative.db"),
        (("list", URL, "--since", "yesterday"), "give 2026-03-01"),
        (("purge", URL, "--older-than", "old", "--yes"), "give 90s"),
        (("purge", URL, "--older-than", "99999999999d", "--yes"), "is longer ago than the year 1"),
        (("purge", URL, "--older-than", "900000d", "--yes"), "is longer ago than the year 1"),
        (("export", URL, "-o", "no/such/folder/x"), "no/such/folder/x"),
        (("show", URL, "0xzz"), "pairs of hexadecimal digits"),
        (("replay", URL, "app:nothere"), "it has processor, adapter"),
        (("replay", URL, "app:processor"), "--message json, raw or MODULE:CLASS"),
        (("replay", URL, "app:adapter", "one", "--canary"), "--canary chooses the letters itself"),
        (("export", URL, "--as-pytest", "one"), "URL MODULE:ADAPTER"),
        (("export", URL, "app:adapter"), "go with --as-pytest"),
        (("summary", "memory"), "no scheme"),
    ],
)
@pytest.mark.usefixtures("store")
def test_bad_input_is_one_line(missive, refused, project, args, remedy):
    """What cannot be used is one line with the remedy, and nothing is made or changed."""
    before = sorted(path.name for path in project.iterdir())
    assert remedy in refused(missive("dlq", *args))
    after = sorted(path.name for path in project.iterdir() if path.name != "__pycache__")
    assert after == [name for name in before if name != "__pycache__"]


@pytest.mark.usefixtures("store")
def test_standard_output_may_be_closed(project):
    """Where standard output is closed a command does its work, and no file takes its place."""
    command = f"{sys.executable} -m missive.cli dlq"
    done = subprocess.run(
        ["sh", "-c", f"{command} list {URL} >&- && {command} replay {URL} app:adapter two >&-"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "1 acked, 0 failed, 0 nacked, 0 skipped\n"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("command", ["list", "show", "summary", "export"])
def test_a_reader_that_goes_away_is_met_quietly(project, command):
    """A closed pipe ends the command with 141 and not a word."""
    extra = ("one",) if command == "show" else ()
    process = subprocess.Popen(
        [sys.executable, "-m", "missive.cli", "dlq", command, URL, *extra],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (141, b"")
