"""Settings: what every connection of a store is opened with."""

from __future__ import annotations

from typing import NamedTuple


class Settings(NamedTuple):
    """What a connection is opened with.

    :ivar path: an absolute path, or ``:memory:``.
    :ivar synchronous: as SQLite's pragma of that name.
    :ivar busy_timeout: how long to wait for others, in seconds.
    :ivar read_only: nothing is written, and nothing made beside the file.
    """

    path: str
    synchronous: str
    busy_timeout: float
    read_only: bool = False

    @property
    def in_memory(self) -> bool:
        """Whether there is no file."""
        return self.path == ":memory:"
