"""Messages and their envelopes."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import missive
import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive.message import check_message_cls


def delivered(message_cls: Callable[[bytes], Any], raw_data: bytes = b"x", **envelope: Any) -> Any:
    """Return the message that a handler gets of a delivery."""
    processor: missive.Processor[Any] = missive.Processor()
    got: list[Any] = []

    @processor.handle_for(lambda m: True)
    def handler(message: Any, ctx: Any) -> None:
        got.append(message)
        ctx.ack()

    processor.test_client(message_cls).send(raw_data, **envelope)
    return got[0]


def test_json_is_decoded_once_on_first_use() -> None:
    """get_json decodes lazily and keeps the result, a null too."""
    message = missive.JSONMessage(b'{"a": [1]}')
    assert message.get_json() == {"a": [1]}
    assert message.get_json() is message.get_json()
    null = missive.JSONMessage(b"null")
    assert null.get_json() is None
    null.raw_data = b"not decoded again"
    assert null.get_json() is None


@pytest.mark.parametrize(
    "raw_data", [b"", b"{", b"card 4242", b"\xff\xfe\xfd", b"1" * 5000, b"[" * 200_000]
)
def test_bytes_that_are_no_json_give_an_error_without_content(raw_data: bytes) -> None:
    """A decoding error says what is wrong and where, never with the bytes themselves."""
    message = missive.JSONMessage(raw_data)
    with pytest.raises(missive.DecodingError) as caught:
        message.get_json()
    assert isinstance(caught.value, ValueError)
    assert caught.value.message is message
    assert "4242" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_fails_alike_has_the_same_reason() -> None:
    """Dead letters of messages that fail to decode alike have one reason, so they count together."""
    letters: dict[bytes, tuple[missive.Message, str]] = {}
    processor: missive.Processor[missive.JSONMessage] = missive.Processor()
    processor.set_dlq(letters)
    processor.handle_for(missive.route_on_json("kind")("order"))(lambda message, ctx: ctx.ack())
    client = processor.test_client(missive.JSONMessage)
    for raw_data in (b"{,", b"{!"):
        client.send(raw_data)
    reasons = {reason for _, reason in letters.values()}
    assert len(letters) == 2
    assert len(reasons) == 1
    assert "character 1" in reasons.pop()


def test_a_dict_message_calls_its_decoder_once() -> None:
    """DictMessage keeps what its decoder gave."""
    calls: list[bytes] = []

    def decoder(raw_data: bytes) -> dict[str, int]:
        calls.append(raw_data)
        return {"n": len(raw_data)}

    message = missive.DictMessage(b"abc", decoder)
    assert message.contents() == {"n": 3}
    assert message.contents() == {"n": 3}
    assert calls == [b"abc"]


def test_the_envelope_is_what_the_transport_gave() -> None:
    """Id, headers, source, count and native object reach the handler."""
    native = object()
    message = delivered(
        missive.RawMessage,
        message_id="ümlaut",
        headers={"Content-Type": "text/plain", b"x-raw": b"caf\xc3\xa9 \xff"},
        source="orders",
        delivery_count=3,
        native=native,
    )
    assert message.message_id == "ümlaut".encode()
    assert message.headers["content-type"] == "text/plain"
    assert message.headers["X-RAW"] == "café \udcff"
    assert message.headers["X-Raw"].encode("utf-8", "surrogateescape") == b"caf\xc3\xa9 \xff"
    assert (message.source, message.delivery_count) == ("orders", 3)
    assert message.native is native


def test_headers_are_read_only_and_case_insensitive() -> None:
    """Headers compare, iterate and look up without regard to case, and show no values."""
    headers = missive.Headers([("A", "1"), ("b", "secret"), ("a", "2")])
    assert dict(headers) == {"a": "2", "b": "secret"}
    assert headers == {"B": "secret", "A": "2"}
    assert headers != {"a": "1", "b": "secret"}
    assert headers != 3
    assert "B" in headers
    assert 3 not in headers
    assert len(headers) == 2
    assert repr(headers) == "<Headers: a, b>"
    assert repr(missive.Headers()) == "<Headers: none>"
    assert not hasattr(headers, "__setitem__")
    with pytest.raises(KeyError):
        headers["c"]


def test_a_message_without_an_envelope_has_an_empty_one() -> None:
    """Outside of any transport the envelope is empty, and the id random and stable."""
    message = missive.RawMessage(b"x")
    assert dict(message.headers) == {}
    assert (message.source, message.delivery_count, message.native) == (None, None, None)
    assert len(message.message_id) == 16
    assert message.message_id == message.message_id
    assert message.message_id != missive.RawMessage(b"x").message_id


@pytest.mark.parametrize("nothing", [None, b"", ""], ids=["None", "bytes", "text"])
def test_an_empty_id_counts_as_none(nothing: Any) -> None:
    """A transport's empty id is replaced by a random one."""
    assert len(delivered(missive.RawMessage, message_id=nothing).message_id) == 16


