"""A message that ends every process it is delivered to."""

from __future__ import annotations

import signal
import threading
from time import monotonic

from ..children import START_PATIENCE, Child
from ..contract import check, expect
from ..lab import GLANCE, AdapterLab
from ..scenarios import POISONED
from .processes import SAFE, Books, lines_of

#: What the adapters of this check are built with.
MAX_DELIVERIES = 3


class Poison:
    """The check of what an adapter that counts deliveries does in the end."""

    @check(
        "A154",
        profile="faults",
        needs=(*SAFE, "harness.max_deliveries", "no harness.own_dlq"),
        read="adapters#poison",
    )
    def test_a154_what_ends_its_process_is_rejected(self, lab: AdapterLab) -> None:
        """A message that was delivered max_deliveries times, and ended its process each time, is a
        dead letter at its next delivery; no message is lost.
        """
        books = Books(lab, "a poison message, rejected", "A154")
        books.publish(*range(6))
        workers: list[Child] = []
        rejected = False
        while not rejected:
            expect(
                len(workers) <= MAX_DELIVERIES,
                f"it ended {len(workers)} processes, and max_deliveries is {MAX_DELIVERIES}",
            )
            workers.append(lab.child("work", poison=2, options={"max_deliveries": MAX_DELIVERIES}))
            rejected = self._is_rejected(lab, workers[-1])
        lab.wait_remaining(0, "after the message was rejected")
        workers[-1].interrupt(signal.SIGTERM)
        workers[-1].wait()
        account = books.balance(*workers)
        expect(account.at_fault is None, str(account.at_fault))

    def _is_rejected(self, lab: AdapterLab, worker: Child) -> bool:
        """Return whether the worker made a dead letter of the message, instead of ending by it."""
        worker.wait_alive()
        deadline = monotonic() + max(lab.patience, START_PATIENCE)  # it may be due much later
        pause = threading.Event()
        while not lines_of([worker], "dead-lettered", 2):
            status = worker.process.poll()
            if status is not None:
                expect(
                    status == POISONED, f"the worker ended with status {status}: {worker.tail()}"
                )
                return False
            expect(monotonic() < deadline, "a worker neither rejected the message nor ended by it")
            pause.wait(GLANCE)
        return True
