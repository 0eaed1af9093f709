"""What becomes of messages when leaders of a cluster change under load."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import missive
import nats.errors
import pytest
from missive.adapters.nats import NATSAdapter
from nats.js.errors import APIError
from nats_server import Client, NATSServer
from patience import eventually
from recorder import Recorder
from running import Running
from servers import free_port

#: The APIs that have a leader step down; another is elected.
STEPDOWNS = ("STREAM.LEADER.STEPDOWN.WORK", "CONSUMER.LEADER.STEPDOWN.WORK.workers")


@pytest.fixture
def cluster(program: str, tmp_path: Path) -> Iterator[list[NATSServer]]:
    """Return three servers of one cluster."""
    servers: list[NATSServer] = []
    for attempt in range(5):
        servers = servers_of(program, tmp_path / str(attempt))
        try:
            for server in servers:
                server.start()
            break
        except AssertionError:  # somebody took a port meanwhile
            stop(servers)
            if attempt == 4:
                raise
    yield servers
    stop(servers)


def servers_of(program: str, folder: Path) -> list[NATSServer]:
    """Return the servers of a cluster, which know each other's ports."""
    ports = [free_port() for _ in range(3)]
    routes = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in ports)
    servers: list[NATSServer] = []
    for number, port in enumerate(ports):
        own = folder / f"server-{number}"
        own.mkdir(parents=True)
        listens = f'cluster {{ name: c, listen: "127.0.0.1:{port}", routes: [{routes}] }}'
        servers.append(NATSServer(program, own, f"server_name: n{number}\n{listens}"))
    return servers


def stop(servers: list[NATSServer]) -> None:
    """End servers."""
    for server in servers:
        server.stop()


def taken(act: Callable[[], object]) -> bool:
    """Do something; return whether the cluster, which may have no leader, has confirmed it."""
    with suppress(APIError, nats.errors.Error, TimeoutError):
        act()
        return True
    return False


@pytest.mark.faults
def test_no_message_is_lost_while_leaders_step_down(cluster: list[NATSServer]) -> None:
    """Of a replicated stream everything that was confirmed is handled and settled, in one run."""
    urls = [server.url for server in cluster]
    client, recorder = Client(urls[0]), Recorder()
    make = partial(client.stream, "WORK", num_replicas=3)
    eventually(partial(taken, make), "no leader was elected")
    eventually(partial(taken, partial(client.consumer, "WORK")), "no consumer was made")
    adapter = NATSAdapter(missive.RawMessage, recorder.processor, "WORK", "workers", servers=urls)
    bodies = [b"%d" % number for number in range(400)]

    def publish() -> None:
        for body in bodies:
            send = partial(client.publish, "WORK.a", body)
            eventually(partial(taken, send), "a message was not confirmed")

    with Running(adapter):
        publisher = threading.Thread(target=publish)
        publisher.start()
        for number in (100, 250):
            recorder.wait_for(number)
            for name in STEPDOWNS:
                eventually(partial(stepped_down, client, name), "no leader stepped down")
        publisher.join()
        eventually(lambda: set(recorder.bodies) == set(bodies), "messages were lost")
        # An ack that reached a leader as it stepped down is lost, and its message delivered again.
        eventually(lambda: nothing_is_left(client), "messages were not settled")
    client.close()


def stepped_down(client: Client, name: str) -> bool:
    """Ask for another leader; return whether the old one has stepped down."""
    try:
        answer = client.run(client.connection.request(f"$JS.API.{name}", b"", timeout=5))
    except (nats.errors.Error, TimeoutError):
        return False
    return bool(json.loads(answer.data).get("success"))


def nothing_is_left(client: Client) -> bool:
    """Return whether everything is settled, as far as the consumer's leader can be asked."""
    left: list[int] = []
    return taken(lambda: left.append(client.remaining("WORK"))) and left == [0]
