"""Queues: whether they are there, and what they are, as far as AMQP tells."""

from __future__ import annotations

import logging
import re
from typing import Any, NamedTuple

from missive import ConfigurationError
from pika import exceptions

from .errors import ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, code_of
from .link import Link

logger = logging.getLogger("missive.adapters.rabbitmq.queues")

#: A limit that no queue has, so that the broker says which one it does have.
_ODD_LIMIT = 1_000_003
#: How many arguments of a queue are asked for, at most.
_ARGUMENTS = 30
#: The delivery limit of quorum queues from RabbitMQ 4 on, unless they say otherwise.
_LIMIT_OF_4 = 20

_COMPLAINT = re.compile(
    r"inequivalent arg '(?P<name>[^']+)'.*but current is"
    r" (?:none|(?:the value )?'(?P<value>[^']*)'(?: of type '(?P<type>[^']+)')?)$"
)


class QueueKind(NamedTuple):
    """What a queue is.

    :ivar type: ``classic``, ``quorum`` or ``stream``; None where the broker does not tell.
    :ivar delivery_limit: after how many redeliveries a quorum queue drops a message; None: never.
    :ivar single_active: whether one consumer at a time gets its messages.
    """

    type: str | None
    delivery_limit: int | None = None
    single_active: bool = False

    @property
    def counts(self) -> bool | None:
        """Whether the broker counts deliveries; None where it is not known."""
        return None if self.type is None else self.type == "quorum"

    @property
    def starts_carefully(self) -> bool:
        """Whether a consumer begins with one message at a time.

        Not where that takes another subscription, which would pass the queue to another consumer.
        """
        return bool(self.counts) and not self.single_active


def exists(link: Link, queue: str) -> bool:
    """Return whether a queue exists.

    :raises AMQPError: the broker does not say.
    """
    return ready_and_consumers(link, queue) is not None


def ready_and_consumers(link: Link, queue: str) -> tuple[int, int] | None:
    """Return how many messages are ready in a queue, and how many consumers it has.

    :returns: None where there is no such queue.
    :raises AMQPError: the broker does not say.
    """
    channel = link.open_channel()
    try:
        answer = link.call(channel, "queue_declare", queue, passive=True)
    except exceptions.ChannelClosedByBroker as error:
        if code_of(error) == NOT_FOUND and "no queue" in str(error.reply_text):
            return None
        raise
    channel.close()
    return int(answer.method.message_count), int(answer.method.consumer_count)


def declare(link: Link, queue: str) -> None:
    """Create a durable quorum queue.

    :raises AMQPError: the broker refuses.
    """
    channel = link.open_channel()
    arguments = {"x-queue-type": "quorum"}
    link.call(channel, "queue_declare", queue, durable=True, arguments=arguments)
    channel.close()


def kind_of(link: Link, queue: str) -> QueueKind:
    """Ask the broker what an existing queue is.

    AMQP has no question for that. But a client that declares an existing queue with other arguments is
    refused, and told the value of one of them; nothing changes. It takes the permission to
    configure the queue.
    """
    arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": _ODD_LIMIT}
    for _ in range(_ARGUMENTS):
        channel = link.open_channel()
        try:
            link.call(channel, "queue_declare", queue, durable=True, arguments=arguments)
        except exceptions.ChannelClosedByBroker as error:
            complaint = _COMPLAINT.search(str(error.reply_text))
            if code_of(error) == ACCESS_REFUSED:
                logger.info("the type of queue %s is unknown: no permission to configure", queue)
            if code_of(error) != PRECONDITION_FAILED or complaint is None:
                return QueueKind(None)
            name = complaint["name"]
            if name in ("durable", "auto_delete", "exclusive"):
                return QueueKind("classic")  # the others are durable, and belong to nobody
            if name == "x-queue-type":
                return QueueKind(complaint["value"] or "classic")
            if complaint["value"] is None:
                arguments.pop(name, None)
            else:
                arguments[name] = _value(complaint["value"], complaint["type"])
        else:
            channel.close()
            break
    return QueueKind(
        "quorum",
        arguments.get("x-delivery-limit", _default_limit(link.server_version)),
        arguments.get("x-single-active-consumer") is True,
    )


def _value(text: str, type_: str | None) -> Any:
    if type_ in ("longstr", "shortstr"):
        return text
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        return text


def _default_limit(version: str) -> int | None:
    major = version.partition(".")[0]
    return _LIMIT_OF_4 if major.isdigit() and int(major) >= 4 else None


class Queues:
    """What the queues of an adapter are, each asked for once, and again after it was deleted.

    :param adapter: whose queues they are.
    :param max_deliveries: the delivery after which the adapter dead-letters a message.

    :ivar problem: the error to raise where a message showed that its queue cannot be read.
    """

    def __init__(self, adapter: object, max_deliveries: int) -> None:
        self._adapter = adapter
        self._max_deliveries = max_deliveries
        self._kinds: dict[str, QueueKind] = {}
        self.problem: ConfigurationError | None = None

    def kind(self, link: Link, queue: str) -> QueueKind:
        """Return what a queue is that exists.

        :raises ConfigurationError: it cannot be read as a queue.
        :raises AMQPError: the connection is lost.
        """
        kind = self._kinds.get(queue)
        if kind is None:
            kind = kind_of(link, queue)
            check_kind(self._adapter, queue, kind, self._max_deliveries)
            self._kinds[queue] = kind
        return kind

    def found_stream(self, queue: str) -> None:
        """Note that a queue whose kind the broker did not tell is a stream."""
        try:
            check_kind(self._adapter, queue, QueueKind("stream"), self._max_deliveries)
        except ConfigurationError as error:
            self.problem = error

    def forget(self, queue: str) -> None:
        """Note that a queue may be another one from now on."""
        self._kinds.pop(queue, None)
        self.problem = None


def check_kind(adapter: object, queue: str, kind: QueueKind, max_deliveries: int) -> None:
    """Refuse a queue that cannot be read as a queue.

    :raises ConfigurationError: it is a stream, or would drop messages before ``max_deliveries``.
    """
    name = type(adapter).__name__
    if kind.type == "stream":
        raise ConfigurationError(
            f"{name} cannot read {queue!r}, which is a stream: a stream keeps acked messages and"
            " redelivers nothing; bind a classic or quorum queue to the exchange instead"
        )
    limit = kind.delivery_limit
    if limit is not None and max_deliveries >= limit:
        lower = f"give max_deliveries below {limit}, or " if limit > 1 else ""
        raise ConfigurationError(
            f"{queue!r} drops a message after {limit} redeliveries (x-delivery-limit), so {name} could"
            f" not dead-letter it after max_deliveries={max_deliveries}; {lower}raise the limit of"
            " the queue"
        )
