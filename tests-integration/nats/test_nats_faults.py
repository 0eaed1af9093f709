"""What becomes of messages when the server, the network, a consumer or a stream fails."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import missive
import pytest
from missive.adapters.nats import NATSAdapter, NATSSubjectAdapter
from missive.conformance import Proxy
from missive.dlq.sqlite import SQLiteDLQ
from nats_server import Client, NATSServer
from patience import DEADLINE, eventually
from recorder import Recorder
from running import Running

WORKER = Path(__file__).parent / "nats_worker.py"


def adapter_of(recorder: Recorder, url: str, stream: str, **options: Any) -> Any:
    """Build an adapter whose heart beats fast."""
    given = {"servers": url, "heartbeat": 0.5, **options}
    return NATSAdapter(missive.RawMessage, recorder.processor, stream, "workers", **given)


@pytest.mark.parametrize("fault", ["stop", "kill"])
def test_a_restart_of_the_server_is_survived(
    make_server: Callable[..., NATSServer], fault: str
) -> None:
    """What was fetched before is handled, and acked after the server is back.

    Once, unless the server forgot in a crash that it had delivered it.
    """
    server, release = make_server(), threading.Event()
    client = server.client()
    stream = client.stream()
    client.consumer(stream, ack_wait=600)

    def wait(message: Any, ctx: Any) -> None:
        release.wait(60)
        ctx.ack()

    recorder = Recorder(wait)
    client.publish(f"{stream}.a", b"1", b"2", b"3")
    adapter = adapter_of(recorder, server.url, stream, workers=2, max_in_flight=2)
    with Running(adapter):
        recorder.wait_for(2)
        getattr(server, fault)()
        eventually(lambda: not adapter.ready.is_set(), "the loss was not noticed")
        server.start()
        assert adapter.ready.wait(60)
        release.set()
        client.publish(f"{stream}.a", b"4")
        recorder.wait_for(4)
        eventually(lambda: client.remaining(stream) == 0, "they were not acked")
    assert set(recorder.bodies) == {b"1", b"2", b"3", b"4"}
    assert fault == "kill" or len(recorder.bodies) == 4
    client.close()


@pytest.mark.parametrize("idle", [True, False])
def test_a_silent_server_is_noticed_by_its_heartbeat(
    server: NATSServer, client: Client, idle: bool
) -> None:
    """A half-open connection is lost within three heartbeats, and opened again."""
    stream, release = client.stream(), threading.Event()
    client.consumer(stream)

    def wait(message: Any, ctx: Any) -> None:
        release.wait(60)
        ctx.ack()

    recorder = Recorder(wait)
    with Proxy("127.0.0.1", server.port) as proxy:
        url = f"nats://127.0.0.1:{proxy.address[1]}"
        adapter = adapter_of(recorder, url, stream, workers=2)
        with Running(adapter):
            if not idle:
                client.publish(f"{stream}.a", b"busy")
                recorder.wait_for(1)
            proxy.stall()
            eventually(lambda: not adapter.ready.is_set(), "the silence was not noticed")
            proxy.resume()
            release.set()
            assert adapter.ready.wait(60)
            client.publish(f"{stream}.a", b"after")
            eventually(lambda: b"after" in recorder.bodies, "nothing came afterwards")
            eventually(lambda: client.remaining(stream) == 0, "they were not acked")


@pytest.mark.parametrize("what", ["consumer", "stream"])
@pytest.mark.parametrize("creates", [True, False])
def test_what_is_deleted_is_awaited_or_made_again(
    server: NATSServer, client: Client, what: str, creates: bool
) -> None:
    """While its consumer or stream is away it is not ready; it goes on when that is back."""
    stream, recorder = client.stream(), Recorder()
    client.consumer(stream)
    adapter = adapter_of(recorder, server.url, stream, create=creates)
    with Running(adapter):
        client.publish(f"{stream}.a", b"before")
        recorder.wait_for(1)
        eventually(lambda: client.remaining(stream) == 0, "it was not acked")
        if what == "consumer":
            client.run(client.jetstream.purge_stream(stream))
            client.delete(stream, "workers")
        else:
            client.delete(stream)
        eventually(lambda: adapter.status().reconnections > 0, "the loss was not noticed")
        if what == "stream":
            client.stream(stream)
        if not creates:
            client.consumer(stream)
        assert adapter.ready.wait(60)
        client.publish(f"{stream}.a", b"after")
        recorder.wait_for(2)
    assert recorder.bodies == [b"before", b"after"]
    assert client.remaining(stream) == 0


def test_too_much_that_is_unsettled_is_no_silence(server: NATSServer, client: Client) -> None:
    """Where max_ack_pending is reached the connection lasts, and messages come when there is room."""
    stream, release, held = client.stream(), threading.Event(), threading.Event()
    client.consumer(stream, max_ack_pending=2, ack_wait=600)

    def wait(message: Any, ctx: Any) -> None:
        held.set()
        release.wait(60)
        ctx.ack()

    recorder, other = Recorder(wait), Recorder()
    client.publish(f"{stream}.a", *[b"%d" % number for number in range(5)])
    with Running(adapter_of(recorder, server.url, stream, batch_size=2)):
        assert held.wait(60)
        adapter = adapter_of(other, server.url, stream)
        with Running(adapter):
            eventually(lambda: adapter._pulls._lingers, "it does not wait")
            pulls, asked = adapter._pulls, adapter._pulls._heard_at
            eventually(lambda: pulls._heard_at > asked, "no heartbeat came")
            release.set()
            eventually(lambda: client.remaining(stream) == 0, "they were not acked")
            assert adapter.status().reconnections == 0
    assert len(recorder.bodies) + len(other.bodies) == 5


def test_a_slow_subscriber_loses_messages_and_says_so(
    server: NATSServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes beyond the messages that may wait is lost, counted, and said once in the log."""
    release = threading.Event()

    def wait(message: Any, ctx: Any) -> None:
        release.wait(60)
        ctx.ack()

    recorder = Recorder(wait)
    adapter: Any = NATSSubjectAdapter(
        missive.RawMessage, recorder.processor, ["slow"], servers=server.url, pending=5
    )
    with caplog.at_level(logging.WARNING), Running(adapter):
        client.send("slow", b"first")
        recorder.wait_for(1)
        client.send("slow", *[b"%d" % number for number in range(20)])
        eventually(lambda: adapter.lost == 15, "it lost more or fewer")
        release.set()
        recorder.wait_for(6)
    assert recorder.bodies == [b"first", b"0", b"1", b"2", b"3", b"4"]
    assert len([r for r in caplog.records if "loses messages" in r.message]) == 1


