"""librdkafka's mock cluster as a program: it prints its address, and ends with its input.

In the tests' own process its destruction, which waits for all of librdkafka's threads, could hang.
The functions are those of rdkafka_mock.h, in the library that confluent-kafka carries.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import confluent_kafka

#: How long a group waits for more members before it begins, in milliseconds; 3000 unless set.
JOINING = 100


def library() -> ctypes.CDLL:
    """Return the librdkafka of confluent-kafka, or the system's where that was built from source."""
    carried = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    found = next(carried.glob("librdkafka*.so*"), None)
    functions = ctypes.CDLL(str(found or "librdkafka.so.1"))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(functions, name).restype = ctypes.c_void_p
    functions.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return functions


if __name__ == "__main__":
    kafka = library()
    settings = ctypes.c_void_p(kafka.rd_kafka_conf_new())
    reason = ctypes.create_string_buffer(512)
    owner = ctypes.c_void_p(kafka.rd_kafka_new(0, settings, reason, len(reason)))
    assert owner, reason.value.decode()
    cluster = ctypes.c_void_p(kafka.rd_kafka_mock_cluster_new(owner, 1))
    kafka.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, JOINING)
    print(kafka.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
    sys.stdin.read()
    os._exit(0)  # without destroying it
