"""Signatures: verifiers that tell a sender's own requests from anybody else's.

Each is built from its secrets, one or several, so that a secret can be rotated without losing a
message: ``verify=signatures.github([new, old])``. Signatures are compared in constant time, and
where a scheme signs a timestamp, requests that are too old are refused, so that a recorded one
cannot be replayed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, cast

from missive import ConfigurationError

__all__ = ["github", "hmac_sha256", "shopify", "slack", "standard_webhooks", "stripe"]

#: One secret, or several of which any will do.
Secrets = str | bytes | Iterable[str | bytes]

#: How far a signed timestamp may be from now, in seconds: what Stripe, Slack and the libraries of
#: Standard Webhooks use.
TOLERANCE = 300.0

_SEPARATORS = re.compile(r"[,\s]+")


class Verifier(Protocol):
    """Decides whether a request is its sender's own.

    One that has a method ``challenge(raw_body) -> str | None`` too is asked, of each request that
    it verified, whether the sender wants a challenge echoed instead of a message handled.
    """

    def __call__(self, raw_body: bytes, headers: Mapping[str, str], /) -> bool:
        """Tell; anything but True is a no.

        :param raw_body: the body, byte for byte.
        :param headers: the headers; names without regard to case.
        """
        ...


def hmac_sha256(
    secrets: Secrets,
    *,
    header: str,
    prefix: str = "",
    encoding: Literal["hex", "base64"] = "hex",
) -> Verifier:
    """Verify a header that holds the HMAC-SHA256 of the body.

    The header may hold several signatures, separated by commas or white space; one has to match.

    :param secrets: the sender's secret; text is taken as UTF-8.
    :param header: the name of the header.
    :param prefix: what stands before each signature, such as ``sha256=`` or ``v1,``.
    :param encoding: how the signature is written.
    :raises ConfigurationError: there is no secret, an empty one, or no such encoding.
    """
    keys = _read_keys(secrets)
    # A prefix may hold separators itself, as "HMAC " and "v1," do.
    signature = re.compile(rf"(?<![^,\s]){re.escape(prefix)}([^,\s]+)")
    if encoding not in ("hex", "base64"):
        raise ConfigurationError(
            f"a signature cannot be encoded as {encoding!r}; give 'hex' or 'base64'"
        )

    def verify(raw_body: bytes, headers: Mapping[str, str]) -> bool:
        return _match(keys, raw_body, signature.findall(headers.get(header, "")), encoding)

    return verify


def github(secrets: Secrets) -> Verifier:
    """Verify what GitHub sends: ``X-Hub-Signature-256``.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries

    :param secrets: the webhook's secret token.
    """
    return hmac_sha256(secrets, header="X-Hub-Signature-256", prefix="sha256=")


def shopify(secrets: Secrets) -> Verifier:
    """Verify what Shopify sends: ``X-Shopify-Hmac-SHA256``, in base64.

    https://shopify.dev/docs/apps/build/webhooks/subscribe/https

    :param secrets: the app's client secret.
    """
    return hmac_sha256(secrets, header="X-Shopify-Hmac-SHA256", encoding="base64")


def stripe(
    secrets: Secrets,
    *,
    tolerance: float = TOLERANCE,
    clock: Callable[[], float] = time.time,
) -> Verifier:
    """Verify what Stripe sends: ``Stripe-Signature``, with a timestamp; schemes but v1 are ignored.

    https://docs.stripe.com/webhooks/signature

    :param secrets: the endpoint's secret, whole, with its ``whsec_``.
    :param tolerance: how far the timestamp may be from now, in seconds.
    :param clock: tells the time, in seconds since the epoch.
    """
    keys = _read_keys(secrets)
    _check_tolerance(tolerance)

    def verify(raw_body: bytes, headers: Mapping[str, str]) -> bool:
        parts = [
            part.strip().partition("=")[::2]
            for part in headers.get("Stripe-Signature", "").split(",")
        ]
        timestamps = [value for name, value in parts if name == "t"]
        # Of two timestamps one could be checked and the other signed.
        if len(timestamps) != 1 or not _is_recent(timestamps[0], tolerance, clock):
            return False
        signed = timestamps[0].encode() + b"." + raw_body
        return _match(keys, signed, [value for name, value in parts if name == "v1"], "hex")

    return verify


class slack:  # noqa: N801 - it is called as its siblings are
    """Verify what Slack sends: ``X-Slack-Signature``, with a timestamp in a header of its own.

    https://docs.slack.dev/authentication/verifying-requests-from-slack

    With this verifier an adapter also answers the ``url_verification`` challenge by which Slack
    makes sure of a new URL, https://docs.slack.dev/reference/events/url_verification; no handler
    sees it.

    :param secrets: the app's signing secret.
    :param tolerance: how far the timestamp may be from now, in seconds.
    :param clock: tells the time, in seconds since the epoch.
    """

    def __init__(
        self,
        secrets: Secrets,
        *,
        tolerance: float = TOLERANCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = _read_keys(secrets)
        _check_tolerance(tolerance)
        self._tolerance = tolerance
        self._clock = clock

    def __call__(self, raw_body: bytes, headers: Mapping[str, str]) -> bool:
        """Tell whether the request is Slack's."""
        timestamp = headers.get("X-Slack-Request-Timestamp", "")
        if not _is_recent(timestamp, self._tolerance, self._clock):
            return False
        given = [
            signature[len("v0=") :]
            for signature in _SEPARATORS.split(headers.get("X-Slack-Signature", ""))
            if signature.startswith("v0=")
        ]
        return _match(self._keys, b"v0:" + timestamp.encode() + b":" + raw_body, given, "hex")

    def challenge(self, raw_body: bytes) -> str | None:
        """Give the challenge that a verified request poses, or None where it is a message."""
        if b'"url_verification"' not in raw_body:
            return None
        try:
            body = json.loads(raw_body)
        except (ValueError, RecursionError):  # so it is a message, whatever it is
            return None
        if not isinstance(body, dict):
            return None
        fields = cast("dict[str, Any]", body)
        if fields.get("type") != "url_verification":
            return None
        challenge = fields.get("challenge")
        return challenge if isinstance(challenge, str) else None


