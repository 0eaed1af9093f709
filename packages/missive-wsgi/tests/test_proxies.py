"""Signatures behind middleware: proxies, and headers that it made."""

from __future__ import annotations

from missive import RawMessage
from missive.adapters.wsgi import WSGIAdapter, signatures
from webhook_suite.signatures import TWILIO_BODY, TWILIO_SECRET, TWILIO_SIGNATURE, TWILIO_TYPE
from werkzeug.middleware.proxy_fix import ProxyFix


def test_signature_raises(client_of, processor, caplog):
    """A signature that cannot be judged at all is refused, whatever middleware put there."""
    verify = signatures.standard_webhooks(b"key", clock=lambda: 1000)
    adapter = WSGIAdapter(RawMessage, processor, verify=verify)
    headers = {"webhook-timestamp": "1000", "webhook-signature": "v1,AAAA"}
    answer = client_of(adapter).post(b"{}", headers=headers, HTTP_WEBHOOK_ID="\ud800")
    assert answer.status == 401
    assert "UnicodeEncodeError at " in caplog.text
    adapter.close()


def test_twilio_url(client_of, processor):
    """Twilio's signature is over the URL that it called, which ProxyFix restores behind a proxy."""
    adapter = WSGIAdapter(
        RawMessage, processor, path="/myapp.php", verify=signatures.twilio(TWILIO_SECRET)
    )
    processor.set_dlq({})
    headers = {
        "X-Twilio-Signature": TWILIO_SIGNATURE,
        "Content-Type": TWILIO_TYPE,
        "Host": "internal:8000",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "mycompany.com",
    }
    query = {"QUERY_STRING": "foo=1&bar=2"}
    assert client_of(adapter).post(TWILIO_BODY, "/myapp.php", headers, **query).status == 401
    behind_a_proxy = client_of(ProxyFix(adapter, x_proto=1, x_host=1))
    assert behind_a_proxy.post(TWILIO_BODY, "/myapp.php", headers, **query).status == 200
    query = {"QUERY_STRING": "foo=1&bar=3"}
    assert behind_a_proxy.post(TWILIO_BODY, "/myapp.php", headers, **query).status == 401
    adapter.close()
