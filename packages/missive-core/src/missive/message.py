"""Messages: the bytes of one delivery with its envelope, and the classes that decode them."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from .delivery import Envelope
from .errors import DecodingError, InvalidMessageClass
from .headers import Headers
from .ids import format_id

#: The envelope of a message that came from no transport.
NO_ENVELOPE = Envelope()
_UNDECODED: Any = object()


class Message:
    """The bytes of one delivery, with its envelope.

    Subclass it to decode; a subclass needs only ``__init__(self, raw_data)``. Two messages are
    equal when class and id are. Neither repr nor str shows content.

    :ivar raw_data: the bytes, exactly as the transport delivered them.
    """

    # Defaults on the class: a message whose envelope nobody reads costs one assignment.
    #: What the transport said about the message.
    envelope: Envelope = NO_ENVELOPE
    # What was read from the envelope, with the envelope it was read from: a class that looks at
    # its id or headers while it is built has none yet.
    _message_id: tuple[Envelope, bytes] | None = None
    _headers: tuple[Envelope, Headers] | None = None
    _handling: Any = None  # the HandlingContext while the message is handled

    def __init__(self, raw_data: bytes) -> None:
        self.raw_data = raw_data

    def put_in(self, envelope: Envelope) -> None:
        """Replace the envelope, with the id and the headers on it."""
        self.envelope = envelope
        self._message_id = self._headers = None

    @property
    def message_id(self) -> bytes:
        """The transport's own stable id, the same on redelivery; else 16 random bytes.

        An empty id counts as missing. Text is encoded as UTF-8.
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
        """The headers: read-only, names without regard to case; empty without any."""
        envelope, known = self.envelope, self._headers
        if known is None or known[0] is not envelope:
            known = self._headers = (envelope, Headers(envelope.read_headers()))
        return known[1]

    @property
    def source(self) -> str | None:
        """Where the message came from: a channel, a stream, a path; None where unknown."""
        return self.envelope.source

    @property
    def delivery_count(self) -> int | None:
        """How often the message was delivered, this time included; None where nothing counts."""
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
        """Return the document, decoded on first use; a JSON ``null`` is None.

        :raises DecodingError: the bytes are not JSON.
        """
        if self._json is _UNDECODED:
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
    """A message that your own function decodes into a dictionary.

    :param raw_data: the bytes.
    :param decoder: turns the bytes into a dictionary; called on first use, once.
    """

    def __init__(self, raw_data: bytes, decoder: Callable[[bytes], dict[Any, Any]]) -> None:
        super().__init__(raw_data)
        self.decoder = decoder
        self._contents: dict[Any, Any] = _UNDECODED

    def contents(self) -> dict[Any, Any]:
        """Return the dictionary, decoded on first use.

        :raises Exception: whatever the decoder raises.
        """
        if self._contents is _UNDECODED:
            self._contents = self.decoder(self.raw_data)
        return self._contents


def check_message_cls(message_cls: Callable[[bytes], M]) -> None:
    """Refuse a message class that cannot be called with the bytes of a message alone.

    :raises InvalidMessageClass: it cannot be called so, or is a class but not a ``Message``.
    """
    if not callable(message_cls):
        raise InvalidMessageClass(message_cls, "it is not callable")
    if isinstance(message_cls, type) and not issubclass(message_cls, Message):
        raise InvalidMessageClass(
            cast("object", message_cls), "it is not a subclass of missive.Message"
        )
    try:
        signature = inspect.signature(message_cls)
    except ValueError:  # some built-in callables have no signature to check
        return
    try:
        signature.bind(b"")
    except TypeError as error:
        raise InvalidMessageClass(
            message_cls, f"it does not take the bytes alone ({error})"
        ) from error
