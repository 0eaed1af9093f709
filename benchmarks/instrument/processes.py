"""Processes: how much processor time a server took, which is another process than the one measured."""

from __future__ import annotations

from pathlib import Path


def processor_time(pid: int) -> float | None:
    """Return the processor time of a process, its threads and its children, in seconds.

    :returns: None where the system does not tell; only Linux does, in nanoseconds.
    """
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
            for child in (task / "children").read_text().split():
                of_child = processor_time(int(child))
                total += round(of_child * 1e9) if of_child is not None else 0
    except (OSError, IndexError, ValueError):
        return None
    return total / 1e9
