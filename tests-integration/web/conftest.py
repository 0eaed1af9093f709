"""A browser, and pages for it to look at."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from missive import DeadLetterStore, JSONMessage
from missive.dlq.sqlite import SQLiteDLQ
from missive.web import DeadLetterApp
from missive.web.serving import listening

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packages/missive-web/tests"))

from browser import Browser, start_browser
from page_tools import letter, make_processor


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser that the tests of a module share."""
    if shutil.which("chromedriver") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromedriver is not installed")
        pytest.skip("chromedriver is not installed")
    driver = start_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def open_page(driver: Any) -> Iterator[Callable[..., Browser]]:
    """Serve the page of a store, and open it."""
    with ExitStack() as servers:

        def open_page(store: DeadLetterStore, **options: Any) -> Browser:
            processor = options.pop("processor", None) or make_processor()
            app = DeadLetterApp(store, processor=processor, message_cls=JSONMessage, **options)
            server = servers.enter_context(listening(app, "127.0.0.1", 0))
            return Browser(driver, f"http://127.0.0.1:{server.port}")

        yield open_page


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteDLQ]:
    """A store with forty orders of pens that will be acked, and six of ink that will not."""
    with SQLiteDLQ(tmp_path / "letters.db", synchronous="OFF") as dlq:
        dlq.put_many(
            letter(number, "ink" if number % 8 == 7 or number == 45 else "pen")
            for number in range(45, -1, -1)
        )
        yield dlq
