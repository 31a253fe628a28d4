"""Makes the pictures of docs/report.md: `python docs/images/reports.py` trains the three runs, some minutes, and draws.

With a directory, `python docs/images/reports.py runs/reports`, runs that lie there already are drawn as they are. It
needs the extra `dev`, and Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

RUNS = {
    "learned": ["trainer.steps=120"],
    "misled": ["trainer.steps=60", "feedback.about=other_problem"],
    "collapsed": [
        "trainer.steps=80", "trainer.learning_rate=0.02", "trainer.warmup_steps=30", "trainer.schedule=constant"
    ],
}  # fmt: skip
EVALUATION = ["evaluation.every=20", "evaluation.problems=60"]


@dataclass(frozen=True)
class Picture:
    """A piece of a report's page with numbers on it."""

    name: str
    run: str
    first: str
    """The element, as a CSS selector, at whose top the picture begins."""
    last: str
    """The element at whose end it ends."""
    marks: tuple[tuple[str, str], ...] = ()
    """What gets the numbers 1, 2, ...: the first element of this selector that holds this text."""
    search: str = ""
    """Of late rollouts that were wrong twice, the first that holds this text is shown."""


FINDING, CARD, ROW, TURN = "#findings li", ".card h3", "#helped td:first-child", "#viewer .turn h3"
PICTURES = (
    Picture(
        "report_learned",
        "learned",
        "#findings",
        "#helped figure",
        ((FINDING, "on test problems"), (FINDING, "siblings"), (CARD, "in training"), (CARD, "How rollouts went")),
    ),
    Picture(
        "report_learned_mistakes",
        "learned",
        "#helped .grid",
        "#helped .grid .card",
        ((ROW, "1 of 16"), (ROW, "7 of 16"), (ROW, "Your previous answer was cut")),
    ),
    Picture(
        "report_misled",
        "misled",
        "#findings",
        "#helped figure",
        ((FINDING, "siblings"), (CARD, "in training"), (CARD, "How rollouts went")),
    ),
    Picture(
        "report_misled_rollout",
        "misled",
        "#viewer .turn",
        "#viewer .turn:has(~ details:last-child):nth-last-of-type(1)",
        ((TURN, "First attempt"), (TURN, "Feedback"), (TURN, "Second attempt")),
        search="1 of 16 cells are wrong",
    ),
    Picture("report_collapsed", "collapsed", "#findings", "#findings", ((FINDING, "Alarm"),)),
    Picture(
        "report_collapsed_health",
        "collapsed",
        "#health",
        "#health",
        (
            (CARD, "Learning rate"),
            (CARD, "Entropy"),
            (CARD, "Mean reward"),
            (CARD, "Tokens of a first"),
            (CARD, "trained nothing"),
        ),
    ),
)
_FIND = """
const find = (selector, text) => [...document.querySelectorAll(selector)].find(each => each.textContent.includes(text))
"""
_MARK = """
const text = document.createRange()
text.selectNodeContents(find(arguments[0], arguments[1]))
const place = text.getBoundingClientRect()
const badge = document.createElement("b")
badge.textContent = arguments[2]
const left = Math.min(place.right + 8, innerWidth - 60) + scrollX
badge.style = `position:absolute; z-index:9; left:${left}px; top:${place.top + scrollY - 3}px;
  width:26px; height:26px; border-radius:50%; background:#8a1a6b; color:#fff; font:700 16px/26px sans-serif;
  text-align:center`
document.body.append(badge)
"""
_SEARCH = """
const set = (field, value) => {
  field.value = value
  field.dispatchEvent(new Event("input", {bubbles: true}))
  field.dispatchEvent(new Event("change", {bubbles: true}))
}
set(document.querySelector("#f-outcome"), "wrong")
set(document.querySelector("#f-from"), "40")
set(document.querySelector("#f-text"), arguments[0])
"""
_BOX = """
const [first, last] = [arguments[0], arguments[1]].map(each => document.querySelector(each).getBoundingClientRect())
const [left, right] = [Math.min(first.left, last.left) - 14, Math.max(first.right, last.right) + 14]
return {x: left + scrollX, y: first.top + scrollY - 8, width: right - left, height: last.bottom - first.top + 16}
"""


def main(folder: Path) -> None:
    """Trains what is missing, and draws all pictures."""
    for name, settings in RUNS.items():
        run = folder / name
        if not (run / "summary.json").is_file():
            _rltf("train", *settings, *EVALUATION, "--run-dir", str(run))
        _rltf("report", str(run))
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory() as profile:
        for flag in ("--headless", "--no-sandbox", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        try:
            for picture in PICTURES:
                draw(browser, picture, folder / picture.run / "report.html")
        finally:
            browser.quit()


def draw(browser: webdriver.Chrome, picture: Picture, page: Path) -> None:
    """One picture, as a PNG file beside this one."""
    # So high that nothing scrolls, and nothing moves when the picture is taken.
    size = {"width": 1100, "height": 9000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.resolve().as_uri())
    WebDriverWait(browser, 30).until(lambda _: browser.execute_script("return !!document.querySelector('.turn')"))
    if picture.search:
        browser.execute_script(_SEARCH, picture.search)
        time.sleep(1)  # the page waits for more to be typed
    for number, (selector, text) in enumerate(picture.marks, start=1):
        browser.execute_script(_FIND + _MARK, selector, text, str(number))
    clip = {**browser.execute_script(_BOX, picture.first, picture.last), "scale": 1}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip})
    (Path(__file__).parent / f"{picture.name}.png").write_bytes(base64.b64decode(taken["data"]))


def _rltf(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "rltf", *words], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/reports"))
