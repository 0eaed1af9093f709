"""The alert rules and the dashboard, loaded into the real Prometheus beside a real run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from servers import free_port

pytest.importorskip("missive.prometheus")
pytest.importorskip("missive.cli")

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy/prometheus/missive-alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/missive.json"
DEADLINE = 60.0
#: What an expression of the dashboard or the rules may name.
METRIC = re.compile(r"\bmissive_\w+")

APP = """\
import io

import missive
from missive.adapters.stdin import StdinAdapter

processor = missive.Processor()
processor.set_dlq(missive.MemoryDLQ())


class Adapter(StdinAdapter):
    def lag_by_source(self):
        return {"orders": 3}


@processor.handle_for(lambda message: message.raw_data == b"good", breaker=missive.Breaker(OSError))
def handle(message, ctx):
    ctx.ack()


adapter = Adapter(missive.RawMessage, processor)
"""

CONFIG = """\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [{alerts}]
scrape_configs:
  - job_name: orders
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""


def program(name: str) -> str:
    """Return the path of a program of Prometheus, or skip the test; under CI it must be there."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing; install Debian's prometheus")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian's package prometheus has it)")
    return found


def expressions() -> list[str]:
    """Return what the panels of the dashboard ask for, with Grafana's variables filled in."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [
        target["expr"].replace("$__rate_interval", "1m").replace("$job", ".+")
        for panel in panels
        for target in panel["targets"]
    ]


def ask(port: int, path: str, **query: str) -> Any:
    """Ask an HTTP server; None where it does not answer yet."""
    url = f"http://127.0.0.1:{port}/{path}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()
    except OSError:
        return None


def eventually(condition: Any, what: str) -> Any:
    """Wait until something is true, and return it."""
    deadline = monotonic() + DEADLINE
    while monotonic() < deadline:
        if found := condition():
            return found
        sleep(0.1)
    return pytest.fail(f"no {what}")


@contextmanager
def running_app(folder: Path) -> Iterator[int]:
    """Run a processor that has handled one message and failed at another; give its port."""
    (folder / "app.py").write_text(APP)
    port = free_port()
    command = [sys.executable, "-m", "missive.cli", "run", "app:adapter"]
    process = subprocess.Popen(
        [*command, "--metrics-port", str(port)], cwd=folder, stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        process.stdin.write(b"good\nbad\n")
        process.stdin.flush()
        wanted = 'missive_messages_settled_total{outcome="dead-lettered"} 1.0'
        eventually(lambda: wanted in (ask(port, "metrics") or ""), "metrics of the run")
        eventually(lambda: "missive_lag{" in (ask(port, "metrics") or ""), "lag")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)
        process.stdin.close()


@contextmanager
def running_prometheus(folder: Path, scraped: int) -> Iterator[int]:
    """Run Prometheus with the alert rules; give its port."""
    config, port = folder / "prometheus.yml", free_port()
    config.write_text(CONFIG.format(alerts=ALERTS, port=scraped))
    command = [program("prometheus"), f"--config.file={config}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            eventually(lambda: ask(port, "-/ready"), "Prometheus that is ready")
            yield port
        finally:
            process.terminate()
            process.wait(DEADLINE)


def test_every_alert_fires_when_it_should_and_not_before() -> None:
    """The rules are valid, and pass the unit tests beside them."""
    promtool = program("promtool")
    for arguments in (
        ["check", "rules", ALERTS.name],
        ["test", "rules", f"{ALERTS.stem}-test.yml"],
    ):
        done = subprocess.run(
            [promtool, *arguments], cwd=ALERTS.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_dashboard_name_only_metrics_that_are_exported(tmp_path: Path) -> None:
    """Without Prometheus too: each metric that they name is in the exposition of a run."""
    with running_app(tmp_path) as port:
        text = ask(port, "metrics")
    exported = set(re.findall(r"^(missive_\w+)", text, re.MULTILINE))
    for expression in [*expressions(), ALERTS.read_text(encoding="utf-8")]:
        assert set(METRIC.findall(expression)) <= exported, expression


def test_prometheus_answers_every_panel_of_the_dashboard(tmp_path: Path) -> None:
    """A real Prometheus scrapes a run, loads the rules, and has data for each expression."""
    program("prometheus")
    with running_app(tmp_path) as port, running_prometheus(tmp_path, port) as prometheus:
        rules = json.loads(ask(prometheus, "api/v1/rules"))["data"]["groups"][0]["rules"]
        assert len(rules) == ALERTS.read_text(encoding="utf-8").count("- alert:")

        def result(expression: str) -> Any:
            answer = ask(prometheus, "api/v1/query", query=expression)
            return answer and json.loads(answer)["data"]["result"]

        for expression in expressions():
            eventually(lambda: result(expression), f"data for {expression}")  # noqa: B023
        lag = eventually(lambda: result("missive_lag"), "lag")
        assert lag[0]["metric"]["source"] == "orders"
        assert lag[0]["value"][1] == "3"
