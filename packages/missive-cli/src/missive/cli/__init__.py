"""The ``missive`` command: run processors, and look after their dead letters."""

from .__about__ import __version__
from .command import main, missive

__all__ = ["__version__", "main", "missive"]
