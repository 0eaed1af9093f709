"""Senders: presets, ids taken from the body, answers of the sender's kind, forms."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import time
from urllib.parse import quote_plus, urlencode

import pytest
from missive import (
    ConfigurationError,
    DecodingError,
    JSONMessage,
    MemoryDLQ,
    Outcome,
    Processor,
    RawMessage,
    otherwise,
)
from missive.errors import InvalidHandler
from missive.webhooks import FormMessage, WebhookRequest, answers, senders

from webhook_suite import make_adapter

SECRET = "the secret"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def got():
    """The messages that were handled."""
    return []


@pytest.fixture
def collecting(got):
    """A processor that collects its messages."""
    processor: Processor = Processor()

    @processor.handle_for(otherwise)
    def handle(message, ctx):
        got.append((message, message.message_id, dict(message.headers)))
        ctx.ack()

    return processor


def digest(body, name="sha256"):
    """Sign a body."""
    return hmac.new(SECRET.encode(), body, name)


def github_headers(body, media_type, message_id="delivery-1"):
    """Make the headers of GitHub's."""
    return {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": message_id,
        "X-Hub-Signature-256": f"sha256={digest(body).hexdigest()}",
        "Content-Type": media_type,
    }


PUSH = {"ref": "refs/heads/main", "text": "a&b=c+d %20 grün"}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("media_type", ["application/json", FORM, FORM + "; charset=utf-8"])
def test_github(client_of, collecting, got, media_type, compressed):
    """GitHub's webhooks come as JSON, sent so or as a form; the signature is over what was sent."""
    adapter = make_adapter(JSONMessage, collecting, sender=senders.github(SECRET))
    text = json.dumps(PUSH, ensure_ascii=False)
    body = (urlencode({"payload": text}) if media_type.startswith(FORM) else text).encode()
    body = gzip.compress(body) if compressed else body
    headers = github_headers(body, media_type)
    if compressed:
        headers["Content-Encoding"] = "gzip"
    client = client_of(adapter)
    assert client.post(body, headers=headers).json == {"result": "ack"}
    ((message, message_id, received),) = got
    assert message.get_json() == PUSH
    assert message_id == b"delivery-1"
    assert received["Content-Type"].startswith("application/json")
    headers["X-Hub-Signature-256"] = f"sha256={digest(text.encode() + b' ').hexdigest()}"
    assert client.post(body, headers=headers).status == 401
    adapter.close()


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"other=1", b"payload=1&payload=2", b"payload=%ff", b"\xff", b"payload"]
)
def test_github_form_without_payload(client_of, collecting, got, body):
    """A form that is not GitHub's is answered 400, though signed."""
    adapter = make_adapter(JSONMessage, collecting, sender=senders.github(SECRET))
    assert client_of(adapter).post(body, headers=github_headers(body, FORM)).status == 400
    assert got == []


def test_github_other_type(client_of, collecting):
    """A media type that GitHub does not send is answered 415."""
    adapter = make_adapter(JSONMessage, collecting, sender=senders.github(SECRET))
    assert client_of(adapter).post(b"{}", headers=github_headers(b"{}", "text/xml")).status == 415


def test_github_events():
    """A preset's event is a family of matchers on the name of its events."""
    processor: Processor[JSONMessage] = Processor()
    github = senders.github(SECRET)

    @processor.handle_for(github.event("push"))
    def push(message, ctx):
        ctx.ack()

    client = processor.test_client(JSONMessage)
    assert client.send(b"{}", headers={"X-GitHub-Event": "push"}) is Outcome.ACKED


@pytest.mark.parametrize("comma", [",", ", "])
def test_repeated_id(client_of, collecting, got, comma, caplog):
    """An id that was sent twice, so that the server joined it, is answered 400 and logged."""
    adapter = make_adapter(RawMessage, collecting, id_header="X-Id")
    assert client_of(adapter).post(b"x", headers={"X-Id": f"a{comma}b"}).status == 400
    assert "X-Id was sent more than once" in caplog.text
    assert got == []


def now():
    """Return the time, as senders sign it."""
    return str(int(time.time()))


