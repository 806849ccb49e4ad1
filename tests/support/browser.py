"""A real Chromium, for tests of pages: it records what a page asks for, and what it complains about."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.processes import PATIENCE_S

# The first one has no window, and takes less than half of the others' processor time for a test.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRED = "FASTBG_REQUIRE_BROWSER"  # set by .ci/run: a missing browser is then a failure
MISSING = (
    f"no Chromium was found ({', '.join(NAMES)}): "
    "install Debian's package chromium-headless-shell, or name it in FASTBG_BROWSER"
)


def chromium() -> str:
    """Return the path of the browser. Skips the test if there is none; fails it if `REQUIRED` is set."""
    path = os.environ.get("FASTBG_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        (pytest.fail if REQUIRED in os.environ else pytest.skip)(MISSING)
    return path


@contextmanager
def started() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@dataclass(slots=True)
class Tab:
    """An open page. ``requests``: the addresses that it asked for. ``complaints``: errors, and lines of the console."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()

    def until(self, expression: str, argument: object = None) -> None:
        """Wait until a JavaScript expression is true."""
        self.page.wait_for_function(expression, arg=argument)


@contextmanager
def tab(browser: Browser, address: str | Path, **options: Any) -> Iterator[Tab]:
    """Open a file or an address and wait until it is drawn. ``options``: of the browser's context."""
    context = browser.new_context(**({"viewport": {"width": 1200, "height": 800}} | options))
    context.set_default_timeout(PATIENCE_S * 1000)
    opened = Tab(context.new_page())
    page = opened.page
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("console", lambda message: opened.complaints.append(message.text))
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    page.goto(address.as_uri() if isinstance(address, Path) else address)
    if options.get("java_script_enabled", True):
        page.wait_for_selector("[data-ready]")
    try:
        yield opened
    finally:
        context.close()
