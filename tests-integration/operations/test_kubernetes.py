"""The manifests for Kubernetes: that they parse, and that what must agree in them does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
pytest.importorskip("missive.cli")
pytest.importorskip("missive.prometheus")

MANIFESTS = Path(__file__).resolve().parents[2] / "deploy/kubernetes"
#: What a process needs to end beyond its drain, in seconds.
MARGIN = 5

APP = """\
import missive
from missive.polling import PollingAdapter

processor = missive.Processor()


@processor.handle_for(missive.otherwise)
def handle(message, ctx):
    ctx.ack()
"""


def documents(name: str) -> dict[str, Any]:
    """Return the objects of a manifest by their kind."""
    text = MANIFESTS.joinpath(name).read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def container() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the pod of the deployment, and its container."""
    pod = documents("processor.yaml")["Deployment"]["spec"]["template"]["spec"]
    (found,) = pod["containers"]
    return pod, found


def option(name: str) -> str:
    """Return the value of an option of the command."""
    (found,) = [arg for arg in container()[1]["args"] if arg.startswith(f"--{name}=")]
    return str(found.partition("=")[2])


def test_the_grace_period_has_room_for_the_drain() -> None:
    """The pod's grace period holds the preStop hook, the drain and what a process needs to end."""
    pod, found = container()
    pause = int(found["lifecycle"]["preStop"]["exec"]["command"][1])
    told = {entry["name"]: entry["value"] for entry in found["env"]}["MISSIVE_GRACE_PERIOD"]
    assert pod["terminationGracePeriodSeconds"] - pause == int(told)
    assert int(option("drain-timeout")) + MARGIN <= int(told)


def test_the_probes_ask_the_port_that_answers() -> None:
    """Each probe asks a path that there is, on the port of the metrics, from outside."""
    _, found = container()
    (port,) = found["ports"]
    assert str(port["containerPort"]) == option("metrics-port")
    assert option("health-host") == "0.0.0.0"
    probes = {
        name: found[f"{name}Probe"]["httpGet"] for name in ("liveness", "readiness", "startup")
    }
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "liveness": "/live",
        "readiness": "/ready",
        "startup": "/ready",
    }


def test_the_command_takes_the_arguments_of_the_manifest(tmp_path: Path) -> None:
    """``--check`` accepts them, and warns of no drain that is too long; of a longer one it does."""
    pytest.importorskip("missive.adapters.redis")
    _, found = container()
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "from").write_text("redis+streams://localhost/0?streams=orders&group=orders")
    (tmp_path / "dlq").write_text("sqlite:///letters.db")
    names = {entry["name"]: str(entry["value"]) for entry in found["env"]}
    for name, value in names.items():
        if name.endswith("_FILE"):
            names[name] = str(tmp_path / Path(value).name)

    def check(*more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "missive.cli", *found["args"], "--check", *more],
            cwd=tmp_path,
            env={**os.environ, **names},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "grace period" not in check()
    assert "grace period" in check("--drain-timeout=34")


def test_keda_scales_the_deployment_by_the_lag() -> None:
    """It names the deployment, and asks for a metric that is exported."""
    deployment = documents("processor.yaml")["Deployment"]
    spec = documents("keda.yaml")["ScaledObject"]["spec"]
    assert spec["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "prometheus"
    assert re.findall(r"missive_\w+", trigger["metadata"]["query"]) == ["missive_lag"]
    assert int(trigger["metadata"]["threshold"]) > 0


def test_what_selects_the_pods_matches_their_labels() -> None:
    """The deployment and the disruption budget select the pods of the template."""
    found = documents("processor.yaml")
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert found[kind]["spec"]["selector"]["matchLabels"].items() <= labels.items()