def stripe_headers(body):
    """Sign as Stripe does."""
    moment = now()
    signature = digest(f"{moment}.".encode() + body).hexdigest()
    return {"Stripe-Signature": f"t={moment},v1={signature}", "Content-Type": "application/json"}


def slack_headers(body, signature="X-Slack-Signature", timestamp="X-Slack-Request-Timestamp"):
    """Sign as Slack does, or Zoom."""
    moment = now()
    signed = digest(f"v0:{moment}:".encode() + body).hexdigest()
    return {signature: f"v0={signed}", timestamp: moment, "Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("sender", "body", "headers", "message_id", "event"),
    [
        (
            senders.stripe(SECRET),
            b'{"id": "evt_1", "type": "charge.succeeded"}',
            stripe_headers,
            b"evt_1",
            "charge.succeeded",
        ),
        (
            senders.slack(SECRET),
            b'{"event_id": "Ev1", "event": {"type": "message"}}',
            slack_headers,
            b"Ev1",
            "message",
        ),
        (
            senders.shopify(SECRET),
            b'{"id": 7}',
            lambda body: {
                "X-Shopify-Hmac-SHA256": base64.b64encode(digest(body).digest()).decode(),
                "X-Shopify-Webhook-Id": "b54557e4",
                "X-Shopify-Topic": "orders/create",
                "Content-Type": "application/json",
            },
            b"b54557e4",
            "orders/create",
        ),
        (
            senders.nylas(SECRET),
            b'{"id": "n1", "type": "grant.created"}',
            lambda body: {
                "X-Nylas-Signature": digest(body).hexdigest(),
                "Content-Type": "application/json",
            },
            b"n1",
            "grant.created",
        ),
        (
            senders.zoom(SECRET),
            b'{"event": "meeting.started"}',
            lambda body: slack_headers(body, "x-zm-signature", "x-zm-request-timestamp"),
            None,
            "meeting.started",
        ),
        (
            senders.meta(SECRET, "token"),
            b'{"object": "whatsapp_business_account"}',
            lambda body: github_headers(body, "application/json"),
            None,
            "whatsapp_business_account",
        ),
    ],
    ids=["stripe", "slack", "shopify", "nylas", "zoom", "meta"],
)
def test_presets(client_of, sender, body, headers, message_id, event):
    """A preset verifies, identifies and routes what its sender sends, and refuses a forgery."""
    processor: Processor[JSONMessage] = Processor()
    got = []

    @processor.handle_for(sender.event(event))
    def handle(message, ctx):
        got.append(message.message_id)
        ctx.ack()

    adapter = make_adapter(JSONMessage, processor, sender=sender)
    client = client_of(adapter)
    assert client.post(body, headers=headers(body)).status == 200
    assert client.post(body + b" ", headers=headers(body)).status == 401
    assert len(got) == 1
    assert message_id is None or got == [message_id]
    assert SECRET not in repr(sender)
    adapter.close()


def test_slack_preset(client_of, collecting, got):
    """Slack is answered by an empty body, and its challenge without a handler."""
    adapter = make_adapter(JSONMessage, collecting, sender=senders.slack(SECRET))
    client = client_of(adapter)
    body = b'{"type": "url_verification", "challenge": "c"}'
    assert client.post(body, headers=slack_headers(body)).json == {"challenge": "c"}
    assert got == []
    body = b'{"event_id": "Ev1"}'
    answer = client.post(body, headers=slack_headers(body))
    assert (answer.status, answer.body) == (200, b"")
    adapter.close()


def test_twilio_preset(client_of, collecting, got):
    """Twilio's forms are verified by their URL and answered by an empty TwiML."""
    adapter = make_adapter(FormMessage, collecting, path="/sms", sender=senders.twilio(SECRET))
    body = b"MessageSid=SM1&Body=gr%C3%BCn+%26&Empty="
    signed = "https://example.com/smsBodygrün &EmptyMessageSidSM1".encode()
    headers = {
        "Host": "example.com",
        "Content-Type": FORM,
        "X-Twilio-Signature": base64.b64encode(digest(signed, hashlib.sha1).digest()).decode(),
        "I-Twilio-Idempotency-Token": "token-1",
    }
    inside = {"wsgi.url_scheme": "https"}
    answer = client_of(adapter).post(body, "/sms", headers, **inside)
    assert (answer.status, answer.body) == (200, b"<Response/>")
    assert answer.headers["Content-Type"] == "text/xml"
    ((message, message_id, _),) = got
    assert message.get_form() == {"MessageSid": "SM1", "Body": "grün &", "Empty": ""}
    assert message_id == b"token-1"
    assert client_of(adapter).post(body + b"x", "/sms", headers, **inside).status == 401
    adapter.close()


