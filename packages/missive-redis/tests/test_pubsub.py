"""The Pub/Sub adapter on real servers."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Callable

import hiredis
import missive
import pytest
import redis
from missive.adapters.redis import RedisPubSubAdapter, RedisRefused
from patience import DEADLINE, eventually
from recorder import Recorder
from redis_server import RedisServer
from running import Running


def test_without_channels_and_patterns_everything_is_heard(
    server: RedisServer, client: redis.Redis
) -> None:
    """As in the quickstart, an adapter that is told nothing listens to all channels."""
    recorder = Recorder()
    with Running(RedisPubSubAdapter(missive.RawMessage, recorder.processor, url=server.url)):
        client.publish("here", b"one")
        client.publish("there", b"two")
        recorder.wait_for(2)
    assert [(message.source, message.raw_data) for message in recorder.messages] == [
        ("here", b"one"),
        ("there", b"two"),
    ]


def test_only_the_given_channels_and_patterns_are_heard(
    server: RedisServer, client: redis.Redis
) -> None:
    """Channels are taken by name, patterns as globs, and nothing else comes."""
    recorder = Recorder()
    adapter = RedisPubSubAdapter(
        missive.RawMessage,
        recorder.processor,
        ["alpha", "beta"],
        patterns=["gamma.*"],
        url=server.url,
    )
    with Running(adapter):
        for channel in ("alpha", "other", "gamma.1", "gamma", "beta"):
            client.publish(channel, channel)
        recorder.wait_for(3)
    assert recorder.bodies == [b"alpha", b"gamma.1", b"beta"]


def test_a_message_that_is_published_once_ready_is_set_arrives(
    server: RedisServer, client: redis.Redis
) -> None:
    """The server has confirmed every subscription when ``ready`` is set."""
    channels = [f"channel-{number}" for number in range(500)]
    for _ in range(5):
        recorder = Recorder()
        adapter = RedisPubSubAdapter(
            missive.RawMessage, recorder.processor, channels, url=server.url
        )
        with Running(adapter):
            assert client.publish(channels[-1], b"x") == 1
            recorder.wait_for(1)


def test_it_is_not_ready_before_the_last_subscription_is_confirmed() -> None:
    """A server that has confirmed one of two channels only may not have seen the other yet."""
    confirm, asked = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            reader = hiredis.Reader()
            with listener.accept()[0] as connection:
                while data := connection.recv(4096):
                    reader.feed(data)
                    while (command := reader.gets()) is not False:
                        if command[0] != b"SUBSCRIBE":
                            connection.sendall(b"+OK\r\n")
                            continue
                        connection.sendall(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
                        asked.set()
                        confirm.wait(DEADLINE)
                        connection.sendall(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        adapter = RedisPubSubAdapter(missive.RawMessage, Recorder().processor, ["a", "b"], url=url)
        with Running(adapter, wait=False):
            assert asked.wait(DEADLINE)
            assert not adapter.ready.wait(0.2)
            confirm.set()
            assert adapter.ready.wait(DEADLINE)
        thread.join(DEADLINE)


def test_every_byte_value_and_the_empty_body_pass(server: RedisServer, client: redis.Redis) -> None:
    """Bodies come as they were published, whatever their bytes and their length."""
    bodies = [b"", bytes(range(256)), b"\r\n$5\r\n", b"x" * 1_000_000]
    recorder = Recorder()
    with Running(RedisPubSubAdapter(missive.RawMessage, recorder.processor, "c", url=server.url)):
        for body in bodies:
            client.publish("c", body)
        recorder.wait_for(len(bodies))
    assert recorder.bodies == bodies


def test_native_is_what_get_message_gives(server: RedisServer, client: redis.Redis) -> None:
    """``message.native`` is the dictionary that users of redis-py know."""
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    subscriber.psubscribe("a*")
    subscriber.subscribe("b")
    eventually(lambda: client.pubsub_numpat() and client.pubsub_numsub("b")[0][1], "no subscriber")
    recorder = Recorder()
    adapter = RedisPubSubAdapter(
        missive.RawMessage, recorder.processor, "b", patterns="a*", url=server.url
    )
    with Running(adapter):
        client.publish("a1", b"x")
        client.publish("b", b"y")
        recorder.wait_for(2)
    theirs: list[object] = []

    def receive() -> bool:
        message = subscriber.get_message(timeout=1)
        if message is not None:
            theirs.append(message)
        return len(theirs) == 2

    eventually(receive, "redis-py received nothing")
    subscriber.close()
    assert [message.native for message in recorder.messages] == theirs


def test_a_channel_that_is_no_text_has_a_source_all_the_same(
    server: RedisServer, client: redis.Redis
) -> None:
    """No byte of a channel's name is lost."""
    recorder = Recorder()
    with Running(RedisPubSubAdapter(missive.RawMessage, recorder.processor, url=server.url)):
        client.publish(b"\xff\xfe", b"x")
        recorder.wait_for(1)
    assert recorder.messages[0].source.encode("utf-8", "surrogateescape") == b"\xff\xfe"


