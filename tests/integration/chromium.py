"""The machine's own Chromium, driven by playwright; tests skip where there is none."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

#: As root in a closed network: no sandbox, and none of the services that a browser talks to by itself.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless browser; each page is opened in a context of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, which is not installed")
    found = os.environ.get("EYEWALL_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("needs Chromium, which is not on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(_FLAGS))
        yield browser
        browser.close()
