"""The suite for DLQs: one subclass of it is a DLQ's whole test of conformance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from .dlq_checks import (
    AccountChecks,
    BoundChecks,
    ClaimChecks,
    DeferredChecks,
    DueChecks,
    Durability,
    InboxChecks,
    MappingChecks,
    StoreChecks,
)
from .dlq_lab import DLQLab
from .harness import DLQHarness
from .suite import artefacts_of, keep_accounts, skip_unmet, started


class DLQConformance(
    MappingChecks,
    StoreChecks,
    BoundChecks,
    ClaimChecks,
    DeferredChecks,
    DueChecks,
    AccountChecks,
    InboxChecks,
    Durability,
):
    """Judges a DLQ. Subclass it as ``class TestMine(DLQConformance)``.

    Which checks run follows from what ``harness.dlq_cls`` is and what the harness offers; the rest
    is skipped, each with the reason in a sentence.
    """

    #: The harness of the DLQ under test.
    harness: ClassVar[type[DLQHarness]]
    #: Checks that are known to fail, by id, with the reason. One that passes fails the run.
    known_failures: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def subject(cls) -> type:
        """Return the class under test."""
        return cls.harness.dlq_cls

    @classmethod
    def open_lab(cls, folder: Path, artefacts: Path | None = None) -> DLQLab:
        """Return the lab that one check works with; enter it to start the harness."""
        return DLQLab(cls.harness, folder, artefacts)

    @pytest.fixture
    def lab(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DLQLab]:
        """Return a started harness in a lab of its own."""
        skip_unmet(request, self.harness)
        lab = self.open_lab(tmp_path, artefacts_of(request))
        with started(request, lab):
            yield lab
        keep_accounts(request, lab.accounts)
