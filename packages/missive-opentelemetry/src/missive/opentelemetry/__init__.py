"""Traces and metrics of Missive's runs for OpenTelemetry."""

from .__about__ import __version__
from .instrument import instrument

__all__ = ["__version__", "instrument"]
