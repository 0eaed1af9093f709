"""The shutdown handler: turns the signals that ask a process to end into a flag."""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

__all__ = ["ShutdownHandler"]

#: What a supervisor, a terminal or a container sends.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

#: The handlers that are enabled in this process.
_enabled: weakref.WeakSet[ShutdownHandler] = weakref.WeakSet()


class ShutdownHandler:
    """Sets a flag when the process is asked to end; a second signal ends it.

    It acts only in the process that enabled it. In a forked child, the signals do what they did
    before.

    :param callback: called with the signal's number at the first signal, before the flag is set.
    """

    def __init__(self, callback: Callable[[int], None] | None = None) -> None:
        # A bool and a SimpleQueue, not an Event: setting an Event takes a lock, which the thread
        # that a signal interrupts may just be holding. SimpleQueue.put is reentrant.
        self._flag = False
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.callback = callback
        self._former: dict[int, Any] = {}
        self._hung_up = False  # by SIGHUP alone so far

    def enable(self) -> None:
        """Handle SIGINT, SIGTERM and SIGHUP, until ``disable``.

        Does nothing outside the main thread. An ignored SIGHUP (under ``nohup``) stays ignored.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in SIGNALS:
            hangup = getattr(signal, "SIGHUP", None)
            if signum == hangup and signal.getsignal(signum) is signal.SIG_IGN:
                continue
            if signum not in self._former:
                self._former[signum] = signal.signal(signum, self.signal_handler)
        _enabled.add(self)

    def disable(self) -> None:
        """Restore the handlers that were installed before ``enable``."""
        _enabled.discard(self)
        while self._former:
            signum, former = self._former.popitem()
            # None stands for a handler that was not installed from Python: it cannot be put back.
            signal.signal(signum, signal.SIG_DFL if former is None else former)

    def signal_handler(self, signum: int, frame: Any) -> None:
        """Set the flag at the first signal; end the process by the signal at the second.

        SIGHUP is never the second: a terminal that closes sends it several times, and systemd
        together with SIGTERM.
        """
        hangup = signum == getattr(signal, "SIGHUP", None)
        if self._flag and (hangup or self._hung_up):
            self._hung_up = hangup
            return
        self._hung_up = hangup
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
        """Clear the flag, for another run."""
        self._flag = self._hung_up = False
        self._bell = SimpleQueue()

    def should_exit(self) -> bool:
        """Return whether a shutdown was asked for."""
        return self._flag

    def wait_for_flag(self) -> None:
        """Wait until a shutdown is asked for."""
        if not self._flag:
            bell = self._bell
            bell.get()
            bell.put(None)  # for other threads that wait


# A child that is forked restores what handled the signals before. A signal that it gets before
# that waits: Python would drop one whose handler changes between its arrival and its handling.


class _Mask(threading.local):
    """The signals that were blocked in a thread before it began to fork."""

    before: set[Any] | None = None


_mask = _Mask()


def _before_fork() -> None:
    if _enabled:
        _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _after_fork() -> None:
    before, _mask.before = _mask.before, None
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _after_fork_in_child() -> None:
    for handler in list(_enabled):
        handler.disable()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
