"""Take the screenshots of the dead letter page that the documentation shows.

Run it as ``./dev run python docs/screenshots.py``, with Chromium and its driver on the PATH, look at
what it wrote, and commit that. The letters are the same each time, but for the time of day.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import missive
from missive.dlq.sqlite import SQLiteDLQ
from missive.letters import utc_now
from missive.web import DeadLetterApp
from missive.web.serving import listening
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

FOLDER = Path(__file__).resolve().parent / "guide" / "page"
#: How large the pictures are, and a phone's.
WIDTH, HEIGHT, PHONE = 1180, 800, (390, 760)

SHOP = '''\
"""A shop with three mistakes."""

import missive

processor = missive.Processor()
by_event = missive.route_on_json("event")
PRICES = {"pen": 3}


class OutOfStock(Exception):
    """There are not so many."""


@processor.handle_for(by_event("order"))
def reserve(message, ctx):
    order = message.get_json()
    if order["item"] == "ink":
        raise OutOfStock(f"{order['count']} of ink for order {order['number']}")
    print(PRICES[order["item"]] * order["count"], file=open("/dev/null", "w"))
    ctx.ack()


@processor.handle_for(by_event("refund"))
def refund(message, ctx):
    raise TimeoutError("the payment service took longer than 5 s")
'''


def main() -> None:
    """Fill a store, serve it, and photograph it."""
    logging.getLogger("missive").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "shop.py").write_text(SHOP)
        sys.path.insert(0, str(folder))
        import shop  # type: ignore[import-not-found]

        FOLDER.mkdir(exist_ok=True)
        with SQLiteDLQ(folder / "letters.db") as store:
            fill(store, shop)
            shop.PRICES["quill"] = 5  # one of the mistakes is mended
            app = DeadLetterApp(
                store,
                processor=shop.processor,
                message_cls=missive.JSONMessage,
                title="Shop letters",
            )
            with listening(app, "127.0.0.1", 0) as server, browser() as driver:
                take_all(driver, f"http://127.0.0.1:{server.port}")
    finally:
        shutil.rmtree(folder)


def fill(store: SQLiteDLQ, shop: Any) -> None:
    """Let messages fail, and spread their failures over a day."""
    chance = random.Random(5)
    bodies: list[dict[str, Any]] = [
        *({"event": "order", "item": "quill", "count": 2} for _ in range(61)),
        *({"event": "order", "item": "ink", "count": 3} for _ in range(24)),
        *({"event": "refund"} for _ in range(9)),
        *({"event": "returned"} for _ in range(5)),
    ]
    shop.processor.set_dlq(store)
    with missive.TestAdapter(shop.processor, missive.JSONMessage) as client:
        for number, body in enumerate(bodies, 1700):
            client.send(
                json.dumps({**body, "number": number}).encode(),
                message_id=b"%b-%d" % (body["event"].encode(), number),
                source=f"{body['event']}s",
                headers={"content-type": "application/json", "tenant": "emea"},
            )
    now = utc_now()
    letters = list(store.letters())
    store.clear()
    spread = []
    for number, letter in enumerate(letters):
        minutes = abs(chance.gauss(160, 170)) if number < 61 else chance.random() * 1300
        at = now - timedelta(minutes=min(minutes, 1400))
        spread.append(letter._replace(first_failed=at, last_failed=at, history=(), host="web-1"))
    store.restore_many(sorted(spread, key=lambda letter: letter.last_failed))
    waiting = [letter._replace(id=b"later-%d" % number) for number, letter in enumerate(spread[:3])]
    store.defer([letter._replace(due=now + timedelta(minutes=7)) for letter in waiting])


def take_all(driver: Any, address: str) -> None:
    """Go through the pages, and photograph them."""
    driver.get(f"{address}/")
    take(driver, "overview")
    driver.get(f"{address}/letters")
    take(driver, "letters")
    driver.find_element(By.PARTIAL_LINK_TEXT, "order-").click()
    take(driver, "letter")
    driver.get(f"{address}/letters?handler=shop.reserve")
    driver.find_element(By.CSS_SELECTOR, "input[value=all]").click()
    driver.find_element(By.CSS_SELECTOR, "button[value=replay]").click()
    take(driver, "plan")
    use_dark(driver)
    driver.find_element(By.CSS_SELECTOR, "button[value=canary]").click()
    WebDriverWait(driver, 30).until(lambda d: d.find_elements(By.CSS_SELECTOR, "[data-over]"))
    take(driver, "canary-dark")
    metrics = {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(f"{address}/")
    take(driver, "phone-dark")


def take(driver: Any, name: str) -> None:
    """Photograph what the browser shows."""
    driver.save_screenshot(str(FOLDER / f"{name}.png"))
    print(f"docs/guide/page/{name}.png")


def use_dark(driver: Any) -> None:
    """Have the browser prefer dark pages."""
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@contextmanager
def browser() -> Generator[Any]:
    """Run a browser with a new profile."""
    profile = tempfile.mkdtemp()
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.add_argument("--disable-background-networking")
    options.add_argument(f"--user-data-dir={profile}")
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


if __name__ == "__main__":
    main()
