"""Breaker: stops taking messages while a dependency of their handler is down."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from .errors import ConfigurationError
from .retry import ErrorTypes, check_number, exception_types, is_whole, leaves_of

logger = logging.getLogger("missive.breaker")


#: How many messages that a breaker refused a store has due as soon as one may be tried.
SCOUTS = 10
#: How many messages a breaker remembers that failed while it was closed, the latest.
EXCUSED = 1000


@dataclass(frozen=True, eq=False)
class Breaker:
    """Tells an outage from bad messages, and pauses handlers during an outage.

    After ``failures`` errors of these types within ``window`` seconds the breaker opens: for
    ``pause`` seconds no message is handled, and those that failed are kept, not counted as
    attempts. Then one message is tried (half-open). If it fails, the pause starts again; if not,
    the breaker closes. Handlers that share a dependency share one ``Breaker``.

    Before it opens, such a failure is an attempt like any other while the handler's ``Retry`` has
    attempts left. Where the message would be a dead letter, it waits for ``pause`` seconds instead,
    not counted. It is a dead letter when it fails so again, although other messages have succeeded
    since and the breaker has not opened.

    :param on: the exception types that mean the dependency is down.
    :param failures: how many of them open the breaker.
    :param window: within how many seconds.
    :param pause: for how many seconds nothing is handled.
    :param name: what the log and ``status()`` call it; the handlers' names unless given.
    :raises ConfigurationError: the values cannot work together.
    """

    on: ErrorTypes
    failures: int = 5
    window: float = 30.0
    pause: float = 30.0
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "on", exception_types("Breaker", "on", self.on))
        if not is_whole(self.failures):
            raise ConfigurationError(
                f"Breaker cannot open after failures={self.failures!r}; give a whole number from 1"
            )
        check_number("Breaker", "window", self.window, 0.001)
        check_number("Breaker", "pause", self.pause, 0.001)

    def covers(self, error: BaseException | None) -> bool:
        """Return whether an error, or one in a group of exceptions, means an outage."""
        if error is None:
            return False
        kinds = map(type, (error, *leaves_of(error)))  # isinstance asks the errors too
        return any(issubclass(kind, self.on) for kind in kinds)


class BreakerState:
    """One breaker during one run. Safe to use from several threads.

    :param breaker: the policy.
    :param name: what the log calls it.
    :param clock: returns the time in seconds; monotonic.
    """

    def __init__(self, breaker: Breaker, name: str, clock: Callable[[], float]) -> None:
        self.breaker = breaker
        self.name = breaker.name or name
        self._clock = clock
        self._failed_at: deque[float] = deque(maxlen=breaker.failures)
        self._open_until: float | None = None
        self._opened_at = 0.0
        self._probing = False
        self._scouts = 0
        self._closed = False
        self._answers = 0
        #: The messages that failed while it was closed, and how many had not failed by then.
        self._excused: dict[bytes, int] = {}
        self._lock = Lock()

    @property
    def is_open(self) -> bool:
        """Whether the dependency counts as down: open or half-open."""
        return self._open_until is not None

    def wait_time(self) -> float:
        """Return how many seconds to wait before the next message may be tried; 0.0: now."""
        with self._lock:
            if self._open_until is None:
                return 0.0
            # While one message is tried, the others look again soon after.
            soonest = 0.05 if self._probing else 0.0
            return max(self._open_until - self._clock(), soonest)

    def keep_for(self) -> float:
        """Return how many seconds a store keeps a message that was refused.

        A few are due as soon as one may be tried. The others are due later, the later the longer
        this lasts: so an outage does not have each of many messages claimed and kept again after
        every pause. When the breaker closes they are made due at once.
        """
        soonest = self.wait_time()
        with self._lock:
            self._scouts += 1
            if self._scouts <= SCOUTS or self._open_until is None:
                return soonest
            return soonest + max(self._clock() - self._opened_at, self.breaker.pause)

    def admit(self) -> bool:
        """Return whether a message may be handled now; half-open, one at a time may."""
        with self._lock:
            if self._open_until is None:
                return True
            if self._probing or self._clock() < self._open_until:
                return False
            self._probing = True
            return True

    def note(self, error: BaseException | None) -> bool:
        """Note how a message that was admitted ended.

        :returns: whether it failed by the outage, so that it is not a failed attempt.
        """
        failed = self.breaker.covers(error)
        with self._lock:
            was_open = self.is_open
            self._advance(failed)
            is_open = self.is_open
        if is_open != was_open:
            logger.warning(
                "the breaker of %s %s%s",
                self.name,
                "opened" if is_open else "closed",
                f": {type(error).__name__}, {self.breaker.failures} within"
                f" {self.breaker.window:g} s; trying again in {self.breaker.pause:g} s"
                if is_open
                else "",
            )
        return failed and is_open

    def excuses(self, error: BaseException, message_id: bytes) -> bool:
        """Return whether a message may have failed by an outage that has only begun.

        So it may the first time, and for as long as no other message was handled well since.
        """
        if not self.breaker.covers(error):
            return False
        with self._lock:
            if self.is_open:  # meanwhile
                return True
            before = self._excused.pop(message_id, self._answers)
            if before != self._answers:
                return False
            self._excused[message_id] = before
            if len(self._excused) > EXCUSED:
                del self._excused[next(iter(self._excused))]
            return True

    def _advance(self, failed: bool) -> None:
        now, policy = self._clock(), self.breaker
        if not failed:
            self._answers += 1
        if self._open_until is not None:
            if not self._probing:  # it began before the breaker opened
                return
            self._probing = False
            if failed:
                self._open_until, self._scouts = now + policy.pause, 0
            else:
                self._open_until, self._closed = None, True
                self._failed_at.clear()
        elif failed:
            self._failed_at.append(now)
            full = len(self._failed_at) == policy.failures
            if full and now - self._failed_at[0] <= policy.window:
                self._opened_at = now
                self._open_until, self._scouts = now + policy.pause, 0
                self._excused.clear()

    def take_closed(self) -> bool:
        """Return whether it closed since the last call."""
        closed, self._closed = self._closed, False
        return closed

    def abandon(self) -> None:
        """Note that a message that was admitted was not handled to its end."""
        with self._lock:
            self._probing = False


class Guarded(Protocol):
    """What may have a breaker: a handler."""

    name: str
    breaker: Breaker | None


class Breakers:
    """The breakers of one run: one state for each :class:`Breaker`, shared by its handlers.

    :param handlers: the handlers of the run.
    :param clock: returns the time in seconds; monotonic.
    """

    def __init__(self, handlers: Iterable[Guarded], clock: Callable[[], float]) -> None:
        self._handlers = handlers
        self._clock = clock
        self._states: dict[Breaker, BreakerState] = {}

    def of_handler(self, handler: Guarded | None) -> BreakerState | None:
        """Return the state of a handler's breaker; None where it has none."""
        if handler is None or (breaker := handler.breaker) is None:
            return None
        state = self._states.get(breaker)
        if state is None:
            # setdefault is one step, so that two threads get the same state.
            state = BreakerState(breaker, handler.name, self._clock)
            state = self._states.setdefault(breaker, state)
        return state

    def open(self) -> list[BreakerState]:
        """Return those that are open or half-open."""
        return [state for state in list(self._states.values()) if state.is_open]

    def closed(self) -> list[str]:
        """Return the names of the handlers whose breakers have closed since the last call."""
        if not self._states:  # as for most runs
            return []
        closed = [state.breaker for state in list(self._states.values()) if state.take_closed()]
        return [handler.name for handler in self._handlers if handler.breaker in closed]

    def any_up(self) -> bool:
        """Return whether one of the handlers has no breaker that is open."""
        states = map(self.of_handler, self._handlers)
        return any(state is None or not state.is_open for state in states)

    def pause(self, *, is_empty: bool, defers: bool) -> float | None:
        """Return for how many seconds nothing may be received; None where it may.

        :param is_empty: whether this process has no message to try a breaker with.
        :param defers: whether a store keeps what a breaker refuses, so that the messages of the
            other handlers go on.
        """
        states = self.open()
        if not states or (defers and self.any_up()):
            return None
        wait = min(state.wait_time() for state in states)
        return None if wait == 0.0 and is_empty else max(wait, 0.01)

    def may_probe(self) -> bool:
        """Return whether one message may be tried now."""
        return any(state.wait_time() == 0.0 for state in self.open())
