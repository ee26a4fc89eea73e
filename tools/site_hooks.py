"""What the site needs beyond mkdocs: navigation from the folders, and the files outside docs/ that pages link to.

Pages are written to be read in the repository too, where `../../README.md` leads somewhere. In the site such a file
stands below `project/`, a page as a page and anything else as it is.
"""

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BEGIN = ROOT / "README.md"
SECTIONS = ("tutorial", "how-to", "reference", "explanation")
"""The order of the tabs; folders that are new come after them, and the project's own pages last."""

_LINK = re.compile(r"(!?)(\[[^\]]*\])\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def place(source: Path) -> str:
    """Where a file stands in the site's sources: below docs/ as it is, else below project/; the repository's path."""
    if source.is_relative_to(DOCS):
        return source.relative_to(DOCS).as_posix()
    return f"project/{source.relative_to(ROOT).as_posix()}"


def source_of(uri: str) -> Path:
    """The other way round."""
    return ROOT / uri.removeprefix("project/") if uri.startswith("project/") else DOCS / uri


def rewritten(markdown: str, source: Path) -> tuple[str, set[Path]]:
    """A page with its links as they are in the site, and the files outside docs/ that it leads to.

    A folder can't be shown: of a link to one its words stay.
    """
    outside: set[Path] = set()

    def link(match: re.Match[str]) -> str:
        image, words, target = match.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not path:
            return match.group(0)
        aim = (source.parent / path).resolve()
        if not aim.exists() or not aim.is_relative_to(ROOT):
            return match.group(0)  # mkdocs says so, and the build fails
        if aim.is_dir():
            return words[1:-1]
        if not aim.is_relative_to(DOCS):
            outside.add(aim)
        there = posixpath.relpath(place(aim), posixpath.dirname(place(source)) or ".")
        return f"{image}{words}({there}{'#' + anchor if anchor else ''})"

    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts), outside


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what pages name outside docs/, and what those name, until nothing is new."""
    waiting = [BEGIN, *(source_of(page.src_uri) for page in files.documentation_pages())]
    seen: set[Path] = set()
    while waiting:
        source = waiting.pop()
        if source in seen:
            continue
        seen.add(source)
        if not source.is_relative_to(DOCS):
            files.append(File.generated(config, place(source), abs_src_path=os.fspath(source)))
        if source.suffix == ".md":
            waiting += rewritten(source.read_text(encoding="utf-8"), source)[1]
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links as they are in the site."""
    return rewritten(markdown, source_of(page.file.src_uri))[0]


def on_nav(nav: Navigation, **_: Any) -> Navigation:
    """Tutorial, how-to, reference, explanation: in the order in which one needs them, in each by title."""

    def rank(item: Any) -> tuple[int, int]:
        if not isinstance(item, Section):
            return (0, 0)
        pages = [child for child in item.children if isinstance(child, Page)]
        folder = pages[0].file.src_uri.partition("/")[0] if pages else ""
        if folder == "project":
            return (3, 0)
        return (1, SECTIONS.index(folder)) if folder in SECTIONS else (2, 0)

    first = (DOCS / "index.md").read_text(encoding="utf-8")

    def heading(item: Any) -> str:
        if not isinstance(item, Page):
            return ""
        uri = item.file.src_uri
        if uri.startswith("tutorial/") and uri in first:  # one leads to the next: as the first page names them
            return f"{first.index(uri):9}"
        found = re.search(r"^# (.+)$", source_of(uri).read_text(encoding="utf-8"), re.MULTILINE)
        return found[1].lower() if found else uri

    nav.items.sort(key=rank)
    for section in nav.items:
        if isinstance(section, Section) and rank(section)[0] < 3:
            section.children.sort(key=heading)
    return nav
