"""Stopping: SIGTERM before a run begins, and SIGHUP while it runs."""

from __future__ import annotations

import os
import signal
import threading
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any

from missive import Runnable

from .logs import command_logger

logger = command_logger("missive.cli.stopping")

#: What asks a run to stop, beside SIGINT, which raises KeyboardInterrupt until the run takes it.
#: Windows has no SIGHUP.
STOPS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


#: How long SIGHUP waits for a SIGTERM that was sent with it, in seconds.
HANGUP_PAUSE = 0.2


class StoppedEarly(BaseException):
    """A stop was asked for before the run began.

    Not an Exception, so that the module that is being imported does not take it for its own.
    """


class Stopping:
    """Takes the signals that stop a run, from before its module is imported until it ends.

    The kernel ignores a signal that process 1 has no handler for, so a container's SIGTERM would
    be lost while the module is imported. A signal that was ignored from the start, as ``nohup``
    does, stays ignored.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._former: dict[int, Any] = {}
        self._asked = False
        self._adapter: Runnable | None = None
        self._hangups: SimpleQueue[bool] = SimpleQueue()  # reentrant, as a signal handler needs
        self._ended = threading.Event()

    def __enter__(self) -> Stopping:
        if threading.current_thread() is not threading.main_thread():
            return self  # signals are the main thread's
        for signum in STOPS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._former[signum] = signal.signal(signum, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum in self._former:
            self._restore(signum)
        self._ended.set()
        self._hangups.put(False)

    def begin(self, adapter: Runnable) -> None:
        """Let the signals stop an adapter from now on.

        :raises StoppedEarly: one came before, and the module kept it to itself.
        """
        self._adapter = adapter
        if self._asked:
            raise StoppedEarly
        threading.Thread(target=self._wait_for_hangup, name="missive-hangup", daemon=True).start()

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a child that a handler forked: this is not its run
            self._restore(signum)
            signal.raise_signal(signum)
            return
        if self._adapter is None:
            self._asked = True
            raise StoppedEarly
        if signum == signal.SIGTERM:  # of an adapter that takes no signals itself
            self._adapter.stop()
        else:
            self._hangups.put(True)

    def _wait_for_hangup(self) -> None:
        """Stop the adapter at SIGHUP.

        Not by a second signal, which would end the process: a terminal that closes sends SIGHUP
        twice. And not at once, since an adapter that was stopped takes SIGTERM for a second
        signal, and Python hands over SIGHUP first where systemd sends both.
        """
        if self._hangups.get() and not self._ended.wait(HANGUP_PAUSE):
            assert self._adapter is not None
            self._adapter.stop()
            logger.info("SIGHUP: the run finishes what is in flight, and ends")

    def _restore(self, signum: int) -> None:
        former = self._former[signum]
        # None stands for a handler that was not installed from Python: it cannot be put back.
        signal.signal(signum, signal.SIG_DFL if former is None else former)
