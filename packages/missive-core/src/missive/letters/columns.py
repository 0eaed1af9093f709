"""Columns: parts of a letter as the stores in databases keep them alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, cast


def headers_to_json(headers: Mapping[str, str]) -> str | None:
    """Return headers as JSON, pure ASCII so that lone surrogates pass; None where there are none."""
    return json.dumps(dict(headers)) if headers else None


def headers_from_json(value: Any) -> dict[str, str]:
    """Return the headers that JSON stands for; empty where it is no JSON object."""
    if value is None:
        return {}
    try:
        headers = json.loads(value)
    except (ValueError, TypeError, RecursionError):
        return {}
    if not isinstance(headers, dict):
        return {}
    return {name: str(value) for name, value in cast("dict[str, Any]", headers).items()}


def summary_digest(error_type: str | None, handler: str | None, reason: str) -> int:
    """Return the digest by which a summary counts letters together, as signed 64 bits."""
    if len(reason) > 1000:  # too long to be remembered
        return _digest(error_type, handler, reason)
    return _remembered_digest(error_type, handler, reason)


def _digest(error_type: str | None, handler: str | None, reason: str) -> int:
    digest = blake2b(digest_size=8)
    for text in (error_type, handler, reason):
        encoded = b"" if text is None else text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % (-1 if text is None else len(encoded)))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "big", signed=True)


_remembered_digest = lru_cache(maxsize=1024)(_digest)


def group_number(digits: str) -> int:
    """Return the digits of a group as a number; one that no group has where they are not."""
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else -1
    return number if number < 2**63 else -1
