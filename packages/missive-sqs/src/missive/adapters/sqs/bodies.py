"""Bodies: what a queue holds as text, as the bytes of a message."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast

#: How the sender encoded bodies; None: they are text.
BodyEncoding = Literal["base64"]

#: What the extended clients for Java and Python write instead of a body that they put into S3.
_POINTERS = (
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
)
#: The attributes by which they mark such a message.
_POINTER_ATTRIBUTES = ("ExtendedPayloadSize", "SQSLargePayloadSize")
POINTER = (
    "the body lies in S3, and the message only points to it; Missive fetches nothing: have the"
    " sender keep below the limit of SQS, or send the bucket and key in a message of its own"
)
NOT_BASE64 = "the body is not base64, as body_encoding says"


class Body(NamedTuple):
    """The bytes of a message.

    :ivar raw_data: the bytes; where they cannot be had, the text as it came.
    :ivar headers: what an SNS envelope said.
    :ivar problem: why the message cannot be handled; None where it can.
    """

    raw_data: bytes
    headers: Mapping[str, str | bytes] = {}
    problem: str | None = None


def read_body(
    text: str, attributes: Mapping[str, Any], *, encoding: BodyEncoding | None, sns: bool
) -> Body:
    """Read the text of a message.

    :param attributes: the message attributes, by name.
    :param sns: unwrap notifications of SNS; what is not one is left as it is.
    """
    headers: Mapping[str, str | bytes] = {}
    if sns:
        text, headers = _unwrap(text)
    if _is_pointer(text) or any(name in attributes for name in _POINTER_ATTRIBUTES):
        return Body(text.encode(), headers, POINTER)
    if encoding is None:
        return Body(text.encode("utf-8", "surrogatepass"), headers)
    try:
        return Body(base64.b64decode(text, validate=True), headers)
    except (binascii.Error, ValueError):
        return Body(text.encode("utf-8", "surrogatepass"), headers, NOT_BASE64)


def _is_pointer(text: str) -> bool:
    return text.lstrip().startswith("[") and any(name in text[:100] for name in _POINTERS)


def _unwrap(text: str) -> tuple[str, Mapping[str, str | bytes]]:
    """Return the message of a notification, and its attributes as headers."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text, {}
    if not isinstance(found, dict):
        return text, {}
    found = cast("dict[str, Any]", found)
    message = found.get("Message") if found.get("Type") == "Notification" else None
    if not isinstance(message, str) or "TopicArn" not in found:
        return text, {}
    headers: dict[str, str | bytes] = {"x-amz-sns-topic-arn": str(found["TopicArn"])}
    for name, key in (("message-id", "MessageId"), ("subject", "Subject")):
        if isinstance(found.get(key), str):
            headers[f"x-amz-sns-{name}"] = found[key]
    attributes = found.get("MessageAttributes")
    if isinstance(attributes, dict):
        for name, attribute in cast("dict[str, Any]", attributes).items():
            if isinstance(attribute, dict):
                headers[name] = _value(cast("dict[str, Any]", attribute))
    return message, headers


def _value(attribute: Mapping[str, Any]) -> str | bytes:
    value = str(attribute.get("Value", ""))
    if attribute.get("Type") != "Binary":
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return value
