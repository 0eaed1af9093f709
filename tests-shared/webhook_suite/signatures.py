"""Signatures: senders' own examples, rotation, replay, and forgeries."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive import ConfigurationError, Headers, RawMessage
from missive.webhooks import signatures

from webhook_suite import make_adapter

# GitHub's own example:
# https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

# Slack's own example: https://docs.slack.dev/authentication/verifying-requests-from-slack
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SLACK_TIME = 1531420618
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
    b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"

# The example that the libraries of Standard Webhooks are tested with:
# https://github.com/standard-webhooks/standard-webhooks
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_TIME = 1614265330
STANDARD_BODY = b'{"test": 2432232314}'
STANDARD_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(STANDARD_TIME),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}

# Stripe and Shopify publish how they sign but no example with its secret. These were signed as
# their pages say, by openssl; Stripe's and Shopify's own libraries (stripe, @shopify/shopify-api) take
# them as valid:
#   printf '1492774577.{"id": "evt_1"}' | openssl dgst -sha256 -hmac whsec_test
#   printf '{"id":1}' | openssl dgst -sha256 -hmac shpss_test -binary | base64
STRIPE_SECRET = "whsec_test"
STRIPE_TIME = 1492774577
STRIPE_BODY = b'{"id": "evt_1"}'
STRIPE_SIGNATURE = "952cd89626c79cd65f12880afd38333422a10b88ff71136627ceb92ccdb0132c"
SHOPIFY_SECRET = "shpss_test"
SHOPIFY_BODY = b'{"id":1}'
SHOPIFY_SIGNATURE = "1GxccvotnkOedTjSm8S0m/VA3yAUKshyqT52ccNYHj4="

# Twilio's own example: https://www.twilio.com/docs/usage/security
TWILIO_SECRET = "12345"
TWILIO_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
TWILIO_TYPE = "application/x-www-form-urlencoded; charset=utf-8"
TWILIO_BODY = (
    b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309"
    b"&To=%2B18005551212"
)
TWILIO_SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def at(moment):
    """Make a clock that stands still."""
    return lambda: moment


def slack_headers(signature=SLACK_SIGNATURE, timestamp=str(SLACK_TIME)):
    """Make the headers of Slack."""
    return Headers({"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": timestamp})


def stripe_headers(*parts):
    """Make the header of Stripe."""
    return Headers({"Stripe-Signature": ",".join(parts)})


STRIPE_HEADERS = (f"t={STRIPE_TIME}", f"v1={STRIPE_SIGNATURE}")


def twilio(secrets):
    """Make Twilio's verifier, called for the URL of its example."""
    return partial(signatures.twilio(secrets), url=TWILIO_URL)


#: For each scheme: its factory without secrets, the right secret, body, headers.
EXAMPLES = {
    "github": (
        signatures.github,
        GITHUB_SECRET,
        GITHUB_BODY,
        Headers({"x-hub-signature-256": GITHUB_SIGNATURE}),
    ),
    "shopify": (
        signatures.shopify,
        SHOPIFY_SECRET,
        SHOPIFY_BODY,
        Headers({"X-Shopify-Hmac-Sha256": SHOPIFY_SIGNATURE}),
    ),
    "slack": (
        partial(signatures.slack, clock=at(SLACK_TIME)),
        SLACK_SECRET,
        SLACK_BODY,
        slack_headers(),
    ),
    "stripe": (
        partial(signatures.stripe, clock=at(STRIPE_TIME)),
        STRIPE_SECRET,
        STRIPE_BODY,
        stripe_headers(*STRIPE_HEADERS),
    ),
    "standard_webhooks": (
        partial(signatures.standard_webhooks, clock=at(STANDARD_TIME)),
        STANDARD_SECRET,
        STANDARD_BODY,
        Headers(STANDARD_HEADERS),
    ),
    "twilio": (
        twilio,
        TWILIO_SECRET,
        TWILIO_BODY,
        Headers({"X-Twilio-Signature": TWILIO_SIGNATURE, "Content-Type": TWILIO_TYPE}),
    ),
    "zoom": (
        partial(signatures.zoom, clock=at(SLACK_TIME)),
        SLACK_SECRET,
        SLACK_BODY,
        Headers({"x-zm-signature": SLACK_SIGNATURE, "x-zm-request-timestamp": str(SLACK_TIME)}),
    ),
    "hmac_sha256": (
        partial(signatures.hmac_sha256, header="X-Signature"),
        GITHUB_SECRET,
        GITHUB_BODY,
        Headers({"X-Signature": GITHUB_SIGNATURE.removeprefix("sha256=")}),
    ),
}
each_scheme = pytest.mark.parametrize("name", EXAMPLES)


