"""The senders' own libraries and examples, and every adapter that takes what they send."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from missive.adapters.wsgi import WSGIAdapter
from webhook_suite import asgi_client, wsgi_client
from webhook_suite.needs import need

DEADLINE = 60.0


class Vehicle:
    """A kind of adapter, and what speaks to it.

    :param build: builds the adapter.
    :param client: a class of clients.
    """

    def __init__(self, build: Callable[..., Any], client: Callable[[Any], Any]) -> None:
        self._build = build
        self._client = client

    @contextmanager
    def client(self, *args: Any, **options: Any) -> Iterator[Any]:
        """Build an adapter, and close it in the end."""
        adapter = self._build(*args, **options)
        try:
            yield self._client(adapter)
        finally:
            adapter.close()


# For a module, since Hypothesis calls a test many times for one fixture.
@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def vehicle(request: pytest.FixtureRequest) -> Iterator[Vehicle]:
    """Each kind of adapter in turn."""
    if request.param == "wsgi":
        yield Vehicle(WSGIAdapter, wsgi_client.Client)
        return
    loop = asgi_client.Loop()
    asgi_client.use_loop(loop)
    yield Vehicle(asgi_client.ClosedByHand, asgi_client.Client)
    loop.close()


@pytest.fixture(scope="session")
def library() -> Callable[[str], ModuleType]:
    """Import a library that a test needs; it is skipped without, and fails in CI."""

    def load(module: str) -> ModuleType:
        need(module.partition(".")[0])
        return importlib.import_module(module)

    return load


@pytest.fixture
def npm_package(tmp_path: Path):
    """Fetch an npm package, and give the folder it was unpacked to."""

    def fetch(package: str) -> Path:
        npm = shutil.which("npm")
        if npm is None:
            if os.environ.get("CI") == "true":
                pytest.fail("npm is not installed")
            pytest.skip("npm is not installed")
        subprocess.run(
            [npm, "pack", "--silent", package], cwd=tmp_path, check=True, timeout=DEADLINE
        )
        (archive,) = tmp_path.glob("*.tgz")
        with tarfile.open(archive) as package_file:
            # Asked for from Python 3.12 on, and there in the last of the Pythons before.
            safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            package_file.extractall(tmp_path, **safely)
        return tmp_path / "package"

    return fetch
