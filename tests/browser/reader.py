"""Reader: somebody at a browser: Chromium without a window, and what they would notice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, sync_playwright

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
WITHIN_MS = 60_000
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PICTURES = os.environ.get("MESH_PICTURES", "")
"""The folder where pictures of pages are kept; without it none are."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium. A machine without it fails, with what to do."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.fail("there is no Chromium: apt-get install chromium fonts-noto-cjk", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


class Reader:
    """One person with a browser of their own: language, look and size of screen."""

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        language: str = "zh",
        theme: str = "light",
        width: int = 1280,
        height: int = 900,
    ) -> None:
        self.url = url
        self.language = language
        self._context = browser.new_context(viewport={"width": width, "height": height}, locale="zh-CN")
        kept = {"language": language, "theme": theme}
        self._context.add_cookies([{"name": name, "value": value, "url": url} for name, value in kept.items()])
        self._context.set_default_timeout(WITHIN_MS)
        self.page: Page = self._context.new_page()
        self.troubles: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.troubles.append(f"{self.page.url}: {error}"))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.troubles.append(f"{self.page.url}: {message.text}")

    def opens(self, path: str) -> Page:
        """Go to a page of the console."""
        self.page.goto(f"{self.url}{path}")
        return self.page

    def sees(self, what: Locator | str) -> Locator:
        """Wait until it is there, a place or a text."""
        found = self.page.get_by_text(what).first if isinstance(what, str) else what.first
        found.wait_for(timeout=WITHIN_MS)
        return found

    def judged(self) -> list[str]:
        """What axe finds serious, and what is not fitted."""
        self.page.evaluate(AXE)
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            f"{self.page.url} ({self.language}): {each['id']}: {each['help']}: {each['nodes'][0]['html'][:160]}"
            for each in found["violations"]
            if each["impact"] in {"serious", "critical"}
        ]
        return serious + self.fitted()

    def fitted(self) -> list[str]:
        """What does not fit on the screen."""
        is_wider = self.page.evaluate("document.documentElement.scrollWidth > innerWidth + 1")
        return [f"{self.page.url} ({self.language}): wider than the screen"] if is_wider else []

    def pictured(self, name: str, *, is_whole: bool = False) -> None:
        """Keep a picture of what is seen, where pictures are wanted."""
        if PICTURES:
            self.page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=is_whole, animations="disabled")

    def close(self) -> None:
        """Leave."""
        self._context.close()
