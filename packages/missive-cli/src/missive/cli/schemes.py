"""Schemes: adapters and stores by URL, and which distribution to install for one that is missing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from missive import (
    Adapter,
    DeadLetterStore,
    MissiveError,
    Processor,
    UnknownScheme,
    dlq_from_url,
    from_url,
)

from .exits import kind_and_place
from .loading import error_and_place
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
    "postgresql": "missive-dlq-postgresql",
    "postgres": "missive-dlq-postgresql",
}

#: How the names of files end that are databases, most likely.
_DATABASES = (".db", ".sqlite", ".sqlite3")

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
    with _plugin("missive.adapters", "adapter", url):
        return from_url(url, message_cls, processor, **options)


def open_store(url: str, *, existing: bool = False) -> DeadLetterStore:
    """Open the store that a URL names.

    :param existing: make none where there is none yet.

    :raises click.UsageError: no installed distribution knows its scheme.
    :raises DeadLetterStoreError: it cannot be opened.
    """
    with _plugin("missive.dlqs", "store", url):
        return dlq_from_url(url, existing=existing)


@contextmanager
def _plugin(group: str, kind: str, url: str) -> Generator[None, None, None]:
    """Name the entry point where its adapter or store cannot be loaded or built.

    :raises click.UsageError: it cannot, or no installed distribution knows the scheme.
    :raises MissiveError: the adapter or the store says itself what is wrong.
    """
    try:
        yield
    except UnknownScheme as error:
        raise click.UsageError(_unknown(error, kind, url)) from error
    except MissiveError:
        raise
    except (Exception, SystemExit) as error:  # it is anybody's code
        scheme = urlsplit(url).scheme
        found = list(entry_points(group=group, name=scheme))
        names = ", ".join(f"{point.value} of {_distribution(point)}" for point in found)
        why = " ".join(filter(None, map(_load_error, found))) or (
            f"fails to build it: {kind_and_place(error)}; --debug shows the traceback"
        )
        raise click.UsageError(f"the {kind} for {scheme}: ({names}) {why}") from error


def _load_error(point: EntryPoint) -> str:
    """Say why an entry point cannot be loaded; nothing where it can."""
    try:
        loaded: object = point.load()
    except (Exception, SystemExit) as error:  # it is anybody's code
        return f"cannot be loaded: {error_and_place(error)}"
    return "" if hasattr(loaded, "from_url") else "has no from_url"


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"


def is_store_url(text: str) -> bool:
    """Return whether a text is the URL of a store, rather than a target, an id or a file."""
    scheme, colon, rest = text.partition(":")
    known = {point.name for point in entry_points(group="missive.dlqs")} | DISTRIBUTIONS.keys()
    return bool(colon) and (rest.startswith("//") or scheme in known)


def masked(url: str) -> str:
    """Return a URL fit to be shown: without the password."""
    return _PASSWORD.sub(r"\1\2***", url)


def _unknown(error: UnknownScheme, kind: str, url: str) -> str:
    known = ", ".join(f"{scheme}:" for scheme in error.known) or "none"
    distribution = DISTRIBUTIONS.get(error.scheme)
    if not error.scheme:
        return f"the URL of the {kind} has no scheme; {_meant(kind, url)}installed are {known}"
    remedy = (
        f"pip install {distribution}"
        if distribution and error.scheme not in error.known
        else f"install a distribution that has it (installed are {known})"
    )
    return f"no {kind} for {error.scheme}: is installed; {remedy}"


def _meant(kind: str, text: str) -> str:
    """Suggest the URL of the file that was given as a store."""
    if kind != "store" or not text or "?" in text or "#" in text:
        return ""
    if not text.endswith(_DATABASES) and not Path(text).is_file():
        return ""
    return f"did you mean {shlex.quote(f'sqlite:///{text}')}? "
