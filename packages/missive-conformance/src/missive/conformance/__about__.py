"""State the version of missive-conformance, for the build and for readers alike."""

__version__ = "2026.11.0"
