"""A real browser without a window, for the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
AXE = Path(__file__).parent.parent / "node_modules" / "axe-core" / "axe.min.js"
"""`npm install --no-save axe-core` in the checkout's root puts it there."""


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """Skips the test where there is no browser."""
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip("needs Debian's chromium and chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def scheme(browser: Any, name: str) -> None:
    """Has pages believe that the person prefers `light` or `dark`."""
    features = [{"name": "prefers-color-scheme", "value": name}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def window(browser: Any, width: int, height: int) -> None:
    """Sets the size of the page; narrower than a window may be."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def findings_of_axe(browser: Any) -> list[str]:
    """What axe-core has to say of the page against the accepted rules of accessibility, a line each."""
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm install --no-save axe-core@4.14.1")
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    results = browser.execute_async_script(
        "const done = arguments[arguments.length - 1]; axe.run(document, {resultTypes: ['violations']}).then(done)"
    )
    return [
        f"{violation['impact']} {violation['id']}: {violation['help']} ({node['html'][:120]})"
        for violation in results["violations"]
        for node in violation["nodes"][:3]
    ]
