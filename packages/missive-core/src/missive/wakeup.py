"""A wake-up call: lets any thread, or a signal handler, end another thread's wait."""

from __future__ import annotations

from typing import Any


class Wakeup:
    """A pair of sockets: one is waited on, beside what a transport waits on; the other is rung.

    It takes no lock, so a signal handler may ring it too.
    """

    def __init__(self) -> None:
        import selectors
        import socket

        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        # Not the default, epoll: it refuses regular files.
        selector_cls: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)
        self._selector = selector_cls()
        self._selector.register(self._receiver, selectors.EVENT_READ)
        self._read_event = selectors.EVENT_READ

    def ring(self) -> None:
        """End the wait that is under way, or else the next one."""
        try:
            self._sender.send(b"!")
        except OSError:  # full, so it rings already; or closed, so nobody waits
            return

    def wait(self, timeout: float, readable: Any = None) -> bool:
        """Wait until it rings, a file becomes readable, or the time is over.

        :param timeout: at most so many seconds.
        :param readable: a socket, a file descriptor or an object with ``fileno()``.
        :returns: whether ``readable`` is readable.
        """
        if readable is not None:
            self._selector.register(readable, self._read_event)
        try:
            ready = [key.fileobj for key, _ in self._selector.select(timeout)]
        finally:
            if readable is not None:
                self._selector.unregister(readable)
        if self._receiver in ready:
            self._receiver.recv(4096)
        return readable is not None and readable in ready

    def close(self) -> None:
        """Close the sockets; ringing is harmless from now on."""
        self._selector.close()
        self._receiver.close()
        self._sender.close()
