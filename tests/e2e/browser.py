"""A headless Chromium for the tests, and the few things that they do with it."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

__all__ = ["Browser", "chromium"]

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1900,1200",
)  # fmt: skip
_PATIENCE = 200.0


class Browser:
    """A page that is waited for instead of slept for.

    Args:
        driver: of the browser.
        pictures: where screenshots go.
    """

    def __init__(self, driver: webdriver.Chrome, pictures: Path) -> None:
        self.driver, self._pictures = driver, pictures

    def open(self, address: str, *texts: str) -> None:
        """Load a page afresh and wait until it shows all the texts."""
        self.driver.get("about:blank")  # another part of the same page would not be loaded anew
        self.driver.get(address)
        self.wait_for(*texts)

    def text(self) -> str:
        """Return what the page shows."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def wait_for(self, *texts: str) -> None:
        """Wait until the page shows all the texts; fail with what it shows instead."""

        def shown(_: webdriver.Chrome) -> bool:
            page = self.text()
            return all(text in page for text in texts)

        self._until(shown, f"{texts} on the page")

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements that are there now."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector: str, text: str = "") -> None:
        """Click on the first element of that selector and text, once it is there."""

        def clicked(_: webdriver.Chrome) -> bool:
            found = [each for each in self.all(selector) if text in each.text and each.is_enabled()]
            if found:
                self.driver.execute_script("arguments[0].click()", found[0])
            return bool(found)

        self._until(clicked, f"{selector} {text!r} to click on")

    def take_picture(self, name: str) -> Path:
        """Keep a screenshot."""
        path = self._pictures / f"{name}.png"
        assert self.driver.save_screenshot(str(path))
        return path

    def _until(self, holds: Callable[[webdriver.Chrome], bool], what: str) -> None:
        wait = WebDriverWait(
            self.driver, _PATIENCE, ignored_exceptions=(StaleElementReferenceException,)
        )
        try:
            wait.until(holds)
        except TimeoutException:
            picture = self.take_picture("failed")
            pytest.fail(f"no {what}; see {picture}; the page shows\n{self.text()}")


@contextmanager
def chromium(profile: Path, pictures: Path) -> Iterator[Browser]:
    """Run Chromium with a profile of its own; the test is skipped where there is none."""
    programs = _programs()
    if isinstance(programs, str):
        pytest.skip(programs)
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    # The driver's path is given, because Selenium would download one otherwise.
    driver = webdriver.Chrome(options=options, service=Service(programs[1]))
    try:
        yield Browser(driver, pictures)
    finally:
        driver.quit()


def _programs() -> tuple[str, str] | str:
    """Return browser and driver, or why there are none."""
    names: Sequence[Sequence[str]] = (("chromium", "chromium-browser"), ("chromedriver",))
    found = [next(filter(None, map(shutil.which, each)), None) for each in names]
    if found[0] is None or found[1] is None:
        missing = " and ".join(each[0] for each, path in zip(names, found, strict=True) if not path)
        return f"{missing} missing: apt-get install chromium chromium-driver"
    return found[0], found[1]
