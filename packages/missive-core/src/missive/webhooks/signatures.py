"""Signatures: verifiers that tell a sender's own requests from anybody else's.

Each is built from its secrets, one or several, so that a secret can be rotated without losing a
message: ``verify=signatures.github([new, old])``. Signatures are compared in constant time, and
where a scheme signs a timestamp, requests that are too old are refused, so that a recorded one
cannot be replayed. A header of a signature that is sent more than once is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal

from ..errors import ConfigurationError
from . import challenges
from .request import WebhookRequest
from .twilio import twilio
from .verifying import (
    DEFAULT_CLOCK,
    DIFFERS,
    TOLERANCE,
    Clock,
    Secrets,
    SignatureVerifier,
    check_tolerance,
    matches,
    missing,
    read_keys,
    repeated,
    why_stale,
)

__all__ = [
    "github",
    "hmac_sha256",
    "shopify",
    "slack",
    "standard_webhooks",
    "stripe",
    "twilio",
    "zoom",
]


def hmac_sha256(
    secrets: Secrets,
    *,
    header: str,
    prefix: str = "",
    encoding: Literal["hex", "base64"] = "hex",
) -> SignatureVerifier:
    """Verify a header that holds the HMAC-SHA256 of the body.

    The header may hold several signatures, separated by white space; one has to match.

    :param secrets: the sender's secret; text is taken as UTF-8.
    :param header: the name of the header.
    :param prefix: what stands before each signature, such as ``sha256=`` or ``v1,``.
    :param encoding: how the signature is written.
    :raises ConfigurationError: there is no secret, an empty one, one with white space at its ends,
        or no such encoding.
    """
    keys = read_keys(secrets)
    # A prefix may hold white space itself, as "HMAC " does.
    signature = re.compile(rf"(?<!\S){re.escape(prefix)}([^,\s]+)(?!\S)")
    if encoding not in ("hex", "base64"):
        raise ConfigurationError(
            f"a signature cannot be encoded as {encoding!r}; give 'hex' or 'base64'"
        )

    def check(request: WebhookRequest, value: str) -> str | None:
        if "," in value.replace(prefix, "") if prefix else "," in value:
            return repeated(header)
        given = signature.findall(value)
        if not given:
            return f"the header {header} holds no signature that begins with {prefix!r}"
        return None if matches(keys, request.body, given, encoding) else DIFFERS

    return SignatureVerifier(f"HMAC-SHA256 in {header}", header, check)


def github(secrets: Secrets) -> SignatureVerifier:
    """Verify what GitHub sends: ``X-Hub-Signature-256``. Meta's webhooks are signed so too.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries

    :param secrets: the webhook's secret token.
    """
    return hmac_sha256(secrets, header="X-Hub-Signature-256", prefix="sha256=")


def shopify(secrets: Secrets) -> SignatureVerifier:
    """Verify what Shopify sends: ``X-Shopify-Hmac-SHA256``, in base64.

    https://shopify.dev/docs/apps/build/webhooks/subscribe/https

    :param secrets: the app's client secret.
    """
    return hmac_sha256(secrets, header="X-Shopify-Hmac-SHA256", encoding="base64")


def stripe(
    secrets: Secrets, *, tolerance: float = TOLERANCE, clock: Clock = DEFAULT_CLOCK
) -> SignatureVerifier:
    """Verify what Stripe sends: ``Stripe-Signature``, with a timestamp; schemes but v1 are ignored.

    https://docs.stripe.com/webhooks/signature

    :param secrets: the endpoint's secret, whole, with its ``whsec_``.
    :param tolerance: how far the timestamp may be from now, in seconds.
    :param clock: tells the time, in seconds since the epoch.
    """
    keys = read_keys(secrets)
    check_tolerance(tolerance)
    header = "Stripe-Signature"

    def check(request: WebhookRequest, value: str) -> str | None:
        parts = [part.strip().partition("=")[::2] for part in value.split(",")]
        timestamps = [value for name, value in parts if name == "t"]
        if not timestamps:
            return f"the header {header} holds no timestamp"
        if len(timestamps) > 1:  # of two one could be checked and the other signed
            return repeated(header)
        stale = why_stale(header, timestamps[0], tolerance, clock)
        if stale is not None:
            return stale
        given = [value for name, value in parts if name == "v1"]
        if not given:
            return f"the header {header} holds no signature of the scheme v1"
        signed = timestamps[0].encode() + b"." + request.body
        return None if matches(keys, signed, given, "hex") else DIFFERS

    return SignatureVerifier("Stripe", header, check)


def slack(
    secrets: Secrets, *, tolerance: float = TOLERANCE, clock: Clock = DEFAULT_CLOCK
) -> SignatureVerifier:
    """Verify what Slack sends: ``X-Slack-Signature``, with a timestamp in a header of its own.

    https://docs.slack.dev/authentication/verifying-requests-from-slack

    With this verifier an adapter also answers Slack's ``url_verification``, as
    :func:`missive.webhooks.challenges.slack` does.

    :param secrets: the app's signing secret.
    :param tolerance: how far the timestamp may be from now, in seconds.
    :param clock: tells the time, in seconds since the epoch.
    """
    return _versioned(
        "Slack",
        "X-Slack-Signature",
        "X-Slack-Request-Timestamp",
        read_keys(secrets),
        tolerance,
        clock,
        challenges.slack(),
    )


def zoom(
    secrets: Secrets, *, tolerance: float = TOLERANCE, clock: Clock = DEFAULT_CLOCK
) -> SignatureVerifier:
    """Verify what Zoom sends: ``x-zm-signature``, with a timestamp in a header of its own.

    https://developers.zoom.us/docs/api/webhooks/#verify-webhook-events

    With this verifier an adapter also answers Zoom's ``endpoint.url_validation``, by the first of
    the secrets, as :func:`missive.webhooks.challenges.zoom` does.

    :param secrets: the app's secret token.
    :param tolerance: how far the timestamp may be from now, in seconds.
    :param clock: tells the time, in seconds since the epoch.
    """
    keys = read_keys(secrets)
    return _versioned(
        "Zoom",
        "x-zm-signature",
        "x-zm-request-timestamp",
        keys,
        tolerance,
        clock,
        challenges.zoom(keys[0]),
    )


def _versioned(
    scheme: str,
    header: str,
    timestamp_header: str,
    keys: list[bytes],
    tolerance: float,
    clock: Clock,
    challenge: challenges.Challenge,
) -> SignatureVerifier:
    """Verify ``v0=``, the HMAC-SHA256 of ``v0:timestamp:body``, as several senders write it."""
    check_tolerance(tolerance)

    def check(request: WebhookRequest, value: str) -> str | None:
        if "," in value:
            return repeated(header)
        timestamp = request.headers.get(timestamp_header)
        if not timestamp:
            return missing(timestamp_header, {})
        stale = why_stale(timestamp_header, timestamp, tolerance, clock)
        if stale is not None:
            return stale
        given = [each[len("v0=") :] for each in value.split() if each.startswith("v0=")]
        if not given:
            return f"the header {header} holds no signature of the version v0"
        signed = b"v0:" + timestamp.encode() + b":" + request.body
        return None if matches(keys, signed, given, "hex") else DIFFERS

    return SignatureVerifier(scheme, header, check, challenge)


def standard_webhooks(
    secrets: Secrets, *, tolerance: float = TOLERANCE, clock: Clock = DEFAULT_CLOCK
) -> SignatureVerifier:
    """Verify what senders that follow Standard Webhooks send: ``webhook-signature``.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

    Only the symmetric scheme, v1, is verified. Give the adapter ``id_header="webhook-id"`` too.

    :param secrets: as text the secret in base64, with or without its ``whsec_``; as bytes the key.
    :param tolerance: how far the timestamp may be from now, in seconds.
    :param clock: tells the time, in seconds since the epoch.
    """
    keys = read_keys(secrets, _decode_standard, raw_bytes=True)
    check_tolerance(tolerance)
    header = "webhook-signature"

    def check(request: WebhookRequest, value: str) -> str | None:
        message_id = request.headers.get("webhook-id")
        if not message_id:
            return missing("webhook-id", {})
        if "," in message_id:
            return repeated("webhook-id")
        timestamp = request.headers.get("webhook-timestamp")
        if not timestamp:
            return missing("webhook-timestamp", {})
        stale = why_stale("webhook-timestamp", timestamp, tolerance, clock)
        if stale is not None:
            return stale
        signatures = value.split()
        if any(each.count(",") != 1 or each.endswith(",") for each in signatures):
            return repeated(header)
        given = [each[len("v1,") :] for each in signatures if each.startswith("v1,")]
        if not given:
            return f"the header {header} holds no signature of the scheme v1"
        signed = b".".join(
            (message_id.encode("utf-8", "surrogateescape"), timestamp.encode(), request.body)
        )
        return None if matches(keys, signed, given, "base64") else DIFFERS

    return SignatureVerifier("Standard Webhooks", header, check)


def _decode_standard(secret: str) -> bytes:
    encoded = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (ValueError, binascii.Error):
        # Without the cause: its text may quote the secret.
        raise ConfigurationError(
            "a secret of Standard Webhooks is base64, with or without whsec_ before it; give a key"
            " that is not as bytes"
        ) from None
