"""URLs: how the adapter reads where its brokers are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from missive import ConfigurationError
from missive.polling import read_options


def split_url(
    url: str, readers: Mapping[str, Callable[[str], Any]]
) -> tuple[str | None, dict[str, Any]]:
    """Split ``kafka://host:9092,host2/?topics=…&group=…`` into brokers and options.

    A name with a dot in it is a setting of librdkafka's. User and password are those of SASL.
    What cannot be read may be part of a password, so no error shows it.

    :param readers: for each option, what turns its text into the value.
    :returns: the brokers, None without any, and the options.
    :raises ConfigurationError: an option cannot be read.
    """
    try:
        parts = urlsplit(url)
        login, _, brokers = parts.netloc.rpartition("@")
        if parts.path not in ("", "/") or parts.fragment:
            raise ValueError("a path")
    except ValueError:
        raise ConfigurationError(
            "the URL of the brokers cannot be read: give"
            " kafka://host:9092,host2:9092/?topics=orders&group=shipping, and percent-encode what"
            " is not a plain letter in a password"
        ) from None
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    config: dict[str, Any] = {name: value for name, value in pairs if "." in name}
    ours = urlencode([pair for pair in pairs if "." not in pair[0]])
    options = read_options(f"{parts.scheme}:?{ours}", readers)
    if login:
        user, _, password = login.partition(":")
        config = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": unquote(user),
            "sasl.password": unquote(password),
            **config,
        }
    if config:
        options["config"] = config
    return brokers or None, options
