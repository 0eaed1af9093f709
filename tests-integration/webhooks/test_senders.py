"""What real senders send, signed by their own libraries where there are some."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode, urlsplit

from hypothesis import given
from hypothesis import strategies as st
from missive import Processor, RawMessage, otherwise, route_on_header
from missive.webhooks import senders, signatures
from werkzeug.datastructures import MultiDict

OCTOKIT = "@octokit/webhooks-examples@7.6.1"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
SECRETS = ["the new secret", "the old secret"]


def sign_github(secret: str, body: bytes) -> str:
    """Sign as GitHub does."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@contextmanager
def verified(vehicle: Any, verify: Any, path: str = "/hooks") -> Iterator[Callable[..., bool]]:
    """Build an adapter; what is yielded posts to it, and returns whether that was verified."""
    processor: Processor[RawMessage] = Processor()

    @processor.handle_for(otherwise)
    def handle(message, ctx):
        ctx.ack()

    with vehicle.client(RawMessage, processor, verify=verify, path=path) as client:

        def post(body: bytes, headers: dict[str, str], url: str = "http://127.0.0.1/hooks") -> bool:
            parts = urlsplit(url)
            request = {"wsgi.url_scheme": parts.scheme, "QUERY_STRING": parts.query}
            answer = client.post(body, parts.path, headers, HTTP_HOST=parts.netloc, **request)
            assert answer.status in (200, 401)
            return answer.status == 200

        yield post


def test_octokit(vehicle, npm_package):
    """Every example of GitHub's is verified, comes to its event's handler, and its JSON is exact."""
    package = npm_package(OCTOKIT)
    examples = [
        (event["name"], example)
        for index in sorted(package.glob("*/index.json"))
        for event in json.loads(index.read_bytes())
        for example in event["examples"]
    ]
    assert len(examples) > 700

    received: list[tuple[str, bytes, bytes]] = []
    processor: Processor[RawMessage] = Processor()
    by_event = route_on_header("X-GitHub-Event")

    def handler_of(event):
        def handle(message, ctx):
            received.append((event, message.message_id, message.raw_data))
            ctx.ack()

        return handle

    for event in sorted({name for name, _ in examples}):
        processor.handle_for(by_event(event))(handler_of(event))

    @processor.handle_for(otherwise)
    def unknown(message, ctx):
        raise AssertionError

    sent = []
    with vehicle.client(RawMessage, processor, sender=senders.github(SECRETS)) as client:
        for number, (event, example) in enumerate(examples):
            # Some as GitHub writes JSON, some with bytes beyond ASCII as they are, some as forms.
            text = json.dumps(example, ensure_ascii=bool(number % 2)).encode()
            form = number % 3 == 0
            body = urlencode({"payload": text}).encode() if form else text
            headers = {
                "Content-Type": FORM if form else JSON,
                "X-GitHub-Event": event,
                "X-GitHub-Delivery": f"delivery-{number}",
                "X-Hub-Signature-256": sign_github(SECRETS[number % 2], body),
            }
            answer = client.post(body, headers=headers)
            assert (answer.status, answer.json) == (200, {"result": "ack"})
            sent.append((event, b"delivery-%d" % number, text))
            headers["X-Hub-Signature-256"] = sign_github("a stranger's", body)
            answer = client.post(body, headers=headers)
            assert answer.status == 401
    assert Counter(received) == Counter(sent)


BODIES = st.text(
    st.characters(codec="utf-8"), max_size=200
)  # these libraries take text, and encode it as UTF-8
NOW = int(time.time())


@given(
    body=BODIES,
    # Without a comma, by which servers join the values of a header that is sent twice.
    message_id=st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1
    ),
)
def test_standard_webhooks(vehicle, library, body, message_id):
    """What the library of Standard Webhooks signs is verified, and nothing else."""
    standardwebhooks = library("standardwebhooks")
    sender = standardwebhooks.Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    verify = signatures.standard_webhooks(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b"another"], clock=lambda: NOW
    )
    moment = datetime.fromtimestamp(NOW, timezone.utc)
    headers = {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(NOW),
        "Webhook-Signature": sender.sign(message_id, moment, body),
    }
    raw_body = body.encode()
    with verified(vehicle, verify) as post:
        assert post(raw_body, headers)
        assert not post(raw_body + b"x", headers)
        assert not post(raw_body, {**headers, "Webhook-Id": message_id + "x"})
        assert not post(raw_body, {**headers, "Webhook-Timestamp": str(NOW - 1)})


