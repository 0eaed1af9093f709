"""The watchdog: ends the process at the drain deadline, even if a handler does not return."""

from __future__ import annotations

import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import FrameType, TracebackType
from typing import Any

import missive
from missive import Adapter
from missive.polling import PollingAdapter

from .exits import ExitCode, end
from .logs import command_logger
from .stopping import STOPS

logger = command_logger("missive.cli.watchdog")

#: How long an adapter may take, past the drain deadline, to report by itself; in seconds. A server
#: that serves one waits up to 5 s for its own threads (waitress does).
GRACE, SERVER_GRACE = 1.0, 7.0
#: How often to check whether ``stop`` was called by something other than a signal, in seconds.
LOOK_INTERVAL = 1.0
#: The longest single wait, in seconds; select refuses to wait for years, or for ever.
LONGEST_WAIT = 3600.0

_STOPS = bytes((signal.SIGINT, *STOPS))

_OWN_CODE = str(Path(missive.__file__).parent)


class Watchdog:
    """Watches one run, entered in the main thread; the process ends if the run outlasts its drain.

    An adapter with worker threads raises ``DrainTimeout`` by itself. One that handles in its own
    thread cannot while a handler does not return. The interpreter writes the number of each signal
    to a socket, at once, whatever the main thread is doing; so this thread knows of it.

    :param adapter: what runs; ``drain_timeout`` is read from it.
    :param tidy: called before the process is ended.
    """

    def __init__(self, adapter: Adapter[Any], tidy: Callable[[], None]) -> None:
        self._adapter = adapter
        self._tidy = tidy
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._watched = threading.main_thread().ident
        self._former_fd = -1
        self._thread = threading.Thread(target=self._watch, name="missive-watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._former_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._former_fd)
        self._sender.close()  # the other side reads its end
        self._thread.join()
        self._receiver.close()

    def _watch(self) -> None:
        stopped_at = self._wait_for_stop()
        if stopped_at is None:
            return
        grace = GRACE if isinstance(self._adapter, PollingAdapter) else SERVER_GRACE
        deadline = stopped_at + float(getattr(self._adapter, "drain_timeout", 30.0)) + grace
        while (left := deadline - monotonic()) > 0:
            readable = select.select([self._receiver], [], [], min(left, LONGEST_WAIT))[0]
            if readable and not self._receiver.recv(64):
                return
        self._end()

    def _wait_for_stop(self) -> float | None:
        """Return the time at which stop was requested; None where the run ended."""
        while True:
            if select.select([self._receiver], [], [], LOOK_INTERVAL)[0]:
                arrived = self._receiver.recv(64)
                if not arrived:
                    return None
                if any(number in _STOPS for number in arrived):
                    return monotonic()
            stopped_at: float | None = getattr(self._adapter, "stopped_at", None)
            if stopped_at is not None:
                return stopped_at

    def _end(self) -> None:
        adapter = self._adapter
        status = adapter.status() if isinstance(adapter, PollingAdapter) else None
        logger.critical(
            "%s: the drain deadline is over, and a handler has not returned (%s); %s is abandoned,"
            " and the process ends",
            type(adapter).__name__,
            self._where(),
            (status.handling if status is not None else None) or "its message",
        )
        self._tidy()
        end(ExitCode.ABANDONED)

    def _where(self) -> str:
        """Say which line of the user's code the main thread is in."""
        frame: FrameType | None = sys._current_frames().get(self._watched or 0)
        if frame is None:
            return "where is not known"
        frames = traceback.extract_stack(frame)
        own = [index for index, entry in enumerate(frames) if entry.filename.startswith(_OWN_CODE)]
        later = frames[own[-1] + 1 :] if own else frames
        entry = later[0] if later else frames[-1]
        return f"{entry.name} at {entry.filename}:{entry.lineno}"