def test_options_replace_the_senders(client_of, collecting, got):
    """An option that is given beside a sender replaces the sender's."""
    adapter = make_adapter(
        JSONMessage,
        collecting,
        sender=senders.stripe(SECRET),
        verify=lambda request: True,
        id_header="X-Id",
        content_types=["text/plain"],
        answer=answers.taken(),
    )
    headers = {"X-Id": "mine", "Content-Type": "text/plain"}
    assert client_of(adapter).post(b'{"id": "evt_1"}', headers=headers).status == 204
    assert [message_id for _, message_id, _ in got] == [b"mine"]
    adapter.close()


@pytest.mark.parametrize("sender", ["github", senders.github, 1], ids=["text", "factory", "number"])
def test_no_sender(processor, sender):
    """Anything but a sender is refused when the adapter is built, with the remedy."""
    with pytest.raises(ConfigurationError, match=r"sender=senders\.github\(secret\)"):
        make_adapter(RawMessage, processor, sender=sender)


# Ids.


def test_id_from(client_of):
    """An id is taken from the message, so that a webhook that is sent again is one dead letter."""
    processor: Processor[JSONMessage] = Processor()
    processor.set_dlq(dlq := MemoryDLQ())
    adapter = make_adapter(JSONMessage, processor, id_from=lambda message: message.get_json()["id"])
    for body in (b'{"id": "evt_1"}', b'{"id": "evt_1"}', b'{"id": 7}'):
        assert client_of(adapter).post(body).json == {"result": "dlq"}
    assert {letter.id: letter.failures for letter in dlq.letters()} == {b"evt_1": 2, b"7": 1}
    adapter.close()


@pytest.mark.parametrize(
    "body", [b'{"other": "4111"}', b"{4111", b'{"id": [4111]}', b'{"id": true}']
)
def test_id_from_fails(client_of, processor, body, caplog):
    """A message whose id cannot be read is processed without one, and one line says why."""
    processor.set_dlq(dlq := MemoryDLQ())
    adapter = make_adapter(
        RawMessage, processor, id_from=lambda message: json.loads(message.raw_data)["id"]
    )
    assert client_of(adapter).post(body).json == {"result": "dlq"}
    assert "no id for a message on /: id_from " in caplog.records[0].getMessage()
    (letter,) = dlq.letters()
    assert len(letter.id) == 16
    adapter.close()


def test_id_from_sees_the_envelope(client_of, collecting, got):
    """id_from is given the message with its headers, and None means no id."""
    adapter = make_adapter(
        RawMessage, collecting, id_from=lambda message: message.headers.get("X-Id")
    )
    client_of(adapter).post(b"", headers={"X-Id": "a"})
    client_of(adapter).post(b"")
    first, second = (message_id for _, message_id, _ in got)
    assert (first, len(second)) == (b"a", 16)
    adapter.close()


def test_two_ids(processor):
    """Both id_header and id_from are refused; so is what is not callable with a message."""
    with pytest.raises(ConfigurationError, match="give one of them"):
        make_adapter(RawMessage, processor, id_header="X", id_from=lambda message: None)
    with pytest.raises(InvalidHandler):
        make_adapter(RawMessage, processor, id_from=lambda: None)


# Answers.


@pytest.fixture
def client_answering(client_of, processor):
    """Make a client of an adapter with an answer."""

    def make(answer, **options):
        return client_of(make_adapter(RawMessage, processor, answer=answer, **options))

    return make


