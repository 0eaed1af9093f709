"""Matching: which handler a message goes to."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, cast

from .errors import (
    ConfigurationError,
    DecodingError,
    InvalidHandler,
    MatcherConflict,
    MultipleMatchingHandlers,
    NoMatchingHandler,
)
from .letters import Stage
from .messages import JSONMessage, M, Message

if TYPE_CHECKING:
    from .contexts import HandlingContext

Matcher = Callable[[M], bool]
HandlerFunction = Callable[[M, "HandlingContext[M]"], None]


class _NoKey:
    def __repr__(self) -> str:
        return "missive.NO_KEY"


#: What a key function returns for a message that has no key: it matches no keyed matcher.
NO_KEY = _NoKey()


class KeyFamily(Generic[M]):
    """Keyed matchers that share one key function; call it with values to get one.

    All matchers of a family cost one call of the key function and one dictionary look-up,
    whatever their number. Families of equal key functions are one family.
    """

    def __init__(self, key: Callable[[M], object]) -> None:
        self.key = key

    def __call__(self, *values: Hashable) -> KeyedMatcher[M]:
        """Make the matcher of messages whose key is one of the values."""
        return KeyedMatcher(self, values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyFamily) and bool(self.key == cast("KeyFamily[Any]", other).key)

    def __hash__(self) -> int:
        return hash(self.key)


class KeyedMatcher(Generic[M]):
    """Matches the messages whose key is one of some values; made by a :class:`KeyFamily`."""

    def __init__(self, family: KeyFamily[M], values: tuple[Hashable, ...]) -> None:
        if not values:
            raise ConfigurationError("a keyed matcher needs at least one value to match")
        if NO_KEY in values:
            raise ConfigurationError("missive.NO_KEY stands for no key, and cannot be matched")
        for value in values:
            try:
                hash(value)
            except TypeError:
                raise ConfigurationError(
                    f"a {type(value).__name__} cannot be a key value, since it is not hashable;"
                    " give text, numbers or tuples"
                ) from None
        self.family = family
        self.values = frozenset(values)

    def __call__(self, message: M) -> bool:
        """Tell whether the message has one of the values as its key."""
        key = self.family.key(message)
        try:
            return key in self.values
        except TypeError:  # an unhashable key matches nothing
            return False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyedMatcher):
            return False
        them = cast("KeyedMatcher[Any]", other)
        return self.family == them.family and self.values == them.values

    def __hash__(self) -> int:
        return hash((self.family, self.values))


def route_on(key: Callable[[M], object]) -> KeyFamily[M]:
    """Make a family of keyed matchers from a function that gives a message's key.

    A key function that raises is an error, as in any matcher; one that returns ``NO_KEY``, or a
    value that cannot be hashed, matches nothing.
    """
    if not callable(key):
        raise InvalidHandler(key, "is no key function; give a callable from message to key")
    return KeyFamily(key)


class _ReadyKey:
    """A ready-made key function; two of one class and name are equal, and so are their families."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.name == getattr(other, "name", None)

    def __hash__(self) -> int:
        return hash((type(self), self.name))


class _HeaderKey(_ReadyKey):
    def __call__(self, message: Message) -> object:
        return message.headers.get(self.name, NO_KEY)


class _SourceKey(_ReadyKey):
    def __call__(self, message: Message) -> object:
        return NO_KEY if message.source is None else message.source


class _JSONKey(_ReadyKey):
    def __call__(self, message: JSONMessage) -> object:
        document = message.get_json()
        if not isinstance(document, dict):
            return NO_KEY
        return cast("dict[str, object]", document).get(self.name, NO_KEY)


def route_on_header(name: str) -> KeyFamily[Any]:
    """Make keyed matchers on a header; its name counts without regard to case."""
    return KeyFamily(_HeaderKey(name.lower()))


def route_on_source() -> KeyFamily[Any]:
    """Make keyed matchers on the channel, stream or path that a message came from."""
    return KeyFamily(_SourceKey())


def route_on_json(field: str) -> KeyFamily[JSONMessage]:
    """Make keyed matchers on a field of a JSON object.

    A document that lacks the field, or is no object, matches nothing; bytes that are not JSON are
    a decoding error.
    """
    return KeyFamily(_JSONKey(field))


def otherwise(message: Message) -> bool:
    """Match when no other handler does. It never hides a matcher that raised."""
    return True


class Handler(Generic[M]):
    """A registered handler.

    :ivar function: what is called.
    :ivar matcher: what it was registered for.
    :ivar name: its module and qualified name.
    :ivar file: the file that defines it, where known.
    :ivar line: the line there, counted from 1.
    """

    __slots__ = ("file", "function", "line", "matcher", "name")

    def __init__(self, function: HandlerFunction[M], matcher: Matcher[M]) -> None:
        self.function = function
        self.matcher = matcher
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
    """

    def __init__(
        self,
        hits: tuple[Handler[M], ...],
        raised: tuple[tuple[Handler[M], Exception], ...],
    ) -> None:
        self.hits = hits
        self.raised = raised

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

    def add(self, function: HandlerFunction[M], matcher: Matcher[M]) -> None:
        """Register a handler.

        :raises MatcherConflict: another handler has an equal matcher, or shares a key value.
        """
        handler = Handler(function, matcher)
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
        """Give the one handler whose matcher matches.

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
        """Call every matcher, and say which hit and which raised."""
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
        return Explanation(tuple(hits), tuple(raised))


def stage_of(error: Exception) -> Stage:
    """Tell whether what a matcher raised is about the message's bytes or about the matcher."""
    return "decoding" if isinstance(error, DecodingError) else "matching"
