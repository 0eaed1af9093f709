"""Message ids as text."""

from __future__ import annotations


def format_id(message_id: bytes) -> str:
    """Return the one printable form of a message id: printable ASCII as it is, else ``0x…``.

    An id that is ASCII but begins with ``0x`` is written in hexadecimal too, so that
    :func:`parse_id` can tell the two apart.
    """
    if message_id.isascii() and not message_id.startswith(b"0x"):
        text = message_id.decode("ascii")
        if text and text.isprintable():
            return text
    return "0x" + message_id.hex()


def parse_id(text: str) -> bytes:
    """Return the id whose text :func:`format_id` made.

    :raises ValueError: the text begins with ``0x`` and what follows is not hexadecimal.
    """
    if text.startswith("0x"):
        try:
            return bytes.fromhex(text[2:])
        except ValueError:
            raise ValueError(
                f"{text!r} is not a message id: pairs of hexadecimal digits must follow 0x"
            ) from None
    return text.encode("utf-8", "surrogateescape")
