"""State the version of missive-sqs, for the build and for readers alike."""

__version__ = "0.1.0"
