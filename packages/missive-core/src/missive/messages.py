"""Messages: the bytes of one delivery, its envelope, and the classes that decode it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from .errors import DecodingError, InvalidMessageClass

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: What a header may be built from: text, or the bytes of a transport.
HeaderText = str | bytes
#: Headers as a transport gives them: a mapping, or pairs.
HeaderSource = Mapping[Any, Any] | Iterable[tuple[Any, Any]]


def format_id(message_id: bytes) -> str:
    """Give the one printable form of a message id: printable ASCII as it is, else ``0x…``.

    An id that is ASCII but begins with ``0x`` is given in hexadecimal too, so that
    :func:`parse_id` can tell.
    """
    if message_id.isascii() and not message_id.startswith(b"0x"):
        text = message_id.decode("ascii")
        if text and text.isprintable():
            return text
    return "0x" + message_id.hex()


def parse_id(text: str) -> bytes:
    """Give back the id that :func:`format_id` made the text of.

    :raises ValueError: the text begins with ``0x`` and what follows is not hexadecimal.
    """
    if text.startswith("0x"):
        try:
            return bytes.fromhex(text[2:])
        except ValueError:
            raise ValueError(
                f"{text!r} is no message id: after 0x come pairs of hexadecimal digits"
            ) from None
    return text.encode("utf-8", "surrogateescape")


class Headers(Mapping[str, str]):
    """A read-only mapping of header names to values; names compare without regard to case.

    Bytes are decoded as UTF-8 with ``surrogateescape``, so that none is lost. Of several headers
    with one name the last counts.
    """

    __slots__ = ("_by_folded",)

    def __init__(self, source: HeaderSource = ()) -> None:
        pairs: Iterable[tuple[Any, Any]] = (
            cast("Mapping[Any, Any]", source).items() if isinstance(source, Mapping) else source
        )
        self._by_folded: dict[str, tuple[str, str]] = {}
        for raw_name, raw_value in pairs:
            name = _text(raw_name)
            self._by_folded[name.lower()] = (name, _text(raw_value))

    def __getitem__(self, name: str) -> str:
        return self._by_folded[name.lower()][1]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._by_folded

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._by_folded.values())

    def __len__(self) -> int:
        return len(self._by_folded)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        mine = {folded: value for folded, (_, value) in self._by_folded.items()}
        theirs = cast("Mapping[Any, Any]", other)
        return mine == {str(name).lower(): value for name, value in theirs.items()}

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Headers: {', '.join(self) or 'none'}>"


def _text(value: HeaderText) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


class EnvelopeFields(TypedDict, total=False):
    """The keyword arguments of an :class:`Envelope`, all optional."""

    message_id: bytes | str | None
    headers: HeaderSource | None
    source: str | None
    delivery_count: int | None
    native: object


class Envelope:
    """What a transport says of a message, beside its bytes.

    A transport for which headers or the native object are costly subclasses :class:`Delivery` and
    makes them on first use in :meth:`read_headers` and :meth:`make_native`.
    """

    __slots__ = ("delivery_count", "headers", "message_id", "native", "source")

    def __init__(
        self,
        message_id: bytes | str | None = None,
        headers: HeaderSource | None = None,
        source: str | None = None,
        delivery_count: int | None = None,
        native: object = None,
    ) -> None:
        self.message_id = message_id
        self.headers = headers
        self.source = source
        self.delivery_count = delivery_count
        self.native = native

    def read_headers(self) -> HeaderSource:
        """Give the headers; called at most once for a message, and only when they are read."""
        return self.headers or ()

    def make_native(self) -> object:
        """Give the transport's own object; called only when it is read."""
        return self.native


class Delivery(Envelope):
    """One message as a transport delivers it: raw bytes and an envelope."""

    __slots__ = ("raw_data",)

    #: Why the message is to be dead-lettered without being handled: (reason, stage), or None.
    rejection: tuple[str, str] | None = None

    def __init__(
        self,
        raw_data: bytes,
        message_id: bytes | str | None = None,
        headers: HeaderSource | None = None,
        source: str | None = None,
        delivery_count: int | None = None,
        native: object = None,
    ) -> None:
        # Written out, not super().__init__(): this runs for every message of a transport.
        self.raw_data = raw_data
        self.message_id = message_id
        self.headers = headers
        self.source = source
        self.delivery_count = delivery_count
        self.native = native


class RejectedDelivery(Delivery):
    """A delivery that its transport does not want handled: a missing body, too many attempts.

    With a DLQ it becomes a dead letter for ``rejection``'s reason at ``rejection``'s stage.
    """

    __slots__ = ("rejection",)

    def __init__(
        self, raw_data: bytes, *, reason: str, stage: str, **envelope: Unpack[EnvelopeFields]
    ) -> None:
        super().__init__(raw_data, **envelope)
        self.rejection = (reason, stage)


