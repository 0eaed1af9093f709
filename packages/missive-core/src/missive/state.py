"""State: where hooks and handlers put what they share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

__all__ = ["State"]


class State:
    """A namespace for attributes of your own: set any name, and read it later.

    The processing context has one, shared by all of its worker threads; each handling context has
    one of its own. Its repr shows names only, since the values may hold a message's content.
    """

    if TYPE_CHECKING:  # any attribute may be read and set

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    else:

        def __getattr__(self, name: str) -> Any:
            known = ", ".join(self.__dict__) or "nothing"
            raise AttributeError(f"state has no {name!r}; so far there is {known}")

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __repr__(self) -> str:
        return f"<State: {', '.join(self.__dict__) or 'empty'}>"
