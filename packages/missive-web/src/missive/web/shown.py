"""Shown: how texts, times and numbers from outside are written on a page."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

#: What a browser would hide, act on, or let turn the text around it: controls, marks of the
#: direction of writing, characters without width, and surrogates, which cannot be sent at all.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff0-\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
#: The units of times past: name, seconds, and up to how many seconds.
_UNITS = (
    ("s", 1, 100),
    ("min", 60, 2 * 3600),
    ("h", 3600, 2 * 86_400),
    ("d", 86_400, 100 * 86_400),
)


def shown(value: Any) -> Any:
    r"""Return text with what a browser would not show written as ``\x00``, ``\u202e`` and so on."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _UNSAFE.sub(_escape, value)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def exact(when: datetime) -> str:
    """Return a time for reading: to the second, in UTC."""
    return when.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def relative(when: datetime, now: datetime) -> str:
    """Return how long ago a time is, or in how long it comes."""
    seconds = (now - when).total_seconds()
    past = seconds >= 0
    if abs(seconds) < 2:
        return "just now"
    for unit, length, limit in _UNITS:
        if abs(seconds) < limit:
            span = f"{int(abs(seconds) // length)} {unit}"
            return f"{span} ago" if past else f"in {span}"
    return when.astimezone(timezone.utc).strftime("%Y-%m-%d")


def time_tag(when: datetime | None, now: datetime | None = None) -> Markup:
    """Return a time as an element: relative to read, exact in its title."""
    if when is None:
        return Markup("")
    text = relative(when, now or datetime.now(timezone.utc))
    iso = when.astimezone(timezone.utc).isoformat()
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, exact(when), text)


def number(value: int) -> str:
    """Return a number with its thousands apart."""
    return f"{value:,}"


def plural(count: int, noun: str) -> str:
    """Return a number of things: ``1 letter``, ``2 letters``."""
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


def size(length: int) -> str:
    """Return a number of bytes for reading."""
    for unit, factor in (("MB", 1_000_000), ("kB", 1000)):
        if length >= factor:
            return f"{length / factor:.1f} {unit}"
    return plural(length, "byte")


def short_name(name: str | None) -> str:
    """Return a qualified name without its module."""
    return (name or "").rpartition(".")[2]


def cut(text: str, length: int) -> str:
    """Return a text, cut where it is longer than so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def upper_first(text: str) -> str:
    """Return a text that begins with a capital, the rest as it is."""
    return text[:1].upper() + text[1:]


def make_environment() -> Environment:
    """Return the environment of the templates: everything that they write is escaped."""
    environment = Environment(
        loader=PackageLoader("missive.web"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Any = environment.filters
    filters.update(
        time=time_tag,
        exact=exact,
        number=number,
        size=size,
        short_name=short_name,
        cut=cut,
        upper_first=upper_first,
    )
    names: Any = environment.globals
    names.update(plural=plural)
    return environment
