"""Makes the site whole without a server of code: what the documents link to in the repository becomes a page of it.

A document links to other files as it would on GitHub, by a path from where it stands: `../src/rltf/types.py`. When
the site is built, each file that such links reach from `docs/` gets a page below `repository/`, notebooks of `docs/`
get one in their place, and the links lead there. A link that shows the name of a document (`[tasks.md](tasks.md)`)
shows its title. A link to nothing is left as it is, and `mkdocs build --strict` refuses it.

README's section on results is a page too, as the navigation leads to pages alone.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

FOLDER = "repository"
RESULTS = "results.md"
_LINK = re.compile(r"(\]\()(?![a-z]+:|#|/)([^)#\s]+)(?=[#)])")
_NAMED_BY_FILE = re.compile(r"\[[\w./]+\.md(?=\]\((?![a-z]+:|#|/)([^)#\s]+\.md)[#)])")
_COPIED = (".svg", ".png")
_LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".jsonl": "json", ".yml": "yaml", "": "bash"}
# The search finds documents; files of the code are for reading on.
_UNSEARCHED = "---\nsearch: {exclude: true}\nhide: [toc]\n---\n\n"

_sources: dict[str, Path] = {}
"""The file of the repository behind each page that is made here, by the page's place among the site's sources."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each notebook and for each file that is linked to, from page to page until there are no more."""
    docs = Path(config.docs_dir)
    _sources.clear()
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(file)
    readme = docs.parent / "README.md"
    if readme.is_file():
        _sources[RESULTS] = readme
        content = _section(readme.read_text(encoding="utf-8"), "Results")
        files.append(File.generated(config, RESULTS, content=content, inclusion=InclusionLevel.INCLUDED))
    waiting = sorted(path for path in docs.rglob("*") if path.suffix in (".md", ".ipynb"))
    known = set(waiting)
    for path in waiting:
        uri = _uri(path, docs)
        if not _stands_already(path, docs):
            _sources[uri] = path
            files.append(_file(path, uri, docs, config))
        for target in _targets(path, docs):
            outside = target.is_relative_to(docs.parent) and not _stands_already(target, docs)
            if target not in known and outside and target.exists():
                known.add(target)
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Has the links of a document lead to the pages that `on_files` has made, and show titles for names of files."""
    docs = Path(config.docs_dir)
    uri = page.file.src_uri
    source = _sources.get(uri, docs / uri)
    if not (source.is_dir() or source.suffix in (".md", ".ipynb")):
        return markdown
    folder = source if source.is_dir() else source.parent

    def there(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if not target.is_relative_to(docs.parent) or files.get_file_from_path(_uri(target, docs)) is None:
            return link[0]
        return link[1] + quote(os.path.relpath(_uri(target, docs), Path(uri).parent))

    def titled(link: re.Match[str]) -> str:
        target = (folder / link[1]).resolve()
        text = target.read_text(encoding="utf-8") if target.is_file() else ""
        return f"[{text[2:].splitlines()[0]}" if text.startswith("# ") else link[0]

    return _LINK.sub(there, _NAMED_BY_FILE.sub(titled, markdown))


def _section(text: str, heading: str) -> str:
    """A section of a document as a document of its own."""
    match = re.search(rf"^## {heading}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return match[0].removeprefix("#") if match else ""


def _stands_already(path: Path, docs: Path) -> bool:
    """Whether the site has a file without us."""
    return path.is_relative_to(docs) and path.suffix != ".ipynb"


def _uri(path: Path, docs: Path) -> str:
    """The place of a file of the repository among the site's sources."""
    place = path.relative_to(docs) if path.is_relative_to(docs) else FOLDER / path.relative_to(docs.parent)
    if path.is_dir():
        return f"{place}/index.md"
    if path.suffix == ".ipynb":
        return str(place.with_suffix(".md"))
    if _stands_already(path, docs) or path.suffix in (".md", *_COPIED):
        return str(place)
    return f"{place}.md"


def _targets(path: Path, docs: Path) -> list[Path]:
    """The files and folders that a page links to."""
    if path.is_dir():
        return [path / name for name in _listed(path)]
    if path.suffix not in (".md", ".ipynb"):
        return []
    return [(path.parent / link[2]).resolve() for link in _LINK.finditer(_markdown(path, docs))]


def _listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith((".", "__")))


def _file(path: Path, uri: str, docs: Path, config: MkDocsConfig) -> File:
    # Notebooks must stand in the navigation, as all documents.
    inclusion = InclusionLevel.INCLUDED if path.is_relative_to(docs) else InclusionLevel.NOT_IN_NAV
    if path.suffix in _COPIED:
        return File.generated(config, uri, abs_src_path=str(path), inclusion=inclusion)
    return File.generated(config, uri, content=_markdown(path, docs), inclusion=inclusion)


def _markdown(path: Path, docs: Path) -> str:
    """A file or folder of the repository as the text of a page."""
    name = path.relative_to(docs.parent)
    if path.is_dir():
        rows = "\n".join(f"- [{each}]({each})" for each in _listed(path))
        return f"{_UNSEARCHED}# {name}/\n\n{rows}\n"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    if path.suffix == ".ipynb":
        return "\n\n".join(part for cell in json.loads(text)["cells"] for part in _cell(cell))
    return f"{_UNSEARCHED}# {name}\n\n{_fenced(text, _LANGUAGES.get(path.suffix, 'text'))}\n"


def _cell(cell: dict[str, Any]) -> list[str]:
    """A cell of a notebook: text, or code and below it what it said."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [_fenced(source, "python"), *(_output(output) for output in cell["outputs"])]


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f"![what the cell above draws](data:image/png;base64,{''.join(data['image/png']).strip()})"
    return _fenced("".join(output.get("text") or data.get("text/plain", "")), "text")


def _fenced(text: str, language: str) -> str:
    """Text as a block of code, whatever marks of code stand in it."""
    longest = max((len(marks) for marks in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
