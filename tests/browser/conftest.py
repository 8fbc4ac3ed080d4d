"""A headless Chromium of the system; Playwright's own browsers are not downloaded."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.serving.server import Served, serving
from tests.toy_bundle import BASINS, write_toy_bundle


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Playwright's event loop ends with the file: later tests of this process have their own."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    bundle = write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle", recipe=BASINS)
    with serving(bundle, tmp_path_factory.mktemp("served"), {}) as found:
        yield found


@pytest.fixture
def faults() -> list[str]:
    """What the page complains about."""
    return []


@pytest.fixture
def page(browser, served, faults) -> Iterator[Page]:
    """The page at its start; nothing may come from elsewhere, and no script may fail."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    opened = context.new_page()
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "request",
        lambda r: r.url.startswith((served.url, "blob:", "data:")) or faults.append(r.url),
    )
    opened.goto(served.url)
    opened.wait_for_selector("#sample option", state="attached")
    yield opened
    context.close()
    assert faults == []
