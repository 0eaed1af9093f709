"""The executor: where the handlers of one run are called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic

from ..handling import HandlingContext
from ..message import M
from .lanes import Job


class Executor(ABC, Generic[M]):
    """Handles jobs and hands them back, to be settled by the receiving thread.

    All methods but ``halt`` are called in the receiving thread.

    :ivar crashes: what handlers raised that is not an Exception; ends the run.
    :ivar skipped: the messages that were handed back without having begun, in order.
    """

    #: Whether handlers run in the receiving thread, one at a time.
    inline = False
    #: Whether messages are built before they are submitted.
    builds = False

    def __init__(self) -> None:
        self.crashes: list[BaseException] = []
        self.skipped: list[HandlingContext[M]] = []

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """How many messages were submitted and not yet collected."""

    @property
    @abstractmethod
    def has_finished(self) -> bool:
        """Whether ``collect`` would return something at once."""

    @property
    def has_handled(self) -> bool:
        """Whether something is to be settled before the next message is handled.

        Not where handlers run beside the receiving thread.
        """
        return False

    @abstractmethod
    def submit(self, job: Job[M], last: bool = False) -> None:
        """Have messages handled: one, or the messages of a batch.

        :param last: whether they begin even after ``halt``.
        """

    def together(self) -> AbstractContextManager[object]:
        """Within it, what is submitted may begin only at its end, all together."""
        return nullcontext()

    @abstractmethod
    def collect(self, timeout: float) -> list[Job[M]]:
        """Return finished jobs; wait for one, or for ``halt``, if there is nothing.

        :param timeout: wait at most so many seconds; 0 does not wait.
        """

    @abstractmethod
    def unsettled(self) -> Sequence[HandlingContext[M]]:
        """Return the messages that were submitted and not yet collected, in order."""

    @abstractmethod
    def begun(self) -> list[HandlingContext[M]]:
        """Return the messages whose handling has begun and is not collected."""

    # These do nothing where handlers run in the receiving thread.

    def halt(self) -> None:
        """Let no job begin from now on, and end the wait of ``collect``; also in a signal handler."""

    def close(self) -> None:
        """Let no job begin, and move those that have not begun to ``skipped``."""

    def cancel(self) -> None:
        """At the drain deadline: cancel what can be cancelled."""

    def join(self) -> None:
        """Wait for the executor's threads to end; called when nothing is in flight."""
