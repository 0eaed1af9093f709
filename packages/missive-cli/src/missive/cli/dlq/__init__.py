"""``missive dlq``: look after dead letters; a command a file."""

from .group import dlq

__all__ = ["dlq"]