#: The envelope of a message that came from no transport.
NO_ENVELOPE = Envelope()
_UNDECODED: Any = object()


class Message:
    """The bytes of one delivery, with its envelope.

    Subclass it to decode; a subclass needs only ``__init__(self, raw_data)``. Two messages are
    equal when class and id are. Neither repr nor str shows content.

    :ivar raw_data: the bytes, just as the transport gave them.
    """

    # Defaults on the class: a message that nobody asks costs one assignment.
    #: What the transport said of the message.
    envelope: Envelope = NO_ENVELOPE
    # What was read of the envelope, with the envelope that it was read of: a class that looks at
    # its id or headers while it is built has none yet.
    _message_id: tuple[Envelope, bytes] | None = None
    _headers: tuple[Envelope, Headers] | None = None
    _handling: Any = None  # the HandlingContext while the message is handled

    def __init__(self, raw_data: bytes) -> None:
        self.raw_data = raw_data

    def put_in(self, envelope: Envelope) -> None:
        """Give the message another envelope, with the id and the headers that stand on it."""
        self.envelope = envelope
        self._message_id = self._headers = None

    @property
    def message_id(self) -> bytes:
        """The transport's own stable id, the same on redelivery; else 16 random bytes.

        An empty id counts as none. Text is encoded as UTF-8.
        """
        envelope, known = self.envelope, self._message_id
        if known is None or known[0] is not envelope:
            given = envelope.message_id or (known[1] if known is not None else os.urandom(16))
            message_id = (
                given.encode("utf-8", "surrogateescape") if isinstance(given, str) else given
            )
            known = self._message_id = (envelope, message_id)
        return known[1]

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers: read-only, names without regard to case; empty where there are none."""
        envelope, known = self.envelope, self._headers
        if known is None or known[0] is not envelope:
            known = self._headers = (envelope, Headers(envelope.read_headers()))
        return known[1]

    @property
    def source(self) -> str | None:
        """Where the message came from: a channel, a stream, a path; None where nothing says."""
        return self.envelope.source

    @property
    def delivery_count(self) -> int | None:
        """How often the message was delivered, this time included; None where nobody counts."""
        return self.envelope.delivery_count

    @property
    def native(self) -> Any:
        """The transport's own object, the escape hatch; None where there is none."""
        return self.envelope.make_native()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return type(self) is type(other) and self.message_id == other.message_id

    def __hash__(self) -> int:
        return hash((type(self), self.message_id))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {format_id(self.message_id)}, {len(self.raw_data)} bytes>"

    __str__ = __repr__


#: A class of messages.
M = TypeVar("M", bound=Message)


class RawMessage(Message):
    """A message of just bytes, with no interpretation."""


class JSONMessage(Message):
    """A message whose bytes are a JSON document in UTF-8, -16 or -32."""

    _json: Any = _UNDECODED

    def get_json(self) -> Any:
        """Decode the document, on first use, and give it; a JSON ``null`` is None.

        :raises DecodingError: the bytes are not JSON.
        """
        if self._json is _UNDECODED:
            import json

            try:
                self._json = json.loads(self.raw_data)
            except json.JSONDecodeError as error:
                raise DecodingError(
                    self, f"not JSON: {error.msg} at character {error.pos}"
                ) from error
            except (ValueError, RecursionError) as error:
                raise DecodingError(
                    self, f"not JSON that can be read: {type(error).__name__}"
                ) from error
        return self._json


class DictMessage(Message):
    """A message that a function of yours decodes into a dictionary.

    :param raw_data: the bytes.
    :param decoder: turns the bytes into a dictionary; called on first use, once.
    """

    def __init__(self, raw_data: bytes, decoder: Callable[[bytes], dict[Any, Any]]) -> None:
        super().__init__(raw_data)
        self.decoder = decoder
        self._contents: dict[Any, Any] = _UNDECODED

    def contents(self) -> dict[Any, Any]:
        """Decode the bytes, on first use, and give the dictionary.

        :raises Exception: whatever the decoder raises.
        """
        if self._contents is _UNDECODED:
            self._contents = self.decoder(self.raw_data)
        return self._contents


def check_message_cls(message_cls: Callable[[bytes], M]) -> None:
    """Refuse a message class that cannot be called with the bytes of a message alone.

    :raises InvalidMessageClass: it is not callable so, or is a class that is no ``Message``.
    """
    import inspect

    if not callable(message_cls):
        raise InvalidMessageClass(message_cls, "it is not callable")
    if isinstance(message_cls, type) and not issubclass(message_cls, Message):
        raise InvalidMessageClass(
            cast("object", message_cls), "it is not a subclass of missive.Message"
        )
    try:
        signature = inspect.signature(message_cls)
    except ValueError:  # some built-in callables have none to check
        return
    try:
        signature.bind(b"")
    except TypeError as error:
        raise InvalidMessageClass(
            message_cls, f"it does not take the bytes alone ({error})"
        ) from error
