"""A PostgreSQL server of the tests' own, on a socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from patience import DEADLINE
from servers import start_server

#: Names of databases, each used once.
_NUMBERS = count(1)


def find_server() -> Path | None:
    """Return the folder of the server's programs: ``$MISSIVE_POSTGRESQL_BIN``, on the PATH, Debian's."""
    chosen = os.environ.get("MISSIVE_POSTGRESQL_BIN")
    if chosen:
        return Path(chosen)
    on_path = shutil.which("initdb")
    if on_path and Path(on_path).resolve().with_name("postgres").exists():
        return Path(on_path).resolve().parent
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4])
    )
    return debian[-1].parent if debian else None


def _unprivileged() -> str:
    """Return the user that the server runs as where this is root, who may run none."""
    names = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _as_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(_unprivileged())
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


class PostgreSQLServer:
    """A server that a test may stop, kill and start again at the same address.

    :param programs: the folder of the server's programs.
    :param folder: where it keeps its files and its socket, whose path must be short; a new one
        unless given.
    """

    def __init__(self, programs: Path, folder: Path | None = None) -> None:
        self.programs = programs
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="missive-pg-"))
        self.data = self.folder / "data"

    def conninfo(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the connection string of a database."""
        return f"host={self.folder} dbname={database} user={user}"

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql:///{database}?host={self.folder}&user={user}"

    def initialize(self) -> None:
        """Make the files of a new server."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, _unprivileged())
        command = [
            *(*_as_user(), str(self.programs / "initdb"), "-D", str(self.data), "-U", "postgres"),
            *("-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", "--wal-segsize=1"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, **settings: str) -> None:
        """Start the server, and return when it serves.

        :param settings: of its configuration; it listens to its socket alone.
        """
        given = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            # What was committed outlives a kill, which is all that tests do to it.
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "60",
            "shared_buffers": "32MB",
            **settings,
        }
        options = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        command = [*_as_user(), str(self.programs / "postgres"), "-D", str(self.data), *options]
        log = self.folder / "server.log"
        self.process = start_server(command, self._serves, log, cwd="/")

    def _serves(self) -> bool:
        try:
            psycopg.connect(self.conninfo(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End the server, and every session with it."""
        self._end(signal.SIGINT)

    def remove(self) -> None:
        """End the server and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End the server as a power cut would, all its processes at once."""
        self._end(signal.SIGQUIT)

    def _end(self, signum: int) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signum)
            process.wait(DEADLINE)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement as the server's owner; return its rows."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """Make an empty database; return its name."""
        name = f"letters{os.getpid()}_{next(_NUMBERS)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, and end the sessions in it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def fill_disk(self, database: str, table: str = "missive_letters") -> None:
        """Leave no room for the bodies of more than 2 kB of an empty table."""
        # Else a body that can be compressed would stay in the table itself.
        self.execute(f"ALTER TABLE {table} ALTER COLUMN body SET STORAGE EXTERNAL", database)
        path = self._bodies(database, table)
        assert path.stat().st_size == 0, "there are bodies already"
        path.unlink()
        path.symlink_to("/dev/full")

    def make_room(self, database: str, table: str = "missive_letters") -> None:
        """Undo :meth:`fill_disk`."""
        path = self._bodies(database, table)
        path.unlink()
        path.touch()
        shutil.copystat(path.with_name("PG_VERSION"), path)
        if os.geteuid() == 0:
            shutil.chown(path, _unprivileged())
        self.end_sessions(database)  # which have the other file open

    def _bodies(self, database: str, table: str) -> Path:
        ((path,),) = self.execute(
            f"SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE relname = '{table}'",
            database,
        )
        return self.data / str(path)

    def end_sessions(self, database: str) -> int:
        """End the sessions in a database, as an operator does; return how many."""
        return len(
            self.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE datname = '{database}'"
            )
        )

    @contextmanager
    def locked(self, database: str, table: str = "missive_letters") -> Iterator[None]:
        """Hold a table in a transaction that is left open."""
        with psycopg.connect(self.conninfo(database)) as connection:
            connection.execute(f"LOCK TABLE {table}".encode())
            yield
            connection.rollback()