def test_every_scheme_has_an_example():
    """The examples cover all that the module offers."""
    assert set(EXAMPLES) == set(signatures.__all__)


@each_scheme
def test_example(name):
    """The sender's example verifies."""
    factory, secret, body, headers = EXAMPLES[name]
    assert factory(secret)(body, headers) is True


@each_scheme
def test_rotation(name):
    """Any of several secrets will do, in any order, as text or bytes."""
    factory, secret, body, headers = EXAMPLES[name]
    other = base64.b64encode(b"another secret").decode()
    for secrets in ([secret, other], (other, secret), iter([other, secret])):
        assert factory(secrets)(body, headers) is True
    assert factory([other])(body, headers) is False


@each_scheme
def test_forged(name):
    """Another body, another secret, a missing or an empty header is refused."""
    factory, secret, body, headers = EXAMPLES[name]
    verify = factory(secret)
    assert verify(body + b" ", headers) is False
    assert verify(b"", headers) is False
    assert verify(body, Headers()) is False
    for missing in headers:
        rest = {key: value for key, value in headers.items() if key != missing}
        assert verify(body, Headers(rest)) is False
        assert verify(body, Headers({**rest, missing: ""})) is False


@each_scheme
@given(data=st.data())
def test_changed_header(name, data):
    """A header that was changed at any one place is refused, and never raises."""
    factory, secret, body, headers = EXAMPLES[name]
    changed = dict(headers)
    victim = data.draw(st.sampled_from(sorted(set(changed) - {"Content-Type"})))
    value = changed[victim]
    place = data.draw(st.integers(0, len(value) - 1))
    character = data.draw(st.characters(codec="latin-1"))
    if value[place].lower() == character.lower():
        return
    changed[victim] = value[:place] + character + value[place + 1 :]
    verified = factory(secret)(body, Headers(changed))
    if verified:  # the change touched nothing that is signed: white space around a Stripe part
        assert name == "stripe"
        assert character.isspace()


@each_scheme
@given(text=st.text(), more=st.text())
def test_garbage(name, text, more):
    """Headers of garbage are refused without an error."""
    factory, secret, body, headers = EXAMPLES[name]
    for garbage in (text, f"v1,{text}", f"t={more},v1={text}", f"sha256={text}", f"v0={text}"):
        assert factory(secret)(body, Headers(dict.fromkeys(headers, garbage))) is False


@pytest.mark.parametrize(
    ("factory", "moment"),
    [
        (partial(signatures.slack, SLACK_SECRET), SLACK_TIME),
        (partial(signatures.stripe, STRIPE_SECRET), STRIPE_TIME),
        (partial(signatures.standard_webhooks, STANDARD_SECRET), STANDARD_TIME),
    ],
)
def test_tolerance(factory, moment):
    """A timestamp may be off by the tolerance and not by more, either way."""
    name = factory.func.__name__
    _, _, body, headers = EXAMPLES[name]
    for off, expected in [(0, True), (300, True), (301, False), (-300, True), (-301, False)]:
        assert factory(clock=at(moment + off))(body, headers) is expected
    assert factory(clock=at(moment + 301), tolerance=400)(body, headers) is True
    assert factory()(body, headers) is False  # by the clock of today
    for useless in (0, -1):
        with pytest.raises(ConfigurationError, match="tolerance"):
            factory(tolerance=useless)


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        "abc",
        "-1",
        "1e9",
        "9" * 13,
        "\uff11\uff15\uff13\uff11\uff14\uff12\uff10\uff16\uff11\uff18",
        " 1531420618",
    ],
)
def test_bad_timestamp(timestamp):
    """A timestamp that is not a plain number is refused."""
    verify = signatures.slack(SLACK_SECRET, clock=at(SLACK_TIME))
    assert verify(SLACK_BODY, slack_headers(timestamp=timestamp)) is False


