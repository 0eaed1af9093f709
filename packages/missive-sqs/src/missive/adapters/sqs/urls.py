"""URLs: how the adapter reads which queue it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from missive import ConfigurationError
from missive.polling import read_flag, read_options

#: What may stand in the query, beside the options of every polling adapter.
OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "region": str,
    "endpoint": str,
    "visibility": int,
    "wait_time": int,
    "batch_size": int,
    "receivers": int,
    "retry_after": float,
    "max_deliveries": int,
    "sns": read_flag,
    "body_encoding": str,
}


def read_url(url: str, shared: Mapping[str, Callable[[str], Any]]) -> tuple[str, dict[str, Any]]:
    """Read ``sqs://orders?region=eu-west-1`` or ``sqs://host/account/orders``.

    :param shared: the options of every polling adapter, and how each is read.
    :returns: the name or the URL of the queue, and the options.
    :raises ConfigurationError: it cannot be read, or names no queue.
    """
    parts = urlsplit(url)
    if parts.fragment or "@" in parts.netloc:
        raise ConfigurationError(
            "the URL of a queue holds no credentials and no fragment; boto3 finds credentials in"
            " the environment, a profile or a role"
        )
    options = read_options(url, {**shared, **OPTIONS})
    path = parts.path.strip("/")
    queue = f"https://{parts.netloc}/{path}" if path else unquote(parts.netloc)
    if not queue:
        raise ConfigurationError(
            "the URL names no queue: give sqs://orders?region=eu-west-1, or the URL of the queue"
            " with sqs:// in place of https://"
        )
    return queue, options
