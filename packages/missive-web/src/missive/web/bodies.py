"""Bodies: the bytes of a message, as JSON, text or hexadecimal."""

from __future__ import annotations

import json
from typing import NamedTuple

#: The forms that a body can be shown in.
FORMS = {"json": "JSON", "text": "Text", "hex": "Hexadecimal"}
#: How many bytes of a body are shown.
MAX_SHOWN = 65_536
#: Up to how many bytes a body is read as JSON, to be shown with line breaks.
MAX_JSON = 1_000_000
#: How many bytes a line has in hexadecimal.
_LINE = 16
#: How many bytes are shown in hexadecimal: each takes some four characters.
_MAX_HEX = 16_384


class ShownBody(NamedTuple):
    """A body as a page shows it.

    :ivar form: the form, one of FORMS.
    :ivar text: the body in that form.
    :ivar note: what the reader should know: that it was cut, or that it is not what it was said to
        be.
    """

    form: str
    text: str
    note: str


def show_body(body: bytes, form: str = "") -> ShownBody:
    """Return a body in a form; in the one that suits it unless that is given."""
    if not form:
        form = _suitable(body)
    if form == "json":
        return _as_json(body)
    if form == "text":
        text = body[:MAX_SHOWN].decode("utf-8", "replace")
        note = "" if _is_text(body) else "It is not UTF-8: invalid bytes are shown as �."
        return ShownBody(form, text, _cut(note, len(body), MAX_SHOWN))
    lines = [_line(body, start) for start in range(0, min(len(body), _MAX_HEX), _LINE)]
    return ShownBody("hex", "\n".join(lines), _cut("", len(body), _MAX_HEX))


def _suitable(body: bytes) -> str:
    if not _is_text(body) or b"\0" in body:
        return "hex"
    return "json" if _pretty(body) is not None else "text"


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_json(body: bytes) -> ShownBody:
    pretty = _pretty(body)
    if pretty is None:
        shown = show_body(body, "text")
        why = "It is too long to be read as JSON." if len(body) > MAX_JSON else "It is not JSON."
        return ShownBody("json", shown.text, f"{why} {shown.note}".strip())
    return ShownBody("json", pretty[:MAX_SHOWN], _cut("", len(pretty), MAX_SHOWN))


def _pretty(body: bytes) -> str | None:
    if len(body) > MAX_JSON:
        return None
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _cut(note: str, length: int, limit: int) -> str:
    if length <= limit:
        return note
    return f"{note} Only the beginning is shown; download it to see the rest.".strip()


def _line(body: bytes, start: int) -> str:
    part = body[start : start + _LINE]
    seen = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
    return f"{start:08x}  {part.hex(' '):<{3 * _LINE}} {seen}"