def test_several_signatures():
    """One right signature among several in the header is enough."""
    wrong = "0" * 64
    github = signatures.github(GITHUB_SECRET)
    several = Headers({"X-Hub-Signature-256": f"sha256={wrong} {GITHUB_SIGNATURE}"})
    assert github(GITHUB_BODY, several)
    stripe = signatures.stripe(STRIPE_SECRET, clock=at(STRIPE_TIME))
    assert stripe(STRIPE_BODY, stripe_headers(STRIPE_HEADERS[0], f"v1={wrong}", STRIPE_HEADERS[1]))
    standard = signatures.standard_webhooks(STANDARD_SECRET, clock=at(STANDARD_TIME))
    signature = f"v1,AAAA v1a,BBBB {STANDARD_HEADERS['webhook-signature']}"
    assert standard(STANDARD_BODY, Headers({**STANDARD_HEADERS, "webhook-signature": signature}))


@each_scheme
@pytest.mark.parametrize("comma", [",", ", "])
def test_repeated_header(name, comma):
    """A header of the signature that is sent twice, so that servers join it, is refused."""
    factory, secret, body, headers = EXAMPLES[name]
    for victim in set(headers) - {"Content-Type"}:
        for other in (headers[victim], "other"):
            for value in (f"{headers[victim]}{comma}{other}", f"{other}{comma}{headers[victim]}"):
                if name == "stripe" and other == "other":
                    continue  # a part of a header that may have many, as in Stripe's own library
                assert factory(secret)(body, Headers({**headers, victim: value})) is False


def test_stripe_takes_only_v1():
    """Stripe's test scheme v0 counts for nothing, and two timestamps are refused."""
    stripe = signatures.stripe(STRIPE_SECRET, clock=at(STRIPE_TIME))
    moment, signature = STRIPE_HEADERS
    assert not stripe(STRIPE_BODY, stripe_headers(moment, signature.replace("v1", "v0")))
    assert not stripe(STRIPE_BODY, stripe_headers(moment, moment, signature))


def test_standard_webhooks_keys():
    """A key of Standard Webhooks may lack its prefix or its padding, or be given as bytes."""
    secret = STANDARD_SECRET.removeprefix("whsec_")
    for form in (secret, base64.b64decode(secret)):
        verify = signatures.standard_webhooks(form, clock=at(STANDARD_TIME))
        assert verify(STANDARD_BODY, Headers(STANDARD_HEADERS))
    key = b"0123456789"
    unpadded = base64.b64encode(key).decode().rstrip("=")
    signed = hmac.digest(key, b"id.1614265330.{}", hashlib.sha256)
    headers = {**STANDARD_HEADERS, "webhook-id": "id"}
    headers["webhook-signature"] = "v1," + base64.b64encode(signed).decode()
    verify = signatures.standard_webhooks(unpadded, clock=at(STANDARD_TIME))
    assert verify(b"{}", Headers(headers))


def test_standard_webhooks_needs_an_id():
    """A message without an id is refused, also where that was signed."""
    signed = hmac.digest(b"key", b".%d.{}" % STANDARD_TIME, hashlib.sha256)
    signature = "v1," + base64.b64encode(signed).decode()
    headers = {**STANDARD_HEADERS, "webhook-id": "", "webhook-signature": signature}
    verify = signatures.standard_webhooks(b"key", clock=at(STANDARD_TIME))
    assert verify(b"{}", Headers(headers)) is False


def test_hexadecimal_in_capitals():
    """A signature in hexadecimal may be in capitals; its prefix may not."""
    verify = signatures.github(GITHUB_SECRET)
    prefix, digits = GITHUB_SIGNATURE.split("=")
    for signature, expected in [
        (f"{prefix}={digits.upper()}", True),
        (f"{prefix.upper()}={digits}", False),
    ]:
        assert verify(GITHUB_BODY, Headers({"X-Hub-Signature-256": signature})) is expected


def test_standard_webhooks_secret_is_not_quoted():
    """A secret that cannot be decoded is refused without showing it."""
    with pytest.raises(ConfigurationError) as caught:
        signatures.standard_webhooks("whsec_top$secret")
    assert "top" not in str(caught.value)
    assert caught.value.__suppress_context__


