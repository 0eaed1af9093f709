"""Matching: the handlers of a processor, and the one rule that chooses among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, cast

from .breaker import Breaker
from .callables import is_async
from .delivery import Stage
from .errors import (
    ConfigurationError,
    DecodingError,
    MatcherConflict,
    MultipleMatchingHandlers,
    NoMatchingHandler,
)
from .keys import KeyedMatcher, comparable_key
from .message import M, Message
from .retry import Retry, check_number, is_whole

Matcher = Callable[[M], bool]


def otherwise(message: Message) -> bool:
    """Match if no other handler does. If a matcher raised, it does not match."""
    return True


@dataclass(frozen=True)
class Batch:
    """How a handler takes several messages together.

    :ivar size: how many at most.
    :ivar wait: how long the first waits for the others, in seconds.
    :ivar split_on_error: after an error, handle those left undecided one by one.
    """

    size: int = 100
    wait: float = 0.5
    split_on_error: bool = False

    def __post_init__(self) -> None:
        if not is_whole(self.size):
            raise ConfigurationError(
                f"a batch cannot have size={self.size!r}; give a whole number from 1"
            )
        check_number("handle_batch_for()", "wait", self.wait, 0.0)


class Handler(Generic[M]):
    """A registered handler.

    :ivar function: what is called.
    :ivar matcher: what it was registered for.
    :ivar name: its module and qualified name.
    :ivar file: the file that defines it, where known.
    :ivar line: the line there, counted from 1.
    :ivar retry: its own retry policy; None leaves it to the processor's.
    :ivar breaker: what stops it while its dependency is down.
    :ivar batch: how it takes messages together, where it does.
    :ivar is_async: whether it is ``async def``.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        matcher: Matcher[M],
        retry: Retry | None = None,
        breaker: Breaker | None = None,
        batch: Batch | None = None,
    ) -> None:
        self.function = function
        self.matcher = matcher
        self.retry = retry
        self.breaker = breaker
        self.batch = batch
        self.is_async = is_async(function)
        #: Whether more than one call is to be made for a message.
        self.in_steps = breaker is not None or batch is not None
        named: Any = function
        while isinstance(named, partial):
            named = cast("partial[Any]", named).func
        code = getattr(named, "__code__", None)
        owner: Any = named if hasattr(named, "__qualname__") else cast("Any", type(named))
        self.name = f"{owner.__module__}.{owner.__qualname__}"
        self.file: str | None = code.co_filename if code else None
        self.line: int | None = code.co_firstlineno if code else None

    def __repr__(self) -> str:
        return f"<Handler {self.name}>"


class Explanation(Generic[M]):
    """Which handlers' matchers hit or raised for one message; no handler was called.

    :ivar hits: the handlers that match.
    :ivar raised: the handlers whose matcher raised, each with what it raised.
    :ivar keys: the keys that were looked up, each with what it is a key by, such as ``field event``;
        they are a part of the message's content.
    """

    def __init__(
        self,
        hits: tuple[Handler[M], ...],
        raised: tuple[tuple[Handler[M], Exception], ...],
        keys: tuple[tuple[str, object], ...] = (),
    ) -> None:
        self.hits = hits
        self.raised = raised
        self.keys = keys

    @property
    def handler(self) -> Handler[M] | None:
        """The handler that the message would go to; None when none, several, or one raised."""
        return self.hits[0] if len(self.hits) == 1 and not self.raised else None

    def __repr__(self) -> str:
        return f"<Explanation: {len(self.hits)} hit, {len(self.raised)} raised>"


