"""The reader of pages notices what is wrong with a page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from reading.blocks import BlockParser
from reading.reader import Reader, environment_of, parse_session, pattern_of
from reading.terminal import Terminal, tidy
from sybil import Sybil
from sybil.example import SybilFailure


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Read a page of this text in a folder of its own; fails as the page's test would."""
    folder = tmp_path / "work"
    folder.mkdir()
    environment = environment_of(Path(sys.executable).parent, {})
    reader = Reader(folder, environment, lambda source: source)

    def call(text: str) -> None:
        page = tmp_path / "page.md"
        page.write_text(text, encoding="utf-8")
        for example in Sybil(parsers=[BlockParser(reader.read)]).parse(page).examples():
            example.evaluate()

    yield call
    reader.close()


def block(language: str, source: str, caption: str = "") -> str:
    head = f"```{{code-block}} {language}\n" + (f":caption: {caption}\n" if caption else "")
    return f"{head}\n{source}\n```\n\n"


def test_a_command_that_shows_what_the_page_shows_passes(read: Callable[[str], None]) -> None:
    """Output is compared line by line, and an ellipsis stands for anything."""
    read(block("console", "$ printf 'one\\ntwo 17\\n'\none\ntwo ..."))


@pytest.mark.parametrize(
    "shown", ["one", "one\ntwo\nthree", "two\none", ""], ids=["less", "more", "order", "nothing"]
)
def test_a_command_that_shows_something_else_fails(read: Callable[[str], None], shown: str) -> None:
    """What is not exactly what came out is an error, with both sides in its text."""
    with pytest.raises(SybilFailure, match="expected"):
        read(block("console", f"$ printf 'one\\ntwo\\n'\n{shown}"))


def test_a_command_that_fails_fails_the_page(read: Callable[[str], None]) -> None:
    """A command has to succeed, whatever it shows, unless the page expects it to fail."""
    with pytest.raises(SybilFailure, match="status 3, not 0"):
        read(block("console", "$ echo one; (exit 3)\none"))
    read("<!-- exit 3 -->\n" + block("console", "$ true\n$ echo one; (exit 3)\none"))


def test_files_are_saved_where_commands_find_them(read: Callable[[str], None]) -> None:
    """A block with a caption becomes the file of that name."""
    read(
        block("python", "print('Hello')", caption="hello.py")
        + block("console", "$ python hello.py\nHello")
    )


def test_a_block_is_saved_as_the_sentence_below_it_says(read: Callable[[str], None]) -> None:
    """A README's way of naming a file is understood too."""
    read(
        "```python\nprint('Hello')\n```\n\nSave it as `hello.py` and run it:\n\n"
        "```console\n$ python hello.py\nHello\n```\n"
    )


def test_python_that_raises_fails_with_its_line(read: Callable[[str], None]) -> None:
    """An error in a block comes out, and its traceback names the page and the line in it."""
    with pytest.raises(ZeroDivisionError) as caught:
        read("Words.\n\n" + block("python", "number = 0\n1 / number"))
    assert caught.traceback[-1].lineno + 1 == 6


def test_a_conversation_is_compared(read: Callable[[str], None]) -> None:
    """What an expression gives has to be what stands below it."""
    read(block("pycon", ">>> 1 + 1\n2"))
    with pytest.raises(SybilFailure, match="Expected"):
        read(block("pycon", ">>> 1 + 1\n3"))


def test_a_block_of_an_unknown_language_fails(read: Callable[[str], None]) -> None:
    """Code that nobody can run is not passed over."""
    with pytest.raises(SybilFailure, match="nobody knows"):
        read(block("ruby", "puts 1"))


def test_two_terminals_speak_to_each_other(read: Callable[[str], None]) -> None:
    """A command in Terminal 1 goes on while others run, and what it shows later is waited for."""
    read(
        block("console", "$ mkfifo pipe; cat pipe - ", caption="Terminal 1")
        + block("console", "$ echo Hello > pipe", caption="Terminal 2")
        + block("console", "Hello\n^C", caption="Terminal 1")
    )


def test_a_command_that_ends_too_early_fails(read: Callable[[str], None]) -> None:
    """A server that is not there any more cannot show what the page shows."""
    with pytest.raises(SybilFailure, match="ended"):
        read(
            block("console", "$ true", caption="Terminal 1")
            + block("console", "Hello", caption="Terminal 1")
        )


def test_a_terminal_gives_each_command_its_own_output_and_status(tmp_path: Path) -> None:
    """What one command shows is not taken for the next one's, and a shell keeps its state."""
    terminal = Terminal(tmp_path, environment_of(Path(sys.executable).parent, {}))
    try:
        assert tidy(terminal.run("cd / && echo one")) == "one"
        assert tidy(terminal.run("pwd; false")) == "/"
        assert terminal.status == 1
    finally:
        terminal.close()


def test_a_session_is_taken_apart() -> None:
    """Commands, their continuations and outputs are told apart."""
    before, steps = parse_session("early\n$ cat <<EOF\n> a\n> EOF\na\n$ true\n^C\n")
    assert before == "early"
    assert steps == [("cat <<EOF\na\nEOF", "a"), ("true", ""), ("^C", "")]


def test_what_a_page_shows_is_no_regular_expression() -> None:
    """Only the ellipsis is special."""
    assert pattern_of("a+b (c)").fullmatch("a+b (c)")
    assert not pattern_of("a.b").fullmatch("axb")
