"""The supervisor: keeps a number of processes running, and decides what becomes of each."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import NamedTuple, Protocol

from .exits import ExitCode
from .logs import command_logger
from .slots import Slot

logger = command_logger("missive.cli.supervisor")

#: The wait before a process that failed is started again, doubled for each failure in a row; and
#: the longest, in seconds.
FIRST_DELAY, LONGEST_DELAY = 0.2, 30.0
#: A process that lived so long before it failed has not failed in a row, in seconds.
STEADY = 60.0
#: So many failures in a row of one process are a crash loop.
CRASH_LOOP = 5
#: How long a process that was restarted may take to be ready, in seconds, before the others are
#: left as they are.
READY_WITHIN = 60.0
#: What a process that was asked to end exits with; the signal itself ends one that barely began.
ENDED_AS_ASKED = (ExitCode.OK, ExitCode.RECYCLED, -signal.SIGTERM)
#: How long to wait for an event, at most, in seconds; and while a restart is under way.
LONGEST_WAIT, ROLLING_WAIT = 0.5, 0.1


class Exited(NamedTuple):
    """A process ended.

    :ivar code: its exit code; negative: the signal that ended it.
    """

    number: int
    code: int


class Asked(NamedTuple):
    """Somebody asked for something.

    :ivar what: ``stop``, or ``restart``: one process after the other.
    """

    what: str


class Processes(Protocol):
    """Starts processes, and says how they are."""

    def start(self, number: int, starts: int) -> Child:
        """Start a process, whose end is told with ``Exited``."""
        ...

    def is_ready(self, number: int, pid: int) -> bool:
        """Return whether a process is ready."""
        ...

    def is_live(self, number: int, pid: int) -> bool:
        """Return whether a process is live; True where it is not known."""
        ...

    def forget(self, number: int) -> None:
        """Drop what a process that has ended left behind."""
        ...


class Child(Protocol):
    """A process that was started."""

    pid: int

    def terminate(self) -> None:
        """Ask it to drain and end."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


