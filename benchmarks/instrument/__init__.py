"""The instrument: suites of variants, measured side by side in interleaved rounds."""

from __future__ import annotations

from .stopwatch import Stopwatch
from .suite import Case, Point, Suite, Target, Variant

__all__ = ["Case", "Point", "Stopwatch", "Suite", "Target", "Variant"]
