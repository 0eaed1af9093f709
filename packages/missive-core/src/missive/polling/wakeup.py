"""A wake-up call: lets any thread, or a signal handler, end another thread's wait."""

from __future__ import annotations

import select
from typing import Any


class Wakeup:
    """A pair of sockets: one is waited on, beside what a transport waits on; the other is rung.

    It takes no lock, so a signal handler may ring it too.
    """

    def __init__(self) -> None:
        import socket

        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

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
        files = [self._receiver] if readable is None else [self._receiver, readable]
        ready = _wait_for(files, timeout)
        if ready[0]:
            self._receiver.recv(4096)
        return readable is not None and ready[1]

    def close(self) -> None:
        """Close the sockets; ringing is harmless from now on."""
        self._receiver.close()
        self._sender.close()


def _wait_for(files: list[Any], timeout: float) -> list[bool]:
    """Wait until one of the files can be read, has ended or has failed; tell of each."""
    if not hasattr(select, "poll"):  # Windows, which waits for sockets only
        ready, _, _ = select.select(files, [], [], timeout)
        return [file in ready for file in files]
    # Not epoll, which refuses regular files; nor select, which refuses descriptors from 1024 on.
    poll = select.poll()
    numbers = [file if isinstance(file, int) else file.fileno() for file in files]
    for number in numbers:
        poll.register(number, select.POLLIN)
    events = {number for number, _ in poll.poll(timeout * 1000)}
    return [number in events for number in numbers]