def test_what_a_handler_raises_ends_the_run(server: RedisServer, client: redis.Redis) -> None:
    """Without a DLQ an exception of a handler comes out of ``run``."""

    def fail(message: object, ctx: object) -> None:
        raise LookupError("no such thing")

    recorder = Recorder(fail)
    adapter = RedisPubSubAdapter(missive.RawMessage, recorder.processor, "c", url=server.url)
    with Running(adapter) as running:
        client.publish("c", b"x")
        assert isinstance(running.fails(), LookupError)


def test_a_nack_is_a_dead_letter(server: RedisServer, client: redis.Redis) -> None:
    """Redis cannot redeliver what was published, so a nacked message goes to the DLQ."""
    recorder = Recorder(lambda message, ctx: ctx.nack())
    dlq: dict[bytes, tuple[missive.Message, str]] = {}
    recorder.processor.set_dlq(dlq)
    with Running(RedisPubSubAdapter(missive.RawMessage, recorder.processor, "c", url=server.url)):
        client.publish("c", b"x")
        eventually(lambda: dlq, "no dead letter")
    ((message, reason),) = dlq.values()
    assert (message.raw_data, reason) == (b"x", "nacked; the transport cannot redeliver")


def test_stop_ends_an_idle_run_without_waiting_for_a_message(server: RedisServer) -> None:
    """An adapter that waits for messages wakes when it is told to stop."""
    adapter = RedisPubSubAdapter(missive.RawMessage, Recorder().processor, "c", url=server.url)
    adapter.poll_timeout = DEADLINE * 10  # so that nothing but stop() can end the wait in time
    adapter.health_check_interval = DEADLINE * 10
    with Running(adapter):
        pass


def test_an_adapter_runs_again_after_it_was_stopped(
    server: RedisServer, client: redis.Redis
) -> None:
    """A second run hears what is published then."""
    recorder = Recorder()
    adapter = RedisPubSubAdapter(missive.RawMessage, recorder.processor, "c", url=server.url)
    for body in (b"first", b"second"):
        with Running(adapter):
            client.publish("c", body)
            recorder.wait_for(1 + (body == b"second"))
    assert recorder.bodies == [b"first", b"second"]


def test_it_waits_for_a_server_that_is_not_there_yet(
    make_server: Callable[..., RedisServer],
) -> None:
    """An adapter started before its server listens as soon as the server does."""
    server = make_server()
    server.stop()
    recorder = Recorder()
    adapter = RedisPubSubAdapter(missive.RawMessage, recorder.processor, "c", url=server.url)
    with Running(adapter, wait=False):
        server.start()
        assert adapter.ready.wait(DEADLINE)
        with server.client() as client:
            client.publish("c", b"x")
        recorder.wait_for(1)


def test_a_server_that_is_never_there_ends_the_run_in_time(
    make_server: Callable[..., RedisServer],
) -> None:
    """With ``connect_timeout`` the first connection is not tried for ever."""
    server = make_server()
    server.stop()
    adapter = RedisPubSubAdapter(
        missive.RawMessage, Recorder().processor, url=server.url, connect_timeout=0.2
    )
    with Running(adapter, wait=False) as running:
        assert isinstance(running.fails(), missive.errors.TransportUnreachable)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_it_listens_again_after_the_server_was_away(
    make_server: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture, end: str
) -> None:
    """A server that comes back is subscribed to again, and the gap is logged with its length."""
    server = make_server()
    recorder = Recorder()
    adapter = RedisPubSubAdapter(missive.RawMessage, recorder.processor, "c", url=server.url)
    with caplog.at_level(logging.WARNING), Running(adapter):
        getattr(server, end)()
        eventually(lambda: not adapter.ready.is_set(), "the loss was not noticed")
        server.start()
        assert adapter.ready.wait(DEADLINE)
        with server.client() as client:
            client.publish("c", b"after")
        recorder.wait_for(1)
    assert adapter.status().reconnections == 1
    (gap,) = re.findall(r"a gap of (\d+\.\d+) s", caplog.text)
    assert float(gap) > 0


