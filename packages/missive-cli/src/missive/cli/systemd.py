"""systemd: tells the service manager when a run is ready, alive, reloading and stopping.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html says how.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from time import monotonic_ns
from types import TracebackType

from missive import Runnable

from .health import Looks
from .logs import command_logger

logger = command_logger("missive.cli.systemd")

#: How often a running service is looked at, in seconds, unless the watchdog wants it more often.
INTERVAL = 1.0


class Notifier:
    """Sends states to the socket of the service manager.

    :param address: the socket, as ``NOTIFY_SOCKET`` has it: a path, or ``@`` and an abstract name.
    """

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Notifier | None:
        """Return the notifier of this service; None where no service manager listens."""
        address = environment.get("NOTIFY_SOCKET", "")
        known = address.startswith(("/", "@")) and hasattr(socket, "AF_UNIX")
        return cls(address) if known else None

    def send(self, *states: str) -> None:
        """Send states such as ``READY=1``; where that fails, it is logged."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(INTERVAL)
                sender.sendto("\n".join(states).encode(), self._address)
        except OSError as error:
            logger.warning("cannot notify the service manager: %s", error.strerror or error)

    def reloading(self) -> None:
        """Say that the program starts again; ``READY=1`` says when it did."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}", "STATUS=reloading")


def watchdog_interval(environment: Mapping[str, str], pid: int) -> float | None:
    """Return how often the manager's watchdog wants a sign of life, in seconds; None for never.

    :param pid: this process, since the watchdog of another one is not ours.
    """
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        interval = int(environment.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return None
    return interval if interval > 0 else None


class Service:
    """Tells the service manager of a run, from its first connection to its end.

    Does nothing where no service manager listens. While the run is not live the watchdog hears
    nothing, and so restarts the service. A drain has a deadline of its own, so it counts as life.

    :param adapter: what runs.
    :param health: looks at it.
    """

    def __init__(self, adapter: object, health: Looks) -> None:
        assert isinstance(adapter, Runnable)
        self._adapter: Runnable = adapter
        self._health = health
        self._notifier = Notifier.of(os.environ)
        watchdog = watchdog_interval(os.environ, os.getpid())
        self._watched = watchdog is not None
        # Half of what the watchdog allows, as systemd advises.
        self._interval = min(INTERVAL, watchdog / 2) if watchdog is not None else INTERVAL
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="missive-systemd", daemon=True)

    def __enter__(self) -> Service:
        if self._notifier is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._notifier is not None:
            self._thread.join()
            self._notifier.send("STOPPING=1", "STATUS=stopped")

    def _tell(self) -> None:
        notifier, adapter = self._notifier, self._adapter
        assert notifier is not None
        told: set[str] = set()
        while not self._ended.is_set():
            if self._is_stopping():
                states = {"STOPPING=1", "STATUS=draining"}
            elif adapter.ready.is_set():
                states = {"READY=1", "STATUS=connected"}
            else:
                states = {"STATUS=connecting"}
            news = sorted(states - told)
            if self._watched and (self._is_stopping() or self._health.look()["live"]):
                news.append("WATCHDOG=1")
            if news:
                notifier.send(*news)
            # READY and STOPPING are said once; a new status takes the place of the old one.
            told = {state for state in told if not state.startswith("STATUS=")} | states
            self._wait()

    def _is_stopping(self) -> bool:
        handler = getattr(self._adapter, "shutdown_handler", None)
        stopped: object = getattr(self._adapter, "stopped_at", None)
        return stopped is not None or (handler is not None and handler.should_exit())

    def _wait(self) -> None:
        """Wait for the next look: until the run is ready at first, then for the interval."""
        ready = self._adapter.ready
        if ready.is_set():
            self._ended.wait(self._interval)
        else:
            ready.wait(self._interval)
