"""Forms: bodies of ``application/x-www-form-urlencoded``."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from ..errors import DecodingError
from ..message import Message

MEDIA_TYPE = "application/x-www-form-urlencoded"


def read_form(body: bytes) -> dict[str, list[str]]:
    """Return the fields of a form, each with its values in order.

    :raises ValueError: the body is not a form in UTF-8.
    """
    return parse_qs(
        body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict"
    )


class FormMessage(Message):
    """A message whose bytes are a form, as Twilio and many of Slack's webhooks are."""

    _form: Mapping[str, list[str]] | None = None

    def get_lists(self) -> Mapping[str, list[str]]:
        """Decode the form, on first use, and return each field with all its values.

        :raises DecodingError: the bytes are not a form in UTF-8.
        """
        if self._form is None:
            try:
                self._form = read_form(self.raw_data)
            except ValueError:
                # Without the cause: its text may show content.
                raise DecodingError(self, "not a form in UTF-8") from None
        return self._form

    def get_form(self) -> dict[str, str]:
        """Return each field of the form with its last value.

        :raises DecodingError: the bytes are not a form in UTF-8.
        """
        return {name: values[-1] for name, values in self.get_lists().items()}


def payload_of(body: bytes) -> bytes | None:
    """Return the field ``payload`` of a form that has it once, as GitHub sends JSON by default."""
    try:
        values = read_form(body).get("payload", [])
    except ValueError:
        return None
    return values[0].encode() if len(values) == 1 else None
