"""Checks of the options that a user gives."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from missive import ConfigurationError

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def check_topics(name: str, topics: Iterable[str] | str) -> tuple[str, ...]:
    """Return the names of topics, or patterns that begin with ``^``, each once.

    :param name: the name of the adapter.
    :raises ConfigurationError: one of them cannot be a topic.
    """
    given: tuple[object, ...] = (topics,) if isinstance(topics, str) else tuple(topics)
    for topic in given:
        pattern = isinstance(topic, str) and topic.startswith("^") and len(topic) > 1
        if not pattern and not (isinstance(topic, str) and _TOPIC.fullmatch(topic)):
            raise ConfigurationError(
                f"{name} cannot read {topic!r}: the name of a topic has 1 to 249 of the characters"
                " a-z, A-Z, 0-9, '.', '_' and '-'; a pattern begins with '^'"
            )
    if not given:
        raise ConfigurationError(f"{name} needs the names of topics")
    return tuple(dict.fromkeys(map(str, given)))


def check_seconds(name: str, what: str, seconds: object) -> None:
    """Refuse what is not a number of seconds.

    :raises ConfigurationError: it is not.
    """
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 <= seconds < 1e9:  # type: ignore[operator]
        raise ConfigurationError(f"{what} of {name} must be a number of seconds, not {seconds!r}")


def check_name(name: str, what: str, text: object) -> str:
    """Return a text that is not empty.

    :raises ConfigurationError: it is empty, or no text.
    """
    if not isinstance(text, str) or not text:
        raise ConfigurationError(f"{name} needs {what}=…, a text that is not empty, not {text!r}")
    return text


def check_one_of(name: str, what: str, given: object, known: Collection[str]) -> None:
    """Refuse what is not one of a few words.

    :raises ConfigurationError: it is not.
    """
    if given not in known:
        raise ConfigurationError(
            f"{what} of {name} must be one of {', '.join(known)}, not {given!r}"
        )


def check_url_has(name: str, given: Mapping[str, Any], *needed: str) -> None:
    """Refuse a URL that lacks what the adapter needs.

    :raises ConfigurationError: it does.
    """
    for what in needed:
        if what not in given:
            raise ConfigurationError(f"the URL lacks {what}=…, which {name} needs")
