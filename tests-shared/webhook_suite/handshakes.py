"""Handshakes: what senders ask before they send, and what only looks like it."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from missive import ConfigurationError, RawMessage
from missive.errors import InvalidHandler
from missive.webhooks import Answer, challenges

from webhook_suite import make_adapter


@pytest.fixture
def client_with(client_of, processor, handled):
    """Make a client of an adapter with a challenge."""
    adapters = []

    def make(challenge, **options):
        adapters.append(make_adapter(RawMessage, processor, challenge=challenge, **options))
        return client_of(adapters[-1])

    yield make
    for adapter in adapters:
        adapter.close()


@pytest.fixture
def handled(processor):
    """The bodies that came as far as settlement; the processor has a DLQ."""
    handled = []
    processor.set_dlq({})
    processor.on_settled(lambda ctx, settled: handled.append(settled.message.raw_data))
    return handled


META = "hub.mode=subscribe&hub.verify_token=token&hub.challenge=1158201444"


def test_meta(client_with, handled):
    """Meta's verification by GET is answered by its challenge, as plain text."""
    client = client_with(challenges.meta("token"))
    answer = client.request("GET", "/", QUERY_STRING=META)
    assert (answer.status, answer.body) == (200, b"1158201444")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.post(b"ack").status == 200
    assert handled == [b"ack"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (META.replace("=token", "=other"), 403),
        (META.replace("=token", "="), 403),
        (META.replace("=token", "=%ff"), 403),
        (META + "&hub.verify_token=token", 403),
        ("hub.mode=subscribe&hub.verify_token=token", 403),
        (META.replace("subscribe", "x"), 405),
        ("", 405),
    ],
)
def test_not_metas(client_with, query, status):
    """A GET with another token is answered 403, and one that is no verification 405."""
    client = client_with(challenges.meta("token"))
    assert client.request("GET", "/", QUERY_STRING=query).status == status


def test_echo(client_with):
    """A challenge by GET, as Nylas's, is echoed; not where it is missing or repeated."""
    client = client_with(challenges.echo())
    answer = client.request("GET", "/", QUERY_STRING="challenge=%3Cb%3E%20gr%C3%BCn")
    assert (answer.status, answer.body) == (200, "<b> grün".encode())
    for query in ("", "challenge=", "other=1", "challenge=1&challenge=2"):
        assert client.request("GET", "/", QUERY_STRING=query).status == 405
    assert client.request("HEAD", "/", QUERY_STRING="challenge=1").status == 405


def test_zoom(client_with, handled):
    """Zoom's validation by POST is answered by the token and its HMAC, and no handler sees it."""
    client = client_with(challenges.zoom("secret"))
    body = {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}}
    answer = client.post(json.dumps(body).encode())
    expected = hmac.new(b"secret", b"qgg8vlvZRS6UYooatFL8Aw", hashlib.sha256).hexdigest()
    assert answer.json == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": expected}
    assert handled == []
    for payload in (None, {}, {"plainToken": 7}, []):
        assert client.post(json.dumps({**body, "payload": payload}).encode()).json == {
            "result": "dlq"
        }
    assert len(handled) == 4


def test_cloudevents(client_with):
    """A sender of CloudEvents that asks by OPTIONS is allowed; another is answered 403."""
    client = client_with(challenges.cloudevents(["good.example"], rate=120))
    headers = {"WebHook-Request-Origin": "good.example", "WebHook-Request-Rate": "9000"}
    answer = client.request("OPTIONS", "/", headers=headers)
    assert answer.status == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "good.example"
    assert answer.headers["WebHook-Allowed-Rate"] == "120"
    assert answer.headers["Allow"] == "POST"
    headers["WebHook-Request-Origin"] = "bad.example"
    assert client.request("OPTIONS", "/", headers=headers).status == 403
    assert client.request("OPTIONS", "/").status == 405
    answer = client_with(challenges.cloudevents("good.example")).request(
        "OPTIONS", "/", headers={"WebHook-Request-Origin": "good.example"}
    )
    assert answer.headers["WebHook-Allowed-Rate"] == "*"


def test_several_challenges(client_with):
    """Several challenges are asked in turn."""
    client = client_with([challenges.meta("token"), challenges.echo()])
    assert client.request("GET", "/", QUERY_STRING=META).body == b"1158201444"
    assert client.request("GET", "/", QUERY_STRING="challenge=x").body == b"x"
    assert client.get("/").status == 405


def test_own_challenge(client_with, handled):
    """A function of one's own answers by status, headers and body; a POST is verified first."""
    seen = []

    def challenge(request):
        seen.append((request.method, request.body))
        return (202, {"X-Answer": "yes"}, "fine") if request.body == b"hello" else None

    client = client_with(challenge, verify=lambda body, headers: "X-Token" in headers)
    assert client.post(b"hello").status == 401
    assert seen == []
    answer = client.post(b"hello", headers={"X-Token": "x"})
    assert (answer.status, answer.headers["X-Answer"], answer.body) == (202, "yes", b"fine")
    assert client.post(b"ack", headers={"X-Token": "x"}).json == {"result": "ack"}
    assert handled == [b"ack"]


@pytest.mark.parametrize(
    "given", ["text", (200, {}), (99, {}, b""), (200, {"X": "a\r\nB: c"}, b"")]
)
def test_challenge_fails(client_with, given, caplog):
    """A challenge that raises, or whose answer cannot be sent, is answered 500 and logged."""
    client = client_with(lambda request: given)
    for answer in (client.get("/"), client.post(b"ack")):
        assert (answer.status, answer.json) == (500, {"result": "error"})
    assert len(caplog.records) == 2


def test_handshake_while_draining(client_with):
    """A handshake is answered 503 when the end is near, as a message is."""
    client = client_with(challenges.echo())
    client.app.stop()
    assert client.request("GET", "/", QUERY_STRING="challenge=x").status == 503


@pytest.mark.parametrize(
    ("factory", "argument"),
    [
        (challenges.meta, ""),
        (challenges.meta, None),
        (challenges.meta, "token\n"),
        (challenges.zoom, ""),
        (challenges.cloudevents, []),
        (challenges.cloudevents, [""]),
    ],
    ids=["empty", "None", "line end", "no secret", "no origin", "empty origin"],
)
def test_refused_challenges(factory, argument):
    """A challenge that would accept anybody, or nobody, is refused when it is made."""
    with pytest.raises(ConfigurationError):
        factory(argument)


@pytest.mark.parametrize("challenge", [1, "slack", [challenges.echo(), 1], lambda: None])
def test_what_cannot_challenge(processor, challenge):
    """What is not callable with a request is refused when the adapter is built."""
    with pytest.raises(InvalidHandler):
        make_adapter(RawMessage, processor, challenge=challenge)


def test_answers_have_a_short_repr():
    """The repr of an answer shows its status and not its body."""
    assert repr(Answer.text(200, "secret")) == "<Answer 200 OK, 6 bytes>"
