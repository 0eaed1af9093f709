"""The dead letter store in an SQLite database."""

from __future__ import annotations

import os
import secrets
import sqlite3
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, overload
from urllib.parse import unquote, urlsplit

from missive import (
    Choice,
    Claim,
    ConfigurationError,
    DeadLetter,
    DeadLetterStore,
    DeadLetterStoreBusy,
    DeadLetterStoreError,
    DeadLetterStoreRefused,
    LetterFilters,
    Message,
    SummaryRow,
    read_flag,
    read_options,
)
from missive.letters import (
    MAX_HISTORY,
    MAX_TRACEBACK,
    Counts,
    LetterState,
    check_filters,
    check_key,
    check_lease,
    this_process,
)

from . import statements as sql
from .connections import Connections
from .errors import translated
from .opening import may_write
from .origins import Origin, Origins
from .place import Place
from .rows import (
    Value,
    content_values,
    from_micros,
    from_text,
    letter_values,
    to_failure,
    to_letter,
    to_micros,
    to_text,
)
from .settings import Settings

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    from typing_extensions import Unpack

    P = ParamSpec("P")

#: The longest wait that SQLite can count, in seconds: its milliseconds are a C int, 24 days.
MAX_BUSY_TIMEOUT = 2_147_483.0

SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")

#: How many letters a page has at most, and how many bytes of bodies and reasons, when letters are
#: iterated over. Between pages nothing of the database is held.
PAGE_SIZE, PAGE_BYTES = 100, 1_048_576
#: How many ids a page has when only these are asked for.
IDS_PAGE_SIZE = 1000
#: How many letters are chosen at once, and removed in one transaction.
CHOSEN_AT_ONCE, REMOVED_AT_ONCE = 10_000, 1000

_LARGEST = 2**63 - 1
_MISSING: Any = object()
T = TypeVar("T")


