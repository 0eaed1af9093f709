"""The suite for adapters: one subclass of it is an adapter's whole test of conformance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from .adapter_checks import (
    Conduct,
    Connections,
    Construction,
    Delivery,
    Discretion,
    Handlers,
    Network,
    Poison,
    Processes,
    Settlement,
    Stopping,
    Waiting,
    Workers,
)
from .harness import AdapterHarness
from .lab import AdapterLab
from .styles import check_style
from .suite import artefacts_of, keep_accounts, skip_unmet, started


class AdapterConformance(
    Construction,
    Delivery,
    Settlement,
    Handlers,
    Waiting,
    Workers,
    Stopping,
    Conduct,
    Discretion,
    Processes,
    Poison,
    Network,
    Connections,
):
    """Judges an adapter. Subclass it as ``class TestMine(AdapterConformance)``.

    Which checks run follows from the capabilities of ``harness.adapter_cls`` and from what the
    harness offers; the rest is skipped, each with the reason in a sentence.
    """

    #: The harness of the adapter under test.
    harness: ClassVar[type[AdapterHarness]]
    #: Checks that are known to fail, by id, with the reason. One that passes fails the run.
    known_failures: ClassVar[Mapping[str, str]] = {}

    #: How the handlers of the checks are written: ``"plain"``, ``"async"``, or ``"batch:7"`` for batch
    #: handlers of up to seven messages. ``--missive-handlers`` sets it for all suites.
    handlers: ClassVar[str] = "plain"

    @classmethod
    def subject(cls) -> type:
        """Return the class under test."""
        return cls.harness.adapter_cls

    @classmethod
    def open_lab(
        cls, folder: Path, artefacts: Path | None = None, style: str | None = None
    ) -> AdapterLab:
        """Return the lab that one check works with; enter it to start the harness.

        :param style: how handlers are written; ``handlers`` unless given.
        """
        return AdapterLab(cls.harness, folder, artefacts, check_style(style or cls.handlers))

    @pytest.fixture
    def lab(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AdapterLab]:
        """Return a started harness in a lab of its own."""
        style: str = request.config.getoption("missive_handlers", None) or self.handlers
        skip_unmet(request, self.harness, style)
        lab = self.open_lab(tmp_path, artefacts_of(request), style)
        with started(request, lab):
            yield lab
        keep_accounts(request, lab.accounts)