def test_messages_are_equal_by_class_and_id() -> None:
    """Two deliveries of one message are equal, and hash equally."""
    one = delivered(missive.RawMessage, b"x", message_id=b"1")
    again = delivered(missive.RawMessage, b"y", message_id=b"1")
    other_class = delivered(missive.JSONMessage, b"x", message_id=b"1")
    assert one == again
    assert len({one, again, other_class}) == 2
    assert one != other_class
    assert one != "1"


def test_repr_and_str_show_no_content() -> None:
    """A message shows its class, id and size only."""
    message = delivered(missive.JSONMessage, b'"secret"', message_id=b"m-1")
    assert repr(message) == str(message) == "<JSONMessage m-1, 8 bytes>"


@given(st.binary(max_size=40))
def test_a_printable_id_can_be_read_back(message_id: bytes) -> None:
    """parse_id gives back the id that format_id printed, and the print is printable ASCII."""
    text = missive.format_id(message_id)
    assert text.isascii()
    assert text.isprintable()
    assert text
    assert missive.parse_id(text) == message_id


def test_printable_ascii_ids_are_printed_as_they_are() -> None:
    """Only what is not printable, or looks like hexadecimal, is printed as hexadecimal."""
    assert missive.format_id(b"orders/1-0") == "orders/1-0"
    assert missive.format_id(b"\x00\xff") == "0x00ff"
    assert missive.format_id(b"0xab") == "0x30786162"
    assert missive.format_id(b"") == "0x"
    with pytest.raises(ValueError, match="'0xzz' is not a message id"):
        missive.parse_id("0xzz")


class Undecoding(missive.Message):
    def __init__(self, raw_data: bytes) -> None:
        self.text = raw_data.decode()


class NeedsMore(missive.Message):
    def __init__(self, raw_data: bytes, schema: str) -> None:
        super().__init__(raw_data)


@pytest.mark.parametrize(
    ("message_cls", "problem"),
    [
        (missive.DictMessage, "missing a required argument: 'decoder'"),
        (NeedsMore, "'schema'"),
        (dict, "not a subclass of missive.Message"),
        ("JSONMessage", "not callable"),
    ],
)
def test_a_class_without_the_right_constructor_is_refused(message_cls: Any, problem: str) -> None:
    """What cannot be called with bytes alone is refused before any message is read."""
    with pytest.raises(missive.errors.InvalidMessageClass, match=problem) as caught:
        check_message_cls(message_cls)
    assert "functools.partial" in str(caught.value)


def test_any_callable_from_bytes_serves_as_message_class() -> None:
    """A partial, or a built-in without a signature, is as good as a class."""
    message_cls = partial(missive.DictMessage, decoder=lambda raw: {"raw": raw})
    check_message_cls(message_cls)
    assert delivered(message_cls, b"x").contents() == {"raw": b"x"}
    check_message_cls(next(iter(without_signature())))


def without_signature() -> Iterator[Any]:
    """Find built-in callables whose signature Python does not know."""
    for builtin in vars(builtins).values():
        if callable(builtin) and not isinstance(builtin, type):
            try:
                inspect.signature(builtin)
            except ValueError:
                yield builtin


