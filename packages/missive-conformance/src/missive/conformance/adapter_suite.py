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

    @classmethod
    def subject(cls) -> type:
        """Return the class under test."""
        return cls.harness.adapter_cls

    @classmethod
    def open_lab(cls, folder: Path, artefacts: Path | None = None) -> AdapterLab:
        """Return the lab that one check works with; enter it to start the harness."""
        return AdapterLab(cls.harness, folder, artefacts)

    @pytest.fixture
    def lab(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AdapterLab]:
        """Return a started harness in a lab of its own."""
        skip_unmet(request, self.harness)
        lab = self.open_lab(tmp_path, artefacts_of(request))
        with started(request, lab):
            yield lab
        keep_accounts(request, lab.accounts)