def test_a_run_without_a_loss_logs_no_gap(
    server: RedisServer, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said of gaps where there was none, nor between two runs."""
    recorder = Recorder()
    adapter = RedisPubSubAdapter(missive.RawMessage, recorder.processor, "c", url=server.url)
    with caplog.at_level(logging.WARNING):
        for count in (1, 2):
            with Running(adapter):
                client.publish("c", b"x")
                recorder.wait_for(count)
    assert not caplog.records


def test_what_a_slow_consumer_loses_is_logged(
    make_server: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    """A server that drops the adapter because it reads too slowly leaves a gap in the log.

    The gap begins when the handler that held the adapter up began, not when it returned.
    """
    server = make_server(**{"client-output-buffer-limit": "pubsub 64kb 0 0"})
    held, go_on = threading.Event(), threading.Event()
    held_since: list[float] = []

    def act(message: missive.Message, ctx: missive.HandlingContext[missive.Message]) -> None:
        if message.raw_data == b"hold":
            held_since.append(time.monotonic())
            held.set()
            assert go_on.wait(DEADLINE)
        ctx.ack()

    recorder = Recorder(act)
    adapter = RedisPubSubAdapter(missive.RawMessage, recorder.processor, "c", url=server.url)
    with caplog.at_level(logging.WARNING), Running(adapter), server.client() as client:
        client.publish("c", b"hold")
        assert held.wait(DEADLINE)
        published = 0
        while client.publish("c", b"x" * 60_000):  # until the server has dropped the adapter
            published += 1
        held_for = time.monotonic() - held_since[0]
        go_on.set()
        eventually(lambda: "a gap of" in caplog.text, "the gap was not logged")
        assert adapter.ready.wait(DEADLINE)
        client.publish("c", b"after")
        eventually(lambda: b"after" in recorder.bodies, "it does not listen again")
    assert recorder.bodies.count(b"x" * 60_000) <= published
    (gap,) = re.findall(r"a gap of (\d+\.\d+) s", caplog.text)
    assert float(gap) >= held_for


def test_a_wrong_password_ends_the_run_with_a_clear_error(
    make_server: Callable[..., RedisServer],
) -> None:
    """Trying a wrong password again would never help, so it is not tried again."""
    server = make_server(requirepass="right")
    for url in (server.url, server.url.replace("//", "//:wrong@")):
        adapter = RedisPubSubAdapter(missive.RawMessage, Recorder().processor, url=url)
        with Running(adapter, wait=False) as running:
            error = running.fails()
        assert isinstance(error, RedisRefused)
        assert error.code == ("WRONGPASS" if "wrong" in url else "NOAUTH")
        assert "wrong@" not in str(error)
        assert "password" in str(error)


def test_a_channel_that_the_user_may_not_hear_ends_the_run(
    server: RedisServer, client: redis.Redis
) -> None:
    """A user whom the server denies the channel is told so, and the run ends."""
    client.acl_setuser("deaf", enabled=True, nopass=True, commands=["+@all"], channels=["allowed"])
    url = server.url.replace("//", "//deaf:@")
    adapter = RedisPubSubAdapter(missive.RawMessage, Recorder().processor, "denied", url=url)
    with Running(adapter, wait=False) as running:
        error = running.fails()
    assert isinstance(error, RedisRefused)
    assert error.code == "NOPERM"
    recorder = Recorder()
    adapter = RedisPubSubAdapter(missive.RawMessage, recorder.processor, "allowed", url=url)
    with Running(adapter):
        client.publish("allowed", b"x")
        recorder.wait_for(1)


def test_the_settings_of_a_client_are_used(server: RedisServer) -> None:
    """A client's address, database and name hold; how it decodes and retries does not."""
    with server.client(
        decode_responses=True, client_name="ours", health_check_interval=1
    ) as client:
        recorder = Recorder()
        adapter = RedisPubSubAdapter(missive.RawMessage, recorder.processor, "c", client=client)
        with Running(adapter):
            names = [info["name"] for info in client.client_list(_type="pubsub")]
            client.publish("c", b"\xff")
            recorder.wait_for(1)
    assert names == ["ours"]
    assert recorder.bodies == [b"\xff"]


def test_several_workers_hear_what_one_does(server: RedisServer, client: redis.Redis) -> None:
    """With several workers each message is handled once."""
    recorder = Recorder()
    adapter = RedisPubSubAdapter(
        missive.RawMessage, recorder.processor, "c", url=server.url, workers=4
    )
    bodies = [b"%d" % number for number in range(500)]
    with Running(adapter):
        for body in bodies:
            client.publish("c", body)
        recorder.wait_for(len(bodies))
    assert sorted(recorder.bodies) == sorted(bodies)
