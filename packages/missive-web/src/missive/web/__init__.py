"""The dead letter page: failed messages in a browser."""

from .access import Role
from .app import DeadLetterApp

__all__ = ["DeadLetterApp", "Role"]
