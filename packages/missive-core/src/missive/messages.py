"""The dotted names of the original documentation: ``missive.messages.DictMessage``."""

from .message import DictMessage, Message

__all__ = ["DictMessage", "Message"]
