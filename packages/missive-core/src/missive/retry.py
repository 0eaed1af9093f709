"""Retry: how often, and after which delays, a message that failed is handled again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import inf
from typing import Any, cast

from .errors import ConfigurationError

#: The longest delay there is, in seconds: ten years. What is longer is a mistake in the unit.
LONGEST_DELAY = 3650 * 86_400.0

ErrorTypes = tuple[type[BaseException], ...]


@dataclass(frozen=True)
class Retry:
    """A policy for messages whose handler or hooks raise.

    The delay before attempt n + 1 is ``delay * backoff ** (n - 1)`` seconds, at most ``max_delay``,
    then varied at random by up to ``jitter``.

    :param on: the exception types that are retried.
    :param not_on: those among them that are not.
    :param attempts: how often a message is handled, the first time included.
    :param delay: the delay before the second attempt, in seconds.
    :param backoff: what each further delay is multiplied by; at least 1.
    :param max_delay: the longest delay, in seconds.
    :param jitter: the largest share of a delay that is added or taken away at random, 0 to 1.
    :param in_order: wait in place: messages with the same ordering key, or from the same source
        where there is no key, wait behind this one; others go on.
    :raises ConfigurationError: the policy makes no sense.
    """

    on: ErrorTypes = (Exception,)
    not_on: ErrorTypes = ()
    attempts: int = 5
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 300.0
    jitter: float = 0.2
    in_order: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "on", exception_types("Retry", "on", self.on))
        object.__setattr__(self, "not_on", exception_types("Retry", "not_on", self.not_on))
        if not is_whole(self.attempts):
            raise ConfigurationError(
                f"Retry cannot make attempts={self.attempts!r}; it counts the first attempt too,"
                " so give a whole number from 1"
            )
        check_number("Retry", "delay", self.delay, 0.0, LONGEST_DELAY)
        check_number("Retry", "backoff", self.backoff, 1.0, 1e6)
        check_number("Retry", "max_delay", self.max_delay, 0.0, LONGEST_DELAY)
        check_number("Retry", "jitter", self.jitter, 0.0, 1.0)

    def covers(self, error: BaseException) -> bool:
        """Return whether the policy retries after this error.

        A group of exceptions is retried where that holds for each exception in it.
        """
        kind = type(error)  # isinstance asks the error too, whose class may be broken
        leaves = [type(each) for each in leaves_of(error)]
        named = issubclass(kind, self.on) or all(issubclass(leaf, self.on) for leaf in leaves)
        return named and not any(issubclass(each, self.not_on) for each in (kind, *leaves))

    def delay_after(self, attempt: int) -> float:
        """Return the delay before the next attempt, in seconds.

        :param attempt: the attempt that failed, from 1.
        """
        delay = self._plain_delay(attempt)
        if self.jitter:
            delay *= 1.0 + self.jitter * random.uniform(-1.0, 1.0)
        return min(delay, self.max_delay)

    @property
    def longest_delay(self) -> float:
        """The longest delay that any of its attempts is made to wait, in seconds."""
        if self.attempts == 1:
            return 0.0
        return min(self._plain_delay(self.attempts - 1) * (1.0 + self.jitter), self.max_delay)

    def _plain_delay(self, attempt: int) -> float:
        try:
            return min(self.delay * float(self.backoff) ** (attempt - 1), self.max_delay)
        except OverflowError:
            return self.max_delay if self.delay else 0.0


def leaves_of(error: BaseException) -> list[BaseException]:
    """Return the exceptions in a group of exceptions, nested groups included; else the error."""
    # By its attributes: Python 3.10 has no groups of its own, but a package that brings them.
    parts: object = getattr(error, "exceptions", None)
    if not isinstance(parts, tuple) or not hasattr(error, "derive"):
        return [error]
    members = cast("tuple[BaseException, ...]", parts)
    return [leaf for each in members for leaf in leaves_of(each)]


def exception_types(owner: str, name: str, given: object) -> ErrorTypes:
    """Return exception types as a tuple, also where one type was given alone.

    :raises ConfigurationError: one of them is not an exception type.
    """
    types: tuple[Any, ...] = (
        cast("tuple[Any, ...]", given) if isinstance(given, tuple) else (given,)
    )
    for kind in types:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise ConfigurationError(
                f"{owner}({name}=…) takes exception types, such as (ConnectionError,),"
                f" and a {type(cast('object', kind)).__name__} is not one"
            )
    return types


def is_whole(given: object, least: int = 1) -> bool:
    """Return whether something is a whole number, and no less than that."""
    return isinstance(given, int) and not isinstance(given, bool) and given >= least


def check_number(
    owner: str, name: str, given: object, smallest: float, largest: float = inf
) -> None:
    """Refuse what is not a finite number within bounds.

    :raises ConfigurationError: it is not.
    """
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if not is_number or not smallest <= given <= largest or given == inf:  # type: ignore[operator]
        bounds = f"from {smallest:g}" + (f" to {largest:g}" if largest < inf else "")
        raise ConfigurationError(
            f"{name} of {owner} must be a finite number {bounds}, not {given!r}"
        )
