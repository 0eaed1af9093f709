"""The readers of replies: that of hiredis, and ours where hiredis cannot be had."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive.adapters.redis.errors import ServerError
from missive.adapters.redis.replies import UNFINISHED, PureReader, Reader, make_reader
from redis.exceptions import InvalidResponse


def encode(value: Any) -> bytes:
    """Write a reply as a server does."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, str):
        return f"+{value}\r\n".encode()
    if isinstance(value, ServerError):
        return f"-{value}\r\n".encode()
    return b"*%d\r\n" % len(value) + b"".join(encode(element) for element in value)


def plain(value: Any) -> Any:
    """Return a reply in a form that compares."""
    if isinstance(value, list):
        return [plain(element) for element in value]
    return ("error", str(value)) if isinstance(value, ServerError) else value


LINES = st.text(st.characters(min_codepoint=32, max_codepoint=126))
LEAVES = (
    st.none()
    | st.binary(max_size=40)
    | st.integers(-(2**62), 2**62)
    | LINES
    | LINES.map(ServerError)
)
REPLIES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=5), max_leaves=20)


def read_in_pieces(reader: Reader, data: bytes, cuts: list[int]) -> list[Any]:
    """Feed bytes in pieces, and give all replies."""
    replies: list[Any] = []
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(bounds):
        reader.feed(data, begin, end - begin)
        while (reply := reader.gets()) is not UNFINISHED:
            replies.append(reply)
        replies.append("cut")
    return replies


@given(st.lists(REPLIES, max_size=6), st.lists(st.integers(0, 10**6), max_size=12))
def test_our_reader_reads_what_that_of_hiredis_reads(replies: list[Any], cuts: list[int]) -> None:
    """Wherever the bytes are cut, both give the same replies at the same time."""
    data = b"".join(encode(reply) for reply in replies)
    theirs = hiredis.Reader(
        protocolError=InvalidResponse, replyError=ServerError, notEnoughData=UNFINISHED
    )
    assert plain(read_in_pieces(PureReader(), data, cuts)) == plain(
        read_in_pieces(theirs, data, cuts)
    )


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n", b":1.5\r\n", b"\r\n"])
def test_what_is_not_redis_is_refused(data: bytes) -> None:
    """Bytes that are no reply raise, in place of being waited on for ever."""
    reader = PureReader()
    reader.feed(data, 0, len(data))
    with pytest.raises(InvalidResponse):
        reader.gets()


def test_a_null_array_is_none() -> None:
    """A blocked read that found nothing is answered so."""
    reader = PureReader()
    reader.feed(b"*-1\r\n", 0, 5)
    assert reader.gets() is None
    assert reader.gets() is UNFINISHED


def test_an_error_keeps_its_code() -> None:
    """The first word of an error says what it is, from either reader."""
    for reader in (PureReader(), make_reader()):
        reader.feed(b"-NOPERM not you\r\n", 0, 17)
        error = reader.gets()
        assert isinstance(error, ServerError)
        assert (error.code, str(error)) == ("NOPERM", "NOPERM not you")
        assert repr(error)


def test_without_hiredis_our_reader_is_used() -> None:
    """hiredis is quicker, but nothing depends on it."""
    program = (
        "import sys; sys.modules['hiredis'] = None\n"
        "from missive.adapters.redis.replies import PureReader, make_reader\n"
        "assert type(make_reader()) is PureReader\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert type(make_reader()) is hiredis.Reader
