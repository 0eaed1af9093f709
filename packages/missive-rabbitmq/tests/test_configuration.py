"""What cannot work is refused when the adapter is built, and what pika says is told apart."""

from __future__ import annotations

import ssl
from typing import Any

import missive
import pytest
from missive.adapters.rabbitmq import RabbitMQAdapter, RabbitMQRefused, RabbitMQUnavailable
from missive.adapters.rabbitmq.errors import raise_lasting
from missive.adapters.rabbitmq.urls import read_parameters
from missive.urls import adapter_from_url as load_adapter
from pika import exceptions


def build(*arguments: Any, **options: Any) -> RabbitMQAdapter[Any]:
    """Build an adapter."""
    return RabbitMQAdapter(missive.RawMessage, missive.Processor(), *arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([[]], {}),
        ([[""]], {}),
        ([["x" * 256]], {}),
        ([[7]], {}),
        (["q"], {"prefetch": 0}),
        (["q"], {"prefetch": 65536}),
        (["q"], {"max_deliveries": 0}),
        (["q"], {"retry_after": -1}),
        (["q"], {"retry_after": float("nan")}),
        (["q", "http://localhost"], {}),
        (["q", "amqp://localhost/a/b"], {}),
        (["q", "amqp://localhost:port/"], {}),
        (["q", "amqp://localhost/?heartbeat=soon"], {}),
        (["q", "amqp://localhost/?heartbeat=-1"], {}),
        (["q", "amqp://localhost/?unknown=1"], {}),
        (["q", "amqps://localhost/?cafile=/not/there"], {}),
    ],
)
def test_what_cannot_work_is_refused(arguments: list[Any], options: dict[str, Any]) -> None:
    """The constructor refuses options, names and URLs that cannot work."""
    with pytest.raises(missive.ConfigurationError):
        build(*arguments, **options)


def test_a_connection_of_kombu_is_refused_with_the_remedy() -> None:
    """What is not a URL is refused, and the error says what to give instead."""
    with pytest.raises(missive.ConfigurationError, match=r"as_uri\(include_password=True\)"):
        build(["q"], url_or_conn=object())


def test_a_url_that_cannot_be_read_shows_no_password() -> None:
    """A password with a slash in it is not shown by the error about it."""
    with pytest.raises(missive.ConfigurationError) as caught:
        build(["q"], "amqp://user:pa/ss#wo1d@host:5672/")
    assert "ss#" not in str(caught.value)
    assert "wo1d" not in str(caught.value)


def test_the_call_of_the_original_works() -> None:
    """The positional and keyword arguments of 0.8.1 are taken as they were."""
    adapter = RabbitMQAdapter(
        missive.RawMessage, missive.Processor(), ["q"], "amqp://localhost", True, 1
    )
    assert (adapter.queues, adapter.drain_timeout) == (("q",), 1)
    adapter.shutdown_handler.enable()
    adapter = build(["q"], url_or_conn="amqp://", disable_shutdown_handler=True, drain_timeout=1)
    assert adapter.queues == ("q",)


def test_urls_are_read() -> None:
    """Credentials, virtual host, heartbeat and TLS come from the URL; names may be encoded."""
    read: Any = read_parameters("amqps://us%65r:p%2Fw@broker/sh%2Fop?heartbeat=7")
    assert (read.host, read.port, read.virtual_host, read.heartbeat) == ("broker", 5671, "sh/op", 7)
    assert (read.credentials.username, read.credentials.password) == ("user", "p/w")
    context = read.ssl_options.context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    read = read_parameters("rabbitmq://localhost")
    assert (read.port, read.virtual_host, read.ssl_options) == (5672, "/", None)


@pytest.mark.parametrize("url", ["amqp://guest:guest@broker:5672//", "pyamqp://guest@broker//"])
def test_the_urls_of_kombu_are_read(url: str) -> None:
    """What kombu's as_uri() returns, and Celery's settings hold, is the default virtual host."""
    read: Any = read_parameters(url)
    assert (read.host, read.port, read.virtual_host) == ("broker", 5672, "/")


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "rabbitmq"])
def test_the_schemes_lead_here(scheme: str) -> None:
    """An adapter is built from a URL with its queues and options in the query."""
    url = f"{scheme}://localhost/?queues=a,b&prefetch=7&declare=true&workers=2&heartbeat=5"
    adapter: Any = load_adapter(url, missive.RawMessage, missive.Processor())
    assert (adapter.queues, adapter.prefetch, adapter.declare) == (("a", "b"), 7, True)
    assert adapter.workers == 2
    with pytest.raises(missive.ConfigurationError, match="queues"):
        load_adapter(f"{scheme}://localhost/", missive.RawMessage, missive.Processor())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exceptions.ProbableAuthenticationError("ConnectionClosedByBroker: (403) 'refused'"), 403),
        (exceptions.ConnectionClosedByBroker(403, "ACCESS_REFUSED"), 403),
        (
            exceptions.ProbableAccessDeniedError("ConnectionClosedByBroker: (530) 'NOT_ALLOWED'"),
            530,
        ),
        (exceptions.ChannelClosedByBroker(404, "NOT_FOUND - no queue 'q'"), 404),
        (exceptions.ChannelClosedByBroker(405, "RESOURCE_LOCKED"), 405),
        (exceptions.AMQPConnectionError(ssl.SSLCertVerificationError("no")), 0),
        (exceptions.ProtocolVersionMismatch("a", "b"), 0),
    ],
)
def test_what_lasts_is_refused(error: Exception, code: int) -> None:
    """An answer that no new attempt mends ends the run, with its code."""
    with pytest.raises(RabbitMQRefused) as caught:
        raise_lasting(error, build("q"), waits_for_queues=False)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "error",
    [
        exceptions.StreamLostError("lost"),
        exceptions.ProbableAuthenticationError("StreamLostError: ('Transport EOF',)"),
        exceptions.IncompatibleProtocolError("StreamLostError"),
        exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED"),
        exceptions.ConnectionClosedByBroker(530, "NOT_ALLOWED - connection limit is reached"),
        exceptions.ChannelClosedByBroker(406, "PRECONDITION_FAILED - unknown delivery tag 9"),
        exceptions.ChannelClosedByBroker(404, "NOT_FOUND - no queue 'q'"),
        ConnectionRefusedError(),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    """A lost stream, a broker that stops and a closed channel are no reason to end."""
    with pytest.raises(RabbitMQUnavailable):
        raise_lasting(error, build("q"), waits_for_queues=True)


def test_an_attempt_is_not_explained_by_the_loss_before_it() -> None:
    """A failed attempt to connect says why it failed, not why the connection was lost earlier."""
    error = exceptions.AMQPConnectionError(ConnectionRefusedError(111, "Connection refused"))
    error.__context__ = exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED - shutdown")
    with pytest.raises(RabbitMQUnavailable, match=r"^ConnectionRefusedError: "):
        raise_lasting(error, build("q"), waits_for_queues=True)


def test_the_text_of_a_refusal_is_whole() -> None:
    """The quotes that pika puts around what RabbitMQ said go, and those within stay."""
    said = "ConnectionClosedByBroker: (530) \"NOT_ALLOWED - access to vhost '/' refused for 'me'\""
    with pytest.raises(RabbitMQRefused, match="refused for 'me';"):
        raise_lasting(
            exceptions.ProbableAccessDeniedError(said), build("q"), waits_for_queues=False
        )