@each_scheme
@pytest.mark.parametrize(
    "secrets", [[], "", b"", None, [""], ["aaaa", b""], [None], 7, ["aaaa", 7]], ids=repr
)
def test_no_secret(name, secrets):
    """No secret, an empty one or one of another type is refused when the verifier is built."""
    with pytest.raises(ConfigurationError):
        EXAMPLES[name][0](secrets)


@pytest.mark.parametrize("prefix", ["", "sha256=", "HMAC ", "v1,", "v1, "])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_prefixes(prefix, encoding):
    """A prefix may hold white space and commas; one of several signatures has to match."""
    verify = signatures.hmac_sha256("key", header="X", prefix=prefix, encoding=encoding)
    digest = hmac.digest(b"key", b"body", "sha256")
    good = prefix + (digest.hex() if encoding == "hex" else base64.b64encode(digest).decode())
    bad = prefix + "abc"
    for value in (good, f" {good} ", f"{bad} {good}", f"{good} {bad}"):
        assert verify(b"body", Headers({"X": value})) is True
        assert verify(b"other", Headers({"X": value})) is False
    refused = ["", prefix, bad, f"{bad} {bad}", f"x{good}", f"{good}x"]
    for value in (*refused, f"{good},{bad}", f"{bad}, {good}"):
        assert verify(b"body", Headers({"X": value})) is False


def test_no_such_encoding():
    """An encoding that is not known is refused when the verifier is built."""
    with pytest.raises(ConfigurationError, match="'rot13'"):
        signatures.hmac_sha256("secret", header="X", encoding="rot13")


@each_scheme
def test_secrets_are_not_shown(name):
    """The repr of a verifier shows no secret."""
    factory, secret, _, _ = EXAMPLES[name]
    assert secret not in repr(factory(secret))


# In the adapter.


@pytest.fixture
def handled(processor):
    """The bodies that came as far as settlement; the processor has a DLQ."""
    handled = []
    processor.set_dlq({})
    processor.on_settled(lambda ctx, settled: handled.append(settled.message.raw_data))
    return handled


def test_unsigned_is_refused(client_of, processor, handled):
    """A request that is not signed is answered 401, and neither handler nor DLQ hears of it."""
    adapter = make_adapter(RawMessage, processor, verify=signatures.github(GITHUB_SECRET))
    client = client_of(adapter)
    answer = client.post(GITHUB_BODY)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"]
    assert (handled, processor.dlq) == ([], {})
    signed = client.post(GITHUB_BODY, headers={"X-Hub-Signature-256": GITHUB_SIGNATURE})
    assert signed.status == 200
    assert handled == [GITHUB_BODY]
    adapter.close()


def test_no_hook_runs_for_an_unsigned_request(client_of, processor):
    """A stranger cannot start the processing hooks."""
    ran = []
    processor.before_processing(ran.append)
    adapter = make_adapter(RawMessage, processor, verify=lambda body, headers: False)
    assert client_of(adapter).post(b"ack").status == 401
    assert ran == []


def test_own_verifier(client_of, processor):
    """Any callable that takes the raw body and the headers serves."""
    seen = []

    def verify(raw_body, headers):
        seen.append((raw_body, headers["x-token"]))
        return headers["X-TOKEN"] == "right"

    adapter = make_adapter(RawMessage, processor, verify=verify)
    assert client_of(adapter).post(b"ack", headers={"X-Token": "right"}).status == 200
    assert client_of(adapter).post(b"ack", headers={"X-Token": "wrong"}).status == 401
    assert seen == [(b"ack", "right"), (b"ack", "wrong")]
    adapter.close()


@pytest.mark.parametrize("result", [None, 1, "yes", {"card": "xyzzy"}, False])
def test_only_true_is_a_yes(client_of, processor, handled, result, caplog):
    """Whatever a verifier returns that is not True is answered 401, and one line says what it was."""
    adapter = make_adapter(RawMessage, processor, verify=lambda body, headers: result)
    assert client_of(adapter).post(b"ack").status == 401
    (record,) = caplog.records
    what = "False" if result is False else type(result).__name__
    assert f"verify returned {what}" in record.getMessage()
    assert "xyzzy" not in caplog.text
    assert handled == []


