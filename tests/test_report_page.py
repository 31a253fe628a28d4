"""The report in a real browser: what it shows, how it is steered, and that nothing in a text runs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import findings_of_axe, scheme, window
from report_runs import append, attempt, fill_run, make_run, metrics, rollout

from rltf.report.build import report
from rltf.report.page import page
from rltf.rollouts.records import FeedbackRecord

HOSTILE = (
    '</script><script>document.title="run"</script><img src=x onerror="document.title=1"><!-- --> & "quotes" \u202eback'
    "\x1b[31mred\x07 {{7*7}} ${7*7} javascript:alert(1) '); DROP <style>*{display:none}</style>"
)


def opened(browser: Any, path: Path, *runs: Path) -> Path:
    """Writes the page of some runs and opens it from the disk."""
    path.write_text(page(report(list(runs))), encoding="utf-8")
    window(browser, 1200, 900)
    scheme(browser, "light")
    browser.get(path.as_uri())
    return path


def text_of(browser: Any, selector: str) -> str:
    from selenium.webdriver.common.by import By

    return str(browser.find_element(By.CSS_SELECTOR, selector).text)


def all_of(browser: Any, selector: str) -> list[Any]:
    from selenium.webdriver.common.by import By

    return list(browser.find_elements(By.CSS_SELECTOR, selector))


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def until(browser: Any, condition: Callable[[], bool]) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 10).until(lambda _: condition())


def complaints(browser: Any) -> list[Any]:
    """Errors of scripts, and what the page's policy had to block; asking clears them."""
    return list(browser.get_log("browser"))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_run(make_run(tmp_path_factory.mktemp("runs") / "learned", steps=60), steps=60)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "other"
    return fill_run(make_run(path, steps=60, settings=["seed=1", "objective.name=grpo"]), steps=60, seed=1)


def test_a_run_is_told_in_words_and_drawn(browser: Any, learned: Path, tmp_path: Path) -> None:
    opened(browser, tmp_path / "report.html", learned)
    assert browser.title == "learned · rltf report"
    words = text_of(browser, "#findings")
    assert "Right first attempts on test problems, without feedback: 10.0 % before, 90.0 % after step 60." in words
    assert len(all_of(browser, "#curves canvas")) == 2
    assert len(all_of(browser, "#health canvas")) >= 1
    assert len(all_of(browser, "#helped svg rect")) > 40
    # What is drawn can be read as well.
    label = all_of(browser, "#curves .plot")[0].get_attribute("aria-label")
    assert label.startswith("Right attempts in training: first attempts from ")
    all_of(browser, "#curves details.values summary")[0].click()
    until(browser, lambda: bool(all_of(browser, "#curves details.values[open] tbody tr")))
    assert len(all_of(browser, "#curves details.values[open] tbody tr")) == 40
    # Over tokens in place of rollouts.
    all_of(browser, "#curves input[value=tokens]")[0].click()
    until(browser, lambda: len(all_of(browser, "#curves canvas")) == 2)
    assert complaints(browser) == []


