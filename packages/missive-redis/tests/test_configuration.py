"""How the Redis adapters are built: from arguments, from a client, from a URL."""

from __future__ import annotations

import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import missive
import pytest
import redis
from missive.adapters.redis import RedisPubSubAdapter, RedisRefused, RedisStreamsAdapter
from patience import eventually
from recorder import Recorder
from redis_server import RedisServer
from running import Running
from servers import free_port


def pubsub(*arguments: Any, **options: Any) -> Any:
    """Make a Pub/Sub adapter that nobody runs."""
    processor: missive.Processor[Any] = missive.Processor()
    return RedisPubSubAdapter(missive.RawMessage, processor, *arguments, **options)


def streams(*arguments: Any, **options: Any) -> Any:
    """Make a Streams adapter that nobody runs."""
    processor: missive.Processor[Any] = missive.Processor()
    return RedisStreamsAdapter(missive.RawMessage, processor, *arguments, **options)


@pytest.mark.parametrize(
    ("options", "offender"),
    [
        ({"channels": [""]}, "channels"),
        ({"patterns": [3]}, "patterns"),
        ({"health_check_interval": 0}, "health_check_interval"),
        ({"url": "localhost:6379"}, "URL"),
        ({"client": object()}, "client"),
        ({"workers": 0}, "workers"),
    ],
)
def test_a_pubsub_adapter_that_cannot_work_is_refused_when_it_is_built(
    options: dict[str, Any], offender: str
) -> None:
    """The error names what is wrong, before anything is connected to."""
    with pytest.raises(missive.ConfigurationError, match=offender):
        pubsub(**options)


@pytest.mark.parametrize(
    ("options", "offender"),
    [
        ({"streams": []}, "streams"),
        ({"streams": ""}, "streams"),
        ({"group": ""}, "group"),
        ({"consumer": ""}, "consumer"),
        ({"body_field": ""}, "body_field"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"max_deliveries": 0}, "max_deliveries"),
        ({"ack_every": 0}, "ack_every"),
        ({"retry_after": 0}, "retry_after"),
        ({"retry_after": float("inf")}, "retry_after"),
        ({"retry_after": float("nan")}, "retry_after"),
        ({"retry_after": 1e308}, "retry_after"),
        ({"retry_after": "5"}, "retry_after"),
        ({"url": "redis://localhost/orders"}, "database"),
        ({"url": "redis://localhost:port"}, "URL"),
        ({"url": "redis://a..b:1"}, "host"),
        ({"url": "redis://localhost?sockets=1"}, "setting"),
        ({"url": "rediss://localhost?ssl_cert_reqs=maybe"}, "setting"),
        ({"client": redis.Redis("a..b")}, "host"),
        ({"start": "beginning"}, "start"),
        ({"url": "http://localhost"}, "URL"),
        ({"client": object()}, "client"),
    ],
)
def test_a_streams_adapter_that_cannot_work_is_refused_when_it_is_built(
    options: dict[str, Any], offender: str
) -> None:
    """The error names what is wrong, before anything is connected to."""
    with pytest.raises(missive.ConfigurationError, match=offender):
        streams(**{"streams": "orders", "group": "billing", **options})


def test_a_client_for_clusters_or_for_asyncio_is_refused() -> None:
    """The error says of which kind a client must be."""
    import redis.asyncio

    with pytest.raises(missive.ConfigurationError, match=r"redis\.Redis"):
        pubsub(client=redis.asyncio.Redis())


def test_building_an_adapter_connects_to_nothing() -> None:
    """A server need not be there before ``run``."""
    url = f"redis://127.0.0.1:{free_port()}"
    assert not pubsub(url=url).ready.is_set()
    assert not streams("orders", "billing", url=url).ready.is_set()


def test_a_pubsub_adapter_is_built_from_a_url() -> None:
    """Channels, patterns and options stand in the query; keyword arguments win over them."""
    url = "redis://127.0.0.1:1/2?channels=a,b&patterns=c.*&workers=3&client_name=x"
    processor: missive.Processor[Any] = missive.Processor()
    adapter: Any = missive.from_url(url, missive.RawMessage, processor)
    assert type(adapter) is RedisPubSubAdapter
    assert (adapter.channels, adapter.patterns, adapter.workers) == (("a", "b"), ("c.*",), 3)
    adapter = missive.from_url(url, missive.RawMessage, processor, workers=1)
    assert adapter.workers == 1
    connection = adapter._make_connection()
    assert (connection.db, connection.client_name) == (2, "x")


