"""StdinAdapter: one message a line."""

from __future__ import annotations

import gzip
import io
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, BinaryIO

import missive
import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive.adapters.stdin import CHUNK_SIZE, StdinAdapter

DEADLINE = 20.0


def collector() -> tuple[missive.Processor[missive.RawMessage], list[bytes]]:
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    got: list[bytes] = []

    @processor.handle_for(missive.otherwise)
    def collect(message: missive.RawMessage, ctx: Any) -> None:
        got.append(message.raw_data)
        ctx.ack()

    return processor, got


def lines_of(file: BinaryIO, **options: Any) -> list[bytes]:
    processor, got = collector()
    StdinAdapter(missive.RawMessage, processor, file, **options).run()
    return got


def reference(data: bytes, keep_empty: bool) -> list[bytes]:
    """Cut into lines as the contract says, in the plainest way."""
    lines = []
    while data:
        line, newline, data = data.partition(b"\n")
        if newline and line.endswith(b"\r"):
            line = line[:-1]
        if line or (newline and keep_empty):
            lines.append(line)
    return lines


class Dribble(io.RawIOBase):
    """A file that gives at most a few bytes at a time, as a slow pipe does."""

    def __init__(self, data: bytes, size: int) -> None:
        self.rest = data
        self.size = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        piece, self.rest = self.rest[: self.size], self.rest[self.size :]
        return piece


texts = st.lists(st.sampled_from([b"a", b" b ", b"\r", b"\n", b"\r\n", b"\x00\xff", b"\x85"]))


@given(texts.map(b"".join), st.integers(1, 7), st.booleans())
def test_lines_come_whole_and_untouched(data: bytes, size: int, keep_empty: bool) -> None:
    """Whatever the bytes and wherever a read ends, each line arrives as it was written."""
    expected = reference(data, keep_empty)
    assert lines_of(Dribble(data, size), keep_empty=keep_empty) == expected  # type: ignore[arg-type]
    assert lines_of(io.BytesIO(data), keep_empty=keep_empty) == expected


long_texts = st.lists(st.sampled_from([b"y" * 300, b"\n", b"\r\n", b"a\n", b"z" * 90 + b"\r"]))


@given(long_texts.map(b"".join), st.integers(100, 1000), st.booleans())
def test_long_lines_come_whole_too(data: bytes, size: int, keep_empty: bool) -> None:
    """Long and short lines are split in two ways, with the same result."""
    expected = reference(data, keep_empty)
    assert lines_of(Dribble(data, size), keep_empty=keep_empty) == expected  # type: ignore[arg-type]


def test_a_line_may_be_of_any_length() -> None:
    """A line of many megabytes arrives whole, between short ones."""
    # It must not end in the bare "\r" that would belong to the line's end.
    long = os.urandom(5_000_000).replace(b"\n", b"x") + b"."
    with tempfile.TemporaryFile() as file:
        file.write(b"a\n" + long + b"\nb")
        file.seek(0)
        same = lines_of(file) == [b"a", long, b"b"]
    assert same  # and not the lists, whose difference would be shown in full


def test_a_file_that_was_begun_is_read_on() -> None:
    """What a buffered file holds already is not skipped."""
    with tempfile.TemporaryFile() as file:
        file.write(b"header\n1\n2\n")
        file.seek(0)
        assert file.readline() == b"header\n"
        assert lines_of(file) == [b"1", b"2"]


