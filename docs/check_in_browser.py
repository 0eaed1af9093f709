"""Check a built site in Chromium: that its search finds what people search for, and nothing is clipped.

Run it as ``./dev run python docs/check_in_browser.py docs/_build/html``, with Chromium and its
driver on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

#: What people type, and the page that must be among the first three results.
SEARCHES = {
    **dict.fromkeys(("retries", "retry", "backoff", "circuit breaker"), "guide/retries"),
    **dict.fromkeys(("graceful shutdown", "shutdown"), "howto/graceful-shutdown"),
    **dict.fromkeys(("validation", "pydantic", "msgspec"), "howto/validation"),
    **{word: f"guide/{word.lower()}" for word in ("Prometheus", "OpenTelemetry", "Kubernetes")},
    **{word: f"howto/{word.lower()}" for word in ("Sentry", "Django", "FastAPI", "SQLAlchemy")},
    **{word: f"howto/{word}" for word in ("troubleshooting", "upgrading", "cookbook")},
    **{word: f"howto/{word}" for word in ("concurrency", "idempotency")},
    **{word: f"start/{word}" for word in ("install", "quickstart", "redis", "rabbitmq", "kafka")},
    **{word: f"coming-from/{word}" for word in ("celery", "dramatiq", "faststream", "faust")},
    **{word: f"coming-from/{word}" for word in ("taskiq", "kombu", "confluent-kafka", "boto3")},
    "dependency injection": "howto/dependency-injection",
    "dead letter": "guide/dead-letters",
    "webhook": "start/webhooks",
    "testing": "guide/testing",
    "nats": "start/nats",
    "sqs": "start/sqs",
}
#: The widths of a desk and of a phone.
WIDTHS = (1440, 390)
_DEADLINE = 60.0
_RESULTS = """
const said = document.querySelector("#search-results").innerText;
if (!/found|did not match/.test(said)) return null;
return [...document.querySelectorAll("#search-results ul.search > li > a")].map((one) => one.pathname);
"""
#: What reaches beyond the right edge, or is cut there, and cannot be scrolled to.
_CLIPPED = """
const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > width) return ["the page is wider than the screen"];
const scrolls = (one) => {
  for (; one !== null; one = one.parentElement)
    if (/auto|scroll/.test(getComputedStyle(one).overflowX)) return true;
  return false;
};
return [...document.querySelectorAll("article *")]
  .filter((one) => one.getBoundingClientRect().right > width + 1 && !scrolls(one))
  .map((one) => `${one.tagName.toLowerCase()} ${one.textContent.trim().slice(0, 40)}`);
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing of requests."""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve a folder on a free port of the loopback, and return the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _results(driver: Any) -> list[str]:
    """Return the addresses that a search has found; none while it goes on."""
    found: list[str] | None = driver.execute_script(_RESULTS)
    return found or []


def badly_found(driver: Any, address: str) -> Iterator[str]:
    """Say which searches do not find their page among the first three results."""
    for words, page in SEARCHES.items():
        driver.get(f"{address}/search.html?q={words}")
        found = WebDriverWait(driver, _DEADLINE).until(_results)
        first = list(dict.fromkeys(found))[:3]
        if f"/{page}.html" not in first:
            yield f"search: {words!r} finds {first}, not {page}"


def clipped(driver: Any, address: str, site: Path) -> Iterator[str]:
    """Say what is clipped on each page, at each width."""
    for width in WIDTHS:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for path in sorted(site.rglob("*.html")):
            name = path.relative_to(site).as_posix()
            driver.get(f"{address}/{name}")
            for what in driver.execute_script(_CLIPPED)[:3]:
                yield f"{name} at {width} px: {what}"


def main() -> int:
    """Check the site that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, help="the folder of the built site")
    site = parser.parse_args().site.resolve()
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        with served(site) as address:
            found = [*badly_found(driver, address), *clipped(driver, address, site)]
    finally:
        driver.quit()
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        print(f"{len(SEARCHES)} searches find their pages, and nothing is clipped")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
