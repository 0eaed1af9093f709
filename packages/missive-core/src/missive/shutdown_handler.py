"""The shutdown handler: turns SIGINT and SIGTERM into a flag."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class ShutdownHandler:
    """Sets a flag when the process is asked to end; a second signal ends it.

    :param callback: called with the signal's number at the first signal, before the flag is set.
    """

    def __init__(self, callback: Callable[[int], None] | None = None) -> None:
        # A bool and a SimpleQueue, not an Event: setting an Event takes a lock, which the thread
        # that a signal interrupts may just be holding. SimpleQueue.put is reentrant.
        self._flag = False
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.callback = callback
        self._former: dict[int, Any] = {}

    def enable(self) -> None:
        """Take SIGINT and SIGTERM over, until ``disable``; does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in SIGNALS:
            self._former.setdefault(signum, signal.signal(signum, self.signal_handler))

    def disable(self) -> None:
        """Give the signals back to who had them before ``enable``."""
        while self._former:
            signum, former = self._former.popitem()
            # None stands for a handler that was not installed from Python: it cannot be put back.
            signal.signal(signum, signal.SIG_DFL if former is None else former)

    def signal_handler(self, signum: int, frame: Any) -> None:
        """Set the flag at the first signal; end the process by the signal at the second."""
        if self._flag:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
            os._exit(128 + signum)  # process 1 of a container outlives that
        if self.callback is not None:
            self.callback(signum)
        self.set_flag()

    def set_flag(self) -> None:
        """Ask to shut down."""
        self._flag = True
        self._bell.put(None)

    def clear_flag(self) -> None:
        """Take the request back, for another run."""
        self._flag = False
        self._bell = SimpleQueue()

    def should_exit(self) -> bool:
        """Tell whether a shutdown was asked for."""
        return self._flag

    def wait_for_flag(self) -> None:
        """Wait until a shutdown is asked for."""
        if not self._flag:
            bell = self._bell
            bell.get()
            bell.put(None)  # for whoever else waits
