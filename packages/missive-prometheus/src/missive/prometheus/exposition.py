"""The exposition: the text that Prometheus reads, of this process or of several."""

from __future__ import annotations

import os
import struct
from importlib import import_module
from time import sleep
from typing import Any

from missive import ConfigurationError
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

#: Names the folder in which processes share their metrics.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
#: How often to read files that are being made, and the wait in between, in seconds.
ATTEMPTS, PAUSE = 20, 0.05

#: Modules of prometheus_client that have no annotations.
_multiprocess: Any = import_module("prometheus_client.multiprocess")
_values: Any = import_module("prometheus_client.values")


def expose(accept: str = "", registry: CollectorRegistry = REGISTRY) -> tuple[str, bytes]:
    """Return the content type and the text of the metrics.

    Where ``PROMETHEUS_MULTIPROC_DIR`` names a folder, these are the metrics of all processes that
    share it, and the registry does not matter.

    :param accept: the ``Accept`` header of the request.
    :param registry: whose metrics; those of the default registry unless given.
    """
    encode, content_type = choose_encoder(accept)
    if SHARED not in os.environ:
        return content_type, encode(registry)
    shared = CollectorRegistry()
    _multiprocess.MultiProcessCollector(shared)
    for _ in range(ATTEMPTS):
        try:
            return content_type, encode(shared)
        except struct.error:  # a process that starts has made its file, and written nothing yet
            _pause()
    return content_type, encode(shared)


def _pause() -> None:
    sleep(PAUSE)


def share_metrics(process: int) -> None:
    """Keep the metrics of this process under a number of its own, instead of its process id.

    For one of several processes under a supervisor, which replaces it by another with that number:
    that one goes on with its counters, so that they never fall and no file is left behind. Call it
    before any metric is made.

    :param process: the number; of no other process that runs at the same time.
    :raises ConfigurationError: ``PROMETHEUS_MULTIPROC_DIR`` names no folder.
    """
    if SHARED not in os.environ:
        raise ConfigurationError(f"share_metrics() needs a folder; set {SHARED}")
    _values.ValueClass = _values.MultiProcessValue(lambda: process)


def forget_process(process: int) -> None:
    """Drop what a process that has ended said of its present state; its counters remain.

    :param process: the number that it gave :func:`share_metrics`, or its process id.
    """
    _multiprocess.mark_process_dead(process)
