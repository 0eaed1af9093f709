"""Senders: all that an adapter has to know of one, ready made.

``WSGIAdapter(..., sender=senders.github(secret))`` verifies the signature, reads the id, decodes
what the sender encodes, answers its handshake, and answers messages the way it expects. An option
that is given to the adapter too replaces the sender's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, cast

from ..errors import DecodingError
from ..handling import Outcome
from ..keys import NO_KEY, KeyFamily, route_on, route_on_header, route_on_json
from ..message import JSONMessage, Message
from . import challenges, signatures
from .answers import AnswerLike, taken
from .forms import MEDIA_TYPE, payload_of
from .request import WebhookRequest
from .verifying import TOLERANCE, Secrets, SignatureVerifier

__all__ = [
    "Sender",
    "github",
    "meta",
    "nylas",
    "shopify",
    "slack",
    "standard_webhooks",
    "stripe",
    "twilio",
    "zoom",
]

JSON = "application/json"
#: Returns the body to handle and its media type, or None where the body cannot be decoded.
Decode = Callable[[WebhookRequest], tuple[bytes, str] | None]


class Sender:
    """What an adapter has to know of a sender. All but the first is optional.

    :param name: what the sender is called.
    :param verify: verifies its signature.
    :param id_header: the header with its id of a message.
    :param id_from: returns its id of a message, from what the message holds.
    :param content_types: the media types that it sends.
    :param decode: decodes the body of a verified request.
    :param challenge: answers its handshake.
    :param answer: answers its messages.
    :param event: a family of keyed matchers on the name of its events, for ``handle_for``.
    """

    def __init__(
        self,
        name: str,
        *,
        verify: SignatureVerifier | None = None,
        id_header: str | None = None,
        id_from: Callable[[Any], object] | None = None,
        content_types: Iterable[str] | None = None,
        decode: Decode | None = None,
        challenge: challenges.Challenge | None = None,
        answer: Callable[[Outcome, Any], AnswerLike | None] | None = None,
        event: KeyFamily[Any] | None = None,
    ) -> None:
        self.name = name
        self.verify = verify
        self.id_header = id_header
        self.id_from = id_from
        self.content_types = content_types
        self.decode = decode
        self.challenge = challenge
        self.answer = answer
        self.event = event

    def __repr__(self) -> str:
        return f"<Sender {self.name}>"


def github(secrets: Secrets) -> Sender:
    """Know GitHub: signed JSON, sent as it is or as the field of a form; both come as JSON.

    :param secrets: the webhook's secret, or several.
    """
    return Sender(
        "GitHub",
        verify=signatures.github(secrets),
        id_header="X-GitHub-Delivery",
        content_types=(JSON, MEDIA_TYPE),
        decode=_decode_payload,
        event=route_on_header("X-GitHub-Event"),
    )


def _decode_payload(request: WebhookRequest) -> tuple[bytes, str] | None:
    if request.media_type != MEDIA_TYPE:
        return request.body, request.headers.get("Content-Type", "")
    payload = payload_of(request.body)
    return None if payload is None else (payload, JSON)


def stripe(secrets: Secrets, *, tolerance: float = TOLERANCE) -> Sender:
    """Know Stripe: events of JSON, each with an ``id`` and a ``type``.

    :param secrets: the endpoint's secret, or several.
    :param tolerance: how far the timestamp may be from now, in seconds.
    """
    return Sender(
        "Stripe",
        verify=signatures.stripe(secrets, tolerance=tolerance),
        id_from=_json_field("id"),
        content_types=(JSON,),
        event=route_on_json("type"),
    )


def slack(secrets: Secrets, *, tolerance: float = TOLERANCE) -> Sender:
    """Know Slack: its Events API, with the ``event_id``; commands and interactions are forms.

    Messages that are taken are answered by an empty body, since Slack shows any other to its user.

    :param secrets: the app's signing secret, or several.
    :param tolerance: how far the timestamp may be from now, in seconds.
    """
    return Sender(
        "Slack",
        verify=signatures.slack(secrets, tolerance=tolerance),
        id_from=_json_field("event_id"),
        answer=taken(200),
        event=route_on(_slack_event),
    )


def _slack_event(message: Any) -> object:
    event = _fields(message).get("event")
    return cast("dict[str, Any]", event).get("type", NO_KEY) if isinstance(event, dict) else NO_KEY


def shopify(secrets: Secrets) -> Sender:
    """Know Shopify: signed JSON, its topic and its id in headers.

    :param secrets: the app's client secret, or several.
    """
    return Sender(
        "Shopify",
        verify=signatures.shopify(secrets),
        id_header="X-Shopify-Webhook-Id",
        content_types=(JSON,),
        event=route_on_header("X-Shopify-Topic"),
    )


def twilio(secrets: Secrets) -> Sender:
    """Know Twilio: forms, signed with their URL; what is taken is answered by an empty TwiML.

    :param secrets: the account's auth token, or several.
    """
    return Sender(
        "Twilio",
        verify=signatures.twilio(secrets),
        id_header="I-Twilio-Idempotency-Token",
        content_types=(MEDIA_TYPE, JSON),
        answer=taken(200, {"Content-Type": "text/xml"}, "<Response/>"),
    )


def standard_webhooks(secrets: Secrets, *, tolerance: float = TOLERANCE) -> Sender:
    """Know senders that follow Standard Webhooks: signed JSON with a ``type``.

    :param secrets: the endpoint's secret, or several.
    :param tolerance: how far the timestamp may be from now, in seconds.
    """
    return Sender(
        "Standard Webhooks",
        verify=signatures.standard_webhooks(secrets, tolerance=tolerance),
        id_header="webhook-id",
        content_types=(JSON,),
        event=route_on_json("type"),
    )


def meta(secrets: Secrets, verify_token: str) -> Sender:
    """Know Meta: WhatsApp, Messenger, Instagram; signed JSON, and a verification by GET.

    :param secrets: the app's secret, or several.
    :param verify_token: what was entered as the verify token.
    """
    return Sender(
        "Meta",
        verify=signatures.github(secrets),
        content_types=(JSON,),
        challenge=challenges.meta(verify_token),
        event=route_on_json("object"),
    )


def nylas(secrets: Secrets) -> Sender:
    """Know Nylas: signed JSON with an ``id`` and a ``type``, and a challenge by GET.

    :param secrets: the webhook's secret, or several.
    """
    return Sender(
        "Nylas",
        verify=signatures.hmac_sha256(secrets, header="X-Nylas-Signature"),
        id_from=_json_field("id"),
        content_types=(JSON,),
        challenge=challenges.echo(),
        event=route_on_json("type"),
    )


def zoom(secrets: Secrets, *, tolerance: float = TOLERANCE) -> Sender:
    """Know Zoom: signed JSON with an ``event``, and a validation by POST.

    :param secrets: the app's secret token, or several; the first answers the validation.
    :param tolerance: how far the timestamp may be from now, in seconds.
    """
    return Sender(
        "Zoom",
        verify=signatures.zoom(secrets, tolerance=tolerance),
        content_types=(JSON,),
        event=route_on_json("event"),
    )


def _json_field(name: str) -> Callable[[Message], object]:
    def id_from(message: Message) -> object:
        return _fields(message).get(name)

    return id_from


def _fields(message: Message) -> dict[str, Any]:
    """Return the fields of a message that is a JSON object, else none."""
    try:
        body = (
            message.get_json()
            if isinstance(message, JSONMessage)
            else cast("object", json.loads(message.raw_data))
        )
    except (ValueError, RecursionError, DecodingError):
        return {}
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}