def test_rollouts_are_filtered_and_stepped_through_by_keyboard(browser: Any, learned: Path, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    opened(browser, tmp_path / "report.html", learned)
    whole = int(text_of(browser, "#tally").split()[0])
    assert whole == 480, "all of so small a run"

    def shown() -> int:
        return int(text_of(browser, "#tally").split()[0])

    def choose(name: str, value: str) -> None:
        Select(all_of(browser, f"#f-{name}")[0]).select_by_value(value)

    choose("outcome", "fixed")
    until(browser, lambda: 0 < shown() < whole)
    fixed = shown()
    assert all(mark.text == "✗✓" for mark in all_of(browser, ".list .mark"))
    choose("change", "fell")
    until(browser, lambda: shown() == 0)
    assert "Clear a filter" in text_of(browser, ".detail")
    choose("change", "rose")
    until(browser, lambda: shown() == fixed)
    all_of(browser, "#f-from")[0].send_keys("31")
    until(browser, lambda: 0 < shown() < fixed)
    all_of(browser, ".filters button")[0].click()
    until(browser, lambda: shown() == whole)
    # A text in the question, with # for any number.
    all_of(browser, "#f-text")[0].send_keys("what is 3 + #?")
    until(browser, lambda: 0 < shown() < whole)
    assert "What is 3 + 3?" in text_of(browser, ".detail pre")
    all_of(browser, ".filters button")[0].click()
    until(browser, lambda: shown() == whole)

    def heading() -> str:
        return text_of(browser, ".detail h3")

    browser.execute_script("document.activeElement.blur()")
    first = heading()
    assert first.startswith("Step 1, toy problem")
    assert first.endswith("rollout 1 of 4")
    press(browser, "j")
    assert heading().endswith("rollout 2 of 4")
    press(browser, "k")
    assert heading() == first
    press(browser, "n")
    assert heading() != first
    assert heading().endswith("rollout 1 of 4")
    press(browser, "p")
    assert heading() == first
    press(browser, "/")
    assert browser.switch_to.active_element.get_attribute("id") == "f-text"
    # In a field, letters are letters.
    press(browser, "j")
    assert browser.switch_to.active_element.get_attribute("value") == "j"
    all_of(browser, ".filters button")[0].click()
    all_of(browser, '.list button[aria-current="true"]')[0].send_keys(Keys.ARROW_DOWN)
    assert heading().endswith("rollout 2 of 4")
    assert browser.switch_to.active_element.get_attribute("aria-current") == "true"
    assert complaints(browser) == []


def test_a_rollout_has_its_siblings_and_its_tokens(browser: Any, learned: Path, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    opened(browser, tmp_path / "report.html", learned)
    Select(all_of(browser, "#f-outcome")[0]).select_by_value("fixed")
    all_of(browser, "#f-tokens")[0].click()
    until(browser, lambda: "fixed" in text_of(browser, ".list") and bool(all_of(browser, ".tokens")))
    until(browser, lambda: "right after feedback" in text_of(browser, ".detail"))
    detail = text_of(browser, ".detail")
    assert "The group: 4 rollouts of this problem, mean first reward" in detail
    assert len(all_of(browser, ".sibs tbody tr")) == 4
    assert (
        "policy first attempt after the prompt that it answered: weight +0.75 per token, from +1 less the baseline"
        in (detail.replace("\n", " "))
    )
    assert "distillation second attempt as an answer to the question alone" in detail.replace("\n", " ")
    assert "1 of 3 tokens masked" in detail
    first = all_of(browser, ".tok")[0]
    assert "masked" in all_of(browser, ".tok")[2].get_attribute("class")
    first.click()
    browser.execute_script("arguments[0].focus()", first)
    readout = text_of(browser, ".readout")
    assert '1 of 3: "The"' in readout
    assert "weight +0.75" in readout
    assert "question alone -1.00 (36.8 %)" in readout
    assert "after feedback -0.50 (60.7 %)" in readout
    assert "the feedback changes it by +0.5" in readout
    first.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert "3 of 3" in text_of(browser, ".readout")
    assert "0, masked" in text_of(browser, ".readout")
    # A sibling is one press away, and the same problem at other steps too.
    all_of(browser, ".sibs button")[3].send_keys(Keys.ENTER)
    assert text_of(browser, ".detail h3").endswith("rollout 4 of 4")
    assert "The same problem:" in text_of(browser, ".detail")
    assert complaints(browser) == []


def test_runs_are_laid_over_each_other(browser: Any, learned: Path, other: Path, tmp_path: Path) -> None:
    from selenium.webdriver.support.ui import Select

    opened(browser, tmp_path / "report.html", learned, other)
    assert browser.title == "2 runs · rltf report"
    keys = [
        button.text for button in all_of(browser, "#curves figure")[0].find_elements("css selector", ".legend button")
    ]
    assert keys == ["learned", "other"]
    all_of(browser, "#curves input[value=both]")[0].click()
    until(browser, lambda: len(all_of(browser, "#curves figure:first-child .legend button")) >= 4)
    # A curve can be put away, and the button says so.
    button = all_of(browser, "#curves .legend button")[0]
    button.send_keys(" ")
    assert button.get_attribute("aria-pressed") == "false"
    settings = text_of(browser, "#settings")
    assert "How the runs differ" in settings
    assert "objective.name rltf_sd grpo" in settings
    # The rest of the page is about the run that is chosen.
    Select(all_of(browser, "#run-choice")[0]).select_by_visible_text("other")
    until(browser, lambda: "of 480 rollouts" in text_of(browser, "#tally"))
    assert complaints(browser) == []


def test_a_comparison_has_its_arms_with_paired_differences(browser: Any, tmp_path: Path) -> None:
    from helpers import make_accuracies, make_summary

    from rltf.comparisons.comparison import load_comparison, outcome

    folder = tmp_path / "both"
    file = tmp_path / "both.toml"
    file.write_text(
        'title = "Both"\nseeds = [0, 1]\nbaseline = "grpo"\n[arms.grpo]\nobjective.name = "grpo"\n[arms.sd]\n'
    )
    for arm, name in (("grpo", "grpo"), ("sd", "rltf_sd")):
        for seed in (0, 1):
            run = make_run(folder / f"{arm}-seed{seed}", settings=[f"seed={seed}", f"objective.name={name}"])
            fill_run(run, seed=seed)
            after = 0.5 + 0.1 * seed + 0.2 * (arm == "sd")
            summary = make_summary(make_accuracies(0.1, 0.2), make_accuracies(after, 0.9))
            (run / "summary.json").write_text(json.dumps(summary.to_json()))
    found = outcome(load_comparison(file), folder)
    (folder / "outcome.json").write_text(json.dumps(found))
    opened(browser, tmp_path / "report.html", folder)
    assert text_of(browser, "h1") == "Both"
    table = text_of(browser, "#curves table")
    assert "minus grpo" in table
    assert "sd 75.0 % ± 63.5 +20 ± 0.0" in table
    # Seeds of one arm have one colour.
    keys = [key.get_attribute("class") for key in all_of(browser, "#curves > .body > .grid .legend .key")[:4]]
    assert len(set(keys[:2])) == len(set(keys[2:])) == 1
    assert keys[0] != keys[2]
    assert complaints(browser) == []


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_both_schemes_and_narrow_screens_keep_to_the_rules_of_accessibility(
    browser: Any, learned: Path, other: Path, name: str, width: int, tmp_path: Path
) -> None:
    opened(browser, tmp_path / "report.html", learned, other)
    scheme(browser, name)
    window(browser, width, 800)
    until(browser, lambda: bool(all_of(browser, "#curves canvas")))
    # Curves are drawn anew a moment after the window has another size; then nothing is cut or scrolls.
    until(browser, lambda: browser.execute_script("return document.documentElement.scrollWidth") <= width)
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(json.loads(paper.removeprefix("rgb").replace("(", "[").replace(")", "]"))) < 300) == (name == "dark")
    assert findings_of_axe(browser) == []


def test_the_scheme_can_be_chosen(browser: Any, learned: Path, tmp_path: Path) -> None:
    opened(browser, tmp_path / "report.html", learned)

    def paper() -> str:
        return str(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))

    system = paper()
    button = all_of(browser, "#theme")[0]
    button.click()
    button.click()
    assert button.text == "Colours: dark"
    assert paper() != system
    assert complaints(browser) == []