def test_a_cut_connection_of_plain_subjects_is_opened_again(
    server: NATSServer, client: Client
) -> None:
    """After a cut it subscribes again."""
    recorder = Recorder()
    with Proxy("127.0.0.1", server.port) as proxy:
        adapter: Any = NATSSubjectAdapter(
            missive.RawMessage,
            recorder.processor,
            ["cut.>"],
            servers=f"nats://127.0.0.1:{proxy.address[1]}",
        )
        with Running(adapter):
            client.send("cut.a", b"before")
            recorder.wait_for(1)
            proxy.reset()
            eventually(lambda: adapter.status().reconnections == 1, "it did not connect again")
            assert adapter.ready.wait(60)
            client.send("cut.b", b"after")
            recorder.wait_for(2)
    assert [m.source for m in recorder.messages] == ["cut.a", "cut.b"]


def test_a_poison_is_dead_lettered_alone(
    server: NATSServer, client: Client, tmp_path: Path
) -> None:
    """Messages that were held beside one that kills its process are handled; that one is kept."""
    stream, bodies = client.stream(), [b"%d" % number for number in range(300)]
    client.consumer(stream, ack_wait=2)
    client.publish(f"{stream}.a", *bodies[:100], b"poison", *bodies[100:])
    handled, letters = tmp_path / "handled", tmp_path / "letters.db"
    command = [sys.executable, str(WORKER), server.url, stream, str(handled), str(letters)]
    deaths = 0
    while not worked_until_empty(command, client, stream):
        deaths += 1
        assert deaths < 20
    assert 1 < deaths <= 5  # fewer where a machine is so busy that a lease ends by itself
    assert set(handled.read_bytes().split()) == set(bodies)
    with SQLiteDLQ(letters) as dlq:
        assert [message.raw_data for message, _ in dlq.values()] == [b"poison"]
        assert [reason for _, reason in dlq.values()] == ["delivered 5 times without being settled"]


def worked_until_empty(command: list[str], client: Client, stream: str) -> bool:
    """Run a worker until nothing is left; return False where it died before."""
    with subprocess.Popen(command) as worker:
        eventually(
            lambda: worker.poll() is not None or client.remaining(stream) == 0, "messages are left"
        )
        if worker.poll() is not None:
            return False
        worker.terminate()
        worker.wait(DEADLINE)
    return True
