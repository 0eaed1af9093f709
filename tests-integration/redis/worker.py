"""A consumer in a process of its own, which notes in a file what it handled.

``python worker.py URL JOURNAL LETTERS [name=value…]`` reads the stream ``load``. A body is a number
and the digest of that number; ``poison`` ends the process in the middle of its handler.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import missive
from missive.adapters.redis import RedisStreamsAdapter


def body_of(number: int) -> bytes:
    """Return the body with a number, and with what shows whether it came whole."""
    digits = b"%d" % number
    return digits + b" " + hashlib.sha256(digits).hexdigest().encode() * 4


def number_of(body: bytes) -> int:
    """Return the number of a body.

    :raises ValueError: the body is not whole.
    """
    number = int(body.partition(b" ")[0])
    if body != body_of(number):
        raise ValueError("the body is corrupted")
    return number


class Journal:
    """A file that survives the process that writes it: each line is one write."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *words: object) -> None:
        """Add a line."""
        os.write(self._fd, (" ".join(str(word) for word in words) + "\n").encode())


class Letters(MutableMapping[bytes, "tuple[missive.Message, str]"]):
    """A DLQ that is a journal."""

    def __init__(self, path: str) -> None:
        self._journal = Journal(path)
        self._letters: dict[bytes, tuple[missive.Message, str]] = {}

    def __setitem__(self, key: bytes, letter: tuple[missive.Message, str]) -> None:
        self._journal.write(letter[0].raw_data.split()[0].decode(), letter[1].replace(" ", "_"))
        self._letters[key] = letter

    def __getitem__(self, key: bytes) -> tuple[missive.Message, str]:
        return self._letters[key]

    def __delitem__(self, key: bytes) -> None:
        del self._letters[key]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._letters)

    def __len__(self) -> int:
        return len(self._letters)


def read_journal(path: Path) -> list[list[str]]:
    """Return the lines of a journal, each as its words."""
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def main(url: str, journal_path: str, letters_path: str, *settings: str) -> None:
    """Run until stopped."""
    options: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        options[name] = float(value) if "." in value else int(value)
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.set_dlq(Letters(letters_path))
    journal = Journal(journal_path)

    @processor.handle_for(missive.otherwise)
    def handle(
        message: missive.RawMessage, ctx: missive.HandlingContext[missive.RawMessage]
    ) -> None:
        if message.raw_data.startswith(b"poison"):
            journal.write("poison", message.delivery_count, os.getpid())
            os._exit(7)
        journal.write(number_of(message.raw_data), message.delivery_count, os.getpid())
        ctx.ack()

    RedisStreamsAdapter(missive.RawMessage, processor, "load", "group", url=url, **options).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