@given(body=BODIES)
def test_slack(vehicle, library, body):
    """What Slack's library signs is verified, and nothing else."""
    slack = library("slack_sdk.signature")
    signature = slack.SignatureVerifier("a secret").generate_signature(
        timestamp=str(NOW), body=body
    )
    headers = {"X-Slack-Request-Timestamp": str(NOW), "X-Slack-Signature": signature}
    verify = signatures.slack(["another", "a secret"], clock=lambda: NOW)
    later = {**headers, "X-Slack-Request-Timestamp": str(NOW + 1)}
    with verified(vehicle, verify) as post:
        assert post(body.encode(), headers)
        assert not post(body.encode() + b"x", headers)
        assert not post(body.encode(), later)


@given(
    body=BODIES,
    header=st.lists(
        st.sampled_from(["t", "other t", "signature", "wrong", "v0", "garbage", "spaced"]),
        max_size=5,
    ),
)
def test_stripe(vehicle, library, body, header):
    """Of any header with parts right and wrong, what is verified Stripe's library verifies too."""
    stripe = library("stripe")
    signature = hmac.new(b"whsec_x", f"{NOW}.{body}".encode(), hashlib.sha256).hexdigest()
    parts = {
        "t": f"t={NOW}",
        "other t": f"t={NOW - 10}",
        "signature": f"v1={signature}",
        "wrong": f"v1={'0' * 64}",
        "v0": f"v0={signature}",
        "garbage": "x",
        "spaced": " v1 = ",
    }
    text = ",".join(parts[part] for part in header)
    try:
        stripe.WebhookSignature.verify_header(body, text, "whsec_x", tolerance=10**9)
        theirs = True
    except (stripe.SignatureVerificationError, ValueError):
        theirs = False
    verify = signatures.stripe(["whsec_y", "whsec_x"], tolerance=300, clock=lambda: NOW)
    with verified(vehicle, verify) as post:
        ours = post(body.encode(), {"Stripe-Signature": text})
    assert theirs or not ours
    # We refuse two timestamps and unknown parts; the senders' libraries overlook them.
    if "other t" not in header and header.count("t") == 1 and not {"garbage", "spaced"} & {*header}:
        assert ours == theirs


FIELDS = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=9),
        st.text(st.characters(codec="utf-8"), max_size=20),
    ),
    max_size=6,
)
URLS = st.sampled_from(
    [
        "https://example.com/hooks",
        "https://example.com/hooks?foo=1&bar=%20x",
        "https://example.com:443/hooks",
        "http://example.com:8080/hooks/sms",
        "http://example.com/hooks",
    ]
)


@given(fields=FIELDS, url=URLS, algorithm=st.sampled_from(["HMAC_SHA1", "HMAC_SHA256"]))
def test_twilio(vehicle, library, fields, url, algorithm):
    """What Twilio's library signs is verified, and nothing else; what we verify it verifies too."""
    validator = library("twilio.request_validator").RequestValidator("a secret")
    body = urlencode(fields).encode()
    form = MultiDict(fields)
    headers = {
        "X-Twilio-Signature": validator.compute_signature(url, form, algorithm),
        "X-Twilio-Webhooks-Signature-Settings": f"key=a,algorithm={algorithm}",
        "Content-Type": FORM,
    }
    verify = signatures.twilio(["another", "a secret"])
    assert validator.validate(url, form, headers["X-Twilio-Signature"], algorithm)
    with verified(vehicle, verify, urlsplit(url).path) as post:
        assert post(body, headers, url)
        assert post(body + b"&x=y", headers, url) is ("x=y" in body.decode().split("&"))
        assert not post(body, headers, url + ("&" if "?" in url else "?") + "x=y")


@given(body=BODIES)
def test_twilio_json(vehicle, library, body):
    """A body of JSON is verified by the hash in the URL, as Twilio's library does it."""
    validator = library("twilio.request_validator").RequestValidator("a secret")
    url = f"https://example.com/hooks?bodySHA256={hashlib.sha256(body.encode()).hexdigest()}"
    signature = validator.compute_signature(url, {})
    headers = {"X-Twilio-Signature": signature, "Content-Type": JSON}
    verify = signatures.twilio("a secret")
    assert validator.validate(url, body, signature)
    with verified(vehicle, verify) as post:
        assert post(body.encode(), headers, url)
        assert not post(body.encode() + b"x", headers, url)
