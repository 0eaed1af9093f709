"""Challenges: the handshakes by which senders make sure of a URL before they send to it.

Each factory makes a ``challenge`` option: a function that is given every request which is no
message yet, and returns the answer to a handshake, or None. No handler sees a handshake. A POST is
verified first.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable
from typing import Any, cast

from ..errors import ConfigurationError
from .answers import FORBIDDEN, Answer, AnswerLike
from .request import WebhookRequest

__all__ = ["cloudevents", "echo", "meta", "slack", "zoom"]

#: Answers a handshake; returns None for any other request.
Challenge = Callable[[WebhookRequest], AnswerLike | None]


def echo(parameter: str = "challenge") -> Challenge:
    """Answer a GET by the value of a parameter, as Nylas and Dropbox ask for.

    :param parameter: the name of the parameter.
    """

    def challenge(request: WebhookRequest) -> Answer | None:
        if request.method != "GET":
            return None
        value = request.query(parameter)
        return None if not value else Answer.text(200, value)

    return challenge


def meta(verify_token: str) -> Challenge:
    """Answer Meta's verification by GET: WhatsApp, Messenger, Instagram.

    https://developers.facebook.com/docs/graph-api/webhooks/getting-started

    :param verify_token: what was entered as the verify token; a GET with another one is answered
        403.
    :raises ConfigurationError: it is empty.
    """
    token = _check_text("the verify token", verify_token)

    def challenge(request: WebhookRequest) -> Answer | None:
        if request.method != "GET" or request.query("hub.mode") != "subscribe":
            return None
        given, value = request.query("hub.verify_token"), request.query("hub.challenge")
        if given is None or value is None:
            return FORBIDDEN
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode()):
            return FORBIDDEN
        return Answer.text(200, value)

    return challenge


def slack() -> Challenge:
    """Answer Slack's ``url_verification``.

    https://docs.slack.dev/reference/events/url_verification
    """

    def challenge(request: WebhookRequest) -> Answer | None:
        fields = _fields_of(request, b'"url_verification"')
        if fields.get("type") != "url_verification":
            return None
        value = fields.get("challenge")
        return Answer.json(200, {"challenge": value}) if isinstance(value, str) else None

    return challenge


def zoom(secret: str | bytes) -> Challenge:
    """Answer Zoom's ``endpoint.url_validation``: the token, and its HMAC-SHA256.

    https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint

    :param secret: the app's secret token.
    :raises ConfigurationError: it is empty.
    """
    key = secret if isinstance(secret, bytes) else _check_text("the secret", secret).encode()

    def challenge(request: WebhookRequest) -> Answer | None:
        fields = _fields_of(request, b'"endpoint.url_validation"')
        payload = fields.get("payload")
        if fields.get("event") != "endpoint.url_validation" or not isinstance(payload, dict):
            return None
        token = cast("dict[str, Any]", payload).get("plainToken")
        if not isinstance(token, str):
            return None
        signed = token.encode("utf-8", "surrogatepass")
        encrypted = hmac.digest(key, signed, "sha256").hex()
        return Answer.json(200, {"plainToken": token, "encryptedToken": encrypted})

    return challenge


def cloudevents(origins: Iterable[str], *, rate: int | None = None) -> Challenge:
    """Answer the OPTIONS request by which a sender of CloudEvents asks for permission.

    https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md

    :param origins: the ``WebHook-Request-Origin`` of each sender that is allowed; another is
        answered 403.
    :param rate: how many requests a minute are allowed; None for any number.
    :raises ConfigurationError: there is no origin.
    """
    allowed = [origins] if isinstance(origins, str) else list(origins)
    if not allowed or not all(isinstance(each, str) and each for each in allowed):
        raise ConfigurationError(
            "origins of challenges.cloudevents holds no name of a sender; give such as"
            " ['eventemitter.example.com']"
        )

    def challenge(request: WebhookRequest) -> Answer | None:
        if request.method != "OPTIONS":
            return None
        origin = request.headers.get("WebHook-Request-Origin")
        if not origin:
            return None
        if origin not in allowed:
            return FORBIDDEN
        return Answer.json(
            200,
            {"result": "allowed"},
            ("Allow", "POST"),
            ("WebHook-Allowed-Origin", origin),
            ("WebHook-Allowed-Rate", "*" if rate is None else str(rate)),
        )

    return challenge


def _check_text(what: str, text: Any) -> str:
    """Refuse what is no text, or could be anybody's.

    :raises ConfigurationError: it cannot be used.
    """
    if not isinstance(text, str) or not text or text != text.strip():
        raise ConfigurationError(
            f"{what} of a challenge is missing, empty, or has white space at its ends; give the one"
            " that the sender has"
        )
    return text


def _fields_of(request: WebhookRequest, mark: bytes) -> dict[str, Any]:
    """Return the fields of a POST of JSON that holds a mark; of any other request none."""
    if request.method != "POST" or mark not in request.body:
        return {}
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):  # so it is a message, whatever it is
        return {}
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}
