"""Opening: the tables of a store are found, made, or brought up to date by one process at a time."""

from __future__ import annotations

from hashlib import blake2b

from missive.errors import DeadLetterStoreRefused
from psycopg.errors import InsufficientPrivilege

from .database import Database
from .schema import VERSION, Names, creation, migration
from .session import Session

#: The oldest server that has all that the statements use.
OLDEST_SERVER = 13

# to_regclass alone may answer from what this connection remembers, without the tables that another
# has made since; to read from a table, whichever, makes the server look at what has changed.
_TABLES = (
    b"SELECT to_regclass(%s) IS NOT NULL, to_regclass(%s) IS NOT NULL"
    b" FROM (SELECT FROM pg_class LIMIT 1) AS anything"
)
_LOCK = b"SELECT pg_advisory_xact_lock(%s)"
_SCHEMA = b"SELECT FROM pg_namespace WHERE nspname = %s"


class Opening:
    """Opens one store.

    :param names: the names of its tables.
    """

    def __init__(self, database: Database, names: Names) -> None:
        self._database = database
        self._names = names
        # The same for every process that opens a store of this name, in whatever schema.
        digest = blake2b(f"missive {names.table}".encode(), digest_size=8).digest()
        self._key = int.from_bytes(digest, "big", signed=True)

    def open(self, *, make: bool) -> None:
        """Make sure that the tables are there and of this version.

        :param make: make them where there are none.
        :raises DeadLetterStoreRefused: they are not, and cannot be made or migrated.
        """
        version = self._database.run(lambda session, again: self._version(session))
        if version is None and not make:
            raise self._refused(
                "there is no such table; check the URL, or run missive dlq migrate to make it"
            )
        if version != VERSION:
            self._database.run(self._write)

    def _version(self, session: Session) -> int | None:
        """Return the version of the tables that are there; None where there are none.

        :raises DeadLetterStoreRefused: the server or what is there cannot serve.
        """
        self._check_server(session)
        names = self._names
        ((letters, version),) = session.execute(_TABLES, (names.letters, names.version)).fetchall()
        if not letters and not version:
            return None
        if letters and version:
            found = session.execute(f"SELECT max(version) FROM {names.version}".encode()).fetchone()
            if found is not None and isinstance(found[0], int):
                if found[0] > VERSION:
                    raise self._refused(
                        f"its schema is version {found[0]}, and this program knows {VERSION};"
                        " upgrade missive-dlq-postgresql"
                    )
                return found[0]
        raise self._refused("a table of that name is another program's; choose another with table=")

    def _check_server(self, session: Session) -> None:
        encoding = session.encoding
        if encoding != "UTF8":
            raise self._refused(
                f"the encoding of its database is {encoding}; make one with ENCODING 'UTF8'"
            )
        if session.server_version < OLDEST_SERVER * 10_000:
            raise self._refused(
                f"its server is PostgreSQL {session.server_version // 10_000}; this store takes"
                f" {OLDEST_SERVER} or newer"
            )

    def _write(self, session: Session, again: bool) -> None:
        """Make or migrate the tables, unless another process has done so meanwhile."""
        with session.transaction():
            session.execute(_LOCK, (self._key,))
            version = self._version(session)
            if version == VERSION:
                return
            try:
                names = self._names._replace(schema=self._schema(session))
                session.run(creation(names) if version is None else migration(names, version))
            except InsufficientPrivilege as error:
                what = "is not there" if version is None else f"is of version {version}"
                raise self._refused(
                    f"its table {what}, and this user may not"
                    f" {'make' if version is None else 'change'} it; run missive dlq migrate as one"
                    " who may"
                ) from error

    def _schema(self, session: Session) -> str | None:
        """Return the schema that the tables are in, which is made where there is none."""
        schema = self._names.schema
        if schema is None:
            ((current,),) = session.execute(b"SELECT current_schema()").fetchall()
            return str(current) if current is not None else None
        if not session.execute(_SCHEMA, (schema,)).rowcount:
            session.run(f'CREATE SCHEMA "{schema}"')
        return schema

    def _refused(self, problem: str) -> DeadLetterStoreRefused:
        return DeadLetterStoreRefused(self._database.place, problem)
