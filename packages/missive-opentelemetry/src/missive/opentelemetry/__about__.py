"""State the version of missive-opentelemetry, for the build and for readers alike."""

__version__ = "0.1.0"
