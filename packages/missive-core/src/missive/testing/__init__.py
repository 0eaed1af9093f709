"""Testing: what tests of processors use."""

from .client import TestAdapter

__all__ = ["TestAdapter"]
