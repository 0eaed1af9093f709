"""A PostgreSQL server for the suite that needs one, whose commits are on the disk."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def postgresql_service() -> Iterator[dict[str, Any]]:
    """Run a server on a socket of its own, and give a connection string as ``conninfo``.

    Its programs are in ``$MISSIVE_POSTGRESQL_BIN``, on the path, or where Debian has them.
    """
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="missive-pg-"))
    user = _other_user() if os.geteuid() == 0 else None  # root may run no server
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    if user:
        shutil.chown(folder, user, user)
    try:
        subprocess.run(
            [
                *(*as_user, programs / "initdb", "-D", folder / "data", "-U", "postgres"),
                *("-A", "trust", "-E", "UTF8", "--locale=C"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
        )
        command = [*as_user, programs / "postgres", "-D", folder / "data", "-k", folder]
        command += ["-c", "listen_addresses=", "-c", "max_wal_size=8GB"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd="/") as server:
            try:
                _wait_for(programs, folder)
                yield {"conninfo": f"host={folder} user=postgres dbname=postgres"}
            finally:
                server.send_signal(signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    chosen = os.environ.get("MISSIVE_POSTGRESQL_BIN")
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[4]))
    if chosen:
        return Path(chosen)
    if on_path:
        return Path(on_path).resolve().parent
    if not debian:
        raise SystemExit("no PostgreSQL server: install postgresql, or set MISSIVE_POSTGRESQL_BIN")
    return debian[-1]


def _other_user() -> str:
    names = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _wait_for(programs: Path, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while subprocess.run([programs / "pg_isready", "-q", "-h", folder], check=False).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError("the PostgreSQL server does not start")
        time.sleep(0.05)
