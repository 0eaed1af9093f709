"""The store of dead letters and deferred messages in an SQLite database."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from missive import ConfigurationError, DeadLetter
from missive.errors import DeadLetterStoreRefused
from missive.letters import (
    MAX_TRACEBACK,
    Action,
    Choice,
    Claim,
    Counts,
    Group,
    InboxStore,
    LetterFilters,
    LetterState,
    Receipt,
    SummaryRow,
    check_deferred,
    check_filters,
    check_lease,
    check_restored,
    check_tally,
    utc_now,
)

from . import accounts, claims, reading
from . import statements as sql
from .addresses import absolute, options_in, path_in
from .database import Database
from .keeping import Keeper
from .mapping import REMOVED_AT_ONCE, SQLiteMapping
from .opening import may_write
from .reading import LARGEST, Reader
from .rows import to_micros
from .settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SQLiteDLQ(SQLiteMapping, InboxStore):
    """Keeps dead letters and deferred messages in an SQLite database.

    Any number of threads and processes may share it. When ``put`` or ``defer`` returns, the letter
    is on the disk: it survives a kill and a power cut. A missing file is created. A file of another
    application is refused and not changed.

    :param connection_str: the path of the file, or ``":memory:"``.
    :param message_cls: the class of the messages that the mapping returns; RawMessage by default.
    :param synchronous: SQLite's setting of that name. Less than FULL may lose the last letters at
        a power cut.
    :param busy_timeout: how long to wait for other writers, in seconds; at most 24 days.
    :param max_traceback: how many characters of a traceback are kept, from its end.
    :param read_only: only read: another user's file, a read-only mount, a snapshot. A write raises
        DeadLetterStoreRefused. If no program had the file open, letters that arrive later may not
        be seen.
    :raises ConfigurationError: an argument cannot work.
    :raises DeadLetterStoreRefused: the file at that path cannot be used; it was not changed.
    :raises DeadLetterStoreError: the database cannot be opened.

    :ivar path: the absolute path of the file, or ``":memory:"``.
    """

    def __init__(
        self,
        connection_str: str | os.PathLike[str],
        *,
        message_cls: Callable[[bytes], Any] | None = None,
        synchronous: str = "FULL",
        busy_timeout: float = 30.0,
        max_traceback: int = MAX_TRACEBACK,
        read_only: bool = False,
    ) -> None:
        if max_traceback < 0:
            raise ConfigurationError(
                f"max_traceback of SQLiteDLQ must be 0 or more, not {max_traceback!r}"
            )
        self.path = absolute(connection_str)
        self.message_cls = message_cls
        self.max_traceback = max_traceback
        settings = Settings.of(self.path, synchronous, busy_timeout, read_only)
        if read_only:
            self._refuse_missing(self.path)
        self.outlives_process = not settings.in_memory
        self._database = Database(settings)
        self._keeper = Keeper(self._database.origins)
        self._reader = Reader(self._database)
        # A store that is forgotten closes its files too. The end of the process closes all others.
        weakref.finalize(self, self._database.connections.forget).atexit = False
        with self._database.reading():  # what cannot work fails here
            pass

    @classmethod
    def from_url(cls, url: str) -> SQLiteDLQ:
        """Open the store of a URL such as ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.

        ``sqlite://`` alone is a database in memory. ``synchronous``, ``busy_timeout``,
        ``max_traceback`` and ``read_only`` may stand in the query.

        :raises ConfigurationError: it names a host, or cannot be read.
        """
        return cls(path_in(url), **options_in(url))

    @classmethod
    def open_existing(cls, url: str) -> SQLiteDLQ:
        """Open the store of a URL, as ``from_url`` does, where its file is there already.

        It is opened to look only where this user may not write to it.

        :raises DeadLetterStoreRefused: it is not.
        """
        path, options = path_in(url), options_in(url)
        if path != ":memory:":
            cls._refuse_missing(path)
            options.setdefault("read_only", not may_write(path))
        return cls(path, **options)

    @staticmethod
    def _refuse_missing(path: str) -> None:
        if path == ":memory:":
            raise ConfigurationError("a store in memory is new, so read_only=True shows nothing")
        if not Path(path).exists():
            raise DeadLetterStoreRefused(
                path, "there is no such file; check the path, which is taken from this directory"
            )

    def close(self) -> None:
        """Close the files, once they are no longer in use; any number of times."""
        self._database.connections.close()

    def __repr__(self) -> str:
        return f"<SQLiteDLQ {self.path}>"

    # Keeping letters.

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep dead letters, all or none, in one transaction; on return they are on the disk.

        :raises DeadLetterStoreBusy: others wrote for longer than ``busy_timeout``.
        :raises DeadLetterStoreFull: there is no room.
        :raises DeadLetterStoreError: nothing was kept, for another cause.
        """
        letters = [self._capped(letter.given_up()) for letter in letters]
        with self._database.writing() as connection:
            self._keeper.put_many(connection, letters)

    def defer(self, letters: Iterable[DeadLetter]) -> None:
        """Keep messages until they are due, all or none; on return they are on the disk.

        :raises ConfigurationError: a letter has no due time, or one without a time zone.
        :raises DeadLetterStoreError: nothing was kept; as for :meth:`put_many`.
        """
        letters = [self._capped(letter) for letter in check_deferred(letters)]
        with self._database.writing() as connection:
            self._keeper.put_many(connection, letters)

    def receive(self, letters: Iterable[DeadLetter]) -> list[Receipt]:
        """Keep messages of an inbox that were not received before, all or none, on the disk.

        :raises ConfigurationError: a letter has no due time, or one without a time zone.
        :raises DeadLetterStoreError: nothing was kept; as for :meth:`put_many`.
        """
        letters = check_deferred(letters)
        with self._database.writing() as connection:
            return [self._keeper.receive(connection, letter) for letter in letters]

    def forget_done(self, before: datetime, *, limit: int = 1000) -> int:
        """Forget received messages that were done before a time; return how many."""
        values = (to_micros(before), max(0, min(limit, LARGEST)))
        with self._database.writing() as connection:
            return connection.execute(sql.FORGET_DONE, values).rowcount

    def _capped(self, letter: DeadLetter) -> DeadLetter:
        traceback = letter.traceback
        if traceback is None or len(traceback) <= self.max_traceback:
            return letter
        return letter._replace(traceback=traceback[len(traceback) - self.max_traceback :])

    def restore_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep letters exactly as they are, with history and state, all or none.

        :raises DeadLetterStoreError: nothing was kept.
        """
        letters = check_restored(letters)
        with self._database.writing() as connection:
            self._keeper.restore_many(connection, letters)

    def assign(self, letter: DeadLetter) -> None:
        """Keep a dead letter under its id, whatever is stored there.

        :raises DeadLetterStoreError: nothing was kept.
        """
        with self._database.writing() as connection:
            self._keeper.assign(connection, letter)

    # Reading letters.

    def letter(self, id: bytes) -> DeadLetter:
        """Return the whole record of a letter, dead or deferred.

        :raises KeyError: there is none.
        """
        letter = self._database.read(self._reader.letter, id)
        if letter is None:
            raise KeyError(id)
        return letter

    def letters(
        self,
        *,
        limit: int | None = None,
        after: int | None = None,
        newest_first: bool = False,
        **filters: Unpack[LetterFilters],
    ) -> Iterator[DeadLetter]:
        """Return the letters that match every filter, page by page.

        :raises ConfigurationError: a filter makes no sense.
        """
        check_filters(filters)
        return self._reader.pages(limit, after, newest_first, filters)

    def summary(
        self, *, limit: int | None = None, state: LetterState | None = "dead"
    ) -> list[SummaryRow]:
        """Count the letters by error type, handler and reason, the most frequent first."""
        check_filters({"state": state})
        shown = LARGEST if limit is None else max(0, min(limit, LARGEST))
        return self._database.read(reading.summary, shown, state)

    def counts(self) -> Counts:
        """Count the letters by state."""
        with self._database.reading() as connection:
            return claims.counts(connection, utc_now())

    def groups(
        self, *, limit: int | None = None, state: LetterState | None = "dead"
    ) -> list[Group]:
        """Group the letters by error type, handler and raising line, the most frequent first."""
        check_filters({"state": state})
        shown = LARGEST if limit is None else max(0, min(limit, LARGEST))
        return self._database.read(accounts.groups, shown, state)

    def tally(self, times: Sequence[datetime], **filters: Unpack[LetterFilters]) -> list[int]:
        """Count the letters whose last failure is between each two consecutive times."""
        check_tally(times, filters)
        with self._database.reading() as connection:
            return accounts.tally(connection, times, filters)

    def record(self, action: Action) -> None:
        """Record what somebody did; on return it is on the disk.

        :raises DeadLetterStoreError: it was not recorded.
        """
        with self._database.writing() as connection:
            accounts.record(connection, action)

    def actions(self, *, limit: int = 100, before: int | None = None) -> list[Action]:
        """Return what was recorded, the newest first."""
        shown = max(0, min(limit, LARGEST))
        newest = LARGEST if before is None else max(-LARGEST, min(before, LARGEST))
        return self._database.read(accounts.actions, shown, newest)

    # Claims.

    def claim(self, id: bytes, *, lease: float = 300.0) -> tuple[Claim, DeadLetter] | None:
        """Claim a letter and read it; None where it is gone or claimed by another."""
        span = check_lease(lease)
        with self._database.claiming() as connection:
            return claims.claim(connection, self._reader, id, utc_now(), span)

    def claim_due(
        self, limit: int, lease: float = 300.0, *, now: datetime | None = None
    ) -> list[tuple[Claim, DeadLetter]]:
        """Claim deferred messages that are due, those that were due earliest first."""
        span = check_lease(lease)
        with self._database.claiming() as connection:
            return claims.claim_due(connection, self._reader, limit, now or utc_now(), span)

    def next_due(self) -> datetime | None:
        """Return when the next unclaimed deferred message is due; None without one."""
        with self._database.reading() as connection:
            return claims.next_due(connection, utc_now())

    def claim_of(self, id: bytes) -> Claim | None:
        """Return the claim that is in force on a letter, or None."""
        with self._database.reading() as connection:
            return claims.claim_of(connection, id, utc_now())

    def renew(self, claim: Claim, *, lease: float = 300.0) -> Claim | None:
        """Hold a claim for longer; None where it was no longer held."""
        now = utc_now()
        expires = now + check_lease(lease)
        with self._database.claiming() as connection:
            cursor = connection.execute(
                sql.RENEW, (to_micros(now), to_micros(expires), claim.id, claim.token)
            )
            return claim._replace(expires=expires) if cursor.rowcount else None

    def release(self, claim: Claim) -> bool:
        """Release a claim without removing the letter; return False if the claim had ended."""
        with self._database.claiming() as connection:
            return connection.execute(sql.RELEASE, (claim.id, claim.token)).rowcount > 0

    def remove(self, claim: Claim) -> bool:
        """Remove a claimed letter, unless the claim was lost or the letter failed again since."""
        values = (claim.id, claim.token, claim.failures)
        with self._database.writing() as connection:
            return connection.execute(sql.REMOVE, values).rowcount > 0

    def remove_many(self, claims: Iterable[Claim]) -> list[bool]:
        """Do what ``remove`` does for each claim, in one commit; return which were removed."""
        with self._database.writing() as connection:
            return [
                connection.execute(sql.REMOVE, (each.id, each.token, each.failures)).rowcount > 0
                for each in claims
            ]

    # Upkeep.

    def retry_now(
        self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]
    ) -> int:
        """Make deferred messages due now; return how many."""
        check_filters(filters)
        with self._database.writing() as connection:
            return claims.retry_now(connection, ids, filters, utc_now())

    def give_up(self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]) -> int:
        """Make deferred messages dead letters; return how many. Claimed ones are left."""
        check_filters(filters)
        with self._database.writing() as connection:
            return claims.give_up(connection, ids, filters, utc_now())

    def choose(
        self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]
    ) -> Choice:
        """Choose letters as they stand now; no body is read for that.

        :raises ConfigurationError: a filter makes no sense.
        """
        check_filters(filters)
        if ids is not None:
            return super().choose(ids, **filters)
        return Choice(filters, self._reader.chosen(filters))

    def remove_chosen(self, choice: Choice) -> int:
        """Remove the letters of a choice that stand as they were chosen; return how many.

        They are compared and removed a thousand at a time, each thousand in one transaction.
        """
        names, values = reading.filter_values(choice.filters)
        statement = sql.choose(names)
        chosen, count = iter(choice), 0
        while page := list(islice(chosen, REMOVED_AT_ONCE)):
            first, last = page[0][0], page[-1][0]
            with self._database.writing() as connection:
                found = connection.execute(statement, (last, first - 1, *values, LARGEST))
                unchanged = set(page).intersection(found)
                if unchanged:
                    connection.executemany(
                        sql.DELETE_AT, [(position,) for position, _ in sorted(unchanged)]
                    )
            count += len(unchanged)
        return count

    def check(self) -> None:
        """Write something that changes nothing, to the disk.

        :raises DeadLetterStoreError: no letter could be written now.
        """
        with self._database.writing() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {version}")