class Supervisor:
    """Starts processes, restarts those that end, and stops them all.

    Everything is decided in the thread that calls ``run``, from one event after the other. It is
    itself a runnable: ``ready`` is set while all of its processes are.

    :param count: how many processes.
    :param processes: starts them.
    :param patience: how long a process may take to end, in seconds, before it is killed.
    :param clock: returns the time in seconds; monotonic.
    """

    def __init__(
        self,
        count: int,
        processes: Processes,
        patience: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.slots = [Slot(number) for number in range(count)]
        self.events: SimpleQueue[Exited | Asked] = SimpleQueue()  # reentrant, for signal handlers
        self.ready = threading.Event()
        self.stopped_at: float | None = None
        #: What to exit with.
        self.code = 0
        self._processes = processes
        self._patience = patience
        self._clock = clock
        self._to_restart: deque[Slot] = deque()
        self._restarting: Slot | None = None

    def run(self) -> int:
        """Run until all processes have ended; return the exit code."""
        self.begin()
        while not self.over:
            try:
                wait = LONGEST_WAIT if self._restarting is None else ROLLING_WAIT
                event = self.events.get(timeout=wait)
            except Empty:
                event = None
            if event is not None:
                self.handle(event)
            self.tick()
        return self.code

    def stop(self) -> None:
        """Ask all processes to drain and end; from any thread, and in a signal handler."""
        self.events.put(Asked("stop"))

    def restart(self) -> None:
        """Restart one process after the other, each when the one before it is ready again."""
        self.events.put(Asked("restart"))

    @property
    def over(self) -> bool:
        """Whether all processes have ended."""
        return all(slot.state == "ended" for slot in self.slots)

    def begin(self) -> None:
        """Start all processes."""
        for slot in self.slots:
            self._start(slot)

    def handle(self, event: Exited | Asked) -> None:
        """Do what an event asks for."""
        if isinstance(event, Exited):
            self._exited(self.slots[event.number], event.code)
        elif event.what == "stop":
            self._stop_all()
        elif self.stopped_at is None:
            logger.warning("restarting %d processes, one after the other", len(self.slots))
            self._to_restart = deque(self.slots)

    def tick(self) -> None:
        """Do what is due by now."""
        now = self._clock()
        for slot in self.slots:
            child = slot.child
            if slot.state == "waiting" and now >= slot.due_at:
                self._start(slot)
            elif slot.state == "stopping" and now >= slot.due_at and child is not None:
                logger.error("%s has not ended in time, and is killed", slot)
                slot.due_at = float("inf")
                child.kill()
            elif slot.state == "running" and child is not None:
                slot.is_ready = self._processes.is_ready(slot.number, child.pid)
                if not self._processes.is_live(slot.number, child.pid):
                    logger.error("%s makes no progress, and is restarted", slot)
                    self._terminate(slot)
        self._restart_next()
        if all(slot.is_ready for slot in self.slots) and self.stopped_at is None:
            self.ready.set()
        else:
            self.ready.clear()

    def _start(self, slot: Slot) -> None:
        slot.child = self._processes.start(slot.number, slot.starts)
        slot.state, slot.started_at = "running", self._clock()
        slot.starts += 1
        logger.info("%s started", slot)

    def _terminate(self, slot: Slot) -> None:
        assert slot.child is not None
        slot.state, slot.is_ready = "stopping", False
        slot.due_at = self._clock() + self._patience
        slot.child.terminate()

    def _exited(self, slot: Slot, code: int) -> None:
        was_stopping, name = slot.state == "stopping", str(slot)
        slot.child, slot.is_ready = None, False
        self._processes.forget(slot.number)
        if self.stopped_at is not None:
            slot.state = "ended"
            if code not in ENDED_AS_ASKED and self.code == 0:
                self.code = ExitCode.ABANDONED if code == -9 else exit_code(code)
        elif was_stopping or code == ExitCode.RECYCLED:
            if code in ENDED_AS_ASKED:
                slot.failures = 0  # so that those before it and after it are not in a row
            self._start(slot)
        elif code == ExitCode.OK:
            logger.info("%s ended", name)
            slot.state = "ended"
        elif code == ExitCode.USAGE:
            self._give_up(slot, code)
        else:
            self._failed(slot, name, code)

    def _failed(self, slot: Slot, name: str, code: int) -> None:
        lived = self._clock() - slot.started_at
        slot.failures = 1 if lived >= STEADY else slot.failures + 1
        if slot.failures >= CRASH_LOOP:
            logger.critical("%s failed %d times in a row: all are stopped", name, slot.failures)
            self._give_up(slot, code)
            return
        delay = min(FIRST_DELAY * 2 ** (slot.failures - 1), LONGEST_DELAY)
        logger.error("%s ended with %d; starting it again in %g s", name, exit_code(code), delay)
        slot.state, slot.due_at = "waiting", self._clock() + delay

    def _give_up(self, slot: Slot, code: int) -> None:
        self.code, slot.state = exit_code(code), "ended"
        self._stop_all()

    def _stop_all(self) -> None:
        if self.stopped_at is not None:  # a second time: without the drain
            for slot in self.slots:
                if slot.child is not None:
                    slot.child.kill()
            return
        self.stopped_at = self._clock()
        self._to_restart.clear()
        self._restarting = None
        for slot in self.slots:
            if slot.state == "running":
                self._terminate(slot)
            elif slot.state == "waiting":
                slot.state = "ended"

    def _restart_next(self) -> None:
        """Go on with a restart of all: one process at a time."""
        slot = self._restarting
        if slot is not None and slot.state != "stopping":
            lived = self._clock() - slot.started_at
            if slot.is_ready:
                self._restarting = None
            elif slot.state != "running" or lived >= READY_WITHIN:
                logger.error("%s does not get ready: the others are left as they are", slot)
                self._restarting = None
                self._to_restart.clear()
        while self._restarting is None and self._to_restart:
            following = self._to_restart.popleft()
            if following.state == "running":  # else it starts anew anyway, or has ended
                self._restarting = following
                self._terminate(following)


def exit_code(code: int) -> int:
    """Return the exit code of a process, for one that a signal ended as shells have it."""
    return code if code >= 0 else 128 - code
