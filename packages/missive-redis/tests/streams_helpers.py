"""What several tests of streams do with a server."""

from __future__ import annotations

from typing import Any

import missive
import redis
from missive.adapters.redis import RedisStreamsAdapter
from recorder import Recorder
from redis_server import RedisServer


def add(client: redis.Redis, *bodies: bytes, stream: str = "orders") -> list[bytes]:
    """Add entries, and return their ids."""
    return [client.xadd(stream, {"data": body}) for body in bodies]


def pending(client: redis.Redis, stream: str = "orders", group: str = "billing") -> int:
    """Return how many entries of a group are pending."""
    count: int = client.xpending(stream, group)["pending"]
    return count


def adapter_of(server: RedisServer, recorder: Recorder, **options: Any) -> Any:
    """Make an adapter for the stream ``orders`` and the group ``billing``."""
    options = {"streams": "orders", "group": "billing", "url": server.url, **options}
    return RedisStreamsAdapter(missive.RawMessage, recorder.processor, **options)
