"""What an adapter costs that has nothing to do."""

from __future__ import annotations

import threading
import time
from typing import Any

import missive
import pytest
from missive.adapters.redis import RedisPubSubAdapter, RedisStreamsAdapter
from recorder import Recorder
from redis_server import RedisServer
from running import Running


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["pubsub", "streams", "streams with workers"])
def test_an_idle_adapter_takes_less_than_a_hundredth_of_a_processor(
    server: RedisServer, kind: str
) -> None:
    """Of ten seconds without a message it computes for less than a tenth of one."""
    processor = Recorder().processor
    adapter: Any
    if kind == "pubsub":
        adapter = RedisPubSubAdapter(missive.RawMessage, processor, url=server.url)
    else:
        adapter = RedisStreamsAdapter(
            missive.RawMessage,
            processor,
            "orders",
            "billing",
            url=server.url,
            workers=4 if "workers" in kind else 1,
        )
    with Running(adapter):
        before = time.process_time()
        threading.Event().wait(10)
        assert time.process_time() - before < 0.1
