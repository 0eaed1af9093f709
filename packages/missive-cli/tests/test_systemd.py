"""What a service manager is told, on a socket as systemd makes one."""

from __future__ import annotations

import io
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import missive as core
import pytest
from missive.adapters.stdin import StdinAdapter
from missive.cli.health import Health
from missive.cli.systemd import Notifier, Service, watchdog_interval

HELLO = '{"label": "greet", "name": "Ada"}'


class Manager:
    """The service manager's end of the socket.

    :param path: where the socket is.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.settimeout(30)
        self.seen: list[str] = []

    def wait_for(self, state: str) -> None:
        """Read until a state was sent."""
        while state not in self.seen:
            self.seen += self._socket.recv(4096).decode().splitlines()

    def forget(self) -> None:
        """Forget what was sent so far."""
        self.seen.clear()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@pytest.fixture
def manager(tmp_path) -> Iterator[Manager]:
    """A service manager that listens in the test's folder."""
    listening = Manager(str(tmp_path / "notify"))
    yield listening
    listening.close()


def test_a_service_says_when_it_is_ready_and_when_it_stops(start, manager, tmp_path):
    """READY comes once the transport is connected, STOPPING when the drain begins."""
    process = start("run", "app:adapter", NOTIFY_SOCKET=str(tmp_path / "notify"))
    manager.wait_for("READY=1")
    assert "STOPPING=1" not in manager.seen
    process.send(f'{{"label": "wait", "for": "{tmp_path / "go"}"}}')
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGTERM)
    manager.wait_for("STATUS=draining")
    assert "STOPPING=1" in manager.seen
    (tmp_path / "go").touch()
    assert process.ended() == 0


def test_an_abstract_socket_is_understood(start):
    """An address that begins with @ is in Linux's abstract namespace."""
    name = f"missive-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    try:
        start("run", "app:adapter", NOTIFY_SOCKET=f"@{name}")
        manager.wait_for("READY=1")
    finally:
        manager.close()


def test_the_watchdog_hears_of_a_run_that_is_live(start, manager, tmp_path):
    """WATCHDOG is sent repeatedly while the run is live."""
    start(
        *("run", "app:adapter"),
        NOTIFY_SOCKET=str(tmp_path / "notify"),
        WATCHDOG_USEC="400000",
    )
    for _ in range(3):
        manager.wait_for("WATCHDOG=1")
        manager.forget()


class Looked(Health):
    """A health that is played."""

    live = False

    def look(self) -> dict[str, Any]:
        return {"live": self.live}


def test_the_watchdog_does_not_hear_of_a_run_that_hangs(manager, tmp_path, monkeypatch):
    """While the run is not live there is no WATCHDOG, even where something else is told."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    adapter = StdinAdapter(core.RawMessage, core.Processor(), io.BytesIO())
    health = Looked(adapter, stall=60)
    adapter.ready.set()
    with Service(adapter, health):
        manager.wait_for("READY=1")
        adapter.ready.clear()
        manager.wait_for("STATUS=connecting")
        assert "WATCHDOG=1" not in manager.seen
        health.live = True
        manager.wait_for("WATCHDOG=1")
        health.live = False
        adapter.stop()
        manager.wait_for("STATUS=draining")
        manager.forget()
        manager.wait_for("WATCHDOG=1")  # a drain has its own deadline


def test_a_reload_is_told(start, manager, project):
    """RELOADING comes when the program starts again, and READY when it did."""
    pytest.importorskip("watchfiles")
    process = start(
        *("run", "app:adapter", "--reload"),
        NOTIFY_SOCKET=str(project / "notify"),
        PYTHONDONTWRITEBYTECODE="1",
    )
    manager.wait_for("READY=1")
    manager.forget()
    (project / "another.py").write_text("")
    manager.wait_for("RELOADING=1")
    assert any(state.startswith("MONOTONIC_USEC=") for state in manager.seen)
    manager.wait_for("READY=1")
    process.popen.send_signal(signal.SIGTERM)  # a kill would leave the child behind
    assert process.ended() == 0


def test_a_manager_that_went_away_does_not_end_the_run(missive, tmp_path):
    """Where nobody listens any more, that is logged and the run goes on."""
    done = missive("run", "app:adapter", input=HELLO, NOTIFY_SOCKET=str(tmp_path / "gone"))
    assert (done.returncode, done.stdout) == (0, "hello Ada\n")
    assert "cannot notify the service manager" in done.stderr


def test_the_watchdog_of_another_process_is_not_ours():
    """WATCHDOG_PID says whom the watchdog is for."""
    assert watchdog_interval({"WATCHDOG_USEC": "3000000"}, 7) == 3.0
    assert watchdog_interval({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, 7) == 3.0
    assert watchdog_interval({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, 7) is None
    assert watchdog_interval({"WATCHDOG_USEC": "soon"}, 7) is None
    assert watchdog_interval({}, 7) is None


def test_without_a_manager_there_is_no_notifier():
    """No socket, or one of a kind that is not known, is no service manager."""
    assert Notifier.of({}) is None
    assert Notifier.of({"NOTIFY_SOCKET": ""}) is None
    assert Notifier.of({"NOTIFY_SOCKET": "vsock:2:1234"}) is None
