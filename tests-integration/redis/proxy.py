"""A TCP proxy that misbehaves when told to."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType


class Proxy:
    """Forwards connections to a port of this machine, in a thread of its own.

    :param target: the port to forward to.
    :param tls: makes each connection that is accepted one over TLS, if given.

    :ivar port: where it listens.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._delay = 0.0
        self.accepted = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # close() alone would not end an accept() that waits in another thread.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            if self._tls is not None:
                near = self._tls.wrap_socket(near, server_side=True)
            far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:  # the server is away, or the handshake failed
            near.close()
            return
        far.settimeout(None)
        pair = _Pair(near, far, lambda: self._delay)
        with self._lock:
            self._pairs.append(pair)
            self.accepted += 1
        pair.run()

    def cut(self) -> None:
        """End all connections in an orderly way."""
        self._each(_Pair.cut)

    def reset(self) -> None:
        """End all connections with a reset."""
        self._each(_Pair.reset)

    def freeze(self) -> None:
        """Let all connections be half-open: nothing is forwarded, and nobody is told.

        New ones work.
        """
        self._each(_Pair.freeze)

    def delay(self, seconds: float) -> None:
        """Have everything arrive so many seconds later."""
        self._delay = seconds

    def _each(self, act: Callable[[_Pair], None]) -> None:
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            act(pair)


class _Pair:
    """The two sides of one connection."""

    def __init__(self, near: socket.socket, far: socket.socket, delay: Callable[[], float]) -> None:
        self._sides = (near, far)
        self._delay = delay
        self._frozen = threading.Event()
        self._ended = threading.Event()

    def run(self) -> None:
        near, far = self._sides
        with selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while not self._ended.is_set():
                for key, _ in selector.select(0.05):
                    if self._frozen.is_set():
                        self._ended.wait()  # never read again; only closed
                        return
                    try:
                        self._forward(key.fileobj, key.data)
                    except OSError:
                        self.cut()
                        return

    def _forward(self, source: socket.socket, target: socket.socket) -> None:  # type: ignore[override]
        data = source.recv(65536)
        while isinstance(source, ssl.SSLSocket) and source.pending():
            data += source.recv(65536)
        if not data:
            self.cut()
            return
        if self._delay():
            time.sleep(self._delay())
        target.sendall(data)

    def freeze(self) -> None:
        self._frozen.set()

    def cut(self) -> None:
        self._ended.set()
        for side in self._sides:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def reset(self) -> None:
        self._ended.set()
        for side in self._sides:
            with contextlib.suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            side.close()