def test_verifier_raises(client_of, processor, handled, caplog):
    """A verifier that raises is answered 401, and one line says where; nothing shows the body."""

    def verify(raw_body, headers):
        raise LookupError(f"the key for {raw_body}")

    adapter = make_adapter(RawMessage, processor, verify=verify)
    assert client_of(adapter).post(b"ack card xyzzy").status == 401
    assert handled == []
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "LookupError at " in record.getMessage()
    assert "xyzzy" not in caplog.text


def test_verifier_of_the_request(client_of, processor):
    """A verifier of one argument is given the request: method, URL, headers and body."""
    seen = []

    def verify(request):
        seen.append((request.method, request.url, request.headers["x-token"], request.body))
        return True

    adapter = make_adapter(RawMessage, processor, verify=verify, path="/hooks/grün")
    client = client_of(adapter)
    answer = client.post(
        b"ack",
        "/hooks/gr\xc3\xbcn",
        {"X-Token": "t", "Host": "example.com"},
        SCRIPT_NAME="/app",
        QUERY_STRING="a=%20b&c",
    )
    assert answer.status == 200
    url = "http://example.com/app/hooks/gr%C3%BCn?a=%20b&c"
    assert seen == [("POST", url, "t", b"ack")]
    adapter.close()


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "the header Stripe-Signature is missing"),
        ({"Stripe-Signature": "v1=00"}, "holds no timestamp"),
        ({"Stripe-Signature": "t=x,v1=00"}, "is not a time"),
        ({"Stripe-Signature": f"t={STRIPE_TIME - 301},v1=00"}, "301 s in the past, and 300 s"),
        ({"Stripe-Signature": f"t={STRIPE_TIME + 999},v1=00"}, "999 s in the future, and 300 s"),
        ({"Stripe-Signature": f"t={STRIPE_TIME},v0=00"}, "no signature of the scheme v1"),
        ({"Stripe-Signature": f"t={STRIPE_TIME},v1=00"}, "the signature differs"),
        ({"Stripe-Signature": f"t={STRIPE_TIME},t=1,v1=00"}, "was sent more than once"),
        ({"X-Hub-Signature-256": "sha256=0"}, "it has X-Hub-Signature-256, of another scheme"),
    ],
)
def test_why_a_request_is_refused(client_of, processor, headers, reason, caplog):
    """The log says which check refused a request, and the sender is not told."""
    verify = signatures.stripe(STRIPE_SECRET, clock=at(STRIPE_TIME))
    adapter = make_adapter(RawMessage, processor, verify=verify, path="/stripe")
    answer = client_of(adapter).post(b'{"card": "xyzzy"}', "/stripe", headers)
    assert (answer.status, answer.json) == (401, {"error": "unauthorized"})
    (record,) = caplog.records
    assert record.getMessage().startswith("refused a request on /stripe: ")
    assert reason in record.getMessage()
    assert "xyzzy" not in caplog.text


@each_scheme
@pytest.mark.parametrize("form", ["{}\n", " {}", "{}\t", "{}\r\n"])
def test_white_space_around_a_secret(name, form):
    """A secret with white space at its ends, as read from a file, is refused without showing it."""
    factory, secret, _, _ = EXAMPLES[name]
    with pytest.raises(ConfigurationError, match="white space") as caught:
        factory(
            ["another", form.format(secret)] if name != "standard_webhooks" else form.format(secret)
        )
    assert secret not in str(caught.value)
    if name != "standard_webhooks":
        with pytest.raises(ConfigurationError, match="white space"):
            factory(form.format(secret).encode())


def test_a_key_of_bytes_may_be_any():
    """A key of Standard Webhooks is random bytes where it is given as bytes."""
    assert signatures.standard_webhooks(b" key\n")


def test_twilio_port():
    """Twilio may sign the URL with its port or without it."""
    verify = signatures.twilio(TWILIO_SECRET)
    headers = EXAMPLES["twilio"][3]
    assert verify(TWILIO_BODY, headers, url=TWILIO_URL.replace(".com", ".com:443"))
    assert verify(TWILIO_BODY, headers, url=TWILIO_URL.replace(".com", ".com:8443"))
    assert not verify(TWILIO_BODY, headers, url=TWILIO_URL.replace(".com", ".com:x"))