class SQLiteDLQ(DeadLetterStore):
    """Keeps dead letters in an SQLite database, for any number of threads and processes.

    What ``put`` returned from is on the disk: it survives a kill and a power cut. The file is made
    if it is not there. One that is not ours is refused and left as it is.

    :param connection_str: the path of the file, or ``":memory:"``.
    :param message_cls: makes the messages that the mapping gives; RawMessage unless given.
    :param synchronous: SQLite's setting of that name. Less than FULL may lose the last letters at
        a power cut.
    :param busy_timeout: how long to wait for other writers, in seconds; no longer than 24 days.
    :param max_traceback: how much of a traceback is kept, in characters; its end.
    :param read_only: only look: at a file of another user's, on a read-only mount, at a snapshot.
        What would write raises DeadLetterStoreRefused. Letters that arrive in a file that nobody had
        open may not be seen.
    :raises ConfigurationError: these cannot work.
    :raises DeadLetterStoreRefused: what is at that path cannot serve; it was not touched.
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
        if synchronous.upper() not in SYNCHRONOUS:
            raise ConfigurationError(
                f"synchronous of SQLiteDLQ must be one of {', '.join(SYNCHRONOUS)},"
                f" not {synchronous!r}"
            )
        if not busy_timeout >= 0:
            raise ConfigurationError(
                f"busy_timeout of SQLiteDLQ must be 0 s or more, not {busy_timeout!r}"
            )
        if max_traceback < 0:
            raise ConfigurationError(
                f"max_traceback of SQLiteDLQ must be 0 or more, not {max_traceback!r}"
            )
        self.path = _absolute(connection_str)
        self.message_cls = message_cls
        self.max_traceback = max_traceback
        if read_only:
            self._refuse_missing(self.path)
        settings = Settings(
            self.path, synchronous.upper(), min(busy_timeout, MAX_BUSY_TIMEOUT), read_only
        )
        self._settings = settings
        self._place = Place(settings)
        self._connections = Connections(self.path, self._place.open, shared=settings.in_memory)
        self._origins = Origins()
        # A store that is forgotten closes its files too. The end of the process closes all others.
        weakref.finalize(self, self._connections.forget).atexit = False
        with self._reading():  # what cannot work fails here
            pass

    @classmethod
    def from_url(cls, url: str) -> SQLiteDLQ:
        """Open the store of a URL such as ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.

        ``sqlite://`` alone is a database in memory. ``synchronous``, ``busy_timeout``,
        ``max_traceback`` and ``read_only`` may stand in the query.

        :raises ConfigurationError: it names a host, or cannot be read.
        """
        return cls(_path_in(url), **_options_in(url))

    @classmethod
    def open_existing(cls, url: str) -> SQLiteDLQ:
        """Open the store of a URL, as ``from_url`` does, where its file is there already.

        It is opened to look only where this user may not write to it.

        :raises DeadLetterStoreRefused: it is not.
        """
        path, options = _path_in(url), _options_in(url)
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
        """Close the files, when whoever uses them is through; any number of times."""
        self._connections.close()

    def __repr__(self) -> str:
        return f"<SQLiteDLQ {self.path}>"

    # Access to the database, with its errors translated.

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        held = self._connections.acquire()
        try:
            assert held.sqlite is not None
            yield held.sqlite
        except (sqlite3.Error, OverflowError) as error:
            raise self._translated(error) from error
        finally:
            held.lock.release()

    @contextmanager
    def _claiming(self) -> Generator[sqlite3.Connection]:
        """Enter a transaction about a claim: one that a power cut may take, and that waits for no disk.

        Without its claim a letter is replayed by the next who comes, and with one that was given
        back it is once the claim expires: as after any crash. So half of a replay's syncs are saved.
        """
        with self._writing(
            "NORMAL" if self._settings.synchronous != "OFF" else "OFF"
        ) as connection:
            yield connection

    @contextmanager
    def _writing(self, synchronous: str | None = None) -> Generator[sqlite3.Connection]:
        """Enter a transaction that may write; committed at the end, unless something is raised."""
        if self._settings.read_only:
            raise DeadLetterStoreRefused(
                self.path,
                "it is open to be looked at only; to change it, run this as a user who may write to"
                " it, without read_only",
            )
        started = monotonic()
        lock = self._connections.writing
        if not lock.acquire(timeout=self._settings.busy_timeout):
            raise DeadLetterStoreBusy(self.path, monotonic() - started)
        try:
            held = self._connections.acquire()
            try:
                connection = held.sqlite
                assert connection is not None
                self._place.check(connection)
                if synchronous is not None:
                    connection.execute(f"PRAGMA synchronous = {synchronous}")
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    yield connection
                    connection.execute("COMMIT")
                    self._origins.committed()
                except BaseException:
                    self._origins.rolled_back()
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
                finally:
                    if synchronous is not None:
                        connection.execute(f"PRAGMA synchronous = {self._settings.synchronous}")
            finally:
                held.lock.release()
        except (sqlite3.Error, OverflowError) as error:
            raise self._translated(error) from error
        finally:
            lock.release()

    def _translated(self, error: Exception) -> DeadLetterStoreError:
        return translated(error, self.path, self._settings.busy_timeout)

    # Keeping letters.

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep letters, all or none, in one transaction; on return they are on the disk.

        :raises DeadLetterStoreBusy: others wrote for longer than ``busy_timeout``.
        :raises DeadLetterStoreFull: there is no room.
        :raises DeadLetterStoreError: nothing was kept, for another cause.
        """
        letters = [self._capped(letter) for letter in letters]
        with self._writing() as connection:
            self._put_many(connection, letters)

    def _capped(self, letter: DeadLetter) -> DeadLetter:
        traceback = letter.traceback
        if traceback is None or len(traceback) <= self.max_traceback:
            return letter
        return letter._replace(traceback=traceback[len(traceback) - self.max_traceback :])

    def _put_many(self, connection: sqlite3.Connection, letters: list[DeadLetter]) -> None:
        """Insert what is new, all contents at once; whatever is not takes the long way."""
        beside = connection.execute(sql.ANY_BESIDE).fetchone() is not None
        contents: list[tuple[Value, ...]] = []
        position = _next_position(connection)
        for letter in letters:
            if not beside and len(letter.history) <= 1:
                origin = self._origins.number_of(connection, Origin.of(letter))
                values = (position, origin, *letter_values(letter))
                if connection.execute(sql.INSERT_LETTER, values).rowcount:
                    contents.append((position, *content_values(letter)))
                    position += 1
                    continue
            connection.executemany(sql.INSERT_CONTENT, contents)
            contents.clear()
            beside = self._put_beside(connection, letter) or beside
            position = _next_position(connection)
        connection.executemany(sql.INSERT_CONTENT, contents)

    def _put_beside(self, connection: sqlite3.Connection, letter: DeadLetter) -> bool:
        """Put a letter whose id, or an id beside it, may be taken; tell whether that was so."""
        source = to_text(letter.source)
        id, free, number = letter.id, None, 0
        while True:
            found = connection.execute(sql.FIND, (source, letter.raw_data, id)).fetchone()
            if found is None:
                free = id if free is None else free
                if number:
                    break
            elif found[1]:
                self._fail_again(connection, found[0], letter)
                return False
            number += 1
            id = letter.beside_id(number)
        self._insert(connection, letter._replace(id=free))
        return free != letter.id

    def _fail_again(
        self, connection: sqlite3.Connection, position: int, letter: DeadLetter
    ) -> None:
        """Append the failure of a letter to the one that is about the same message."""
        connection.execute(sql.APPEND_HISTORY, (position,))
        origin = self._origins.number_of(connection, Origin.of(letter))
        connection.execute(sql.FAIL_AGAIN, (origin, *letter_values(letter)[4:], position))
        connection.execute(sql.BOUND_HISTORY, (position, position, MAX_HISTORY))
        connection.execute(sql.REPLACE_CONTENT, (*content_values(letter), position))

    def _insert(self, connection: sqlite3.Connection, letter: DeadLetter) -> None:
        origin = self._origins.number_of(connection, Origin.of(letter))
        position = _next_position(connection)
        connection.execute(sql.INSERT_LETTER, (position, origin, *letter_values(letter)))
        connection.execute(sql.INSERT_CONTENT, (position, *content_values(letter)))
        self._insert_history(connection, position, letter)

    def _replace(self, connection: sqlite3.Connection, position: int, letter: DeadLetter) -> None:
        origin = self._origins.number_of(connection, Origin.of(letter))
        connection.execute(sql.REPLACE_LETTER, (origin, *letter_values(letter)[1:], position))
        connection.execute(sql.REPLACE_CONTENT, (*content_values(letter), position))
        connection.execute(sql.DELETE_HISTORY, (position,))
        self._insert_history(connection, position, letter)

    def _insert_history(
        self, connection: sqlite3.Connection, position: int, letter: DeadLetter
    ) -> None:
        history = letter.history[-MAX_HISTORY:]
        first = letter.failures - len(history) + 1
        # The last failure is in the letter itself, unless somebody gave it otherwise here.
        if history and history[-1] == letter._replace(history=()).with_history().history[0]:
            history = history[:-1]
        connection.executemany(
            sql.INSERT_HISTORY,
            [
                (
                    position,
                    number,
                    self._origins.number_of(connection, Origin.of(letter, failure)),
                    to_micros(failure.at),
                    to_text(failure.reason),
                )
                for number, failure in enumerate(history, first)
            ],
        )

    def restore_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep letters exactly as they are, with their history, all or none.

        :raises DeadLetterStoreError: nothing was kept.
        """
        letters = list(letters)
        with self._writing() as connection:
            for letter in letters:
                found = connection.execute(sql.POSITION, (letter.id,)).fetchone()
                if found is None:
                    self._insert(connection, letter)
                else:
                    self._replace(connection, found[0], letter)

    def assign(self, letter: DeadLetter) -> None:
        """Keep a letter under its id, whatever stood there.

        :raises DeadLetterStoreError: nothing was kept.
        """
        with self._writing() as connection:
            self._assign(connection, letter)

    def _assign(self, connection: sqlite3.Connection, letter: DeadLetter) -> None:
        found = connection.execute(
            sql.FIND, (to_text(letter.source), letter.raw_data, letter.id)
        ).fetchone()
        if found is None:
            self._insert(connection, letter)
        elif found[1]:
            self._fail_again(connection, found[0], letter)
            message_id = None if letter.message_id == letter.id else letter.message_id
            connection.execute(sql.SET_MESSAGE_ID, (message_id, found[0]))
        else:
            self._replace(connection, found[0], letter)

    # Reading letters.

    def letter(self, id: bytes) -> DeadLetter:
        """Give the whole record of a letter.

        :raises KeyError: there is none.
        """
        letter = self._read(self._letter, id)
        if letter is None:
            raise KeyError(id)
        return letter

    def _read(
        self,
        read: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Read within one connection; once more where there is text that is no UTF-8."""
        with self._reading() as connection:
            try:
                return read(connection, *args, **kwargs)
            except sqlite3.OperationalError as error:
                if "decode" not in str(error):
                    raise
                # Somebody else wrote it. From here on this connection takes any text.
                connection.text_factory = from_text
                return read(connection, *args, **kwargs)

    def _letter(self, connection: sqlite3.Connection, id: bytes) -> DeadLetter | None:
        row = connection.execute(sql.LETTER, (id,)).fetchone()
        return None if row is None else self._complete(connection, row)

    def _complete(self, connection: sqlite3.Connection, row: tuple[Any, ...]) -> DeadLetter:
        """Make the letter of a row, with the history that it may have."""
        position, number, failures = row[:3]
        origin = self._origin(connection, number)
        if failures == 1:
            return to_letter(row, origin)
        history = connection.execute(sql.HISTORY, (position,)).fetchall()
        earlier = [
            to_failure(at, reason, self._origin(connection, number))
            for _, number, at, reason in history
        ]
        letter = to_letter(row, origin, earlier)
        if history and history[-1][0] == failures:  # the last is there as it was given
            letter = letter._replace(history=letter.history[:-1])
        return letter

    def _origin(self, connection: sqlite3.Connection, number: int) -> Origin:
        return self._origins.known.get(number) or self._origins.read(connection, number)

    def letters(
        self,
        *,
        limit: int | None = None,
        after: int | None = None,
        newest_first: bool = False,
        **filters: Unpack[LetterFilters],
    ) -> Iterator[DeadLetter]:
        """Give the letters that match every filter, page by page.

        :raises ConfigurationError: a filter makes no sense.
        """
        check_filters(filters)
        return self._pages(limit, after, newest_first, filters)

    def _pages(
        self, limit: int | None, after: int | None, newest_first: bool, filters: LetterFilters
    ) -> Iterator[DeadLetter]:
        names, values = _filter_values(filters)
        statement = sql.page(names, newest_first=newest_first)
        if after is None:
            after = _LARGEST if newest_first else -_LARGEST
        last = max(-_LARGEST, min(after, _LARGEST))
        with self._reading() as connection:
            newest = _newest_position(connection)
        left = _LARGEST if limit is None else limit
        while left > 0:
            wanted = min(left, PAGE_SIZE)
            page, is_last = self._read(
                self._page, statement, (newest, last, *values, wanted), wanted
            )
            yield from page
            if is_last:
                return
            left -= len(page)
            last = page[-1].position or 0

    def _page(
        self,
        connection: sqlite3.Connection,
        statement: str,
        values: tuple[Value, ...],
        wanted: int,
    ) -> tuple[list[DeadLetter], bool]:
        """Read a page, and tell whether it is the last; one of few letters where they are large."""
        page: list[DeadLetter] = []
        size = 0
        with closing(connection.execute(statement, values)) as rows:
            known = self._origins.known
            for row in rows:
                origin = known.get(row[1])
                if row[2] == 1 and origin is not None:
                    letter = to_letter(row, origin)
                else:
                    letter = self._complete(connection, row)
                page.append(letter)
                size += len(letter[1]) + len(letter[2])  # body and reason
                if size > PAGE_BYTES:
                    return page, False
        return page, len(page) < wanted

    def summary(
        self, *, limit: int | None = None, state: LetterState | None = "dead"
    ) -> list[SummaryRow]:
        """Count the letters by error type, handler and reason, the most frequent first."""
        return self._read(
            self._summary, _LARGEST if limit is None else max(0, min(limit, _LARGEST))
        )

    def _summary(self, connection: sqlite3.Connection, limit: int) -> list[SummaryRow]:
        return [
            SummaryRow(
                from_text(error_type),
                from_text(handler),
                from_text(reason) or "",
                count,
                from_micros(first_seen),
                from_micros(last_seen),
            )
            for error_type, handler, reason, count, first_seen, last_seen in connection.execute(
                sql.SUMMARY, (limit,)
            )
        ]

    # Claims.

    def claim(self, id: bytes, *, lease: float = 300.0) -> tuple[Claim, DeadLetter] | None:
        """Claim a letter and read it; None where it is gone or claimed by another."""
        span = check_lease(lease)
        with self._claiming() as connection:
            found = connection.execute(sql.CLAIM_OF, (id,)).fetchone()
            now = datetime.now(timezone.utc)
            if found is None:
                return None
            failures, former, claimed, expires_at = found
            if _is_held(former, claimed, expires_at, to_micros(now)):
                return None
            expires = now + span
            token = f"{secrets.token_hex(16)} {this_process()}"
            connection.execute(sql.CLAIM, (token, to_micros(now), to_micros(expires), id))
            letter = self._letter(connection, id)
            assert letter is not None, "it was found in this transaction"
            return Claim(id, token, failures, expires, this_process()), letter

    def claim_of(self, id: bytes) -> Claim | None:
        """Return the claim that is in force on a letter, or None."""
        with self._reading() as connection:
            found = connection.execute(sql.CLAIM_OF, (id,)).fetchone()
        if found is None:
            return None
        failures, token, claimed, expires = found
        if not _is_held(token, claimed, expires, to_micros(datetime.now(timezone.utc))):
            return None
        text = from_text(token) or ""
        return Claim(id, text, failures, from_micros(expires), text.partition(" ")[2])

    def renew(self, claim: Claim, *, lease: float = 300.0) -> Claim | None:
        """Hold a claim for longer; None where it was no longer held."""
        now = datetime.now(timezone.utc)
        expires = now + check_lease(lease)
        with self._claiming() as connection:
            cursor = connection.execute(
                sql.RENEW, (to_micros(now), to_micros(expires), claim.id, claim.token)
            )
            return claim._replace(expires=expires) if cursor.rowcount else None

    def release(self, claim: Claim) -> bool:
        """Give a claim back; the letter stays. False where the claim was no longer held."""
        with self._claiming() as connection:
            return connection.execute(sql.RELEASE, (claim.id, claim.token)).rowcount > 0

    def remove(self, claim: Claim) -> bool:
        """Remove a claimed letter, unless the claim was lost or the letter failed again since."""
        with self._writing() as connection:
            return (
                connection.execute(sql.REMOVE, (claim.id, claim.token, claim.failures)).rowcount > 0
            )

    # Deferred messages: not kept in this version.

    def defer(self, letters: Iterable[DeadLetter]) -> None:
        """Refuse: this version keeps no deferred messages."""
        raise DeadLetterStoreError(f"{self.path} keeps no deferred messages yet")

    def claim_due(
        self, limit: int, lease: float = 300.0, *, now: datetime | None = None
    ) -> list[tuple[Claim, DeadLetter]]:
        """Return nothing: this version keeps no deferred messages."""
        return []

    def next_due(self) -> datetime | None:
        """Return None: this version keeps no deferred messages."""
        return None

    def counts(self) -> Counts:
        """Count the dead letters."""
        return Counts(len(self), 0, 0, 0)

    def retry_now(
        self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]
    ) -> int:
        """Return 0: this version keeps no deferred messages."""
        return 0

    def give_up(self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]) -> int:
        """Return 0: this version keeps no deferred messages."""
        return 0

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
        with self._reading() as connection:
            newest = _newest_position(connection)
        return Choice(filters, self._choose(filters, -_LARGEST, newest))

    def _choose(self, filters: LetterFilters, last: int, newest: int) -> Iterator[tuple[int, int]]:
        names, values = _filter_values(filters)
        statement = sql.choose(names)
        while True:
            with self._reading() as connection:
                page = connection.execute(
                    statement, (newest, last, *values, CHOSEN_AT_ONCE)
                ).fetchall()
            yield from page
            if len(page) < CHOSEN_AT_ONCE:
                return
            last = page[-1][0]

    def remove_chosen(self, choice: Choice) -> int:
        """Remove the letters of a choice that stand as they were chosen; return how many.

        They are compared and removed a thousand at a time, each thousand in one transaction.
        """
        names, values = _filter_values(choice.filters)
        statement = sql.choose(names)
        chosen, count = iter(choice), 0
        while page := list(islice(chosen, REMOVED_AT_ONCE)):
            first, last = page[0][0], page[-1][0]
            with self._writing() as connection:
                found = connection.execute(statement, (last, first - 1, *values, _LARGEST))
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
        with self._writing() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {version}")

    # The mapping, where it can be one step or quicker than what follows from the letters.

    def __len__(self) -> int:
        with self._reading() as connection:
            (count,) = connection.execute(sql.COUNT).fetchone()
            return int(count)

    def __contains__(self, key: object) -> bool:
        try:
            key = check_key(key)
        except KeyError:
            return False
        with self._reading() as connection:
            return connection.execute(sql.EXISTS, (key,)).fetchone() is not None

    def __iter__(self) -> Iterator[bytes]:
        return self._ids(sql.IDS, -_LARGEST)

    def __reversed__(self) -> Iterator[bytes]:
        return self._ids(sql.IDS_REVERSED, _LARGEST)

    def _ids(self, statement: str, last: int) -> Iterator[bytes]:
        with self._reading() as connection:
            newest = _newest_position(connection)
        while True:
            page: list[bytes] = []
            size = 0
            with (
                self._reading() as connection,
                closing(connection.execute(statement, (last, newest))) as rows,
            ):
                for position, id in rows:
                    last = position
                    page.append(id)
                    size += len(id)
                    if len(page) >= IDS_PAGE_SIZE or size > PAGE_BYTES:
                        break
            yield from page
            if len(page) < IDS_PAGE_SIZE and size <= PAGE_BYTES:
                return

    def __delitem__(self, key: bytes) -> None:
        key = check_key(key)
        with self._writing() as connection:
            deleted = connection.execute(sql.DELETE, (key,)).rowcount
        if not deleted:
            raise KeyError(key)

    @overload
    def pop(self, key: bytes) -> tuple[Message, str]: ...
    @overload
    def pop(self, key: bytes, default: tuple[Message, str]) -> tuple[Message, str]: ...
    @overload
    def pop(self, key: bytes, default: T) -> tuple[Message, str] | T: ...

    def pop(self, key: bytes, default: Any = _MISSING) -> Any:
        """Remove a letter and give its message and reason, or the default.

        :raises KeyError: there is none, and no default either.
        """
        try:
            with self._writing() as connection:
                letter = self._letter(connection, check_key(key))
                if letter is None:
                    raise KeyError(key)
                connection.execute(sql.DELETE, (key,))
        except KeyError:
            if default is _MISSING:
                raise
            return default
        return self.build(letter), letter.reason

    def popitem(self) -> tuple[bytes, tuple[Message, str]]:
        """Remove the newest letter and give it, as a dict does.

        :raises KeyError: the store is empty.
        """
        with self._writing() as connection:
            newest = _newest_position(connection)
            row = connection.execute(sql.LETTER_AT, (newest,)).fetchone()
            if row is None:
                raise KeyError("the store is empty")
            letter = self._complete(connection, row)
            connection.execute(sql.DELETE, (row[3],))
        return letter.id, (self.build(letter), letter.reason)

    def setdefault(self, key: bytes, default: Any = None) -> Any:
        """Give what stands under a key, or put the default there.

        :raises TypeError: nothing stands there, and the default is no message with a reason.
        """
        given: object = key
        with self._writing() as connection:
            letter = self._letter(connection, key) if isinstance(given, bytes) else None
            if letter is None:
                self._assign(connection, DeadLetter.from_item(key, default))
                return default
        return self.build(letter), letter.reason

    def clear(self) -> None:
        """Remove every letter that is there now, a thousand at a time."""
        with self._reading() as connection:
            newest = _newest_position(connection)
        deleted = REMOVED_AT_ONCE
        while deleted >= REMOVED_AT_ONCE:
            with self._writing() as connection:
                cursor = connection.execute(sql.DELETE_SOME, (newest, REMOVED_AT_ONCE))
                deleted = cursor.rowcount