def test_no_text_of_a_model_a_judge_or_a_person_runs_or_breaks_anything(browser: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "hostile")
    fill_run(run, text=lambda text: text + HOSTILE)
    huge = "word " * 10 + "x" * 1_000_000
    failed = FeedbackRecord(source=HOSTILE, cause="other", failure=HOSTILE)
    turns = [
        attempt(huge, 0.0, prompt=HOSTILE, feedback=HOSTILE, explanation=HOSTILE),
        attempt(HOSTILE, 0.0, feedback=failed),
    ]
    lines = attempt("line\n" * 200_000, 0.0, prompt=HOSTILE)
    append(
        run / "rollouts.jsonl",
        [rollout(11, 0, 0, *turns, task=HOSTILE, answer=HOSTILE), rollout(11, 0, 1, lines, task=HOSTILE)],
    )
    append(run / "metrics.jsonl", [metrics(11)])
    opened(browser, tmp_path / "report.html", run)
    # Everything on the page is shown, one rollout after the other.
    for _ in range(90):
        press(browser, "j")
    assert text_of(browser, ".detail h3").startswith("Step 11, </script><script>")
    assert browser.title == "hostile · rltf report"
    assert all_of(browser, "img") == []
    assert len(all_of(browser, "body script:not([type])")) == 7, "the page's own"
    attempts = [pre.get_attribute("textContent") for pre in all_of(browser, ".detail pre")]
    shown = HOSTILE.replace("\u202e", "U+202E").replace("\x1b", "U+001B").replace("\x07", "U+0007")
    assert any(text == shown for text in attempts)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 1200
    assert complaints(browser) == []


def test_a_page_of_megabytes_opens_at_once(browser: Any, tmp_path: Path) -> None:
    rng = random.Random(0)
    run = make_run(tmp_path / "large", steps=300)
    fill_run(run, steps=300, text=lambda text: text + " ".join(str(rng.random()) for _ in range(60)))
    path = opened(browser, tmp_path / "report.html", run)
    assert path.stat().st_size > 3_000_000
    timing = "const t = performance.getEntriesByType('navigation')[0]; return t.domContentLoadedEventEnd - t.startTime"
    # A tenth of it on a machine that has nothing else to do.
    assert browser.execute_script(timing) < 8_000
    assert complaints(browser) == []
