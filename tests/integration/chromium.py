"""The machine's own Chromium, driven by playwright; tests skip where there is none."""

import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

#: What Chromium says of requests that were still connecting, or waiting to, when an address came or went on this
#: machine. Every container and pod that starts or ends brings and takes one, and other tests start them beside these.
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"

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


def visit(page: Any, url: str) -> Any:
    """Open `url` with everything that belongs to it, again where the machine's network changed while it loaded.

    Returns the answer, as `page.goto` does.
    """
    for _ in range(10):
        lost: list[str] = []

        def note(request: Any, lost: list[str] = lost) -> None:
            if request.failure == NETWORK_CHANGED:
                lost.append(request.url)

        page.on("requestfailed", note)
        try:
            answer = page.goto(url)
        except Exception as error:
            # Chromium opens a page that it lost so again by itself, which may come between.
            if NETWORK_CHANGED not in str(error) and "interrupted by another navigation" not in str(error):
                raise
            lost.append(url)
        finally:
            page.remove_listener("requestfailed", note)
        if not lost:
            return answer
        time.sleep(1)
    pytest.fail(f"ten times the machine's network changed while {url} was loaded: {lost}")
