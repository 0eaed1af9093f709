"""Names of any bytes, in arguments and in URLs."""

from __future__ import annotations

from typing import Any

import missive
import pytest
import redis
from missive.adapters.redis import RedisPubSubAdapter, RedisStreamsAdapter
from recorder import Recorder
from redis_server import RedisServer
from running import Running

LONE = "\ud800"  # half of a pair of UTF-16, which stands for no byte
ODD = "caf\udcff"


def test_a_url_names_streams_groups_and_fields_of_any_bytes(
    server: RedisServer, client: redis.Redis
) -> None:
    """What is percent-encoded is read as it is, whether it is UTF-8 or not."""
    client.xadd(b"caf\xff", {b"k\xff": "x"})
    client.xadd("caf\ufffd", {b"k\xff": "another"})
    recorder = Recorder()
    url = f"redis+streams://127.0.0.1:{server.port}?streams=caf%FF&group=g%FF&body_field=k%FF"
    adapter: Any = missive.from_url(url + "&consumer=c%FF", missive.RawMessage, recorder.processor)
    assert (adapter.streams, adapter.group, adapter.consumer) == ((ODD,), "g\udcff", "c\udcff")
    with Running(adapter):
        recorder.wait_for(1)
        assert adapter.lag().pending <= 1
    assert recorder.bodies == [b"x"]
    assert recorder.messages[0].source == ODD
    assert client.xpending(b"caf\xff", b"g\xff")["pending"] == 0


def test_channels_and_patterns_may_hold_any_bytes(server: RedisServer, client: redis.Redis) -> None:
    """Also those that are not UTF-8."""
    recorder = Recorder()
    url = f"redis://127.0.0.1:{server.port}?channels=caf%FF&patterns=p%FE*"
    adapter: Any = missive.from_url(url, missive.RawMessage, recorder.processor)
    with Running(adapter):
        client.publish(b"caf\xff", "1")
        client.publish(b"p\xfe\xff", "2")
        recorder.wait_for(2)
    assert [message.source for message in recorder.messages] == [ODD, "p\udcfe\udcff"]


@pytest.mark.parametrize("what", ["streams", "group", "consumer", "body_field"])
def test_a_name_that_redis_cannot_have_is_refused(what: str) -> None:
    """What stands for no byte is refused when the adapter is built."""
    options: dict[str, Any] = {"streams": "orders", "group": "billing", what: LONE}
    with pytest.raises(missive.ConfigurationError, match=what):
        RedisStreamsAdapter(missive.RawMessage, Recorder().processor, **options)


@pytest.mark.parametrize("what", ["channels", "patterns"])
def test_a_channel_that_redis_cannot_have_is_refused(what: str) -> None:
    """The same holds for Pub/Sub."""
    options: dict[str, Any] = {what: [LONE]}
    with pytest.raises(missive.ConfigurationError, match=what):
        RedisPubSubAdapter(missive.RawMessage, Recorder().processor, **options)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:caf%FF@localhost",
        "redis://:caf\udcff@localhost",
        "redis://localhost?client_name=caf%FF",
        "redis+streams://localhost?streams=a&group=b&password=caf%FF",
    ],
)
def test_what_a_url_says_to_the_client_must_be_text(url: str) -> None:
    """redis-py would silently take another password or name."""
    with pytest.raises(missive.ConfigurationError) as caught:
        missive.from_url(url, missive.RawMessage, Recorder().processor)
    assert "caf" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "offender"),
    [
        ("redis+sentinel://localhost?streams=a&group=b", "service"),
        ("redis+sentinel://localhost/main/x?streams=a&group=b", "database"),
        ("redis+sentinel://localhost:port/main?streams=a&group=b", "URL"),
        ("redis+sentinel:///main?streams=a&group=b", "URL"),
        ("redis+cluster://localhost/3?streams=a&group=b", "database"),
        ("redis+cluster://localhost?streams=a,b&group=b", "slots"),
        ("redis+cluster://a,,b?streams=a&group=b", "URL"),
    ],
)
def test_a_url_of_several_hosts_that_cannot_work_is_refused(url: str, offender: str) -> None:
    """The error names what is wrong, and nothing is connected to."""
    with pytest.raises(missive.ConfigurationError, match=offender):
        missive.from_url(url, missive.RawMessage, Recorder().processor)


@pytest.mark.parametrize("deployment", ["sentinel", "cluster"])
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_url_of_several_hosts_has_the_adapter_of_its_options(
    deployment: str, scheme: str
) -> None:
    """With ``streams`` it is that of streams, else that of Pub/Sub."""
    path = "/main/0" if deployment == "sentinel" else ""
    url = f"{scheme}+{deployment}://user:secret@one:1,[::1]:2,three{path}?"
    processor = Recorder().processor
    of_streams: Any = missive.from_url(
        f"{url}streams={{a}}1,{{a}}2&group=b&workers=2&sentinel_password=x"
        if deployment == "sentinel"
        else f"{url}streams={{a}}1,{{a}}2&group=b&workers=2",
        missive.RawMessage,
        processor,
    )
    assert type(of_streams) is RedisStreamsAdapter
    assert (of_streams.streams, of_streams.workers) == (("{a}1", "{a}2"), 2)
    of_channels = missive.from_url(f"{url}channels=a", missive.RawMessage, processor)
    assert type(of_channels) is RedisPubSubAdapter