def test_own_answers(client_answering, processor):
    """A function of outcome and message makes the answer, or leaves it to the adapter."""
    processor.set_dlq({})
    seen = []

    def answer(outcome, message):
        seen.append((outcome, message.raw_data))
        if outcome is Outcome.NACKED:
            return 429, [("Retry-After", "7")], "later"
        return (204, None, b"") if outcome is Outcome.ACKED else None

    client = client_answering(answer)
    assert client.post(b"ack").status == 204
    nacked = client.post(b"nack")
    assert (nacked.status, nacked.headers["Retry-After"], nacked.body) == (429, "7", b"later")
    assert client.post(b"forget").json == {"result": "dlq"}
    assert [outcome.value for outcome, _ in seen] == ["acked", "nacked", "dead-lettered"]


def test_answer_to_what_cannot_be_built(client_of):
    """The answer to a message that could not be built is made of its bytes."""
    processor: Processor = Processor()
    processor.set_dlq({})

    def build(raw_data):
        raise ValueError

    adapter = make_adapter(
        build, processor, answer=lambda outcome, message: (202, {}, message.raw_data)
    )
    assert client_of(adapter).post(b"abc").body == b"abc"
    adapter.close()


def test_errors_are_not_the_answers_business(client_answering):
    """What stays unsettled is answered 500, whatever the answer would say."""
    answer = client_answering(answers.taken(200)).post(b"forget")
    assert (answer.status, answer.json) == (500, {"result": "error"})


@pytest.mark.parametrize(
    "given",
    [
        "text",
        200,
        (200, {}),
        ("200", {}, b""),
        (True, {}, b""),
        (100, {}, b""),
        (600, {}, b""),
        (200, {}, 7),
        (204, {}, b"body"),
        (200, {"a b": "c"}, b""),
        (200, {"X": "a\r\nSet-Cookie: card 4111"}, b""),
        (200, {"X": "\u20ac"}, b""),
        (200, {"X": 1}, b""),
        (200, ["X"], b""),
        RuntimeError("card 4111"),
    ],
    ids=repr,
)
def test_answer_fails(client_answering, given, caplog):
    """A failing answer does not change the outcome: the usual one is sent, and one line logged."""

    def answer(outcome, message):
        if isinstance(given, Exception):
            raise given
        return given

    assert client_answering(answer).post(b"ack").json == {"result": "ack"}
    (record,) = caplog.records
    assert "gets the usual answer" in record.getMessage()
    assert "card 4111" not in caplog.text


def test_a_nack_is_not_answered_as_taken(client_answering, caplog):
    """An answer that would have a nacked message lost is replaced by the usual one."""
    client = client_answering(lambda outcome, message: (200, {}, b""), nack_status=503)
    assert client.post(b"nack").status == 503
    assert "below 400 for a nack" in caplog.text


def test_taken():
    """A fixed answer is checked when it is made."""
    with pytest.raises(ValueError, match="no body"):
        answers.taken(204, {}, b"body")


def test_answer_must_be_callable(processor):
    """What is not callable with outcome and message is refused when the adapter is built."""
    for answer in (200, lambda outcome: None):
        with pytest.raises(InvalidHandler):
            make_adapter(RawMessage, processor, answer=answer)


# Forms.


def test_forms():
    """A form is decoded once, with blanks and repeated fields."""
    message = FormMessage(b"a=1&b=&a=" + quote_plus("grün &=").encode())
    assert message.get_form() == {"a": "grün &=", "b": ""}
    assert message.get_lists()["a"] == ["1", "grün &="]
    assert message.get_lists() is message.get_lists()
    assert FormMessage(b"").get_form() == {}


@pytest.mark.parametrize("body", [b'{"card": "xyzzy"}', b"a=%ffxyzzy", b"\xffxyzzy=1", b"xyzzy"])
def test_no_forms(body):
    """Bytes that are not a form in UTF-8 are a decoding error, which shows no content."""
    with pytest.raises(DecodingError) as caught:
        FormMessage(body).get_form()
    assert "xyzzy" not in str(caught.value)


def test_requests():
    """A request is made by hand for a verifier's test, and its repr shows no content."""
    request = WebhookRequest(b"4111", {"content-type": "Text/Plain; x=y"}, url="https://x/?a=1&b=")
    assert (request.method, request.media_type) == ("POST", "text/plain")
    assert (request.query("a"), request.query("b"), request.query("c")) == ("1", "", None)
    assert repr(request) == "<WebhookRequest POST, 4 bytes>"
