"""Metrics of Missive's runs for Prometheus."""

from .__about__ import __version__
from .exposition import expose, forget_process, share_metrics
from .instrument import instrument

__all__ = ["__version__", "expose", "forget_process", "instrument", "share_metrics"]
