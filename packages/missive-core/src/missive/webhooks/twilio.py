"""Twilio's signature: over the URL and the fields of a form."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import parse_qsl, urlsplit

from .forms import MEDIA_TYPE
from .request import WebhookRequest
from .verifying import DIFFERS, Secrets, SignatureVerifier, matches, read_keys, repeated


def twilio(secrets: Secrets) -> SignatureVerifier:
    """Verify what Twilio sends: ``X-Twilio-Signature``, over the URL and the fields of the form.

    https://www.twilio.com/docs/usage/webhooks/webhooks-security

    The URL has to be the one that Twilio calls. Behind a proxy wrap the application in werkzeug's
    ``ProxyFix``. A body that is no form is verified by the ``bodySHA256`` in the URL.

    :param secrets: the account's auth token; or the secret of a shared key, by which Twilio signs
        with SHA-256 where a rule for webhooks says so.
    """
    keys = read_keys(secrets)
    header = "X-Twilio-Signature"
    settings = "X-Twilio-Webhooks-Signature-Settings"

    def check(request: WebhookRequest, value: str) -> str | None:
        if "," in value:
            return repeated(header)
        fields = b""
        if request.media_type == MEDIA_TYPE:
            fields = _join_fields(request.body)
        elif request.body:
            why_not = _why_other_body(request)
            if why_not is not None:
                return why_not
        parts = [part.strip().upper() for part in request.headers.get(settings, "").split(",")]
        digest = "sha256" if "ALGORITHM=HMAC_SHA256" in parts else "sha1"
        for url in _with_and_without_port(request.url):
            signed = url.encode("utf-8", "surrogateescape") + fields
            if matches(keys, signed, [value], "base64", digest):
                return None
        return (
            f"{DIFFERS}, or the URL that the sender called is not {request.url.partition('?')[0]!r}"
        )

    return SignatureVerifier("Twilio", header, check)


def _why_other_body(request: WebhookRequest) -> str | None:
    """Return why a body that is no form is not that of the URL's ``bodySHA256``, or None."""
    given = request.query("bodySHA256")
    if given is None:
        return "neither is the body a form, nor has the URL its bodySHA256"
    digest = hashlib.sha256(request.body).hexdigest()
    if hmac.compare_digest(given.lower().encode("utf-8", "replace"), digest.encode()):
        return None
    return "the body is not that of the URL's bodySHA256"


def _join_fields(body: bytes) -> bytes:
    """Write the fields of a form as Twilio signs them: sorted, without separators, each once."""
    text = body.decode("utf-8", "surrogateescape")
    pairs = set(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))
    joined = "".join(name + value for name, value in sorted(pairs))
    return joined.encode("utf-8", "surrogateescape")


def _with_and_without_port(url: str) -> list[str]:
    """Return the URL with its port and without: Twilio signs either."""
    parts = urlsplit(url)
    host = parts.netloc
    bare, colon, port = host.rpartition(":")
    default = ":443" if parts.scheme == "https" else ":80"
    other = bare if colon and port.isdigit() else host + default
    return [url, url.replace(host, other, 1)] if host else [url]
