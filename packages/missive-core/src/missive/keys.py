"""Keys: matchers that share one look-up, whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, cast

from .errors import ConfigurationError, InvalidHandler
from .message import JSONMessage, M, Message


class _NoKey:
    def __repr__(self) -> str:
        return "missive.NO_KEY"


#: What a key function returns for a message that has no key: it matches no keyed matcher.
NO_KEY = _NoKey()


class _Bool:
    """Stands for a bool among keys, where Python takes ``True`` for 1 and JSON does not."""

    def __init__(self, value: bool) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)


_TRUE, _FALSE = _Bool(True), _Bool(False)


def comparable_key(value: object) -> object:
    """Return what stands for a key in a table: keys compare as in JSON, so True is not 1."""
    if value is True:
        return _TRUE
    if value is False:
        return _FALSE
    if type(value) is tuple:
        return tuple(comparable_key(part) for part in cast("tuple[object, ...]", value))
    return value


class KeyFamily(Generic[M]):
    """Keyed matchers that share one key function; call it with values to get one.

    All matchers of a family cost one call of the key function and one dictionary look-up,
    whatever their number. Families of equal key functions are one family.
    """

    def __init__(self, key: Callable[[M], object]) -> None:
        self.key = key

    def __call__(self, *values: Hashable) -> KeyedMatcher[M]:
        """Return the matcher of messages whose key is one of the values.

        Values compare as in JSON: ``True`` is not 1, and 1 is 1.0.
        """
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
        self.values = frozenset(comparable_key(value) for value in values)

    def __call__(self, message: M) -> bool:
        """Return whether the message has one of the values as its key."""
        key = self.family.key(message)
        try:
            return comparable_key(key) in self.values
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
    """Return a family of keyed matchers, by a function that returns a message's key.

    A key function that raises is an error, as in any matcher; one that returns ``NO_KEY``, or a
    value that cannot be hashed, matches nothing.
    """
    if not callable(key):
        raise InvalidHandler(key, "is not a key function; give a callable from message to key")
    return KeyFamily(key)


class _ReadyKey:
    """A ready-made key function; two of one class and name are equal, and so are their families."""

    what = ""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"{self.what} {self.name}".rstrip()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.name == getattr(other, "name", None)

    def __hash__(self) -> int:
        return hash((type(self), self.name))


class _HeaderKey(_ReadyKey):
    what = "header"

    def __call__(self, message: Message) -> object:
        return message.headers.get(self.name, NO_KEY)


class _SourceKey(_ReadyKey):
    what = "source"

    def __call__(self, message: Message) -> object:
        return NO_KEY if message.source is None else message.source


class _JSONKey(_ReadyKey):
    what = "field"

    def __call__(self, message: JSONMessage) -> object:
        document = message.get_json()
        if not isinstance(document, dict):
            return NO_KEY
        return cast("dict[str, object]", document).get(self.name, NO_KEY)


def route_on_header(name: str) -> KeyFamily[Any]:
    """Return keyed matchers on a header; its name counts without regard to case."""
    return KeyFamily(_HeaderKey(name.lower()))


def route_on_source() -> KeyFamily[Any]:
    """Return keyed matchers on the channel, stream or path that a message came from."""
    return KeyFamily(_SourceKey())


def route_on_json(field: str) -> KeyFamily[JSONMessage]:
    """Return keyed matchers on a field of a JSON object.

    A document that lacks the field, or is not an object, matches nothing; bytes that are not JSON are
    a decoding error.
    """
    return KeyFamily(_JSONKey(field))
