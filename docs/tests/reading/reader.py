"""A reader of one page: does what each block says, and compares what comes out."""

from __future__ import annotations

import doctest
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sybil import Example

from .blocks import Block
from .terminal import Terminal, TerminalError, tidy

#: What is shown rather than run.
TEXTS = {
    "",
    "text",
    "json",
    "ini",
    "toml",
    "yaml",
    "nginx",
    "dockerfile",
    "markdown",
    "sql",
    "diff",
}
#: How long a block with the hint "retry" is tried again, in seconds.
PATIENCE = 30.0


class Reader:
    """Reads a page in a folder of its own.

    A block with a caption is saved under that name. A block of ``console`` is typed, into the
    terminal that its caption names; the last command typed into "Terminal 1" is left running. A
    block of ``python`` without a caption, and one of ``pycon``, runs in this process. The comment
    before a block may say ``file: NAME`` for a caption that readers do not see, ``retry`` where
    something else may still be starting, ``exit N`` where the last command is to fail, and
    ``skip: REASON``.

    :param folder: where files are saved and terminals opened; the working directory meanwhile.
    :param environment: the variables of its terminals.
    :param substitute: turns what the page says into what holds here: ports, mostly.
    """

    def __init__(
        self, folder: Path, environment: dict[str, str], substitute: Callable[[str], str]
    ) -> None:
        self.folder = folder
        self.environment = environment
        self.substitute = substitute
        self.namespace: dict[str, Any] = {"__name__": "__page__"}
        self.terminals: dict[str, Terminal] = {}

    def read(self, example: Example) -> str | None:
        """Do what one block says.

        :returns: what is wrong, or None.
        """
        block: Block = example.parsed
        if block.hint.startswith("skip: ") or "./dev " in block.source:
            return None  # ./dev runs these very tests
        source = self.substitute(block.source)
        if block.language == "console":
            return self._type(block, source)
        if block.language == "pycon":
            return self._converse(block, source)
        if block.language == "python" and not block.caption and not block.hint:
            code = compile("\n" * (block.line - 1) + source, str(example.path), "exec")
            exec(code, self.namespace)
            return None
        if block.language in TEXTS or block.language == "python":
            name = block.caption or block.hint.removeprefix("file: ")
            if name and " " not in name:
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(source, encoding="utf-8")
            return None
        return f"nobody knows how to run a block of {block.language!r}"

    def close(self) -> None:
        """Close the terminals."""
        for terminal in self.terminals.values():
            terminal.close()

    def _converse(self, block: Block, source: str) -> str | None:
        test = doctest.DocTestParser().get_doctest(
            source, self.namespace, f"line {block.line}", None, block.line
        )
        said: list[str] = []
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        test.globs = self.namespace
        runner.run(test, out=said.append, clear_globs=False)
        return "".join(said) or None

    def _type(self, block: Block, source: str) -> str | None:
        terminal = self._terminal(block.caption)
        output, steps = parse_session(source)
        try:
            if output:
                # What a command that was typed before shows now.
                terminal.wait_for(re.compile(".*" + pattern_of(output).pattern, re.DOTALL))
            for number, (command, expected) in enumerate(steps):
                last = number == len(steps) - 1
                if command == "^C":
                    terminal.interrupt()
                elif last and block.caption.startswith("Terminal 1"):
                    terminal.type(command)
                    terminal.wait_for(pattern_of(expected))
                else:
                    status = exit_status(block.hint) if last else 0
                    self._run(terminal, command, expected, status, "retry" in block.hint)
        except TerminalError as error:
            return str(error)
        return None

    def _terminal(self, name: str) -> Terminal:
        if name not in self.terminals:
            self.terminals[name] = Terminal(self.folder, self.environment)
            if name and "" in self.terminals:  # where the reader has activated an environment
                activate = self.folder / "venv/bin/activate"
                if activate.exists():
                    self.terminals[name].run(f". {activate}")
        return self.terminals[name]

    def _run(
        self, terminal: Terminal, command: str, expected: str, status: int, retry: bool
    ) -> None:
        deadline = time.monotonic() + (PATIENCE if retry else 0)
        while True:
            shown = tidy(terminal.run(command))
            if terminal.status == status and pattern_of(expected).fullmatch(shown):
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)  # between two attempts; a server may still be starting
        raise TerminalError(
            f"$ {command}\nstatus {terminal.status}, not {status}\n"
            f"expected:\n{expected}\nshown:\n{shown}"
        )


def parse_session(source: str) -> tuple[str, list[tuple[str, str]]]:
    """Take a session apart.

    :returns: what is shown before the first command, then each command with what it shows.
    """
    before: list[str] = []
    steps: list[tuple[list[str], list[str]]] = []
    for line in source.splitlines():
        if line.startswith("$ "):
            steps.append(([line[2:]], []))
        elif line == "^C":
            steps.append(([line], []))
        elif line.startswith("> ") and steps and not steps[-1][1]:
            steps[-1][0].append(line[2:])
        elif steps:
            steps[-1][1].append(line)
        else:
            before.append(line)
    joined = [("\n".join(command), tidy("\n".join(shown))) for command, shown in steps]
    return tidy("\n".join(before)), joined


def exit_status(hint: str) -> int:
    """Return the status that the last command of a block is to end with."""
    found = re.search(r"exit (\d+)", hint)
    return int(found.group(1)) if found else 0


def pattern_of(expected: str) -> re.Pattern[str]:
    """Make a pattern of what a page shows: ``...`` stands for anything."""
    parts = [re.escape(part) for part in expected.split("...")]
    return re.compile(".*?".join(parts), re.DOTALL)


def environment_of(bin_folder: Path, extra: dict[str, str]) -> dict[str, str]:
    """Return the variables for terminals, in which the programs of a folder come first."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "COVERAGE", "COV_", "HATCH", "VIRTUAL_ENV", "PYTHON"))
    }
    kept.update(extra)
    kept["PATH"] = os.pathsep.join([str(bin_folder), kept.get("PATH", os.defpath)])
    kept["NO_COLOR"] = "1"
    return kept


def forget_modules(folder: Path) -> None:
    """Forget the modules that were imported from a folder."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(folder):
            del sys.modules[name]
