"""The health file, by itself."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest
from missive.cli import health_file

DEADLINE = 20.0


def test_the_file_is_kept_after_an_error_of_any_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter whose status raises once has its health written again afterwards."""
    monkeypatch.setattr(health_file, "FILE_INTERVAL", 0.001)
    written = threading.Event()

    class Health:
        looks = 0

        def look(self) -> dict[str, Any]:
            self.looks += 1
            if self.looks == 2:
                raise RuntimeError("of a status")
            if self.looks > 2:
                written.set()
            return {}

    with health_file.HealthFile(cast("Any", Health()), tmp_path / "health.json"):
        assert written.wait(DEADLINE)
