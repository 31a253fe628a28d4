"""Makes the pictures of docs/report.md: `python docs/images/reports.py` trains the three runs, some minutes, and draws.

With a directory, `python docs/images/reports.py runs/reports`, runs that lie there already are drawn as they are. It
needs the extra `dev`, and Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
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
    opened: str = ""
    """Which of the sentences in words has its rollouts shown first."""


FINDING, CARD, ROW, TURN = "#findings li", ".card h3", "#helped tr", "#viewer .turn h3"
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
        ((ROW, "1 of 16"), (ROW, "7 of 16"), (ROW, "attempt was cut")),
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
        "#viewer .turn:nth-last-of-type(1)",
        ((TURN, "First attempt"), (TURN, "Feedback"), (TURN, "Second attempt")),
        opened="siblings",
    ),
    Picture("report_collapsed", "collapsed", "#findings", "#findings", ((FINDING, "Alarm"),)),
    Picture(
        "report_collapsed_health",
        "collapsed",
        "#health",
        "#health",
        (
            (CARD, "Learning rate"),
            (CARD, "Gap between"),
            (CARD, "Entropy"),
            (CARD, "Tokens of a first"),
            (CARD, "trained nothing"),
        ),
    ),
)
_FIND = """
const find = (selector, text) => [...document.querySelectorAll(selector)].find(each => each.textContent.includes(text))
"""
_MARK = """
const place = find(arguments[0], arguments[1]).getBoundingClientRect()
const badge = document.createElement("b")
badge.textContent = arguments[2]
badge.style = `position:absolute; z-index:9; left:${place.left + scrollX - 13}px; top:${place.top + scrollY - 5}px;
  width:26px; height:26px; border-radius:50%; background:#8a1a6b; color:#fff; font:700 16px/26px sans-serif;
  text-align:center`
document.body.append(badge)
"""
_BOX = """
const [first, last] = [arguments[0], arguments[1]].map(each => document.querySelector(each).getBoundingClientRect())
const height = last.bottom - first.top + 16
return {x: first.left + scrollX - 14, y: first.top + scrollY - 8, width: first.width + 28, height}
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
    size = {"width": 1100, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.resolve().as_uri())
    WebDriverWait(browser, 30).until(lambda _: browser.execute_script("return !!document.querySelector('.turn')"))
    if picture.opened:
        browser.execute_script(
            _FIND + "find('#findings li', arguments[0]).querySelector('button').click()", picture.opened
        )
    for number, (selector, text) in enumerate(picture.marks, start=1):
        browser.execute_script(_FIND + _MARK, selector, text, str(number))
    clip = {**browser.execute_script(_BOX, picture.first, picture.last), "scale": 1}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    (Path(__file__).parent / f"{picture.name}.png").write_bytes(base64.b64decode(taken["data"]))


def _rltf(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "rltf", *words], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/reports"))
