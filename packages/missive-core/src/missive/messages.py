"""The dotted names of the original documentation: ``missive.messages.DictMessage``."""

from .message import DictMessage

__all__ = ["DictMessage"]
