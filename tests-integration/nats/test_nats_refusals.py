"""What NATS refuses, and what is refused of NATS: permissions, credentials, TLS, consumers."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import missive
import nkeys
import pytest
from missive.adapters.nats import NATSAdapter, NATSRefused
from nats_server import Client, NATSServer
from patience import eventually
from recorder import Recorder
from running import Running

PAGE = Path(__file__).resolve().parents[2] / "docs/transports/nats.md"


def adapter_of(recorder: Recorder, url: str, stream: str, **options: Any) -> Any:
    """Build an adapter."""
    given = {"servers": url, "heartbeat": 0.5, **options}
    return NATSAdapter(missive.RawMessage, recorder.processor, stream, "workers", **given)


def refusal_of(adapter: Any) -> NATSRefused:
    """Run an adapter that is refused; return the error."""
    with Running(adapter) as running:
        error = running.fails()
    assert isinstance(error, NATSRefused)
    return error


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"ack_policy": "none"}, "ack_policy explicit"),
        ({"ack_policy": "all"}, "ack_policy explicit"),
        ({"max_deliver": 5}, "max_deliver to -1, or above 5"),
        ({"headers_only": True}, "without headers_only"),
        ({"deliver_subject": "pushed"}, "without deliver_subject"),
        ({"filter_subject": "other.a"}, "give no filter_subjects"),
    ],
)
def test_a_consumer_that_cannot_work_is_refused(
    server: NATSServer, client: Client, settings: dict[str, Any], remedy: str
) -> None:
    """The error names the setting to change."""
    stream = client.stream("other" if "filter_subject" in settings else None)
    client.consumer(stream, **settings)
    filters = ["other.b"] if "filter_subject" in settings else []
    error = refusal_of(adapter_of(Recorder(), server.url, stream, filter_subjects=filters))
    assert remedy in str(error)


def test_a_consumer_is_made_as_it_was_asked_for(server: NATSServer, client: Client) -> None:
    """create=True makes a durable consumer with explicit acks, the filter and the ack_wait given."""
    stream, recorder = client.stream(), Recorder()
    client.publish(f"{stream}.a", b"a")
    client.publish(f"{stream}.b", b"b")
    options = {"create": True, "retry_after": 7.5, "filter_subjects": f"{stream}.b"}
    with Running(adapter_of(recorder, server.url, stream, **options)):
        recorder.wait_for(1)
    config = client.info(stream).config
    assert recorder.bodies == [b"b"]
    assert (config.ack_policy, config.ack_wait, config.max_deliver) == ("explicit", 7.5, -1)


def test_several_filters_need_a_server_that_knows_them(server: NATSServer, client: Client) -> None:
    """A server that has one filter a consumer is refused; a newer one gets all of them."""
    stream, recorder = client.stream(), Recorder()
    for name in ("a", "b", "c"):
        client.publish(f"{stream}.{name}", name.encode())
    filters = [f"{stream}.a", f"{stream}.c"]
    adapter = adapter_of(recorder, server.url, stream, create=True, filter_subjects=filters)
    if server.version < (2, 10):
        assert "2.10 or newer" in str(refusal_of(adapter))
        return
    with Running(adapter):
        recorder.wait_for(2)
    assert recorder.bodies == [b"a", b"c"]


def test_what_is_missing_at_the_start_is_refused(server: NATSServer, client: Client) -> None:
    """A missing stream or consumer ends the run, with the code of JetStream and the remedy."""
    error = refusal_of(adapter_of(Recorder(), server.url, "not-there", create=True))
    assert (error.code, "create the stream" in str(error)) == (10059, True)
    error = refusal_of(adapter_of(Recorder(), server.url, client.stream()))
    assert (error.code, "create=True" in str(error)) == (10014, True)


# Permissions and credentials.


def permitted(publish: list[str], subscribe: list[str]) -> str:
    """Return the configuration of a server with an operator of its own, and a user with these."""
    rights = json.dumps({"publish": publish, "subscribe": subscribe})
    return (
        'authorization { users: [ { user: "root", password: "root" },'
        f' {{ user: "ada", password: "pw", permissions: {rights} }} ] }}'
    )


def listed() -> tuple[list[str], list[str]]:
    """Return the permissions that the page lists, for the stream "work"."""
    found: dict[str, list[str]] = {"publish": [], "subscribe": []}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        words = [word.strip() for word in line.split("|")]
        if len(words) == 4 and words[1].split(",")[0] in found:
            subjects = [part for part in words[2].split("`") if part[:1] in ("$", "_")]
            found[words[1].split(",")[0]] += [
                s.replace("STREAM.CONSUMER", "work.workers") for s in subjects if "." in s
            ]
    return found["publish"], found["subscribe"]


def test_the_permissions_of_the_page_are_enough(make_server: Callable[..., NATSServer]) -> None:
    """A user with the permissions that the page lists makes a consumer, reads and settles."""
    server = make_server(permitted(*listed()))
    client = server.client(user="root", password="root")
    client.stream("work")
    client.publish("work.a", b"1", b"2")
    recorder = Recorder()
    url = server.url.replace("//", "//ada:pw@")
    with Running(adapter_of(recorder, url, "work", create=True)):
        recorder.wait_for(2)
    assert client.remaining("work") == 0
    client.close()


@pytest.mark.parametrize("lacks", ["INFO", "MSG.NEXT", "$JS.ACK", "_INBOX"])
def test_a_permission_that_is_missing_ends_the_run(
    make_server: Callable[..., NATSServer], lacks: str
) -> None:
    """Without one of these permissions the run ends, and the error names the subject."""
    publish, subscribe = (
        [subject for subject in subjects if lacks not in subject] or ["nothing"]
        for subjects in listed()
    )
    server = make_server(permitted(publish, subscribe))
    client = server.client(user="root", password="root")
    client.stream("work")
    client.consumer("work")
    client.publish("work.a", b"1")
    error = refusal_of(adapter_of(Recorder(), server.url.replace("//", "//ada:pw@"), "work"))
    assert lacks.lower() in str(error).lower()
    client.close()


def test_a_wrong_password_or_token_ends_the_run(make_server: Callable[..., NATSServer]) -> None:
    """The error says what to check, and shows neither."""
    server = make_server('authorization { token: "t0ken" }')
    error = refusal_of(adapter_of(Recorder(), server.url.replace("//", "//wr0ng@"), "work"))
    assert "check user and password, token" in str(error)
    assert "wr0ng" not in str(error)
    client = server.client(token="t0ken")
    client.consumer(client.stream("work"))
    with Running(adapter_of(Recorder(), server.url.replace("//", "//t0ken@"), "work")):
        pass
    client.close()


def test_an_nkey_is_read_from_its_file(
    make_server: Callable[..., NATSServer], tmp_path: Path
) -> None:
    """A user is known by the seed in a file."""
    seed, public = identity(nkeys.PREFIX_BYTE_USER)
    server = make_server(f"authorization {{ users: [ {{ nkey: {public} }} ] }}")
    path = tmp_path / "user.nk"
    path.write_bytes(seed)
    client = server.client(nkeys_seed=str(path))
    client.consumer(client.stream("work"))
    client.publish("work.a", b"1")
    recorder = Recorder()
    with Running(adapter_of(recorder, server.url, "work", nkey=str(path))):
        recorder.wait_for(1)
    client.close()


def identity(prefix: int) -> tuple[bytes, str]:
    """Make a seed and its public key."""
    seed: bytes = nkeys.encode_seed(os.urandom(32), prefix)
    return seed, nkeys.from_seed(bytearray(seed)).public_key.decode()


def signed(seed: bytes, issuer: str, subject: str, claims: dict[str, Any]) -> str:
    """Make a token of NATS: what an operator or an account says of somebody."""

    def encoded(part: object) -> bytes:
        text = part if isinstance(part, bytes) else json.dumps(part).encode()
        return base64.urlsafe_b64encode(text).rstrip(b"=")

    body = {
        "iss": issuer,
        "sub": subject,
        "iat": 1,
        "name": "test",
        "nats": {"version": 2, **claims},
    }
    digest = hashlib.sha256(json.dumps(body).encode()).digest()
    body["jti"] = base64.b32encode(digest).rstrip(b"=").decode()
    content = encoded({"typ": "JWT", "alg": "ed25519-nkey"}) + b"." + encoded(body)
    signature: bytes = nkeys.from_seed(bytearray(seed)).sign(content)
    return (content + b"." + encoded(signature)).decode()


def test_a_credentials_file_is_read(make_server: Callable[..., NATSServer], tmp_path: Path) -> None:
    """A user of an operator's account connects with a credentials file; a foreign one is refused."""
    operator, account, system, user, foreign = (
        identity(prefix)
        for prefix in (
            nkeys.PREFIX_BYTE_OPERATOR,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_USER,
            nkeys.PREFIX_BYTE_ACCOUNT,
        )
    )
    free = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    limits = {**free, **stored, "wildcards": True}
    accounts = {
        key: signed(*operator, key, {"type": "account", "limits": allowed})
        for key, allowed in ((account[1], limits), (system[1], {**free, "wildcards": True}))
    }
    preload = "\n".join(f"{key}: {token}" for key, token in accounts.items())
    claims = {"type": "operator", "system_account": system[1]}
    server = make_server(
        f"operator: {signed(*operator, operator[1], claims)}\n"
        f"system_account: {system[1]}\nresolver: MEMORY\nresolver_preload: {{\n{preload}\n}}"
    )

    def credentials(name: str, issuer: tuple[bytes, str]) -> str:
        path = tmp_path / name
        said = {"type": "user", "subs": -1, "data": -1, "payload": -1}
        token = signed(*issuer, user[1], said)
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user[0].decode()}\n------END USER NKEY SEED------\n"
        )
        return str(path)

    known = credentials("known.creds", account)
    client = server.client(user_credentials=known)
    client.consumer(client.stream("work"))
    client.publish("work.a", b"1")
    recorder = Recorder()
    with Running(adapter_of(recorder, server.url, "work", credentials=known)):
        recorder.wait_for(1)
    unknown = credentials("unknown.creds", foreign)
    error = refusal_of(adapter_of(Recorder(), server.url, "work", credentials=unknown))
    assert "credentials" in str(error)
    client.close()


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that only those trust who are told to, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        if os.environ.get("CI"):
            pytest.fail("no openssl to make a certificate with")
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "certificate.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(command, check=True, capture_output=True)
    return paths


