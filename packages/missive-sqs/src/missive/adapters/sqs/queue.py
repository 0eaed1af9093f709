# boto3 has no types of its own.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""The queue: where it is, and the client of boto3 that reads it."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import boto3.session
from botocore.config import Config
from missive import ConfigurationError

#: How long to wait for a connection, and for an answer beyond the length of a poll, in seconds.
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 5.0

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")
#: The hosts of AWS whose name says the region, and that need no endpoint.
_AWS_HOST = re.compile(
    r"sqs\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)"
    r"|([a-z0-9-]+)\.queue\.amazonaws\.com(?:\.cn)?"
)


class Queue:
    """One queue, and the client that reads it; the client is made when it is first needed.

    :param given: the URL of the queue, or its name.
    :param client: a client of boto3's to use; None makes one.
    :param region: the region; None takes it from the URL, or from where boto3 looks.
    :param endpoint: where SQS answers, if not at AWS.
    :param connections: how many calls are under way at most.
    :param wait_time: how long a poll waits, in seconds.
    :raises ConfigurationError: an argument cannot work.

    :ivar name: the name of the queue.
    :ivar url: its URL; empty until it is known.
    """

    def __init__(
        self,
        given: str,
        *,
        client: Any,
        region: str | None,
        endpoint: str | None,
        connections: int,
        wait_time: int,
    ) -> None:
        self.url = given if "://" in given else ""
        self.name = given.rstrip("/").rpartition("/")[2]
        if not _NAME.fullmatch(self.name) or (self.url and not _is_queue_url(given)):
            raise ConfigurationError(
                f"{given!r} is not a queue: give its URL, such as"
                " https://sqs.eu-west-1.amazonaws.com/123456789012/orders, or its name"
            )
        if client is not None:
            _check_client(client, region, endpoint, connections, wait_time)
        self._made = client is None
        self._client = client
        self._region, self._endpoint = _place_of(self.url, region, endpoint)
        self._connections = connections
        self._wait_time = wait_time

    @property
    def is_fifo(self) -> bool:
        """Whether it is a FIFO queue."""
        return self.name.endswith(".fifo")

    @property
    def client(self) -> Any:
        """The client; made where there is none yet.

        :raises botocore.exceptions.BotoCoreError: there is no region, or no such profile.
        """
        if self._client is None:
            session = boto3.session.Session(region_name=self._region)
            self._client = session.client(
                "sqs",
                endpoint_url=self._endpoint,
                config=Config(
                    connect_timeout=CONNECT_TIMEOUT,
                    read_timeout=self._wait_time + ANSWER_TIMEOUT,
                    # Whatever fails is tried again by the adapter, which says so.
                    retries={"total_max_attempts": 1, "mode": "standard"},
                    max_pool_connections=self._connections,
                    tcp_keepalive=True,
                    user_agent_extra="missive-sqs",
                ),
            )
        return self._client

    def renew(self) -> None:
        """Have credentials and configuration read again, unless the client was given."""
        if self._made:
            self._client = None

    def find(self) -> None:
        """Look the URL up where the queue was named.

        :raises botocore.exceptions.ClientError: there is no such queue, or SQS refuses.
        """
        if not self.url:
            self.url = str(self.client.get_queue_url(QueueName=self.name)["QueueUrl"])

    def attributes(self, *names: str) -> dict[str, str]:
        """Ask for attributes of the queue.

        :raises botocore.exceptions.ClientError: there is no such queue, or SQS refuses.
        """
        answer = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names))
        return dict(answer.get("Attributes", {}))


def most_received(redrive_policy: str | None) -> int | None:
    """Return how often SQS delivers a message before it moves it away; None without a policy.

    :param redrive_policy: the attribute of the queue, which is JSON.
    """
    if not redrive_policy:
        return None
    found: Any = json.loads(redrive_policy)
    count = str(found.get("maxReceiveCount") if isinstance(found, dict) else None)
    return int(count) if count.isdecimal() else None


def _is_queue_url(given: str) -> bool:
    parts = urlsplit(given)
    return parts.scheme in ("http", "https") and bool(parts.netloc) and parts.path.count("/") >= 1


def _place_of(url: str, region: str | None, endpoint: str | None) -> tuple[str | None, str | None]:
    """Return region and endpoint; where they were not given, as the URL of the queue says."""
    if not url or endpoint is not None:
        return region, endpoint
    parts = urlsplit(url)
    found = _AWS_HOST.fullmatch(parts.hostname or "")
    if found is None:  # a local stand-in, or an endpoint of one's own
        return region, f"{parts.scheme}://{parts.netloc}"
    return region or found[1] or found[2], None


def _check_client(
    client: Any, region: str | None, endpoint: str | None, connections: int, wait_time: int
) -> None:
    """Refuse a client that cannot do what the adapter needs of it."""
    if region is not None or endpoint is not None:
        raise ConfigurationError("client= has its own region and endpoint; do not give these too")
    config = getattr(getattr(client, "meta", None), "config", None)
    if config is None or not callable(getattr(client, "receive_message", None)):
        raise ConfigurationError(
            f"client must be one of boto3's, as boto3.client('sqs') returns it, not a"
            f" {type(client).__name__}"
        )
    if config.max_pool_connections < connections:
        raise ConfigurationError(
            f"client has {config.max_pool_connections} connections, but {connections} are needed;"
            f" build it with config=botocore.config.Config(max_pool_connections={connections})"
        )
    if config.read_timeout is not None and config.read_timeout <= wait_time:
        raise ConfigurationError(
            f"client gives up reading after {config.read_timeout:g} s, but a poll waits"
            f" {wait_time} s; raise its read_timeout or lower wait_time"
        )
