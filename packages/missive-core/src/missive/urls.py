"""URLs: how commands and configuration name an adapter or a store.

Each distribution registers the schemes that it knows as entry points, in the groups
``missive.adapters`` and ``missive.dlqs``; a third party joins by being installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError, UnknownScheme

if TYPE_CHECKING:
    from .adapter import Adapter
    from .letters import DeadLetterStore
    from .processor import Processor


def from_url(
    url: str, message_cls: Callable[[bytes], Any], processor: Processor[Any], **options: Any
) -> Adapter[Any]:
    """Build the adapter that a URL names, by its scheme.

    :param url: such as ``stdin:``; each adapter documents its own form.
    :param message_cls: makes a message of the bytes of a delivery.
    :param processor: the processor to run.
    :param options: keyword arguments of the adapter; they win over those in the URL.
    :raises UnknownScheme: no installed distribution knows the scheme.
    :raises ConfigurationError: the adapter cannot be built from it.
    """
    cls: type[Adapter[Any]] = _load("missive.adapters", "adapter", url)
    return cls.from_url(url, message_cls, processor, **options)


def dlq_from_url(url: str, *, existing: bool = False) -> DeadLetterStore:
    """Open the dead letter store that a URL names, by its scheme.

    :param url: such as ``memory:``; each store documents its own form.
    :param existing: make no store where there is none yet.
    :raises UnknownScheme: no installed distribution knows the scheme.
    :raises ConfigurationError: the URL cannot be read, or the store not be opened by it.
    :raises DeadLetterStoreError: the store cannot be opened.
    """
    cls: type[DeadLetterStore] = _load("missive.dlqs", "dead letter store", url)
    return cls.open_existing(url) if existing else cls.from_url(url)


def _load(group: str, kind: str, url: str) -> Any:
    from importlib.metadata import entry_points
    from urllib.parse import urlsplit

    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # whose text may show the address, and a password in it
        raise ConfigurationError(
            f"the URL of the {kind} cannot be read; check the brackets of an IPv6 address, and"
            " percent-encode what is no plain letter"
        ) from None
    known = entry_points(group=group)
    for entry_point in known:
        if entry_point.name == scheme:
            return entry_point.load()
    raise UnknownScheme(
        scheme,
        kind,
        known.names,
        f"install the distribution that has it as an entry point of the group {group}",
    )


def read_options(url: str, readers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Read keyword arguments from the query of a URL.

    :param readers: for each name that may stand there, what turns its text into the value.
    :raises ConfigurationError: a name is unknown or given twice, or its text cannot be read.
    """
    from urllib.parse import parse_qsl, urlsplit

    options: dict[str, Any] = {}
    for name, text in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name not in readers:
            raise ConfigurationError(
                f"{name!r} is no option of a {urlsplit(url).scheme}: URL;"
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
