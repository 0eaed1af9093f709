"""``missive run --otel``."""

from __future__ import annotations

import json
import signal

import pytest

TRACED = """\
import logging

from app import adapter, by_label, processor
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

provider = TracerProvider()
exporter = ConsoleSpanExporter(formatter=lambda span: f"span {span.name}\\n")
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)


@processor.handle_for(by_label("log"))
def log(message, ctx):
    logging.getLogger("shop").warning("handling")
    ctx.ack()
"""


def test_a_run_is_traced_with_what_the_program_set_up(start, project):
    """Spans go where the program's own provider sends them, and logs in JSON name the span."""
    pytest.importorskip("missive.opentelemetry")
    pytest.importorskip("opentelemetry.sdk")
    (project / "traced.py").write_text(TRACED)
    process = start("run", "traced:adapter", "--otel", "--log-format", "json")
    process.send('{"label": "log"}')
    process.wait_for("span process")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    lines = [json.loads(line) for line in process.stderr.splitlines()]
    (logged,) = [line for line in lines if line.get("logger") == "shop"]
    assert (len(logged["trace_id"]), len(logged["span_id"])) == (32, 16)
    assert not any("trace_id" in line for line in lines if line is not logged)


def test_a_run_that_would_export_nothing_is_refused(missive, project, refused):
    """Without a provider and without a distribution of OpenTelemetry, the option says so."""
    pytest.importorskip("missive.opentelemetry")
    (project / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata\n"
        "found = metadata.entry_points\n"
        "metadata.entry_points = lambda **which: (\n"
        "    [] if which.get('group') == 'opentelemetry_configurator' else found(**which)\n"
        ")\n"
    )
    done = missive("run", "app:adapter", "--otel", PYTHONPATH=str(project))
    assert done.returncode == 2
    assert "pip install opentelemetry-distro" in done.stderr


CONFIGURED = """\
class Configurator:
    def configure(self, **options):
        import traced


class EntryPoint:
    def load(self):
        return Configurator
"""


def test_an_installed_distribution_sets_the_sdk_up(start, project):
    """Where the program sets up nothing, what is installed for that is asked to."""
    pytest.importorskip("missive.opentelemetry")
    pytest.importorskip("opentelemetry.sdk")
    (project / "traced.py").write_text(TRACED)
    (project / "configured.py").write_text(CONFIGURED)
    (project / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata\n"
        "import configured\n"
        "found = metadata.entry_points\n"
        "metadata.entry_points = lambda **which: (\n"
        "    [configured.EntryPoint()] if which.get('group') == 'opentelemetry_configurator'\n"
        "    else found(**which)\n"
        ")\n"
    )
    process = start("run", "app:adapter", "--otel", PYTHONPATH=str(project))
    process.send('{"label": "greet", "name": "Ada"}')
    process.wait_for("span process")


def test_tracing_without_its_distribution_is_refused(missive, project):
    """Where missive-opentelemetry is not installed, the option says what to install."""
    (project / "sitecustomize.py").write_text(
        "import sys\nsys.modules['missive.opentelemetry'] = None\n"
    )
    done = missive("run", "app:adapter", "--otel", PYTHONPATH=str(project))
    assert done.returncode == 2
    assert "pip install missive-opentelemetry" in done.stderr
