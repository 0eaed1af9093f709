"""``missive explain`` and ``missive handlers``, as processes of their own."""

from __future__ import annotations

import json

import pytest

OVERLAPPING = """\
import missive

processor = missive.Processor()


@processor.handle_for(lambda m: m.raw_data.startswith(b"a"))
def begins(message, ctx):
    raise AssertionError("no handler may be called")


@processor.handle_for(lambda m: m.raw_data.endswith(b"z"))
def ends(message, ctx):
    raise AssertionError("no handler may be called")


@processor.handle_for(lambda m: m.raw_data[5] == 0)
def fifth(message, ctx):
    raise AssertionError("no handler may be called")


@processor.handle_for(missive.route_on_header("kind")("never"))
def never(message, ctx):
    raise AssertionError("no handler may be called")


class Picky(missive.RawMessage):
    def __init__(self, raw_data):
        if raw_data == b"unspeakable":
            raise ValueError(raw_data)
        super().__init__(raw_data)
"""

LINES = "a23456\naz\nq23456\na2345z\nunspeakable\n"


@pytest.fixture
def overlapping(project):
    """A processor whose matchers overlap, raise, and never match."""
    (project / "overlapping.py").write_text(OVERLAPPING)
    (project / "lines.txt").write_text(LINES)


@pytest.mark.usefixtures("overlapping")
def test_says_for_each_message_what_matches(missive):
    """One, several, none, a matcher that raised and a body that cannot be built are told apart."""
    done = missive(
        "explain", "overlapping:processor", "lines.txt", "--message", "overlapping:Picky"
    )
    several = "2 handlers: overlapping.begins, overlapping.ends"
    assert done.returncode == 1
    assert done.stdout.splitlines()[:5] == [
        "line 1: overlapping.begins",
        f"line 2: {several}; overlapping.fifth raised IndexError (header kind = no key)",
        "line 3: no handler (header kind = no key)",
        f"line 4: {several} (header kind = no key)",
        "line 5: cannot be built: ValueError",
    ]
    assert "unspeakable" not in done.stdout + done.stderr


@pytest.mark.usefixtures("overlapping")
def test_counts_overlaps_and_names_what_never_matches(missive):
    """The totals say how often two handlers overlap, and which never match."""
    done = missive("explain", "overlapping:processor", "lines.txt", "--message", "raw")
    assert "overlap: overlapping.begins and overlapping.ends both match 2 messages" in done.stdout
    never = [line for line in done.stdout.splitlines() if line.startswith("never matched")]
    assert never == ["never matched: overlapping.fifth", "never matched: overlapping.never"]


@pytest.mark.usefixtures("overlapping")
def test_explains_as_json(missive):
    """``--json`` gives an object a message, and the totals last."""
    done = missive("explain", "overlapping:processor", "lines.txt", "--message", "raw", "--json")
    *messages, totals = [json.loads(line) for line in done.stdout.splitlines()]
    assert [found["result"] for found in messages] == ["one", "raised", "none", "several", "none"]
    assert messages[1]["raised"][0]["error"] == "IndexError"
    assert messages[1]["raised"][0]["place"] == "overlapping.py:16"
    assert totals["messages"] == 5
    assert totals["problems"] == 4
    assert totals["overlaps"] == [
        {"handlers": ["overlapping.begins", "overlapping.ends"], "messages": 2}
    ]


@pytest.mark.parametrize("file", [(), ("-",)])
def test_reads_standard_input_and_is_content_with_one_handler_each(missive, file):
    """Without a file, or with ``-``, messages come from standard input; all well is exit code 0."""
    done = missive("explain", "app:adapter", *file, input='{"label": "greet"}\r\n\n')
    assert done.returncode == 0
    assert done.stdout.startswith("line 1: app.greet (JSON label = 'greet')\n")
    assert "1 message, 0 without exactly one handler" in done.stderr


def test_takes_a_whole_file_as_one_message(missive, project):
    """``--whole`` does not cut the file at its newlines."""
    (project / "body.json").write_text('{\n"label":\n"greet"}\n')
    done = missive("explain", "app:adapter", "body.json", "--whole")
    assert done.returncode == 0
    assert done.stdout.startswith("body.json: app.greet (JSON label = 'greet')\n")


def test_handlers_lists_them_with_file_and_line(missive):
    """``handlers`` names each handler, what it matches, and where it is."""
    done = missive("handlers", "app:processor")
    assert done.returncode == 0
    assert done.stdout.splitlines()[:2] == [
        "handler\tmatches\tplace",
        "app.greet\tJSON label = 'greet'\tapp.py:15",
    ]


def test_handlers_as_json(missive):
    """``handlers --json`` gives an object a handler; an adapter stands for its processor."""
    done = missive("handlers", "app:adapter", "--json")
    first, *rest = [json.loads(line) for line in done.stdout.splitlines()]
    assert first == {
        "handler": "app.greet",
        "matches": "JSON label = 'greet'",
        "policy": None,
        "place": "app.py:15",
    }
    assert len(rest) == 3


@pytest.mark.usefixtures("overlapping")
def test_handlers_names_lambdas_by_their_line_and_families_by_their_key(missive):
    """Matchers without a name of their own are told apart."""
    lines = missive("handlers", "overlapping:processor").stdout.splitlines()
    assert "overlapping.begins\tlambda at line 6\toverlapping.py:6" in lines
    assert "overlapping.never\theader kind = 'never'\toverlapping.py:21" in lines


def test_a_matcher_that_exits_is_told(missive, project):
    """``sys.exit()`` in a matcher does not end the command as though all were well."""
    (project / "leaving.py").write_text(
        "import sys, missive\n"
        "processor = missive.Processor()\n"
        "@processor.handle_for(lambda m: sys.exit())\n"
        "def handle(message, ctx): ...\n"
    )
    done = missive("explain", "leaving:processor", "--message", "raw", input="a\nb\n")
    assert done.returncode == 1
    assert done.stderr == (
        "missive: line 1: a matcher or the message class ended the program (SystemExit None)\n"
    )
