"""Metrics of several processes together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from missive import ConfigurationError
from missive.prometheus import expose, exposition, forget_process, share_metrics
from prometheus_client.parser import text_string_to_metric_families

PROCESS = """\
import io
import sys

from missive.prometheus import instrument, share_metrics

if sys.argv[1] != "pid":
    share_metrics(int(sys.argv[1]))

import missive
from missive.adapters.stdin import StdinAdapter

processor = missive.Processor()
processor.set_dlq({})


class Adapter(StdinAdapter):
    def lag_by_source(self):
        return {"orders": 5}


@processor.handle_for(missive.otherwise)
def handle(message, ctx):
    ctx.ack()


instrument(processor)
Adapter(missive.RawMessage, processor, io.BytesIO(b"one\\n" * int(sys.argv[2]))).run()
"""


def run(folder: Path, process: str, lines: int) -> None:
    """Run a process that handles so many lines."""
    subprocess.run(
        [sys.executable, "-c", PROCESS, process, str(lines)],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        check=True,
        timeout=60,
    )


def values() -> dict[str, float]:
    """Return the metrics of all processes by name, without labels."""
    text = expose()[1].decode()
    families = text_string_to_metric_families(text)
    return {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if not sample.labels or sample.labels.get("outcome") == "acked"
    }


@pytest.mark.parametrize("processes", [("0", "1"), ("pid", "pid")])
def test_processes_are_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: tuple[str, str]
) -> None:
    """Processes that share a folder are exposed together, by any of them."""
    run(tmp_path, processes[0], 3)
    run(tmp_path, processes[1], 4)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    found = values()
    assert found["missive_messages_received_total"] == 7
    assert found["missive_messages_settled_total"] == 7
    assert found["missive_messages_in_flight"] == 0


def test_a_process_goes_on_where_the_one_before_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restarted process keeps its counters and leaves no further files."""
    run(tmp_path, "0", 3)
    files = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    forget_process(0)
    assert "missive_messages_in_flight" not in values()
    run(tmp_path, "0", 4)
    assert values()["missive_messages_received_total"] == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_sharing_needs_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable that names the folder nothing can be shared."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    with pytest.raises(ConfigurationError, match="PROMETHEUS_MULTIPROC_DIR"):
        share_metrics(0)


def test_a_file_that_is_being_made_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that starts makes its files empty at first; the others are exposed all the same."""
    run(tmp_path, "0", 3)
    empty = tmp_path / "counter_1.db"
    empty.touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(exposition, "_pause", empty.unlink)
    assert values()["missive_messages_received_total"] == 3
