"""Settings: what librdkafka is told, from the options of the adapter."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from missive import ConfigurationError

logger = logging.getLogger("missive.adapters.kafka.librdkafka")

Start = Literal["earliest", "latest"]
#: What the adapter sets itself, with what to do instead.
OWN = {
    "group.id": "give group=…",
    "bootstrap.servers": "give bootstrap=…",
    "metadata.broker.list": "give bootstrap=…",
    "auto.offset.reset": "give start=…",
    "enable.auto.commit": "offsets are committed when messages are settled",
    "auto.commit.enable": "offsets are committed when messages are settled",
    "auto.commit.interval.ms": "give commit_interval=…",
    "enable.auto.offset.store": "offsets are committed when messages are settled",
    "offset.store.method": "offsets are kept by the broker",
    "offset.store.path": "offsets are kept by the broker",
    "default.topic.config": "give its settings in config itself",
    "enabled_events": "the adapter needs librdkafka's callbacks",
    "enable.partition.eof": "the end of a partition ends nothing",
    "error_cb": "errors are raised by run, or logged",
    "on_commit": "commits that fail are sent again",
    "logger": "librdkafka logs to missive.adapters.kafka.librdkafka",
    "log_cb": "librdkafka logs to missive.adapters.kafka.librdkafka",
}
#: What holds unless ``config`` says otherwise.
DEFAULTS: Mapping[str, Any] = {
    "client.id": "missive",
    "isolation.level": "read_committed",
    "max.poll.interval.ms": 300_000,
    # librdkafka's own second is longer than what it fetches ahead lasts (benchmarks/kafka.py).
    "fetch.queue.backoff.ms": 20,
    # librdkafka's own ten seconds are long for a broker that has only restarted.
    "reconnect.backoff.max.ms": 1000,
}
#: What is left out where the group coordinates itself, by Kafka's newer protocol.
STRATEGY = {"partition.assignment.strategy": "cooperative-sticky"}
#: Settings whose values are secret have one of these in their names.
_SECRET = ("password", "passphrase", "secret", "jaas", "key.pem", "token", "oauthbearer.config")


class QuietLog:
    """A logger that passes on what librdkafka says as details: the adapter says what counts."""

    def log(self, level: int, *arguments: Any) -> None:
        """Log a line of librdkafka's."""
        logger.debug(*arguments)


def check_config(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of librdkafka's that a user gave, by name.

    :param name: the name of the adapter.
    :raises ConfigurationError: one would break what the adapter promises.
    """
    given: Any = config
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"config of {name} must be a mapping of librdkafka's settings, not a"
            f" {type(given).__name__}"
        )
    for key in config:
        if key in OWN:
            raise ConfigurationError(f"config of {name} must not have {key!r}: {OWN[key]}")
    interval = config.get("max.poll.interval.ms", 1)
    if not str(interval).isdigit() or int(interval) < 1:
        raise ConfigurationError(f"max.poll.interval.ms in config of {name} must be a number of ms")
    return {**DEFAULTS, **config}


def client_settings(bootstrap: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of any client: where the brokers are, and how to talk to them."""
    return {**config, "bootstrap.servers": bootstrap, "logger": QuietLog()}


def member_settings(bootstrap: str, group: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a member of a group, which commits nothing by itself."""
    own = {} if config.get("group.protocol") == "consumer" else STRATEGY
    return {
        **own,
        **client_settings(bootstrap, config),
        "group.id": group,
        # Where a committed offset is not there any more; the adapter itself says where to start.
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": False,
    }


def without_secrets(text: str, config: Mapping[str, Any]) -> str:
    """Return what librdkafka says, unless a secret of the settings is in it, be it the end of one."""
    for key, value in config.items():
        words = str(value).split()
        if any(word in key for word in _SECRET) and words and words[-1] in text:
            return f"what it said quotes {key}, and is left out"
    return text