def standard_webhooks(
    secrets: Secrets,
    *,
    tolerance: float = TOLERANCE,
    clock: Callable[[], float] = time.time,
) -> Verifier:
    """Verify what senders that follow Standard Webhooks send: ``webhook-signature``.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

    Only the symmetric scheme, v1, is verified. Give the adapter ``id_header="webhook-id"`` too.

    :param secrets: as text the secret in base64, with or without its ``whsec_``; as bytes the key.
    :param tolerance: how far the timestamp may be from now, in seconds.
    :param clock: tells the time, in seconds since the epoch.
    """
    keys = _read_keys(secrets, _decode_standard)
    _check_tolerance(tolerance)

    def verify(raw_body: bytes, headers: Mapping[str, str]) -> bool:
        message_id = headers.get("webhook-id", "")
        timestamp = headers.get("webhook-timestamp", "")
        if not message_id or not _is_recent(timestamp, tolerance, clock):
            return False
        given = [
            signature[len("v1,") :]
            for signature in headers.get("webhook-signature", "").split()
            if signature.startswith("v1,")
        ]
        signed = b".".join(
            (message_id.encode("utf-8", "surrogateescape"), timestamp.encode(), raw_body)
        )
        return _match(keys, signed, given, "base64")

    return verify


def _match(keys: list[bytes], signed: bytes, given: list[str], encoding: str) -> bool:
    """Tell whether any of the signatures given is that of any key, in constant time."""
    if encoding == "hex":
        given = [signature.lower() for signature in given]
    candidates = [signature.encode("utf-8", "replace") for signature in given]
    matched = False
    for key in keys:
        digest = hmac.digest(key, signed, "sha256")
        own = digest.hex().encode() if encoding == "hex" else base64.b64encode(digest)
        for candidate in candidates:
            matched |= hmac.compare_digest(own, candidate)
    return matched


def _is_recent(timestamp: str, tolerance: float, clock: Callable[[], float]) -> bool:
    # Twelve digits reach far enough; int() would take signs, spaces and underscores too.
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    return abs(clock() - int(timestamp)) <= tolerance


def _read_keys(secrets: Secrets, decode: Callable[[str], bytes] = str.encode) -> list[bytes]:
    """Make keys of secrets.

    :param decode: makes a key of a secret that is text.
    :raises ConfigurationError: there is none, or one is empty or of another type. An empty key
        would let anybody sign.
    """
    alone = isinstance(secrets, str | bytes) or not isinstance(secrets, Iterable)
    given: Iterable[Any] = [secrets] if alone else secrets
    keys: list[bytes] = []
    for secret in given:
        if not isinstance(secret, str | bytes):
            raise ConfigurationError(
                f"a secret is text or bytes, not {type(secret).__name__}; is it missing from the"
                " environment or the configuration?"
            )
        key = decode(secret) if isinstance(secret, str) else secret
        if not key:
            raise ConfigurationError(
                "a secret is empty, and anybody could sign with it; give yours"
            )
        keys.append(key)
    if not keys:
        raise ConfigurationError(
            "no secret to verify signatures with; give one, or several of which any will do"
        )
    return keys


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


def _check_tolerance(tolerance: float) -> None:
    if not tolerance > 0:
        raise ConfigurationError(
            f"tolerance={tolerance!r} would refuse every request; give the seconds by which a"
            " timestamp may be off"
        )
