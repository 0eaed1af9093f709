"""The proxy: a TCP connection between an adapter and its broker, with the faults of a network."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType

#: How much is read at once, in bytes.
CHUNK_SIZE = 65_536


class _Pair:
    """A connection from a client, and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ends = (client, server)
        #: Set when the connections were reset: then no farewell may be sent over them.
        self.cut = False


class Proxy:
    """Passes bytes on between its clients and one server, as badly as it is told to.

    It listens on a free port of 127.0.0.1. Faults may be changed while connections are open, from
    any thread.

    :param host: where the server is.
    :param port: its port.

    :ivar address: host and port to connect to.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        #: Seconds that each chunk is held back.
        self.latency = 0.0
        #: Pass one byte at a time, each in a segment of its own.
        self.sliced = False
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = False
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._threads: list[threading.Thread] = []
        #: How many connections were accepted so far.
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._spawn(self._accept)

    def reset(self) -> int:
        """Cut every connection with a TCP reset, and give how many there were."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.cut = True
            for end in pair.ends:
                # Lingering for no time at all makes close() send a reset instead of a farewell.
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
                end.close()
        return len(pairs)

    def stall(self) -> None:
        """Pass nothing on any more, and say nothing either: a half-open connection.

        New connections are accepted and stall as well, until ``resume``.
        """
        self._flowing.clear()

    def resume(self, *, forget: bool = True) -> None:
        """Pass bytes on again.

        :param forget: the connections that were stalled stay dead, as after a firewall's timeout.
        """
        if forget:
            self.reset()
        self._flowing.set()

    def close(self) -> None:
        """Cut every connection and stop listening; any number of times."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self.reset()
        self._flowing.set()
        for thread in self._threads:
            thread.join(5.0)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _spawn(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(
            target=target,  # type: ignore[arg-type]
            args=arguments,
            name="missive-proxy",
            daemon=True,
        )
        self._threads = [old for old in self._threads if old.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.accepted += 1
            self._flowing.wait()
            try:
                server = socket.create_connection(self._upstream, timeout=5.0)
            except OSError:  # the server is down, so the client is told in the same way
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server)
            with self._lock:
                self._pairs.append(pair)
            self._spawn(self._pump, pair, client, server)
            self._spawn(self._pump, pair, server, client)

    def _pump(self, pair: _Pair, source: socket.socket, target: socket.socket) -> None:
        pause = threading.Event()
        try:
            while chunk := source.recv(CHUNK_SIZE):
                self._flowing.wait()
                if self.latency:
                    pause.wait(self.latency)
                if self.sliced:
                    for position in range(len(chunk)):
                        target.sendall(chunk[position : position + 1])
                else:
                    target.sendall(chunk)
        except OSError:  # cut, from whichever side; what is left is done below
            pass
        self._flowing.wait()  # over a half-open connection no farewell comes either
        if pair.cut:  # and closed, by reset()
            return
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
