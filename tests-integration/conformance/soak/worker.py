"""A worker of a soak: the kit's worker, which acks every message, with the ledger of a soak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from missive.conformance.scenarios import load_harness, work

#: How long a worker may take to begin or to end, in seconds: the machine is busy.
PATIENCE = 120.0
#: The folder that the name of this module starts at.
ROOT = str(Path(__file__).resolve().parents[3])
PROGRAM = "import sys, importlib; importlib.import_module(sys.argv[1]).main(sys.argv[2])"


class Worker:
    """The process of a worker.

    :param harness: the harness that it builds again.
    :param options: keyword arguments of its adapter.
    :param path: its ledger.
    """

    def __init__(self, harness: Any, options: dict[str, Any], path: Path) -> None:
        module = sys.modules[type(harness).__module__]
        order = {
            "module": module.__name__,
            "file": module.__file__,
            "harness": type(harness).__qualname__,
            "folder": str(harness.folder),
            "address": harness.address,
            "ledger": str(path),
            "options": options,
        }
        self.path = path
        self.output = path.with_suffix(".output")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, __name__, json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ROOT, *sys.path]))},
            )

    def is_ready(self) -> bool:
        """Return whether its adapter was ready.

        :raises AssertionError: the process has ended.
        """
        assert self.process.poll() is None, f"a worker ended by itself: {self.tail()}"
        return self.path.with_suffix(".ready").exists()

    def tail(self) -> str:
        """Return the end of what it printed."""
        return self.output.read_text(encoding="utf-8", errors="replace")[-2000:]

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        """Stop it as a service manager does.

        :raises AssertionError: it ended with a failure.
        """
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        assert status == 0, f"a worker that was stopped ended with {status}: {self.tail()}"

    def memory(self) -> int:
        """Return the memory that it takes, in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Return how many files and sockets it has open."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())


def main(order_text: str) -> None:
    """Work until a signal comes."""
    from .books import SoakLedger

    order = json.loads(order_text)
    harness_cls: Any = load_harness(order["module"], order["file"], order["harness"])
    harness = harness_cls(Path(order["folder"]), order["address"])
    work(harness, SoakLedger(Path(order["ledger"])), options=order["options"])
