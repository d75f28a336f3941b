"""The browser for tests of pages. STYLEID_CHROMIUM names it, by default chromium on the PATH."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

BROWSER = os.environ.get("STYLEID_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a browser, or skip the tests with the reason if there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="tests of pages need Playwright: make test-web")
    if not BROWSER:
        pytest.skip("tests of pages need Chromium: install it, or name it with STYLEID_CHROMIUM")
    with sync_api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield one
        one.close()
