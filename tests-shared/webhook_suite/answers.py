"""What the sender is answered, by what became of the message."""

from __future__ import annotations

import json
import logging

import pytest
from missive import (
    Breaker,
    JSONMessage,
    MemoryDLQ,
    Processor,
    RawMessage,
    Retry,
    TestAdapter,
    otherwise,
)

from webhook_suite import make_adapter

SECRET_CONTENT = b"raise card=4111111111111111"


@pytest.fixture
def client(client_of, processor):
    """A client of an adapter without options."""
    adapter = make_adapter(RawMessage, processor)
    yield client_of(adapter)
    adapter.close()


def test_acked(client):
    """A message that was acked is answered 200 with ack."""
    answer = client.post(b"ack")
    assert (answer.status, answer.json) == (200, {"result": "ack"})
    assert answer.headers["Content-Type"] == "application/json"


def test_nacked(client):
    """A message that was nacked is answered 500 with nack, and nothing says when to try again."""
    answer = client.post(b"nack")
    assert (answer.status, answer.json) == (500, {"result": "nack"})
    assert "Retry-After" not in answer.headers


def test_nack_is_configured(client_of, processor):
    """Status and Retry-After of a nack are those that were configured."""
    client = client_of(make_adapter(RawMessage, processor, nack_status=429, retry_after=30))
    answer = client.post(b"nack")
    assert (answer.status, answer.json) == (429, {"result": "nack"})
    assert answer.headers["Retry-After"] == "30"
    client.app.close()


@pytest.mark.parametrize("body", [b"raise", b"forget", b"none of these"])
def test_dead_lettered(client, processor, body):
    """What cannot be processed is answered 200 with dlq once the DLQ has it."""
    processor.set_dlq(dlq := {})
    answer = client.post(body)
    assert (answer.status, answer.json) == (200, {"result": "dlq"})
    assert [message.raw_data for message, _ in dlq.values()] == [body]


@pytest.mark.parametrize("body", [b"forget", b"none of these", SECRET_CONTENT])
def test_unsettled_without_dlq(client, body, caplog):
    """Without a DLQ a failure is answered 500, logged, and tells the sender nothing."""
    answer = client.post(body)
    assert (answer.status, answer.json) == (500, {"result": "error"})
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "answered 500" in record.getMessage()


def test_log_shows_no_content(client, caplog):
    """Neither the log nor the response shows content, which the log has at DEBUG alone."""
    caplog.set_level(logging.INFO)
    answer = client.post(SECRET_CONTENT)
    assert b"card=4111" not in answer.body
    assert "card=4111" not in caplog.text
    assert "RuntimeError" in caplog.text
    caplog.set_level(logging.DEBUG)
    client.post(SECRET_CONTENT)
    assert "4111" in caplog.text


def test_undecodable_without_dlq(client_of, caplog):
    """A message that a matcher cannot decode is answered 500 where there is no DLQ."""
    processor: Processor[JSONMessage] = Processor()

    @processor.handle_for(lambda message: message.get_json()["kind"] == "a")
    def handle(message, ctx):
        ctx.ack()

    client = client_of(make_adapter(JSONMessage, processor))
    assert client.post(b"{").json == {"result": "error"}
    assert "DecodingError" in caplog.text
    client.app.close()


def test_dlq_write_failed(client, processor, full_store, caplog):
    """A dead letter that could not be written is answered 500, and the adapter is not ready."""
    processor.set_dlq(full_store)
    assert client.post(b"ack").status == 200
    assert client.app.ready.is_set()
    answer = client.post(b"forget")
    assert (answer.status, answer.json) == (500, {"result": "error"})
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]
    assert not client.app.ready.is_set()
    full_store.full = False
    assert client.post(b"forget").json == {"result": "dlq"}
    assert client.app.ready.is_set()


def test_observed(client, processor):
    """An on_settled hook changes nothing of the answer, and sees every outcome."""
    seen = []
    processor.on_settled(lambda ctx, settled: seen.append(settled.outcome))
    processor.set_dlq({})
    answers = [client.post(body).json["result"] for body in (b"ack", b"nack", b"raise")]
    assert answers == ["ack", "nack", "dlq"]
    assert [outcome.value for outcome in seen] == ["acked", "nacked", "dead-lettered"]


