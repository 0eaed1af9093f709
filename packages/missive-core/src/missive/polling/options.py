"""The options that every polling adapter takes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypedDict

from ..errors import ConfigurationError
from ..retry import is_whole


class PollingOptions(TypedDict, total=False):
    """The keyword arguments that every polling adapter takes; see ``PollingAdapter``."""

    # Generic in the message it would say more, but that takes Python 3.11.

    workers: int
    max_in_flight: int | None
    ordering_key: Callable[[Any], Hashable] | None
    drain_timeout: float
    connect_timeout: float | None
    handler_timeout: float | None
    loop_factory: Callable[[], Any] | None


#: The options that may stand in the query of a URL, and how each is read.
URL_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "workers": int,
    "max_in_flight": int,
    "drain_timeout": float,
    "connect_timeout": float,
    "handler_timeout": float,
}


def check_options(adapter: Any, max_in_flight: object) -> None:
    """Refuse options of an adapter that cannot work.

    :param max_in_flight: as it was given; None where it was not.
    :raises ConfigurationError: one of them cannot.
    """
    name, workers = type(adapter).__name__, adapter.workers
    if not isinstance(workers, int) or workers < 1:
        raise ConfigurationError(
            f"{name} cannot run with workers={workers!r}; give a whole number from 1"
        )
    if max_in_flight is not None and (
        not isinstance(max_in_flight, int) or max_in_flight < workers
    ):
        raise ConfigurationError(
            f"{name} cannot keep {workers} workers busy with max_in_flight={max_in_flight!r};"
            " give a whole number that is no less than workers"
        )
    ordering_key, drain_timeout = adapter.ordering_key, adapter.drain_timeout
    if ordering_key is not None and not callable(ordering_key):
        raise ConfigurationError(
            f"ordering_key of {name} must be a callable from message to key,"
            f" not a {type(ordering_key).__name__}"
        )
    if not _is_number(drain_timeout) or not drain_timeout >= 0:
        raise ConfigurationError(
            f"drain_timeout of {name} must be 0 s or more, not {drain_timeout!r};"
            ' give float("inf") to wait forever'
        )
    for option, none in (
        ("connect_timeout", "to try forever"),
        ("handler_timeout", "for no limit"),
    ):
        given = getattr(adapter, option)
        if given is not None and (not _is_number(given) or not given > 0):
            raise ConfigurationError(
                f"{option} of {name} must be more than 0 s, or None {none}, not {given!r}"
            )


def check_count(owner: object, option: str, given: object, most: int | None = None) -> None:
    """Refuse an option of an adapter that is not a whole number from 1.

    :param owner: the adapter.
    :param option: the name of the option.
    :param most: the largest number there may be; None: any.
    :raises ConfigurationError: it is not.
    """
    if not is_whole(given) or (most is not None and given > most):  # type: ignore[operator]
        limit = "" if most is None else f" to {most}"
        raise ConfigurationError(
            f"{option} of {type(owner).__name__} must be a whole number from 1{limit}, not {given!r}"
        )


def check_seconds(owner: object, option: str, given: object, *, zero: bool, most: float) -> None:
    """Refuse an option of an adapter that is not a number of seconds.

    :param owner: the adapter.
    :param option: the name of the option.
    :param zero: whether it may be 0.
    :param most: the longest time there may be, in seconds.
    :raises ConfigurationError: it is not.
    """
    if not _is_number(given) or not (given >= 0 if zero else given > 0) or not given <= most:  # type: ignore[operator]
        least = "0 or more" if zero else "more than 0"
        raise ConfigurationError(
            f"{option} of {type(owner).__name__} must be a number of seconds, {least} and at most"
            f" {most:g}, not {given!r}"
        )


def check_names(
    owner: object, option: str, given: Iterable[object] | str, can_be: Callable[[str], object]
) -> tuple[str, ...]:
    """Return names, each once, or refuse those that the transport cannot have.

    :param owner: the adapter.
    :param option: the name of the option.
    :param given: the names, or one alone.
    :param can_be: returns whether the transport can have a name.
    :raises ConfigurationError: it cannot have one of them.
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not isinstance(name, str) or not name or not can_be(name):
            raise ConfigurationError(
                f"{option} of {type(owner).__name__} must be a name, not {name!r}"
            )
    return tuple(dict.fromkeys(map(str, names)))


def _is_number(given: object) -> bool:
    return isinstance(given, (int, float)) and not isinstance(given, bool)
