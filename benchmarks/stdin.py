"""Standard input: what a line costs, from a pipe, beside the bare loop over lines."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from instrument import Stopwatch, Suite

SHORT, JSON_1K = "short", "1 KB of JSON"


def line_of(kind: str) -> bytes:
    """Return a line, with its end; of so many bytes where ``kind`` is a number."""
    if kind.isdigit():
        return b"x" * (int(kind) - 1) + b"\n"
    if kind == SHORT:
        return b"Hello\n"
    document = {"event": "sign-in", "name": "Ada", "note": ""}
    document["note"] = "x" * (1023 - len(json.dumps(document)))
    return json.dumps(document).encode() + b"\n"


@contextmanager
def pipe_of(kind: str, lines: int) -> Iterator[IO[bytes]]:
    """Have another process write the lines into a pipe, as a shell would, and give its end."""
    with tempfile.TemporaryFile() as file:
        line = line_of(kind)
        chunk = max(1, 1_000_000 // len(line))
        for begin in range(0, lines, chunk):
            file.write(line * min(chunk, lines - begin))
        file.seek(0)
        with subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE) as cat:
            assert cat.stdout is not None
            # The buffer of sys.stdin.buffer, as Python makes it.
            with os.fdopen(os.dup(cat.stdout.fileno()), "rb") as stdin:
                cat.stdout.close()
                yield stdin


suite = Suite("stdin", "Standard input", unit="µs a line", clock="cpu")


@suite.variant(
    "for line in stdin.buffer",
    environment="limit",
    kind="limit",
    semantics="a loop over the lines that calls a function; at most once",
)
def bare_loop(kind: str, decode: bool = False) -> Callable[[int], dict[str, float]]:
    """Measure the loop that a user would write without a framework."""

    def handle(line: bytes) -> None:
        pass

    def handle_json(line: bytes) -> None:
        json.loads(line)

    function = handle_json if decode else handle

    def run(lines: int) -> dict[str, float]:
        with pipe_of(kind, lines) as stdin:
            watch = Stopwatch()
            for line in stdin:
                function(line)
            return watch.stop()

    return run


def adapter_of(kind: str, decode: bool = False) -> Callable[[int], dict[str, float]]:
    """Measure the adapter of either Missive, from its start to the end of the input."""
    import missive
    import missive.adapters.stdin as module

    former = not hasattr(missive, "PollingAdapter")
    message_cls = missive.JSONMessage if decode else missive.RawMessage
    processor: Any = missive.Processor()

    def handle(message: Any, ctx: Any) -> None:
        ctx.ack()

    def handle_json(message: Any, ctx: Any) -> None:
        message.get_json()
        ctx.ack()

    processor.handle_for(lambda message: True)(handle_json if decode else handle)

    def run(lines: int) -> dict[str, float]:
        with pipe_of(kind, lines) as stdin:
            adapter: Any = module.StdinAdapter(message_cls, processor, stdin)
            watch = Stopwatch()
            with suppress(EOFError):
                adapter.run()
            figures = watch.stop()
        if not former and adapter.status().acked != lines:
            raise SystemExit(f"{adapter.status().acked} of {lines} lines were acked")
        return figures

    if former:
        # It goes on for ever at the end of its input. One more call a chunk of 4 KB ends it.
        def read(fd: int, size: int) -> bytes:
            chunk = os.read(fd, size)
            if not chunk:
                raise EOFError
            return chunk

        class _OS:
            pass

        vars(module)["os"] = _OS
        _OS.read = staticmethod(read)  # type: ignore[attr-defined]
    return run


suite.variant(
    "Missive",
    environment="missive",
    kind="missive",
    semantics="each line whole, handled by exactly one handler and settled; stops at a signal",
)(adapter_of)
suite.variant(
    "missive 0.8.1",
    environment="former",
    kind="former",
    semantics="cuts lines at every 4 KB, and hands the pieces over as messages",
)(adapter_of)

ALL = ("for line in stdin.buffer", "Missive", "missive 0.8.1")

suite.case("short lines", ALL, parameters={"kind": SHORT}, items=1_000_000, quick_items=400_000)
suite.case("1 KB lines", ALL, parameters={"kind": JSON_1K}, items=100_000, quick_items=50_000)
suite.case(
    "1 KB lines, decoded",
    ("for line in stdin.buffer", "Missive"),
    parameters={"kind": JSON_1K, "decode": True},
    items=50_000,
    quick=False,
)

for size in (100, 1000, 10_000, 100_000, 1_000_000):
    suite.case(
        f"{size} bytes",
        ("for line in stdin.buffer", "Missive"),
        parameters={"kind": str(size)},
        items=max(100, min(200_000, 200_000_000 // size)),
        curve="bytes of a line",
        x=size,
        quick=False,
        rounds=3,
    )

suite.target(
    "short lines, of 0.8.1",
    ("short lines", "Missive"),
    ("short lines", "missive 0.8.1"),
    at_most=0.17,
)
suite.target(
    "1 KB lines, of the bare loop",
    ("1 KB lines", "Missive"),
    ("1 KB lines", "for line in stdin.buffer"),
    at_most=1.9,
)
