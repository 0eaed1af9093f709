"""Child processes: real programs that run an adapter, to be signalled, killed and blamed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from .contract import ContractBroken, expect
from .ledger import read_ledgers

if TYPE_CHECKING:
    from .harness import Harness

#: How long a new process may take to begin, on a machine that has much to do, in seconds.
START_PATIENCE = 60.0
PROGRAM = "import sys; from missive.conformance.scenarios import main; main(sys.argv[1])"


class Child:
    """A process that rebuilds a harness and plays one scenario with it.

    :param harness: the harness to build again.
    :param scenario: the name of a function of :mod:`missive.conformance.scenarios`.
    :param settings: its keyword arguments; JSON.
    :param folder: where the child keeps its ledger and its output.
    """

    def __init__(
        self, harness: Harness, scenario: str, settings: dict[str, Any], folder: Path
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.patience = harness.patience
        module = sys.modules[type(harness).__module__]
        order = {
            "module": module.__name__,
            "file": getattr(module, "__file__", None),
            "harness": type(harness).__qualname__,
            "folder": str(harness.folder),
            "address": harness.address,
            "own_folder": str(folder),
            "scenario": scenario,
            "settings": settings,
        }
        self._output = folder / "output.txt"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What the child has noted so far."""
        return read_ledgers(self.folder)

    def wait_noted(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the child has noted something so often.

        :raises ContractBroken: it did not, or ended before.
        """
        self.wait_alive()
        deadline = monotonic() + self.patience
        pause = threading.Event()
        while len(found := [line for line in self.lines if line["event"] == event]) < count:
            ended = self.process.poll()
            if ended is not None and len([x for x in self.lines if x["event"] == event]) < count:
                raise ContractBroken(
                    f"a worker process ended with status {ended} before it came to {event!r}"
                    f" {count} time(s); the end of its output: {self.tail()}"
                )
            expect(
                monotonic() < deadline,
                f"a worker process came to {event!r} {len(found)} of {count} time(s)"
                f" in {self.patience:g} s",
            )
            pause.wait(0.01)
        return found

    def wait_alive(self) -> None:
        """Wait until the interpreter has started and imported what it needs, or has ended.

        :raises ContractBroken: it did not in START_PATIENCE.
        """
        deadline = monotonic() + START_PATIENCE
        pause = threading.Event()
        while self.process.poll() is None and not self.lines:
            expect(
                monotonic() < deadline,
                f"a worker process did not start within {START_PATIENCE:g} s",
            )
            pause.wait(0.01)

    def tail(self) -> str:
        """Return the last line of the child's output."""
        lines = self._output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "(none)"

    def kill(self) -> None:
        """Kill the process as a power cut would, and wait until it is gone."""
        self.process.kill()
        self.process.wait(self.patience)

    def interrupt(self, signum: signal.Signals) -> None:
        """Send the process a signal."""
        self.process.send_signal(signum)

    def wait(self) -> int:
        """Wait for the process to end, and give its status.

        :raises ContractBroken: it did not end.
        """
        self.wait_alive()
        try:
            return self.process.wait(self.patience)
        except subprocess.TimeoutExpired as error:
            raise ContractBroken(
                f"a worker process had not ended after {self.patience:g} s"
            ) from error

    def end(self) -> None:
        """Make sure that the process is gone."""
        if self.process.poll() is None:
            self.kill()
