"""Inline execution: handlers run in the receiving thread, one at a time."""

from __future__ import annotations

from collections.abc import Sequence

from ..handling import HandlingContext
from ..message import M
from ..run import ProcessingContext
from .executor import Executor
from .lanes import Job
from .refused import REFUSED_AT_ONCE, is_refused
from .watch import Turnstile


class InlineExecutor(Executor[M]):
    """Calls handlers at once, in the thread that submits.

    :param ctx: the run.
    :param busy: entered while a handler runs: lets the transport be kept alive from elsewhere.
    """

    inline = builds = True

    def __init__(self, ctx: ProcessingContext[M], busy: Turnstile | None = None) -> None:
        super().__init__()
        self._ctx = ctx
        self.busy = busy
        self._finished: list[Job[M]] = []
        #: What is being handled now; of a batch, the first message. Read by other threads.
        self.current: HandlingContext[M] | None = None

    @property
    def in_flight(self) -> int:
        """How many messages are being handled."""
        return 0 if self.current is None else 1

    @property
    def has_finished(self) -> bool:
        """Whether there is something to collect."""
        return bool(self._finished)

    @property
    def has_handled(self) -> bool:
        """Whether something is to be settled before the next message is handled."""
        finished = self._finished
        if not finished:
            return False
        return not is_refused(finished[-1]) or len(finished) >= REFUSED_AT_ONCE

    def submit(self, job: Job[M], last: bool = False) -> None:
        """Handle a job now."""
        self.current = job[0]
        try:
            if self.busy is None:
                self._ctx.run_job(job)
            else:
                with self.busy:
                    self._ctx.run_job(job)
        finally:
            self.current = None
        self._finished.append(job)

    def collect(self, timeout: float) -> list[Job[M]]:
        """Return what was handled since the last call; there is nothing to wait for."""
        finished, self._finished = self._finished, []
        return finished

    def unsettled(self) -> Sequence[HandlingContext[M]]:
        """Return what is being handled, or was handled and not collected."""
        return [*self.begun(), *(context for job in self._finished for context in job)]

    def begun(self) -> list[HandlingContext[M]]:
        """Return what is being handled."""
        return [] if self.current is None else [self.current]
