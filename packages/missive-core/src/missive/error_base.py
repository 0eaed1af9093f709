"""The base of everything that Missive raises."""

from __future__ import annotations

from functools import cache
from typing import Any, cast


class MissiveError(RuntimeError):
    """Base of everything that Missive raises."""

    #: The reason that a dead letter gets; None means the text of the error.
    reason: str | None = None

    def __str__(self) -> str:
        text = super().__str__()
        own = type(self).__module__.partition(".")[0] == "missive"
        return f"{text} (docs: {documentation()}errors.html#{type(self).__name__})" if own else text

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class with the text, which is not what most of the classes take.
        return _make_again, (type(self), self.args), self.__dict__


def _make_again(cls: type[MissiveError], args: tuple[Any, ...]) -> MissiveError:
    """Make an error without its constructor, for pickle and copy, which then set its attributes."""
    return cls.__new__(cls, *args)


@cache
def documentation() -> str:
    """Return the address of the documentation, as ``missive-core`` states it; empty without one."""
    try:
        from importlib.metadata import metadata  # 15 ms, for errors alone

        stated = metadata("missive-core").get_all("Project-URL") or []
    except (ImportError, OSError):  # not installed, or not readable for this user
        return ""
    return dict(str(url).split(", ", 1) for url in stated).get("Documentation", "")


class ConfigurationError(MissiveError):
    """Something was configured in a way that cannot work."""


def describe(function: object) -> str:
    """Name a function or callable, with file and line where it has them."""
    name = getattr(function, "__qualname__", None) or f"an instance of {type(function).__name__}"
    code = getattr(function, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{name}{where}"


def safe_text_of(error: BaseException) -> str | None:
    """Return what an error says without a message's content; None where that is not known.

    That is its ``safe_text``, or the ``reason`` that its class has for all its errors.
    """
    kind: Any = type(error)
    said: Any = getattr(kind, "reason", None)
    if hasattr(kind, "safe_text"):
        said = cast("Any", error).safe_text
    return said if type(said) is str and said else None