class Router(Generic[M]):
    """The handlers of a processor and the one rule that chooses among them."""

    def __init__(self) -> None:
        self.handlers: list[Handler[M]] = []
        self._plain: list[tuple[Matcher[M], Handler[M]]] = []
        self._families: list[tuple[Callable[[M], object], dict[object, Handler[M]]]] = []
        self._otherwise: Handler[M] | None = None
        self._hashed: dict[object, Handler[M]] = {}
        self._unhashable: list[Handler[M]] = []

    @property
    def is_async(self) -> bool:
        """Whether a handler is ``async def``."""
        return any(handler.is_async for handler in self.handlers)

    def add(self, handler: Handler[M]) -> None:
        """Register a handler.

        :raises MatcherConflict: another handler has an equal matcher, or shares a key value.
        """
        function, matcher = handler.function, handler.matcher
        if matcher is otherwise:
            if self._otherwise is not None:
                raise MatcherConflict(
                    matcher, self._otherwise.function, function, "what nothing else matches"
                )
            self._otherwise = handler
        elif isinstance(matcher, KeyedMatcher):
            self._add_keyed(handler, cast("KeyedMatcher[M]", matcher))
        else:
            self._add_plain(handler)
        self.handlers.append(handler)

    def _add_keyed(self, handler: Handler[M], matcher: KeyedMatcher[M]) -> None:
        key = matcher.family.key
        existing = next((table for known, table in self._families if known == key), None)
        table: dict[object, Handler[M]] = {} if existing is None else existing
        if existing is None:
            self._families.append((key, table))
        for value in matcher.values:
            if value in table:
                what = f"messages with the key {value!r}"
                raise MatcherConflict(matcher, table[value].function, handler.function, what)
        table.update(dict.fromkeys(matcher.values, handler))

    def _add_plain(self, handler: Handler[M]) -> None:
        existing = self._find_equal(handler)
        if existing is not None:
            raise MatcherConflict(
                handler.matcher, existing.function, handler.function, "messages by the same matcher"
            )
        self._plain.append((handler.matcher, handler))

    def _find_equal(self, handler: Handler[M]) -> Handler[M] | None:
        """Find the handler with an equal matcher, or note this one; a look-up where it hashes."""
        matcher = handler.matcher
        for known in self._unhashable:
            if known.matcher == matcher:
                return known
        try:
            existing = self._hashed.get(matcher)
        except TypeError:
            for _, known in self._plain:
                if known.matcher == matcher:
                    return known
            self._unhashable.append(handler)
            return None
        if existing is None:
            self._hashed[matcher] = handler
        return existing

    def match(self, message: M) -> Handler[M]:
        """Return the one handler whose matcher matches.

        :raises NoMatchingHandler: none does.
        :raises MultipleMatchingHandlers: several do.
        :raises Exception: whatever a matcher or a key function raises.
        """
        found: Handler[M] | None = None
        for matcher, handler in self._plain:
            if matcher(message):
                if found is not None:
                    self._refuse_several(message)
                found = handler
        for key, table in self._families:
            value = key(message)
            if value is True or value is False or type(value) is tuple:
                value = comparable_key(cast("object", value))
            try:
                keyed = table.get(value)
            except TypeError:  # an unhashable key matches nothing
                continue
            if keyed is not None:
                if found is not None:
                    self._refuse_several(message)
                found = keyed
        if found is None:
            found = self._otherwise
            if found is None:
                raise NoMatchingHandler(message)
        return found

    def _refuse_several(self, message: M) -> None:
        """Name all handlers that match; a matcher that raises here raises, as it would have."""
        explanation = self.explain(message)
        for _, error in explanation.raised:
            raise error
        raise MultipleMatchingHandlers(message, [handler.name for handler in explanation.hits])

    def explain(self, message: M) -> Explanation[M]:
        """Call every matcher, and return which hit and which raised."""
        hits: list[Handler[M]] = []
        raised: list[tuple[Handler[M], Exception]] = []
        for handler in self.handlers:
            if handler.matcher is otherwise:
                continue
            try:
                if handler.matcher(message):
                    hits.append(handler)
            except Exception as error:
                raised.append((handler, error))
        if not hits and not raised and self._otherwise is not None:
            hits.append(self._otherwise)
        return Explanation(tuple(hits), tuple(raised), self._keys_of(message))

    def _keys_of(self, message: M) -> tuple[tuple[str, object], ...]:
        keys: list[tuple[str, object]] = []
        for key, _ in self._families:
            try:
                value = key(message)
            except Exception:  # noqa: S112  # told as the matcher's error
                continue
            named = getattr(key, "__qualname__", None)
            keys.append((named or repr(key), value))
        return tuple(keys)


def stage_of(error: Exception) -> Stage:
    """Return whether what a matcher raised is about the message's bytes or about the matcher."""
    return "decoding" if isinstance(error, DecodingError) else "matching"
