"""Chromium, as a person uses it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import axe_core_python
from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

#: How long anything may take before a test gives up, in seconds.
DEADLINE = 120.0
#: How often the driver is started before a test gives up.
_ATTEMPTS = 5
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
#: Runs axe, and gives what it finds: the rule, and an element.
_JUDGE = """
const done = arguments[arguments.length - 1];
axe.run().then((found) => done(found.violations.map(
  (one) => `${one.id}: ${one.nodes[0].target.join(" ")}`)));
"""


def start_browser(profile: Path) -> Any:
    """Start Chromium, or the Chrome that is there, without a window and with a new profile."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    for argument in ("--disable-background-networking", "--no-first-run", "--disable-extensions"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is not None:
        options.binary_location = found
    driver = _start(options)
    driver.set_script_timeout(DEADLINE)
    driver.set_page_load_timeout(DEADLINE)
    return driver


def _start(options: Any) -> Any:
    """Start the driver; once more where another program took the port that was free just before."""
    for attempt in range(_ATTEMPTS):
        try:
            return webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        except WebDriverException as error:
            if "unexpectedly exited" not in str(error) or attempt == _ATTEMPTS - 1:
                raise
    return None


def _text_of(driver: Any) -> str:
    return " ".join(driver.find_element(By.CSS_SELECTOR, "main").text.split())


class Browser:
    """A person with a browser in front of the page.

    :ivar address: where the page is.
    """

    def __init__(self, driver: Any, address: str) -> None:
        self.driver = driver
        self.address = address
        self.set_scripts(enabled=True)
        self.set_screen(1200, 900)
        self.set_scheme("light")
        driver.delete_all_cookies()
        self.complaints()

    def go(self, path: str) -> None:
        """Type an address."""
        self.driver.get(f"{self.address}{path}")

    def find(self, selector: str) -> WebElement:
        """Return the element of a selector, once it is there."""
        found: WebElement = WebDriverWait(self.driver, DEADLINE, 0.05).until(
            lambda driver: driver.find_element(By.CSS_SELECTOR, selector)
        )
        return found

    def click(self, words: str) -> None:
        """Click the link or button that says something, once it is there."""
        path = f"//main//*[self::a or self::button][contains(normalize-space(.), '{words}')]"

        def click(driver: Any) -> bool:
            driver.find_element(By.XPATH, path).click()
            return True

        self._until(click, f"there is no {words!r} to click")

    def click_on(self, selector: str) -> None:
        """Click the first element of a selector, once it is there."""

        def click(driver: Any) -> bool:
            driver.find_element(By.CSS_SELECTOR, selector).click()
            return True

        self._until(click, f"there is no {selector} to click")

    def _until(self, act: Callable[[Any], Any], otherwise: str) -> Any:
        """Try something until it succeeds: a page may be replaced while it is looked at."""
        try:
            return WebDriverWait(self.driver, DEADLINE, 0.05, [WebDriverException]).until(act)
        except TimeoutException:
            said = self.driver.find_element(By.CSS_SELECTOR, "body").text
            raise AssertionError(f"{otherwise}: {said!r}") from None

    def choose(self, scope: str) -> None:
        """Choose which letters an action is about."""
        self.click_on(f"input[type=radio][value={scope}]")

    def read(self) -> str:
        """Return what the page says."""
        return str(self._until(_text_of, "the page is empty"))

    def wait_for(self, words: str) -> str:
        """Wait until the page says something, and return all that it says."""
        said = ""

        def says(driver: Any) -> bool:
            nonlocal said
            said = _text_of(driver)
            return words in said

        try:
            WebDriverWait(self.driver, DEADLINE, 0.05, [WebDriverException]).until(says)
        except TimeoutException:
            raise AssertionError(f"it says {said!r}, not {words!r}") from None
        return said

    def press(self, *keys: str) -> None:
        """Press keys, where the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(getattr(Keys, key, key))

    @property
    def focused(self) -> str:
        """What the focus is on, in words."""
        return str(self.driver.switch_to.active_element.text)

    def faults(self) -> list[str]:
        """Return what a screen reader could not use on this page."""
        self.driver.execute_script(AXE)
        found: list[str] = self.driver.execute_async_script(_JUDGE)
        return found

    def complaints(self) -> list[str]:
        """Return what the browser complained of since: scripts that failed, policies broken."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if "the server responded with a status of" not in entry["message"]
        ]

    def is_too_wide(self) -> bool:
        """Return whether one has to scroll sideways to read the page."""
        return bool(
            self.driver.execute_script(
                "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
            )
        )

    def set_scripts(self, *, enabled: bool) -> None:
        """Run scripts, or none."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not enabled})

    def set_scheme(self, scheme: str) -> None:
        """Prefer light or dark pages."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def set_screen(self, width: int, height: int) -> None:
        """Look at a screen of this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
