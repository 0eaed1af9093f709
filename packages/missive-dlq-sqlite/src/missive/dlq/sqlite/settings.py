"""Settings: what every connection of a store is opened with."""

from __future__ import annotations

from typing import NamedTuple

from missive import ConfigurationError

#: The longest wait that SQLite can count, in seconds: its milliseconds are a C int, 24 days.
MAX_BUSY_TIMEOUT = 2_147_483.0

SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")


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

    @classmethod
    def of(cls, path: str, synchronous: str, busy_timeout: float, read_only: bool) -> Settings:
        """Make settings of what a user gave.

        :raises ConfigurationError: an argument cannot work.
        """
        if synchronous.upper() not in SYNCHRONOUS:
            raise ConfigurationError(
                f"synchronous of SQLiteDLQ must be one of {', '.join(SYNCHRONOUS)},"
                f" not {synchronous!r}"
            )
        if not busy_timeout >= 0:
            raise ConfigurationError(
                f"busy_timeout of SQLiteDLQ must be 0 s or more, not {busy_timeout!r}"
            )
        return cls(path, synchronous.upper(), min(busy_timeout, MAX_BUSY_TIMEOUT), read_only)

    @property
    def in_memory(self) -> bool:
        """Whether there is no file."""
        return self.path == ":memory:"
