"""State the version of missive-kafka, for the build and for readers alike."""

__version__ = "0.1.0"
