"""Recycling: a run that ends after so many messages, or at so much memory."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from missive import Adapter, Runnable

from .logs import command_logger

logger = command_logger("missive.cli.recycling")

MIB = 1024 * 1024
#: How often the memory is looked at, in seconds.
INTERVAL = 1.0


class Recycling:
    """Stops an adapter when its process has done or grown enough; it finishes what is in flight.

    :param max_messages: after so many settled deliveries; None: never.
    :param max_memory: at so many MiB of resident memory; None: never.
    """

    def __init__(self, max_messages: int | None, max_memory: int | None) -> None:
        self._max_messages = max_messages
        self._max_memory = max_memory
        self._settled = 0
        self._lock = threading.Lock()
        #: Whether it stopped the adapter.
        self.reached = False

    def watch(self, adapter: Adapter[Any]) -> None:
        """Watch an adapter that is about to run."""
        assert isinstance(adapter, Runnable)
        self._adapter: Runnable = adapter
        if self._max_messages is not None:
            adapter.processor.on_settled(self._count)
        if self._max_memory is not None:
            threading.Thread(target=self._watch, name="missive-memory", daemon=True).start()

    def _count(self, processing_ctx: Any, context: Any) -> None:
        with self._lock:
            self._settled += 1
            reached = self._settled == self._max_messages
        if reached:
            self._end(f"{self._settled} messages are settled")

    def _watch(self) -> None:
        assert self._max_memory is not None
        pause = threading.Event()
        while (used := resident_memory()) < self._max_memory * MIB:
            pause.wait(INTERVAL)
        self._end(f"{used // MIB} MiB of memory are in use")

    def _end(self, why: str) -> None:
        self.reached = True
        logger.info("%s: the process finishes what is in flight, and ends", why)
        self._adapter.stop()


def resident_memory() -> int:
    """Return how much memory this process has, in bytes; where that is unknown, its peak."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        import resource  # which Windows does not have

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
