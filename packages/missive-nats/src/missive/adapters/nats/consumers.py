"""Consumers: what JetStream keeps of who reads a stream, found or made, and whether it can work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from missive import ConfigurationError

from .errors import CONSUMER_NOT_FOUND, APIRefused, NATSRefused
from .link import Link
from .pulls import LINGER

#: Servers of this version know consumers with several filters.
SEVERAL_FILTERS = (2, 10)


@dataclass(frozen=True)
class Wanted:
    """The consumer that an adapter is to read by.

    :ivar prefix: the first words of the subjects of JetStream's API.
    :ivar lease: how long a message may be in flight without a sign, in seconds, where it is made.
    :ivar deliveries: how often the server must be ready to deliver a message.
    """

    prefix: str
    stream: str
    name: str
    filters: tuple[str, ...]
    lease: float
    deliveries: int
    create: bool


@dataclass(frozen=True)
class Consumer:
    """A consumer that was found, as far as it matters for reading.

    :ivar subject: where it is asked for messages.
    :ivar lease: how long a message may be in flight without a sign, in seconds.
    :ivar batch: how many messages may be asked for at once; None where nothing limits it.
    :ivar linger: how long a request may wait at the server, in seconds.
    """

    subject: str
    lease: float
    batch: int | None
    linger: float


async def find(link: Link, wanted: Wanted, adapter: object) -> Consumer:
    """Return the consumer, made where it is absent and that was asked for.

    :raises APIRefused: it is missing, or cannot be made.
    :raises NATSRefused: its settings cannot work.
    """
    path = f"{wanted.stream}.{wanted.name}"
    try:
        info = await link.ask(f"{wanted.prefix}.CONSUMER.INFO.{path}")
    except APIRefused as error:
        if error.code != CONSUMER_NOT_FOUND or not wanted.create:
            raise
        info = await _create(link, wanted, path, adapter)
    config: dict[str, Any] = info["config"]
    problem = _problem(config, wanted)
    if problem is not None:
        said, remedy = problem
        raise NATSRefused(adapter, f"consumer {wanted.name!r} {said}", remedy)
    waits = [config.get("ack_wait", 30e9), *config.get("backoff", ())]
    expires = config.get("max_expires", 0) / 1e9
    return Consumer(
        subject=f"{wanted.prefix}.CONSUMER.MSG.NEXT.{path}",
        lease=min(waits) / 1e9,
        batch=config.get("max_batch") or None,
        linger=min(LINGER, expires) if expires > 0 else LINGER,
    )


async def _create(link: Link, wanted: Wanted, path: str, adapter: object) -> dict[str, Any]:
    config: dict[str, Any] = {
        "durable_name": wanted.name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(wanted.lease * 1e9),
        "max_deliver": -1,
        "replay_policy": "instant",
    }
    if len(wanted.filters) == 1:
        config["filter_subject"] = wanted.filters[0]
    elif wanted.filters:
        version = link.client.connected_server_version
        if (version.major, version.minor) < SEVERAL_FILTERS:
            raise NATSRefused(
                adapter,
                f"a server of version {version.major}.{version.minor} has one filter a consumer",
                "give one filter_subject, or use NATS 2.10 or newer",
            )
        config["filter_subjects"] = list(wanted.filters)
    request = {"stream_name": wanted.stream, "config": config}
    return await link.ask(f"{wanted.prefix}.CONSUMER.DURABLE.CREATE.{path}", request)


def _problem(config: dict[str, Any], wanted: Wanted) -> tuple[str, str] | None:
    """Return what of a consumer's settings cannot work, with the remedy."""
    most = config.get("max_deliver", -1)
    filters = tuple(config.get("filter_subjects") or [config.get("filter_subject", "")])
    if config.get("deliver_subject"):
        return "pushes its messages", "make a pull consumer: one without deliver_subject"
    if config.get("ack_policy") != "explicit":
        return "does not take an ack for each message", "make it with ack_policy explicit"
    if config.get("headers_only"):
        return "delivers headers without bodies", "make it without headers_only"
    if config.get("priority_policy", "none") != "none":
        return "has priority groups", "make it without priority_policy"
    if 0 < most <= wanted.deliveries:
        return (
            f"forgets a message after {most} deliveries",
            f"set its max_deliver to -1, or above {wanted.deliveries}, the adapter's own limit",
        )
    if wanted.filters and sorted(filters) != sorted(wanted.filters):
        return (
            f"reads {', '.join(map(repr, filters))}, not {', '.join(map(repr, wanted.filters))}",
            "change its filter, or give no filter_subjects",
        )
    return None


def check_name(what: str, name: object, of: str) -> str:
    """Return the name of a stream or consumer.

    :raises ConfigurationError: NATS cannot have such a name.
    """
    if not isinstance(name, str) or not name or set(name) & set(" .*>/\\\t\r\n"):
        raise ConfigurationError(
            f"{of} cannot read {what} {name!r}: such a name has no space, dot, slash, * or >"
        )
    return name


def check_subjects(what: str, subjects: Sequence[object], of: str) -> tuple[str, ...]:
    """Return subjects, each once.

    :raises ConfigurationError: NATS cannot have such subjects.
    """
    for subject in subjects:
        tokens = subject.split(".") if isinstance(subject, str) else [""]
        if not all(tokens) or any(set(token) & set(" \t\r\n") for token in tokens):
            raise ConfigurationError(
                f"{what} of {of} must be subjects such as 'orders.*', not {subject!r}"
            )
    return tuple(dict.fromkeys(map(str, subjects)))
