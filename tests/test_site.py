"""The documentation site: no link of it leads to nothing, it shows all documents, and loads nothing from a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import chromium, findings_of_axe, scheme, window

ROOT = Path(__file__).parent.parent


def build(project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("site")
    done = build(ROOT, there)
    assert done.returncode == 0, done.stderr
    return there


def test_files_of_the_repository_that_documents_link_to_have_pages(site: Path) -> None:
    python = (site / "python.html").read_text(encoding="utf-8")
    assert 'href="repository/src/rltf/runs/observers.py.html"' in python
    assert "Watches a run." in (site / "repository/src/rltf/runs/observers.py.html").read_text(encoding="utf-8")
    # A link that shows the name of a document shows its title.
    assert ">A task of your own</a>). What <code>check</code>" in python
    # A document of the repository leads back to those of docs/, and a folder lists what is in it.
    assert 'href="../which_method.html"' in (site / "repository/index.html").read_text(encoding="utf-8")
    assert 'href="smollm2.toml.html"' in (site / "repository/recipes/index.html").read_text(encoding="utf-8")
    assert (site / "repository/results/binary_matrix/curves.svg").is_file()


def test_every_link_within_the_site_leads_to_a_page_and_a_place_in_it(site: Path) -> None:
    """MkDocs looks at links in Markdown; this looks at what a reader can click on, those that we make included."""
    pages = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html") if page.name != "404.html"}
    names = {page: set(re.findall(r'\b(?:id|name)="?([^" >]+)', text)) for page, text in pages.items()}
    links = 0
    for page, text in pages.items():
        for target, anchor in re.findall(r'href="?(?![a-z]+:)([^"# >]*)(#[^" >]*)?', text):
            there = (page.parent / target).resolve() if target and target != "." else page
            there = there / "index.html" if there.is_dir() else there
            assert there.is_file(), f"{page.relative_to(site)} links to {target}"
            if anchor and there in names:
                assert anchor[1:] in names[there] | {"", "__skip"}, f"{page.relative_to(site)}: {target}{anchor}"
            links += 1
    assert links > 1000


class Tags(HTMLParser):
    """The names of the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.add(tag)


def test_no_words_of_a_document_are_taken_for_tags(site: Path) -> None:
    """As `<answer>` in a sentence would be, and then not be seen."""
    known = re.findall(
        r"\w+",
        "a article aside b blockquote body br button circle code details div em footer form g h1 h2 h3 h4 h5 h6 head "
        "header hr html img input label li link main meta nav ol p path pre script small span strong style sub summary "
        "sup svg table tbody td th thead title tr ul",
    )
    for page in site.rglob("*.html"):
        tags = Tags()
        tags.feed(page.read_text(encoding="utf-8"))
        assert not sorted(tags.names - set(known)), page


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(?:https?:)?//", text), page
        assert not re.findall(r"<link\b(?![^>]*rel=\"?canonical)[^>]*\bhref=\"?(?:https?:)?//", text), page
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_the_reference_shows_all_of_the_package_that_python_may_use(site: Path) -> None:
    import rltf

    reference = (site / "api.html").read_text(encoding="utf-8")
    assert {name for name in rltf.__all__ if f'id="rltf.{name}"' not in reference} == {"__version__"}


@pytest.mark.parametrize(
    "broken", ["[gone](gone.md)", "[gone](../src/rltf/gone.py)", "[gone](tasks.md#gone)", "::: rltf.Gone"]
)
def test_what_leads_to_nothing_fails_the_build(broken: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    docs = project / "docs"
    shutil.copytree(ROOT / "docs" / "hooks", docs / "hooks")
    shutil.copytree(ROOT / "docs" / "assets", docs / "assets")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[0]
    (project / "mkdocs.yml").write_text(settings.replace("paths: [src]", f"paths: [{ROOT / 'src'}]"), encoding="utf-8")
    (docs / "index.md").write_text("# Home\n\n[Tasks](tasks.md#one)\n", encoding="utf-8")
    (docs / "tasks.md").write_text("# Tasks\n\n## One\n\n[code](../mkdocs.yml)\n", encoding="utf-8")
    done = build(project, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    (docs / "tasks.md").write_text(f"# Tasks\n\n## One\n\n{broken}\n", encoding="utf-8")
    done = build(project, tmp_path / "site")
    assert done.returncode != 0
    assert "gone" in done.stderr.lower()


def test_pages_open_from_the_disk_and_find_what_is_searched_for(site: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as browser:
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.wait import WebDriverWait

        for page in ("index.html", "ideas.html", "api.html", "settings.html", "notebooks/first_run.html"):
            for width, colours in ((1280, "dark"), (390, "light")):
                window(browser, width, 800)
                scheme(browser, colours)
                browser.get((site / page).as_uri())
                wide = browser.execute_script("return document.documentElement.scrollWidth")
                assert wide <= width, f"{page} is {wide} wide on a page of {width}"
        window(browser, 390, 800)
        browser.get((site / "settings.html").as_uri())
        hidden = (
            "return [...document.querySelectorAll('.md-typeset__scrollwrap')].map(e => e.scrollWidth - e.clientWidth)"
        )
        assert max(browser.execute_script(hidden)) <= 0, "tables of settings are shown whole on a phone"
        window(browser, 1280, 800)
        browser.get((site / "index.html").as_uri())
        browser.find_element(By.LINK_TEXT, "Results").click()
        assert browser.find_element(By.CSS_SELECTOR, "article h1").text.startswith("Results")
        browser.get((site / "index.html").as_uri())
        browser.find_element(By.CSS_SELECTOR, "input.md-search__input").send_keys("logprob_floor")
        found = WebDriverWait(browser, 20).until(
            lambda driver: driver.find_elements(By.CSS_SELECTOR, ".md-search-result__item a")
        )
        assert any("objectives.html" in link.get_attribute("href") for link in found)
        loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert not [name for name in loaded if not name.startswith(("file:", "data:", "blob:"))]
        assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_pages_break_no_serious_rule_of_accessibility(site: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as browser:
        for page in ("index.html", "ideas.html", "api.html", "notebooks/first_run.html"):
            for colours in ("light", "dark"):
                scheme(browser, colours)
                browser.get((site / page).as_uri())
                # Browsers themselves take the keyboard to a block of code that scrolls.
                serious = [
                    finding
                    for finding in findings_of_axe(browser)
                    if finding.startswith(("serious", "critical")) and "scrollable-region-focusable" not in finding
                ]
                assert not serious, page
