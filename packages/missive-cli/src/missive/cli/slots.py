"""Slots: the places that a supervisor keeps filled, each with one process at a time."""

from __future__ import annotations

from typing import Any, Literal

#: A process runs; is asked to end; is started again later; or will not be started again.
SlotState = Literal["running", "stopping", "waiting", "ended"]


class Slot:
    """One of the processes, over all its starts.

    :ivar child: the process that runs now.
    :ivar due_at: when it is started again while it waits, or killed while it is asked to end.
    :ivar starts: how often it was started.
    :ivar failures: how often in a row it failed.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.child: Any = None
        self.state: SlotState = "waiting"
        self.is_ready = False
        self.started_at = 0.0
        self.due_at = 0.0
        self.starts = 0
        self.failures = 0

    def __str__(self) -> str:
        pid = "" if self.child is None else f" (pid {self.child.pid})"
        return f"process {self.number}{pid}"
