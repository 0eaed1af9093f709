"""Verifying: what a verifier is, and why it refuses a request."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from ..callables import check_function
from ..error_notes import place_of
from ..errors import ConfigurationError
from .request import WebhookRequest

#: One secret, or several of which any will do.
Secrets = str | bytes | Iterable[str | bytes]
#: Returns why a request is refused, or None where it is its sender's own.
WhyNot = Callable[[WebhookRequest], str | None]

#: How far a signed timestamp may be from now, in seconds: what Stripe, Slack and the libraries of
#: Standard Webhooks use.
TOLERANCE = 300.0

#: The headers by which a request of another scheme is known; they only help to say so.
_KNOWN_HEADERS = (
    "Stripe-Signature",
    "webhook-signature",
    "svix-signature",
    "X-Hub-Signature-256",
    "X-Hub-Signature",
    "X-Nylas-Signature",
    "X-Shopify-Hmac-SHA256",
    "X-Slack-Signature",
    "X-Twilio-Signature",
    "x-zm-signature",
)


class Verifier(Protocol):
    """Decides whether a request is its sender's own."""

    def __call__(self, raw_body: bytes, headers: Mapping[str, str], /) -> bool:
        """Return True if it is; anything else refuses the request, and so does an exception.

        :param raw_body: the body, byte for byte as it was sent.
        :param headers: the headers; names without regard to case.
        """
        ...


class SignatureVerifier:
    """A verifier of a signature, which also says why it refuses a request.

    :param scheme: what the scheme is called.
    :param header: the header that holds the signature.
    :param check: called with the request and the value of the header; returns why the request is
        refused, without showing any of it, or None.
    :param challenge: answers the sender's handshake; see :mod:`missive.webhooks.challenges`.
    """

    def __init__(
        self,
        scheme: str,
        header: str,
        check: Callable[[WebhookRequest, str], str | None],
        challenge: Callable[[WebhookRequest], Any] | None = None,
    ) -> None:
        self.scheme = scheme
        self.header = header
        self.challenge = challenge
        self._check = check

    def why_not(self, request: WebhookRequest) -> str | None:
        """Return why a request is refused, for a log, or None where it is its sender's own."""
        value = request.headers.get(self.header)
        if not value:
            return missing(self.header, request.headers)
        return self._check(request, value)

    def __call__(
        self,
        raw_body: bytes,
        headers: Mapping[str, str],
        method: str = "POST",
        url: str = "",
    ) -> bool:
        """Return whether a request is its sender's own.

        :param raw_body: the body, byte for byte as it was sent.
        :param headers: the headers.
        :param method: the method.
        :param url: the URL as the sender saw it, which some schemes sign.
        """
        return self.why_not(WebhookRequest(raw_body, headers, method, url)) is None

    def __repr__(self) -> str:
        return f"<SignatureVerifier of {self.scheme}>"


def as_why_not(verify: Any) -> WhyNot:
    """Return a function that calls a verifier and says why it refuses a request.

    :param verify: a SignatureVerifier, or a user's function of (raw_body, headers) or (request).
    :raises InvalidHandler: it is not callable so, or is async.
    """
    judge = verify.why_not if isinstance(verify, SignatureVerifier) else _as_judge(verify)

    def why_not(request: WebhookRequest) -> str | None:
        try:
            return judge(request)
        except Exception as error:
            return f"verify raised {type(error).__name__} at {place_of(error)}"

    return why_not


def _as_judge(verify: Any) -> WhyNot:
    """Return a function that says why a user's function refuses a request."""
    takes_request = _takes_request(verify)

    def judge(request: WebhookRequest) -> str | None:
        result = verify(request) if takes_request else verify(request.body, request.headers)
        if result is True:
            return None
        if result is False:
            return "verify returned False"
        return f"verify returned {type(result).__name__}, and only True accepts a request"

    return judge


def _takes_request(verify: Any) -> bool:
    """Return whether a verifier takes the request, rather than its body and headers."""
    try:
        check_function(verify, "verify", ("raw_body", "headers"), plain=True)
    except ConfigurationError as error:
        if not isinstance(error.__cause__, TypeError):
            raise
        check_function(verify, "verify", ("request",), plain=True)
        return True
    return False


# What schemes have in common.


def missing(header: str, headers: Mapping[str, str]) -> str:
    """Say that a header is missing, and which other scheme's is there."""
    other = next((name for name in _KNOWN_HEADERS if name in headers and name != header), None)
    hint = f"; it has {other}, of another scheme" if other else ""
    return f"the header {header} is {'empty' if header in headers else 'missing'}{hint}"


def repeated(header: str) -> str:
    """Say that a header was sent several times: servers join the values by commas."""
    return f"the header {header} was sent more than once, or holds a comma"


DIFFERS = (
    "the signature differs: it was made with another secret, or the body was changed on its way"
)


def why_stale(
    header: str, timestamp: str, tolerance: float, clock: Callable[[], float]
) -> str | None:
    """Return why a timestamp is refused, or None."""
    # Twelve digits reach far enough; int() would take signs, spaces and underscores too.
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return repeated(header) if "," in timestamp else f"the timestamp in {header} is not a time"
    off = clock() - int(timestamp)
    if abs(off) <= tolerance:
        return None
    return (
        f"its timestamp is {abs(off):.0f} s in the {'past' if off > 0 else 'future'}, and"
        f" {tolerance:g} s are tolerated; it was sent again later, or the clocks differ"
    )


def matches(
    keys: list[bytes], signed: bytes, given: list[str], encoding: str, digest: str = "sha256"
) -> bool:
    """Return whether any of the signatures given is that of any key; takes constant time."""
    if encoding == "hex":
        given = [signature.lower() for signature in given]
    candidates = [signature.encode("utf-8", "replace") for signature in given]
    matched = False
    for key in keys:
        own = hmac.digest(key, signed, digest)
        text = own.hex().encode() if encoding == "hex" else base64.b64encode(own)
        for candidate in candidates:
            matched |= hmac.compare_digest(text, candidate)
    return matched


def read_keys(
    secrets: Secrets, decode: Callable[[str], bytes] = str.encode, *, raw_bytes: bool = False
) -> list[bytes]:
    """Make keys of secrets.

    :param decode: makes a key of a secret that is text.
    :param raw_bytes: whether a secret given as bytes is a key of random bytes rather than text.
    :raises ConfigurationError: there is none, or one is empty, of another type, or has white space
        at its ends. An empty key would let anybody sign.
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
        if secret != secret.strip() and not (raw_bytes and isinstance(secret, bytes)):
            raise ConfigurationError(
                "a secret has white space at its ends, such as the line end of the file that it"
                " was read from; give secret.strip()"
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


def check_tolerance(tolerance: float) -> None:
    """Refuse a tolerance that would refuse every request.

    :raises ConfigurationError: it is not above 0.
    """
    if not tolerance > 0:
        raise ConfigurationError(
            f"tolerance={tolerance!r} would refuse every request; give the seconds by which a"
            " timestamp may be off"
        )


#: Tells the time, in seconds since the epoch.
Clock = Callable[[], float]
DEFAULT_CLOCK: Clock = time.time
