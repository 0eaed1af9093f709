"""The health of several processes together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .member import Member
from .slots import Slot

#: What is added up over the processes.
COUNTS = (
    *("in_flight", "waiting", "received", "acked", "nacked", "dead_lettered", "deferred", "held"),
    "reconnections",
)
#: The states of processes, the one first that the group has if any of them is in it.
STATES = ("restarting", "connecting", "not ready", "stalled", "paused", "draining", "ready")


class GroupHealth:
    """Looks at all processes of a supervisor.

    The group is live while each process is that says something, and ready while all are.

    :param slots: the processes.
    :param folder: where they keep their health.
    :param is_stopping: returns whether all were asked to end.
    """

    def __init__(
        self, slots: Sequence[Slot], folder: Path, is_stopping: Callable[[], bool]
    ) -> None:
        self._slots = slots
        self._folder = folder
        self._is_stopping = is_stopping

    def look(self) -> dict[str, Any]:
        """Say how the processes are, and each of them."""
        stopping = self._is_stopping()
        each = [self._look_at(slot) for slot in self._slots]
        states = {one["state"] for one in each}
        state = next((known for known in STATES if known in states), "ended")
        return {
            "live": all(one.get("live", True) for one in each),
            "ready": not stopping and all(one.get("ready", False) for one in each),
            "state": "draining" if stopping else state,
            "stalled": any(one.get("stalled", False) for one in each),
            "draining": stopping,
            "connected": all(one.get("connected", False) for one in each),
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "pid": os.getpid(),
            **{name: sum(one.get(name, 0) for one in each) for name in COUNTS},
            "paused": sorted({why for one in each for why in one.get("paused", ())}),
            "processes": each,
        }

    def _look_at(self, slot: Slot) -> dict[str, Any]:
        child, member = slot.child, Member(slot.number, 0, self._folder)
        said = {} if child is None else member.said(child.pid)
        state = said.get("state", "connecting")
        if slot.state == "stopping":
            state = "draining"
        elif slot.state != "running":
            state = {"waiting": "restarting"}.get(slot.state, slot.state)
        return {
            **said,
            "process": slot.number,
            "pid": None if child is None else child.pid,
            "state": state,
            "restarts": max(slot.starts - 1, 0),
        }
