"""Replay, under its original name; see :mod:`missive.letters.replay`."""

from ..letters.replay import ReplayAdapter
from ..letters.replayed import Replayed, ReplayResult

__all__ = ["ReplayAdapter", "ReplayResult", "Replayed"]