def test_settles_as_the_test_client_does(client, processor):
    """The test client, given this adapter's capabilities, settles as the adapter does."""
    test_client = processor.test_client(capabilities=client.app.capabilities)
    assert isinstance(test_client, TestAdapter)
    assert test_client.send(b"nack").value == "nacked"
    assert client.post(b"nack").json == {"result": "nack"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"])
def test_other_methods(client, method):
    """Any method but POST is answered 405, with the one that is allowed."""
    answer = client.request(method, "/")
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"
    assert answer.body == b"" if method == "HEAD" else answer.json


def test_methods_are_exact(client):
    """A method that only looks like POST is another one."""
    assert client.post(b"ack", REQUEST_METHOD="post").status == 405


@pytest.mark.parametrize("path", ["/other", "//", "/./", "/../", "/%2e", "/ack/", "/\x00", "/\xff"])
def test_other_paths(client, path):
    """Any other path is answered 404, however close it looks."""
    assert client.post(b"ack", path).status == 404
    assert client.get(path).status == 404


def test_path(client_of, processor):
    """A path of one's own takes messages, and the root no more."""
    client = client_of(make_adapter(RawMessage, processor, path="/hooks/grün"))
    assert client.post(b"ack", "/hooks/gr\xc3\xbcn").status == 200
    for path in ("/", "/hooks", "/hooks/grün/"):
        assert client.post(b"ack", path).status == 404
    client.app.close()


def test_mounted_at_its_root(client_of, processor):
    """An application that is mounted on a prefix takes what is posted to the prefix itself."""
    client = client_of(make_adapter(RawMessage, processor))
    assert client.post(b"ack", "", SCRIPT_NAME="/github").status == 200
    client.app.close()


def test_content_types(client_of, processor):
    """Where media types are given others are answered 415 unread; parameters and case are free."""
    adapter = make_adapter(RawMessage, processor, content_types=["application/JSON"])
    client = client_of(adapter)
    for good in ("application/json", "Application/Json; charset=utf-8"):
        assert client.post(b"ack", headers={"Content-Type": good}).status == 200
    for bad in ("text/plain", "application/json+x", "", "application"):
        assert client.post(b"ack", headers={"Content-Type": bad}).status == 415
        assert client.unread == 3
    assert client.post(b"ack").status == 415
    adapter.close()


def test_any_content_type(client):
    """Any media type is taken unless some are given; forms arrive as their raw bytes."""
    for media_type in ("application/x-www-form-urlencoded", "multipart/form-data", "nonsense"):
        assert client.post(b"ack=1&b=%20", headers={"Content-Type": media_type}).status == 200


def test_content_encoding(client):
    """A coding but gzip is answered 415 unread, and the answer says which codings would do."""
    for coding in ("br", "deflate", "gzip, gzip", "identity, br", "x"):
        answer = client.post(b"ack", headers={"Content-Encoding": coding})
        assert answer.status == 415
        assert answer.headers["Accept-Encoding"] == "gzip, identity"
        assert client.unread == 3
    for coding in ("identity", "Identity", ""):
        assert client.post(b"ack", headers={"Content-Encoding": coding}).status == 200


def test_bodies_are_json(client):
    """Every body of a response is JSON, those of refusals too."""
    for answer in (client.post(b"ack"), client.get("/"), client.get("/none")):
        assert json.loads(answer.body)


def retrying(dlq):
    """Return a processor whose handler fails, and the attempts it made."""
    processor: Processor[RawMessage] = Processor()
    attempts: list[int] = []

    @processor.handle_for(otherwise, retry=Retry(attempts=3, delay=7.2, jitter=0.0))
    def handle(message, ctx):
        attempts.append(ctx.attempt)
        raise ConnectionError("the database is down")

    processor.set_dlq(dlq)
    return processor, attempts


def test_deferred(client_of):
    """A message that its store keeps for a retry is answered 202: it need not be sent again."""
    store = MemoryDLQ()
    processor, attempts = retrying(store)
    client = client_of(make_adapter(RawMessage, processor))
    answer = client.post(b"a")
    assert (answer.status, answer.json) == (202, {"result": "deferred"})
    assert attempts == [1]
    assert (store.counts().dead, store.counts().deferred) == (0, 1)
    client.app.close()


@pytest.mark.parametrize("dlq", [None, {}])
def test_without_a_store_the_sender_is_told_when_to_try_again(client_of, dlq):
    """The delay of the policy, rounded up, is the Retry-After of a 503."""
    processor, attempts = retrying(dlq)
    client = client_of(make_adapter(RawMessage, processor, nack_status=429, retry_after=1))
    answer = client.post(b"a")
    assert (answer.status, answer.json) == (503, {"result": "nack"})
    assert answer.headers["Retry-After"] == "8"
    assert attempts == [1]
    client.app.close()


def test_a_nack_with_a_delay_tells_the_sender_when_to_try_again(client_of):
    """A handler may say so itself."""
    processor: Processor[RawMessage] = Processor()
    processor.handle_for(otherwise)(lambda message, ctx: ctx.nack(delay=30))
    client = client_of(make_adapter(RawMessage, processor))
    answer = client.post(b"a")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
    client.app.close()


@pytest.mark.parametrize(("dlq", "status"), [(MemoryDLQ(), 202), ({}, 503)])
def test_an_open_breaker_dead_letters_nothing(client_of, dlq, status):
    """Messages wait in the store, or with their sender, while a dependency is down."""
    processor: Processor[RawMessage] = Processor()
    calls: list[bytes] = []

    @processor.handle_for(otherwise, breaker=Breaker(on=ConnectionError, failures=1, pause=60))
    def handle(message, ctx):
        calls.append(message.raw_data)
        raise ConnectionError("down")

    processor.set_dlq(dlq)
    client = client_of(make_adapter(RawMessage, processor))
    assert [client.post(b"%d" % number).status for number in range(3)] == [status] * 3
    assert calls == [b"0"]
    assert len(dlq) == 0
    client.app.close()
