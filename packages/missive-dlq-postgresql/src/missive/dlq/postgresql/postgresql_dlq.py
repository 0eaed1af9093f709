"""The store of dead letters and deferred messages in a PostgreSQL database."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from missive import ConfigurationError, DeadLetter
from missive.letters import (
    MAX_TRACEBACK,
    Choice,
    InboxStore,
    LetterFilters,
    LetterState,
    Receipt,
    SummaryRow,
    check_deferred,
    check_filters,
    check_restored,
)
from psycopg import Rollback

from . import addresses
from .accounts import PostgreSQLAccounts
from .claim_statements import ClaimStatements
from .claims import PostgreSQLClaims
from .connections import Connections, Pool
from .database import Database
from .keeping import Keeper
from .mapping import REMOVED_AT_ONCE, PostgreSQLMapping
from .opening import Opening
from .reading import LARGEST, Reader, filter_values
from .session import Session
from .statements import Statements

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: The longest wait that PostgreSQL can count, in seconds: 24 days.
MAX_BUSY_TIMEOUT = 2_147_483.0


class PostgreSQLDLQ(PostgreSQLMapping, PostgreSQLClaims, PostgreSQLAccounts, InboxStore):
    """Keeps dead letters and deferred messages in a PostgreSQL database.

    Any number of threads, processes and machines may share it. When ``put`` or ``defer`` returns,
    the letter is as durable as the server's commits. A missing table is created, if this user may
    create one. During an outage (a restart, a failover, a full disk, a lock), a call waits up to
    ``busy_timeout``, and then raises DeadLetterStoreError.

    :param conninfo: a URL or connection string of PostgreSQL; the environment (``PGHOST`` and
        others) supplies what is not in it.
    :param table: the name of the table.
    :param schema: the schema of the table; by default the first of the search path.
    :param pool: a ``psycopg_pool.ConnectionPool`` to use instead, or an object with its ``getconn``
        and ``putconn``. It is not closed with the store.
    :param message_cls: the class of the messages that the mapping returns; RawMessage by default.
    :param busy_timeout: how long to wait for the end of outages and other transactions, in seconds.
    :param max_traceback: how many characters of a traceback are kept, from its end.
    :param existing: make no table where there is none yet.
    :raises ConfigurationError: an argument cannot work.
    :raises DeadLetterStoreRefused: the server refuses, or what is at that name cannot serve; it was
        not touched.
    :raises DeadLetterStoreError: the server could not be reached.
    """

    def __init__(
        self,
        conninfo: str = "",
        *,
        table: str = "missive_letters",
        schema: str | None = None,
        pool: Pool | None = None,
        message_cls: Callable[[bytes], Any] | None = None,
        busy_timeout: float = 30.0,
        max_traceback: int = MAX_TRACEBACK,
        existing: bool = False,
    ) -> None:
        if max_traceback < 0:
            raise ConfigurationError(
                f"max_traceback of PostgreSQLDLQ must be 0 or more, not {max_traceback!r}"
            )
        if not busy_timeout >= 0:
            raise ConfigurationError(
                f"busy_timeout of PostgreSQLDLQ must be 0 s or more, not {busy_timeout!r}"
            )
        if pool is not None and conninfo:
            raise ConfigurationError(
                "PostgreSQLDLQ takes a connection string or a pool, not both; omit one"
            )
        names = addresses.names_of(table, schema)
        self.message_cls = message_cls
        self.max_traceback = max_traceback
        seconds = min(busy_timeout, MAX_BUSY_TIMEOUT)
        place = addresses.shown(conninfo, names) if pool is None else f"the pool's table {names}"
        complete = addresses.complete(conninfo, seconds) if pool is None else ""
        connections = Connections(complete, pool, place)
        self._database = Database(connections, place, seconds)
        self._sql = Statements(names)
        self._keeper = Keeper(self._sql)
        self._reader = Reader(self._database, self._sql)
        self._claim_sql = ClaimStatements(names)
        # A store that is forgotten closes its connections too.
        weakref.finalize(self, connections.close)
        Opening(self._database, names).open(make=not existing)

    @classmethod
    def from_url(cls, url: str) -> PostgreSQLDLQ:
        """Open the store of a URL such as ``postgresql://user@host/database?table=letters``.

        ``table``, ``schema``, ``busy_timeout`` and ``max_traceback`` may stand in the query beside
        PostgreSQL's own options, such as ``sslmode``.

        :raises ConfigurationError: it cannot be read.
        """
        conninfo, options = addresses.split_url(url)
        return cls(conninfo, **options)

    @classmethod
    def open_existing(cls, url: str) -> PostgreSQLDLQ:
        """Open the store of a URL, as ``from_url`` does, where its table is there already.

        :raises DeadLetterStoreRefused: it is not.
        """
        conninfo, options = addresses.split_url(url)
        return cls(conninfo, existing=True, **options)

    def close(self) -> None:
        """Close the store's own connections, each once it is no longer in use; any number of times."""
        self._database.connections.close()

    def __repr__(self) -> str:
        return f"<PostgreSQLDLQ {self._database.place}>"

    # Keeping letters.

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep dead letters, all or none, by one COPY where their ids are new.

        :raises DeadLetterStoreBusy: another transaction held a letter for longer than
            ``busy_timeout``.
        :raises DeadLetterStoreFull: there is no room.
        :raises DeadLetterStoreError: nothing was kept, for another cause.
        """
        self._put_all([self._capped(letter.given_up()) for letter in letters])

    def defer(self, letters: Iterable[DeadLetter]) -> None:
        """Keep messages until they are due, all or none, by one COPY where their ids are new.

        :raises ConfigurationError: a letter has no due time, or one without a time zone.
        :raises DeadLetterStoreError: nothing was kept; as for :meth:`put_many`.
        """
        self._put_all([self._capped(letter) for letter in check_deferred(letters)])

    def _put_all(self, letters: list[DeadLetter]) -> None:
        def put(session: Session, again: bool) -> None:
            if again or not self._keeper.insert_new(session, letters):
                self._keeper.put_all(session, letters, again)

        if letters:
            self._database.run(put)

    def receive(self, letters: Iterable[DeadLetter]) -> list[Receipt]:
        """Keep messages of an inbox that were not received before, all or none.

        :raises ConfigurationError: a letter has no due time, or one without a time zone.
        :raises DeadLetterStoreError: nothing was kept; as for :meth:`put_many`.
        """
        checked = check_deferred(letters)
        return self._database.run(lambda session, again: self._keeper.receive(session, checked))

    def forget_done(self, before: datetime, *, limit: int = 1000) -> int:
        """Forget received messages that were done before a time; return how many."""
        values = (before, max(0, min(limit, LARGEST)))
        return self._database.count(self._sql.forget_done, values)

    def _capped(self, letter: DeadLetter) -> DeadLetter:
        traceback = letter.traceback
        if traceback is None or len(traceback) <= self.max_traceback:
            return letter
        return letter._replace(traceback=traceback[len(traceback) - self.max_traceback :])

    def restore_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep letters exactly as they are, with history and state, all or none.

        :raises DeadLetterStoreError: nothing was kept.
        """
        checked = check_restored(letters)

        def restore(session: Session, again: bool) -> None:
            if not self._keeper.insert_new(session, checked, beside=False):
                self._keeper.restore_all(session, checked)

        if checked:
            self._database.run(restore)

    def assign(self, letter: DeadLetter) -> None:
        """Keep a dead letter under its id, whatever is stored there.

        :raises DeadLetterStoreError: nothing was kept.
        """

        def assign(session: Session, again: bool) -> None:
            with session.transaction():
                self._keeper.assign(session, letter, again)

        self._database.run(assign)

    # Reading letters.

    def letter(self, id: bytes) -> DeadLetter:
        """Return the whole record of a letter, dead or deferred.

        :raises KeyError: there is none.
        """
        letter = self._reader.letter(id)
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
        return self._reader.summary(shown, state)

    # Upkeep.

    def choose(
        self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]
    ) -> Choice:
        """Choose letters as they stand now; no body is read for that.

        :raises ConfigurationError: a filter makes no sense.
        """
        check_filters(filters)
        if ids is not None:
            return super().choose(ids, **filters)
        chosen = self._reader.chosen(filters)
        return Choice(filters, ((position, failures) for position, failures, _ in chosen))

    def remove_chosen(self, choice: Choice) -> int:
        """Remove the letters of a choice that stand as they were chosen; return how many.

        They are compared and removed a thousand at a time, each thousand in one statement.
        """
        names, values = filter_values(choice.filters)
        statement = self._sql.remove_chosen(names)
        chosen, count = iter(choice), 0
        while page := list(islice(chosen, REMOVED_AT_ONCE)):
            given = (*map(list, zip(*page, strict=True)), *values)
            count += self._database.count(statement, given)
        return count

    def check(self) -> None:
        """Write a letter, and take it back before anybody can see it.

        :raises DeadLetterStoreError: no letter could be written now.
        """

        def check(session: Session, again: bool) -> None:
            with session.transaction():
                session.execute(self._sql.check)
                raise Rollback

        self._database.run(check)
