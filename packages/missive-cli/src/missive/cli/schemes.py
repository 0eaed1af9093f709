"""Schemes: adapters and stores by URL, and which distribution to install for one that is missing."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import click
from missive import (
    Adapter,
    DeadLetterStore,
    Processor,
    UnknownScheme,
    dlq_from_url,
    from_url,
)

from .targets import MessageClass

#: The distributions of this project that know a scheme; others join by being installed.
DISTRIBUTIONS = {
    "redis": "missive-redis",
    "rediss": "missive-redis",
    "redis+unix": "missive-redis",
    "redis+streams": "missive-redis",
    "rediss+streams": "missive-redis",
    "http": "missive-wsgi",
    "sqlite": "missive-dlq-sqlite",
}

#: What comes before a password in a URL, and the password. One that holds "@", "?" or "#", though
#: they should be escaped there, is hidden whole.
_PASSWORD = re.compile(r"(://[^/:]*:)[^/]*(?=@)|([?&]\w*password=)[^&]*")


def build_adapter(
    url: str, message_cls: MessageClass, processor: Processor[Any], **options: Any
) -> Adapter[Any]:
    """Build the adapter that a URL names.

    :raises click.UsageError: no installed distribution knows its scheme.
    :raises ConfigurationError: the adapter cannot be built from it.
    """
    try:
        return from_url(url, message_cls, processor, **options)
    except UnknownScheme as error:
        raise click.UsageError(_unknown(error, "adapter")) from error
    except ImportError as error:
        raise click.UsageError(
            f"the adapter for {urlsplit(url).scheme}: cannot be imported: {error}"
        ) from error


def open_store(url: str, *, existing: bool = False) -> DeadLetterStore:
    """Open the store that a URL names.

    :param existing: make none where there is none yet.

    :raises click.UsageError: no installed distribution knows its scheme.
    :raises DeadLetterStoreError: it cannot be opened.
    """
    try:
        return dlq_from_url(url, existing=existing)
    except UnknownScheme as error:
        raise click.UsageError(_unknown(error, "store")) from error
    except ImportError as error:
        raise click.UsageError(
            f"the store for {urlsplit(url).scheme}: cannot be imported: {error}"
        ) from error


def masked(url: str) -> str:
    """Give a URL fit to be shown: without the password."""
    return _PASSWORD.sub(r"\1\2***", url)


def _unknown(error: UnknownScheme, kind: str) -> str:
    known = ", ".join(f"{scheme}:" for scheme in error.known) or "none"
    distribution = DISTRIBUTIONS.get(error.scheme)
    if not error.scheme:
        return f"the URL of the {kind} has no scheme; installed are {known}"
    remedy = (
        f"pip install {distribution}"
        if distribution and error.scheme not in error.known
        else f"install a distribution that has it (installed are {known})"
    )
    return f"no {kind} for {error.scheme}: is installed; {remedy}"
