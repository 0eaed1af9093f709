"""Redis over TLS, behind a proxy that speaks it."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import missive
import pytest
import redis
from missive.adapters.redis import RedisPubSubAdapter, RedisRefused, RedisStreamsAdapter, links
from patience import eventually
from proxy import Proxy
from recorder import Recorder
from redis_server import RedisServer
from running import Running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that only those trust who are told to, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        complaint = "no openssl to make a certificate with"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "certificate.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(command, check=True, capture_output=True)
    return paths


@pytest.fixture
def proxy(server: RedisServer, certificate: tuple[Path, Path]) -> Iterator[Proxy]:
    """Return a proxy before the server that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with Proxy(server.port, context) as proxy:
        yield proxy


BODIES = [b"", *[b"%d" % number for number in range(2000)], b"x" * 200_000]


@pytest.mark.parametrize("chunk_size", [links.CHUNK_SIZE, 1000])
def test_pubsub_over_tls(
    proxy: Proxy,
    client: redis.Redis,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    chunk_size: int,
) -> None:
    """All that is published comes, however TLS cuts it, and how little of it is read at once."""
    monkeypatch.setattr(links, "CHUNK_SIZE", chunk_size)
    recorder = Recorder()
    url = f"rediss://127.0.0.1:{proxy.port}?ssl_ca_certs={certificate[0]}&channels=news"
    url += "&health_check_interval=3600"  # the answer to a PING would wake it anyhow
    adapter = missive.from_url(url, missive.RawMessage, recorder.processor)
    assert isinstance(adapter, RedisPubSubAdapter)
    with Running(adapter):
        for body in BODIES:
            client.publish("news", body)
        recorder.wait_for(len(BODIES))
    assert recorder.bodies == BODIES


@pytest.mark.parametrize("workers", [1, 4])
def test_streams_over_tls(
    proxy: Proxy, client: redis.Redis, certificate: tuple[Path, Path], workers: int
) -> None:
    """Entries come and are acked, and a connection that is cut is opened again."""
    recorder = Recorder()
    url = f"rediss+streams://127.0.0.1:{proxy.port}?ssl_ca_certs={certificate[0]}"
    url += f"&streams=orders&group=billing&retry_after=1&workers={workers}"
    adapter: Any = missive.from_url(url, missive.RawMessage, recorder.processor)
    assert isinstance(adapter, RedisStreamsAdapter)
    with Running(adapter):
        for body in BODIES:
            client.xadd("orders", {"data": body})
        recorder.wait_for(len(BODIES))
        proxy.cut()
        client.xadd("orders", {"data": "last"})
        eventually(lambda: b"last" in recorder.bodies, "it did not go on")
    assert set(recorder.bodies) == {*BODIES, b"last"}
    assert client.xpending("orders", "billing")["pending"] == 0


@pytest.mark.parametrize("scheme", ["rediss", "rediss+streams"])
def test_a_certificate_that_nobody_vouches_for_ends_the_run(proxy: Proxy, scheme: str) -> None:
    """It would be the same certificate the next time."""
    url = f"{scheme}://127.0.0.1:{proxy.port}"
    options = {"streams": "orders", "group": "billing"} if "streams" in scheme else {}
    adapter: Any = missive.from_url(url, missive.RawMessage, Recorder().processor, **options)
    with Running(adapter, wait=False) as running:
        error = running.fails()
    assert isinstance(error, RedisRefused)
    assert error.code == "CERTIFICATE_VERIFY_FAILED"


def test_an_answer_that_is_no_tls_ends_the_run() -> None:
    """A URL that promises TLS is not fallen back from."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            # The client may hang up as soon as it has seen enough.
            with listener.accept()[0] as connection, suppress(OSError):
                connection.recv(1024)
                connection.sendall(b"-ERR what is this?\r\n")
                connection.recv(1024)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"rediss://127.0.0.1:{listener.getsockname()[1]}"
        adapter: Any = missive.from_url(url, missive.RawMessage, Recorder().processor)
        with Running(adapter, wait=False) as running:
            error = running.fails()
        thread.join()
    assert isinstance(error, RedisRefused)
    assert error.code == "WRONG_VERSION_NUMBER"
