"""librdkafka's mock cluster as a program, which prints its address and ends with its input.

In the tests' own process its destruction, which waits for all of librdkafka's threads, could hang.
"""

from __future__ import annotations

import os
import sys

from confluent_kafka import Producer

if __name__ == "__main__":
    owner = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0})
    known = owner.list_topics(timeout=60).brokers.values()
    print(",".join(f"{broker.host}:{broker.port}" for broker in known), flush=True)
    sys.stdin.read()
    os._exit(0)  # without destroying it