@pytest.mark.parametrize("message_cls", [Undecoding, lambda raw: None])
def test_a_class_that_forgets_the_bytes_loses_nothing(message_cls: Any) -> None:
    """What has no raw_data is a decoding dead letter with the raw bytes, and a clear error."""
    processor: missive.Processor[Any] = missive.Processor()
    with pytest.raises(missive.errors.InvalidMessageClass, match="raw_data"):
        processor.test_client(message_cls).send(b"bytes")
    processor.set_dlq(dlq := {})
    processor.test_client(message_cls).send(b"bytes", message_id=b"1", source="here")
    (message, _) = dlq[b"1"]
    assert isinstance(message, missive.RawMessage)
    assert (message.raw_data, message.source) == (b"bytes", "here")


@pytest.mark.parametrize("message_cls", [Undecoding, lambda raw: None])
def test_building_alone_refuses_a_class_that_forgets_the_bytes(message_cls: Any) -> None:
    """A class without the bytes is a clear error."""
    processor: missive.Processor[Any] = missive.Processor()
    with (
        processor.context(message_cls, processor.test_client()) as ctx,
        pytest.raises(missive.errors.InvalidMessageClass, match="raw_data") as caught,
    ):
        ctx.settle([ctx.process(missive.Delivery(b"bytes"))])
    assert isinstance(caught.value.__cause__, AttributeError)


class Text(missive.Message):
    """Decodes in the place of the bytes."""

    def __init__(self, raw_data: bytes) -> None:
        self.raw_data = raw_data.decode()  # type: ignore[assignment]


def test_a_class_that_keeps_something_else_than_bytes_loses_nothing() -> None:
    """It is a decoding dead letter with the raw bytes, and a clear error."""
    processor: missive.Processor[Any] = missive.Processor()
    client = processor.test_client(Text)
    with pytest.raises(missive.errors.InvalidMessageClass, match="has a str as raw_data; keep"):
        client.send(b"bytes")
    with (
        processor.context(Text, client) as ctx,
        pytest.raises(missive.errors.InvalidMessageClass, match="has a str as raw_data"),
    ):
        ctx.settle([ctx.process(missive.Delivery(b"bytes"))])
    processor.set_dlq(dlq := {})
    client.send(b"bytes", message_id=b"1")
    assert dlq[b"1"][0].raw_data == b"bytes"


def test_a_class_may_keep_a_copy_of_the_bytes() -> None:
    """What counts is that they are bytes."""

    class Stripped(missive.Message):
        def __init__(self, raw_data: bytes) -> None:
            super().__init__(raw_data.strip())

    assert delivered(Stripped, b" x ").raw_data == b"x"


class Curious(missive.Message):
    """Looks at its envelope while it is built."""

    def __init__(self, raw_data: bytes) -> None:
        super().__init__(raw_data)
        self.seen = (str(self), dict(self.headers))


def test_looking_at_the_envelope_too_early_loses_nothing_of_it() -> None:
    """While a message is built it has no envelope yet; then it has the transport's."""
    message = delivered(Curious, message_id=b"1-0", headers={"kind": "order"})
    assert (message.message_id, dict(message.headers)) == (b"1-0", {"kind": "order"})
    built = Curious(b"x")
    assert built.message_id == built.message_id
    anonymous = delivered(Curious)
    assert missive.format_id(anonymous.message_id) in anonymous.seen[0]


def test_an_attribute_error_of_a_message_class_is_its_own() -> None:
    """What a class raises while it decodes is not taken for a class without raw_data."""

    def decode(raw_data: bytes) -> missive.RawMessage:
        raise AttributeError("no such field")

    processor: missive.Processor[Any] = missive.Processor()
    client = processor.test_client(decode)
    with pytest.raises(AttributeError, match="no such field"):
        client.send(b"bytes")
    with (
        processor.context(decode, client) as ctx,
        pytest.raises(AttributeError, match="no such field"),
    ):
        ctx.settle([ctx.process(missive.Delivery(b"bytes"))])


def test_a_custom_class_needs_only_the_bytes() -> None:
    """A subclass adds what it decodes."""

    class Words(missive.Message):
        def __init__(self, raw_data: bytes) -> None:
            super().__init__(raw_data)
            self.words = raw_data.split()

    message = delivered(Words, b"to be", source="play")
    assert (message.words, message.source) == ([b"to", b"be"], "play")