def sign_twilio(url):
    """Sign a URL as Twilio does where the body is no form."""
    return base64.b64encode(hmac.digest(TWILIO_SECRET.encode(), url.encode(), "sha1")).decode()


def test_twilio_json():
    """A body of Twilio's that is no form is verified by the hash in its URL, and not without."""
    verify = signatures.twilio(TWILIO_SECRET)
    body = b'{"a": 1}'
    url = f"https://example.com/hook?bodySHA256={hashlib.sha256(body).hexdigest()}"
    headers = {"X-Twilio-Signature": sign_twilio(url), "Content-Type": "application/json"}
    assert verify(body, headers, url=url)
    assert not verify(body + b" ", headers, url=url)
    assert not verify(body, headers, url=url + "0")
    bare = "https://example.com/hook"
    assert not verify(body, {**headers, "X-Twilio-Signature": sign_twilio(bare)}, url=bare)
    assert verify(b"", {**headers, "X-Twilio-Signature": sign_twilio(bare)}, url=bare)


def test_signed_as_sent(client_of, processor, handled):
    """The signature of a compressed body is over what was sent; one over the plain body is refused."""
    adapter = make_adapter(RawMessage, processor, verify=signatures.github("key"))
    body = gzip.compress(b"plain")
    for signed, status in ((body, 200), (b"plain", 401)):
        signature = "sha256=" + hmac.digest(b"key", signed, "sha256").hex()
        headers = {"X-Hub-Signature-256": signature, "Content-Encoding": "gzip"}
        assert client_of(adapter).post(body, headers=headers).status == status
    assert handled == [b"plain"]
    adapter.close()


async def verify_async(raw_body, headers):
    """Refuse everything, or so it seems."""
    return False


@pytest.mark.parametrize("verify", [verify_async, 1, "github"])
def test_what_cannot_verify(processor, verify):
    """An async verifier, whose coroutine would be true, and what is not callable are refused."""
    with pytest.raises(ConfigurationError):
        make_adapter(RawMessage, processor, verify=verify)


@each_scheme
def test_uncalled_factory(processor, name):
    """A factory given in place of the verifier it makes is refused, with the remedy."""
    with pytest.raises(ConfigurationError, match=rf"verify=signatures\.{name}\(secret\)"):
        make_adapter(RawMessage, processor, verify=getattr(signatures, name))


def sign_slack(body):
    """Sign as Slack does."""
    signature = hmac.new(
        SLACK_SECRET.encode(), b"v0:%d:%s" % (SLACK_TIME, body), hashlib.sha256
    ).hexdigest()
    return dict(slack_headers(f"v0={signature}"))


@pytest.fixture
def slack_client(client_of, processor):
    """A client of an adapter that verifies what Slack sends."""
    verify = signatures.slack(SLACK_SECRET, clock=at(SLACK_TIME))
    adapter = make_adapter(RawMessage, processor, verify=verify)
    yield client_of(adapter)
    adapter.close()


def test_slack_challenge(slack_client, handled):
    """Slack's challenge is answered, and no handler sees it; not unless it is signed."""
    body = b'{"token": "Jhj5dZ", "challenge": "3eZbrw1aBm2r", "type": "url_verification"}'
    answer = slack_client.post(body, headers=sign_slack(body))
    assert (answer.status, answer.json) == (200, {"challenge": "3eZbrw1aBm2r"})
    assert slack_client.post(body).status == 401
    assert handled == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"type": "event_callback", "text": "\\"url_verification\\""}',
        b'{"type": "event_callback", "other": "url_verification"}',
        b'{"type": "url_verification"}',
        b'{"type": "url_verification", "challenge": 7}',
        b'["url_verification"]',
        b'{"url_verification"',
        b'"url_verification"' + b"[" * 100_000,
        SLACK_BODY,
    ],
)
def test_slack_message(slack_client, handled, body):
    """What only looks like a challenge is a message."""
    assert slack_client.post(body, headers=sign_slack(body)).json == {"result": "dlq"}
    assert handled == [body]