def test_a_streams_adapter_is_built_from_a_url() -> None:
    """All its options can stand in the query."""
    url = (
        "redis+streams://127.0.0.1:1/0?streams=orders,returns&group=billing&consumer=me"
        "&body_field=body&batch_size=7&ack_every=2&retry_after=1.5&max_deliveries=9&start=$"
        "&trim=true&workers=2&drain_timeout=3"
    )
    processor: missive.Processor[Any] = missive.Processor()
    adapter: Any = missive.from_url(url, missive.RawMessage, processor)
    assert type(adapter) is RedisStreamsAdapter
    expected = {
        "streams": ("orders", "returns"),
        "group": "billing",
        "consumer": "me",
        "body_field": "body",
        "batch_size": 7,
        "ack_every": 2,
        "retry_after": 1.5,
        "max_deliveries": 9,
        "start": "$",
        "trim": True,
        "workers": 2,
        "drain_timeout": 3.0,
    }
    assert {name: getattr(adapter, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "offender"),
    [
        ("redis://localhost?chanels=a", "chanels"),
        ("redis://localhost?channels=", "channels"),
        ("redis+streams://localhost?group=billing", "streams"),
        ("redis+streams://localhost?streams=orders", "group"),
        ("redis+streams://localhost?streams=orders&group=billing&batch_size=many", "batch_size"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused(url: str, offender: str) -> None:
    """The error names the option, and nothing is connected to."""
    processor: missive.Processor[Any] = missive.Processor()
    with pytest.raises(missive.ConfigurationError, match=offender):
        missive.from_url(url, missive.RawMessage, processor)


def test_a_password_does_not_show(server: RedisServer) -> None:
    """Neither the adapter's repr nor the error of a URL shows what is secret in the URL."""
    assert "sesame" not in repr(pubsub(url="redis://:sesame@localhost"))
    with pytest.raises(missive.ConfigurationError) as caught:
        pubsub(url="rdis://:sesame@localhost")
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "redis+streams"])
@pytest.mark.parametrize(
    "user_and_password",
    [":sesame/open", ":1/sesame", ":1?sesame", ":1#sesame", ":sesame[open"],
)
def test_a_password_that_is_not_encoded_does_not_show(scheme: str, user_and_password: str) -> None:
    """Neither the error nor what led to it shows any of it, wherever the URL seems to be broken."""
    url = f"{scheme}://{user_and_password}@localhost:6379/0"
    processor: missive.Processor[Any] = missive.Processor()
    for build in (
        lambda: streams("orders", "billing", url=url.replace("+streams", "")),
        lambda: pubsub(url=url.replace("+streams", "")),
        lambda: missive.from_url(url, missive.RawMessage, processor),
    ):
        with pytest.raises(missive.ConfigurationError) as caught:
            build()
        assert "sesame" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("scheme", ["redis", "redis+streams"])
def test_what_does_not_speak_redis_ends_the_run(scheme: str) -> None:
    """A port where something else listens is a mistake that waiting does not mend."""
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        if scheme == "redis+streams":
            url += "?streams=orders&group=billing"
        adapter: Any = missive.from_url(url, missive.RawMessage, Recorder().processor)
        with Running(adapter, wait=False) as running:
            error = running.fails()
        thread.join()
    assert isinstance(error, RedisRefused)
    assert error.code == "PROTOCOL"


@pytest.mark.parametrize("url", ["redis://", "redis+streams://"])
def test_without_hiredis_both_adapters_work(server: RedisServer, url: str) -> None:
    """A process that cannot import hiredis handles messages all the same."""
    program = f"""
import sys
sys.modules["hiredis"] = None
import threading, time
import missive, redis
processor, bodies = missive.Processor(), []

@processor.handle_for(missive.otherwise)
def handle(message, ctx):
    bodies.append(message.raw_data)
    ctx.ack()
    if len(bodies) == 1000:
        adapter.stop()

adapter = missive.from_url({url!r} + "127.0.0.1:{server.port}?" + sys.argv[1],
                           missive.RawMessage, processor)
thread = threading.Thread(target=adapter.run)
thread.start()
adapter.ready.wait(20)
client = redis.Redis(port={server.port})
for number in range(1000):
    body = b"%d" % number + bytes(range(256))
    client.xadd("orders", {{"data": body}}) if "group" in sys.argv[1] else client.publish("c", body)
thread.join(20)
assert bodies == [b"%d" % number + bytes(range(256)) for number in range(1000)]
"""
    options = "streams=orders&group=billing" if "streams" in url else "channels=c"
    subprocess.run([sys.executable, "-c", program, options], check=True, timeout=60)


def test_a_client_without_a_timeout_waits_no_longer_than_others(server: RedisServer) -> None:
    """A client that would wait for ever for an answer is not taken at its word."""
    adapter = pubsub(client=redis.Redis(socket_timeout=None))
    assert adapter._make_connection().socket_timeout == 5.0
    adapter = pubsub(client=redis.Redis(socket_timeout=1.5))
    assert adapter._make_connection().socket_timeout == 1.5


README = Path(__file__).resolve().parent.parent / "README.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", PROGRAMS)
def test_the_programs_of_the_readme_work(code: str, server: RedisServer) -> None:
    """Each builds an adapter, and its handler takes a message from it."""
    names: dict[str, Any] = {"__name__": "program"}
    # As it stands it is for the server at the usual address, which is not the test's to use.
    code = code.replace("adapter = ", "make = lambda url: ")
    exec(code.replace(")\n\nif", ", url=url)\n\nif"), names)
    adapter = names["make"](server.url)
    with server.client() as client, Running(adapter):
        client.xadd("orders", {"data": "{}"})
        client.publish("orders", "{}")
        eventually(lambda: adapter.status().acked == 1, "nothing was handled")


def test_the_readme_has_programs() -> None:
    """One for each adapter."""
    assert len(PROGRAMS) == 2
