"""The instrument: suites of variants, measured side by side in interleaved rounds."""

from __future__ import annotations

from .suite import Case, Point, Suite, Target, Variant

__all__ = ["Case", "Point", "Suite", "Target", "Variant"]
