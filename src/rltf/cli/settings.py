"""`rltf settings`: what can be set, in the terminal or as docs/settings.md."""

from __future__ import annotations

import re
import shutil
import textwrap

import typer

from rltf.config.reference import Setting, choices, find, sections, settings

_BEGINNING = """\
# Every setting

Made from the code by `rltf settings --markdown > docs/settings.md`. In the terminal `rltf settings SECTION` or
`rltf settings SECTION.FIELD` shows the same. A setting is given

- in a recipe, a TOML file, as a line in the table of its section;
- on the command line as `section.field=value`, which goes over recipes;
- from Python as `rltf.configure("recipe.toml", {"section.field": value})`.

What is not given has its default; the word `none` unsets what can be unset. A wrong setting is refused before anything
starts, in one line that says how to mend it. Names in brackets say which tasks or methods a setting belongs to, where
not all have it.
"""


def settings_command(name: str | None, markdown: bool) -> None:
    """Prints the sections, one section or one setting; or everything as Markdown."""
    if markdown:
        typer.echo(as_markdown(), nl=False)
    elif name is None:
        for section, about in sections().items():
            typer.echo(_wrapped(f"{section:<12}{about}", "", " " * 12))
        typer.echo("\nOne of them: rltf settings trainer. One field: rltf settings trainer.steps")
    else:
        found = find(name)
        if name in sections():
            typer.echo(_wrapped(f"[{name}] {sections()[name]}", "", "") + "\n")
            for choice, about in choices(name).items():
                typer.echo(_wrapped(f"name={choice}: {about}", "  ", "      "))
        for setting in found:
            typer.echo("\n".join(_lines(setting)))


def _lines(setting: Setting) -> list[str]:
    default = f" = {setting.default}" if setting.default else ""
    of = f"; {setting.section}.name: {', '.join(setting.of)}" if setting.of else ""
    type_ = setting.type.replace("`", "")
    return [
        _wrapped(f"{setting.name}{default}", "", "    "),
        _wrapped(f"({type_}{of})", "    ", "    "),
        _wrapped(setting.meaning.replace("`", ""), "    ", "    "),
    ]


def _wrapped(text: str, first: str, later: str) -> str:
    width = min(shutil.get_terminal_size().columns, 120)
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )


def as_markdown() -> str:
    """docs/settings.md."""
    loose = [setting for setting in settings() if setting.section not in sections()]
    parts = [_BEGINNING, _table(loose)]
    for section, about in sections().items():
        named = "".join(f"- `{name}`: {meaning}\n" for name, meaning in choices(section).items())
        parts += [f"## {section}\n\n{about}\n", *([named] if named else []), _table(find(section))]
    return "\n".join(parts)


def _table(rows: list[Setting]) -> str:
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        of = f" ({', '.join(row.of)})" if row.of else ""
        default = f"`{row.default}`" if row.default else ""
        cells = (f"`{row.name}`{of}", row.type, default, row.meaning)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text in a cell of a table: no end of a cell, and no tag outside of code."""
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "&lt;", text.replace("|", "\\|"))
