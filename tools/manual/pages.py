"""The three pages: prose from the Markdown files beside this one, in which `{name}` stands for a table."""

import re
from collections.abc import Callable
from pathlib import Path

from holdfast import __version__
from tools.manual import tables
from tools.manual.roff import from_markdown, title

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

DATE = "2026-11-23"
"""When the prose was last looked through; not the day of the build, so that the same source makes the same pages."""

TABLES: dict[str, Callable[[], list[str]]] = {
    "commands": tables.commands,
    "keepalived options": tables.keepalived_options,
    "keywords": tables.keywords,
    "exit statuses": lambda: tables.section_of_reference("Exit statuses"),
    "signals": lambda: tables.section_of_reference("Signals"),
    "files": lambda: tables.section_of_reference("Files"),
    "environment": lambda: tables.section_of_reference("Environment"),
}

VOLUMES = {1: "User Commands", 5: "File Formats"}


def page(name: str) -> str:
    """A page such as `holdfast.1`."""
    stem, _, number = name.rpartition(".")
    head = title(stem, int(number), DATE, f"holdfast {__version__}", VOLUMES[int(number)])
    lines = [rf".\" Made by `make man` from tools/manual/{name}.md and the tables of the program.", head]
    for part in re.split(r"^(\{[a-z ]+\})$", (HERE / f"{name}.md").read_text(encoding="utf-8"), flags=re.MULTILINE):
        lines += TABLES[part[1:-1]]() if part.startswith("{") else from_markdown(part) if part.strip() else []
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {path.name.removesuffix(".md"): page(path.name.removesuffix(".md")) for path in sorted(HERE.glob("*.md"))}