def test_an_unbuffered_and_a_non_blocking_file_are_read() -> None:
    """A raw file has no read1, and a non-blocking one may have nothing to give."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    processor, got = collector()
    with open(read_end, "rb", buffering=0) as file:  # noqa: PTH123
        adapter = StdinAdapter(missive.RawMessage, processor, file)  # type: ignore[arg-type]
        processor.before_processing(lambda ctx: os.write(write_end, b"a\n") and None)
        processor.after_handling(lambda pctx, hctx: os.close(write_end))
        adapter.run()
    assert got == [b"a"]


class Empty(Dribble):
    """A file without a descriptor that has nothing to give at first."""

    def read(self, size: int = -1) -> Any:
        piece = super().read(size)
        self.size = 100
        return piece or (None if self.rest else b"")


def test_a_file_that_has_nothing_yet_is_asked_again() -> None:
    """None from a read is no end of the input."""
    assert lines_of(Empty(b"a\nb\n", 0)) == [b"a", b"b"]  # type: ignore[arg-type]


def test_a_file_whose_reading_fails_ends_the_run_with_its_error() -> None:
    """Also where a thread of its own reads it: the lines before are handled, and the error raised."""
    packed = gzip.compress(b"1\n2\n3")
    processor, got = collector()
    with tempfile.TemporaryFile() as file:
        file.write(packed[:-8])  # without the checksum and the length at the end
        file.seek(0)
        adapter = StdinAdapter(missive.RawMessage, processor, gzip.GzipFile(fileobj=file))  # type: ignore[arg-type]
        with pytest.raises(EOFError, match="end-of-stream marker"):
            adapter.run()
    assert got == [b"1", b"2"]


def test_another_run_reads_on_in_a_file_that_a_thread_reads() -> None:
    """What the thread has read ahead by the end of a run is not lost."""
    lines = [b"%07d" % number * 100 for number in range(2_000)]
    processor, got = collector()
    with tempfile.TemporaryFile() as file:
        file.write(gzip.compress(b"\n".join(lines)))
        file.seek(0)
        adapter = StdinAdapter(missive.RawMessage, processor, gzip.GzipFile(fileobj=file))  # type: ignore[arg-type]
        processor.after_handling(
            lambda processing_ctx, ctx: adapter.stop() if len(got) == 1 else None
        )
        adapter.run()
        assert len(got) < len(lines)
        adapter.run()
    same = got == lines
    assert same  # and not the lists, whose difference would be shown in full


def test_where_a_file_cannot_be_made_non_blocking_its_lines_are_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows, before Python 3.12."""
    monkeypatch.delattr(os, "set_blocking")
    read_end, write_end = os.pipe()
    os.write(write_end, b"1\n2\n")
    os.close(write_end)
    with open(read_end, "rb") as file:  # noqa: PTH123
        assert lines_of(file) == [b"1", b"2"]


@pytest.mark.parametrize("max_bytes", [0, -1, 1.5])
def test_a_limit_that_makes_no_sense_is_refused(max_bytes: Any) -> None:
    """The error names the option and the value."""
    with pytest.raises(missive.ConfigurationError, match=f"max_bytes .*not {max_bytes}"):
        StdinAdapter(missive.RawMessage, collector()[0], io.BytesIO(), max_bytes=max_bytes)


def test_a_text_file_is_refused() -> None:
    """The error names the remedy."""
    processor, _ = collector()
    with pytest.raises(missive.ConfigurationError, match=r"\.buffer"):
        StdinAdapter(missive.RawMessage, processor, io.StringIO("x"))  # type: ignore[arg-type]


def test_messages_carry_their_source() -> None:
    """With workers and without, the source is stdin, and every line is handled."""
    for workers in (1, 4):
        processor: missive.Processor[missive.RawMessage] = missive.Processor()
        seen: set[tuple[bytes, str | None]] = set()

        @processor.handle_for(missive.otherwise)
        def collect(message: missive.RawMessage, ctx: Any, seen: Any = seen) -> None:
            seen.add((message.raw_data, message.source))
            ctx.ack()

        file = io.BytesIO(b"".join(b"%d\n" % n for n in range(1000)))
        adapter = StdinAdapter(missive.RawMessage, processor, file, workers=workers)
        adapter.run()
        assert seen == {(b"%d" % n, "stdin") for n in range(1000)}
        assert adapter.status().acked == 1000


def test_a_nack_cannot_redeliver() -> None:
    """It is a dead letter with a DLQ, and ends the run without."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda m, ctx: ctx.nack())
    with pytest.raises(missive.errors.NackUnsupported):
        StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"x\n")).run()
    processor.set_dlq(dlq := {})
    adapter = StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"x\ny\n"))
    adapter.run()
    assert [reason for _, reason in dlq.values()] == ["nacked; the transport cannot redeliver"] * 2
    with pytest.raises(missive.errors.NackUnsupported):
        adapter.nack(missive.RawMessage(b"z"))


def test_hooks_run_at_the_end_of_the_input() -> None:
    """The end of the input is a clean end."""
    processor, _ = collector()
    log: list[str] = []
    processor.before_processing(lambda ctx: log.append("start"))
    processor.after_processing(lambda ctx: log.append("end"))
    StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"")).run()
    assert log == ["start", "end"]


def test_lines_that_were_read_and_not_handled_are_kept_for_the_next_run() -> None:
    """stop() in the middle of a file loses no line of it."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    got: list[bytes] = []

    @processor.handle_for(missive.otherwise)
    def collect(message: missive.RawMessage, ctx: Any) -> None:
        got.append(message.raw_data)
        ctx.ack()
        if message.raw_data == b"2":
            adapter.stop()

    adapter = StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"1\n2\n3\n4\n"))
    adapter.run()
    assert got == [b"1", b"2"]
    adapter.run()
    assert got == [b"1", b"2", b"3", b"4"]


