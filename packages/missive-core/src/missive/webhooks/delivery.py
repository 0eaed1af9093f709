"""The delivery that a request makes, whatever server it came by."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..delivery import Delivery
from ..ids import format_id


class WebhookDelivery(Delivery, ABC):
    """A request whose body was read whole."""

    @property
    def name(self) -> str:
        """What logs call the delivery: its id in the printable form, if the sender gave one."""
        message_id = self.message_id
        if not message_id:
            return "a message without an id"
        if isinstance(message_id, str):
            message_id = message_id.encode("utf-8", "surrogateescape")
        return format_id(message_id)

    @abstractmethod
    def become(self, body: bytes, content_type: str | None) -> None:
        """Change the delivery into what it would be had its body been sent decoded.

        :param body: the decoded body.
        :param content_type: what it is; None for what was sent.
        """