def test_tls_is_verified(
    make_server: Callable[..., NATSServer], certificate: tuple[Path, Path]
) -> None:
    """With the certificate authority it connects; without it the server's certificate is refused."""
    server = make_server(f'tls {{ cert_file: "{certificate[0]}", key_file: "{certificate[1]}" }}')
    context = ssl.create_default_context(cafile=str(certificate[0]))
    client = server.client(tls=context)
    client.consumer(client.stream("work"))
    client.publish("work.a", b"1")
    recorder = Recorder()
    url = server.url.replace("nats://", "tls://")
    query = f"?stream=work&consumer=workers&cafile={certificate[0]}"
    with Running(NATSAdapter.from_url(f"{url}/{query}", missive.RawMessage, recorder.processor)):
        recorder.wait_for(1)
    for scheme in (url, server.url):
        error = refusal_of(adapter_of(Recorder(), scheme, "work"))
        assert "cafile" in str(error)
    client.close()


def test_a_server_without_tls_gets_no_password(server: NATSServer) -> None:
    """tls:// is refused by what offers no TLS, before a secret is sent; the error says so."""
    url = server.url.replace("nats://", "tls://ada:s3cret@")
    error = refusal_of(adapter_of(Recorder(), url, "work"))
    assert "offers no TLS" in str(error)
    url = server.url.replace("nats://", "tls://")
    assert "offers no TLS" in str(refusal_of(adapter_of(Recorder(), url, "work")))


def test_a_server_without_jetstream_is_awaited(
    make_server: Callable[..., NATSServer], caplog: pytest.LogCaptureFixture
) -> None:
    """Where no JetStream answers it tries again until stop, and says what to look at."""
    server = make_server()
    server.stop()
    server.jetstream = False
    server.start()
    with Running(adapter_of(Recorder(), server.url, "work"), wait=False):
        eventually(lambda: "is it enabled" in caplog.text, "nothing was said")