def test_stop_ends_an_idle_run_at_once() -> None:
    """A pipe without a writer's byte keeps nobody waiting."""
    read_end, write_end = os.pipe()
    processor, _ = collector()
    with open(read_end, "rb") as file:  # noqa: PTH123
        adapter = StdinAdapter(missive.RawMessage, processor, file)
        adapter.poll_timeout = 3600.0  # only being woken can end the wait in time
        thread = threading.Thread(target=adapter.run)
        thread.start()
        assert adapter.ready.wait(DEADLINE)
        adapter.stop()
        thread.join(DEADLINE)
        assert not thread.is_alive()
    os.close(write_end)


PROGRAM = """
import sys, time
import missive
from missive.adapters.stdin import StdinAdapter

processor = missive.Processor()

@processor.before_processing
def start(ctx):
    print("ready", flush=True)

@processor.after_processing
def end(ctx):
    print("end", flush=True)

@processor.handle_for(missive.otherwise)
def handle(message, ctx):
    print("begin", message.raw_data.decode(), flush=True)
    if message.raw_data == b"slow":
        sys.stdout.flush()
        open(sys.argv[1], "rb").read()  # waits for the test to open the other end
    print("done", message.raw_data.decode(), flush=True)
    ctx.ack()

StdinAdapter(missive.RawMessage, processor).run()
"""


@pytest.fixture
def program(tmp_path: Path) -> Any:
    """Start the program above; give the process and the named pipe that its handler waits on."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    started: list[subprocess.Popen[bytes]] = []

    def start(stdin: int) -> tuple[subprocess.Popen[bytes], Path]:
        command = [sys.executable, "-c", PROGRAM, str(gate)]
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process, gate

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_line_in_hand_and_exits_cleanly(program: Any, signum: int) -> None:
    """The handler ends, the message is settled, the hooks run, the exit status is 0."""
    process, gate = program(subprocess.PIPE)
    process.stdin.write(b"slow\nnever\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"begin slow\n"
    process.send_signal(signum)
    gate.write_bytes(b"")
    assert process.stdout.read() == b"done slow\nend\n"
    assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_program_at_once(program: Any, signum: int) -> None:
    """On a pipe that stays open and on a terminal."""
    process, _ = program(subprocess.PIPE)
    process.send_signal(signum)
    assert process.wait(DEADLINE) == 0
    master, slave = pty.openpty()
    process, _ = program(slave)
    os.close(slave)
    os.write(master, b"typed\n")
    assert process.stdout.readline() == b"begin typed\n"
    assert process.stdout.readline() == b"done typed\n"
    process.send_signal(signum)
    assert process.stdout.read() == b"end\n"
    assert process.wait(DEADLINE) == 0
    os.close(master)


def test_lines_longer_than_a_read_come_through_a_pipe(program: Any) -> None:
    """A pipe gives a long line in pieces."""
    process, _ = program(subprocess.PIPE)
    line = b"y" * (3 * CHUNK_SIZE)
    out, _ = process.communicate(line + b"\nlast", timeout=DEADLINE)
    assert out == b"begin %s\ndone %s\nbegin last\ndone last\nend\n" % (line, line)


@pytest.mark.parametrize("replaced", [None, io.StringIO("text")])
def test_no_standard_input_of_bytes(replaced: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is closed or replaced by text, the error says so."""
    monkeypatch.setattr("sys.stdin", replaced)
    with pytest.raises(missive.ConfigurationError, match="finds no standard input to read bytes"):
        StdinAdapter(missive.RawMessage, collector()[0]).run()
