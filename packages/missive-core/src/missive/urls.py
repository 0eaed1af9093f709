"""URLs: how commands and configuration name an adapter or a store.

Each distribution registers the schemes that it knows as entry points, in the groups
``missive.adapters`` and ``missive.dlqs``; a third party joins by being installed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .adapter import Adapter
from .error_notes import place_of
from .errors import ConfigurationError, UnknownScheme
from .letters.store import DeadLetterStore
from .processor import Processor

logger = logging.getLogger("missive.urls")


def adapter_from_url(
    url: str, message_cls: Callable[[bytes], Any], processor: Processor[Any], **options: Any
) -> Adapter[Any]:
    """Return the adapter that a URL names, by its scheme.

    :param url: such as ``stdin:``; each adapter documents its own form.
    :param message_cls: makes a message from the bytes of a delivery.
    :param processor: the processor to run.
    :param options: keyword arguments of the adapter; they win over those in the URL.
    :raises UnknownScheme: no installed distribution knows the scheme.
    :raises ConfigurationError: the adapter cannot be loaded, or not be built from the URL.
    """
    cls: type[Adapter[Any]] = _load("missive.adapters", "adapter", url)
    return cls.from_url(url, message_cls, processor, **options)


#: What ``adapter_from_url`` was called first.
from_url = adapter_from_url


def dlq_from_url(url: str, *, existing: bool = False) -> DeadLetterStore:
    """Open the dead letter store that a URL names, by its scheme.

    :param url: such as ``memory:``; each store documents its own form.
    :param existing: make no store where there is none yet.
    :raises UnknownScheme: no installed distribution knows the scheme.
    :raises ConfigurationError: the store cannot be loaded, or not be opened by the URL.
    :raises DeadLetterStoreError: the store cannot be opened.
    """
    cls: type[DeadLetterStore] = _load("missive.dlqs", "dead letter store", url)
    return cls.open_existing(url) if existing else cls.from_url(url)


def _load(group: str, kind: str, url: str) -> Any:
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # whose text may show the address, and a password in it
        raise ConfigurationError(
            f"the URL of the {kind} cannot be read; check the brackets of an IPv6 address, and"
            " percent-encode what is not a plain letter"
        ) from None
    known = entry_points(group=group)
    claims = [entry_point for entry_point in known if entry_point.name == scheme]
    if not claims:
        raise UnknownScheme(
            scheme,
            kind,
            known.names,
            f"install the distribution that has it as an entry point of the group {group}",
        )
    return _load_one(_choose(claims, kind), kind)


def _choose(claims: list[EntryPoint], kind: str) -> EntryPoint:
    """Return the entry point that gets a scheme: where several claim it, Missive's own."""
    ours = [claim for claim in claims if claim.value.startswith(("missive.", "missive:"))]
    chosen = (ours or claims)[0]
    if len(claims) > 1:
        logger.warning(
            "several distributions have %s %s for %s: (%s); %s is used",
            "an" if kind == "adapter" else "a",
            kind,
            chosen.name,
            ", ".join(sorted(map(_distribution, claims))),
            _distribution(chosen),
        )
    return chosen


def _load_one(entry_point: EntryPoint, kind: str) -> Any:
    where = f"{entry_point.value} of {_distribution(entry_point)}"
    try:
        loaded = entry_point.load()
    except (Exception, SystemExit) as error:  # it is anybody's code
        raise ConfigurationError(
            f"the {kind} for {entry_point.name}: ({where}) cannot be loaded:"
            f" {type(error).__name__}: {error} (at {place_of(error)}); repair or uninstall that"
            " distribution"
        ) from error
    if not callable(getattr(loaded, "from_url", None)):
        raise ConfigurationError(
            f"the {kind} for {entry_point.name}: ({where}) has no from_url, so no URL can name it;"
            " repair or uninstall that distribution"
        )
    return loaded


def _distribution(entry_point: EntryPoint) -> str:
    dist = entry_point.dist
    return "an unknown distribution" if dist is None else f"{dist.name} {dist.version}"


def read_options(url: str, readers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Read keyword arguments from the query of a URL.

    :param readers: for each name that may stand there, what turns its text into the value.
    :raises ConfigurationError: a name is unknown or given twice, or its text cannot be read.
    """
    options: dict[str, Any] = {}
    for name, text in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name not in readers:
            raise ConfigurationError(
                f"{name!r} is not an option of a {urlsplit(url).scheme}: URL;"
                f" there are {', '.join(sorted(readers))}"
            )
        if name in options:
            raise ConfigurationError(f"the option {name!r} stands twice in the URL; give it once")
        try:
            options[name] = readers[name](text)
        except ValueError as error:
            raise ConfigurationError(
                f"the option {name}={text!r} in the URL cannot be read: {error}"
            ) from error
    return options


def read_flag(text: str) -> bool:
    """Read ``true`` or ``false``, ``1`` or ``0``, ``yes`` or ``no``.

    :raises ValueError: it is none of these.
    """
    flags = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return flags[text.lower()]
    except KeyError:
        raise ValueError("give true or false") from None