def _path_in(url: str) -> str:
    """Give the path that a URL names.

    :raises ConfigurationError: it names none.
    """
    parts = urlsplit(url)
    relative = bool(parts.path) and not parts.path.startswith("/")
    if parts.netloc or parts.fragment or relative or parts.path == "/":
        raise ConfigurationError(
            f"{url} names no file: give sqlite:///relative.db, sqlite:////absolute.db or"
            " sqlite:// for one in memory"
        )
    return unquote(parts.path[1:]) or ":memory:"


def _options_in(url: str) -> dict[str, Any]:
    return read_options(
        url,
        {
            "synchronous": str,
            "busy_timeout": float,
            "max_traceback": int,
            "read_only": read_flag,
        },
    )


def _absolute(connection_str: str | os.PathLike[str]) -> str:
    path = os.fspath(connection_str)
    if path == ":memory:":
        return path
    for prefix in ("sqlite:", "file:"):
        if path.startswith(prefix):
            raise ConfigurationError(
                f"SQLiteDLQ takes a path, not the URL {path}; give the path, or open the URL with"
                " missive.dlq_from_url (sqlite:///relative.db, sqlite:////absolute.db)"
            )
    if not path or "\0" in path:
        raise ConfigurationError(f"{path!r} is no path; give one, or ':memory:'")
    return str(Path(path).absolute())


def _next_position(connection: sqlite3.Connection) -> int:
    (position,) = connection.execute(sql.NEXT_POSITION).fetchone()
    return int(position)


def _newest_position(connection: sqlite3.Connection) -> int:
    (newest,) = connection.execute(sql.NEWEST_POSITION).fetchone()
    return newest if isinstance(newest, int) else -_LARGEST


def _filter_values(filters: LetterFilters) -> tuple[list[str], list[Value]]:
    names: list[str] = []
    values: list[Value] = []
    for name, value in filters.items():
        if value is not None and name != "state":
            names.append(name)
            values.append(to_micros(value) if isinstance(value, datetime) else to_text(str(value)))
    return names, values


def _is_held(claim: Any, claimed: Any, expires: Any, now: int) -> bool:
    """Tell whether a claim is in force.

    One that would end more than twice its length from now was made before the clock was set back.
    """
    if claim is None or not isinstance(claimed, int) or not isinstance(expires, int):
        return False
    return now < expires <= now + 2 * (expires - claimed)
