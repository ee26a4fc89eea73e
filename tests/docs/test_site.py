"""The site of docs/: built strictly, every link and anchor in it leads somewhere, and nothing comes from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import sync_playwright

from tests.docs.pages import PAGES, ROOT, prose

EXTERNAL = ROOT / "tests/docs/external-links.txt"
LOADING = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
_URL = re.compile(r"(?<![\w`\"'(])\(?(https?://[^\s)>`\"'|]+)")


class Html(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.tabs: list[str] = []
        self._tab = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if tag == "a" and name == "href" and value:
                self.links.append(value)
            if (tag, name) in LOADING and value:
                self.loads.append(value)
        self._tab = tag == "a" and ("class", "md-tabs__link") in attrs

    def handle_data(self, data: str) -> None:
        if self._tab and data.strip():
            self.tabs.append(data.strip())
            self._tab = False


def build(configuration: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(Path(sys.executable).with_name("mkdocs")), "build", "-f", str(configuration), "-d", str(site)],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", where)
    assert (done.returncode, re.findall(r"^WARNING.*", done.stderr, re.MULTILINE)) == (0, []), done.stderr
    return where


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    return {page: Html(page.read_text(encoding="utf-8")) for page in site.rglob("*.html") if page.name != "404.html"}


def test_every_page_of_the_project_is_in_the_site(pages: dict[Path, Html], site: Path) -> None:
    shown = {str(page.relative_to(site)) for page in pages}
    for page in (ROOT / "docs").rglob("*.md"):
        assert str(page.relative_to(ROOT / "docs").with_suffix(".html")) in shown
    assert {"project/index.html", "project/HACKING.html"} <= shown  # README is a folder's first page


def test_every_link_and_anchor_of_the_site_leads_somewhere(pages: dict[Path, Html]) -> None:
    broken = []
    for page, html in pages.items():
        for target in html.links + html.loads:
            parts = urlsplit(target)
            if parts.scheme or target == "#":
                continue
            there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            there = there / "index.html" if there.is_dir() else there
            anchor = unquote(parts.fragment)
            if not there.exists():
                broken.append((page.name, target, "no such file"))
            elif anchor and anchor != "__search" and there in pages and anchor not in pages[there].anchors:
                broken.append((page.name, target, "no such anchor"))
    assert not broken


def test_the_site_loads_nothing_from_elsewhere(pages: dict[Path, Html], site: Path) -> None:
    for page, html in pages.items():
        away = [target for target in html.loads if urlsplit(target).scheme not in ("", "data")]
        away += [target for target in html.loads if target.startswith("//")]
        assert not away, page
    for style in site.rglob("*.css"):
        assert not re.search(r"@import\s|url\(\s*[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_in_a_browser_the_search_works_from_a_folder_and_nobody_is_asked(site: Path) -> None:
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "how-to/why.html").as_uri())
        page.keyboard.press("f")
        page.keyboard.type("unicast_peer")
        found = page.locator(".md-search-result__item a")
        found.first.wait_for()
        targets = [str(found.nth(at).get_attribute("href")) for at in range(found.count())]
        browser.close()
    assert any("clouds-without-multicast" in target for target in targets), targets
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_tabs_stand_in_the_order_in_which_one_needs_them(pages: dict[Path, Html], site: Path) -> None:
    tabs = pages[site / "index.html"].tabs
    wanted = ["Tutorial", "How to", "Reference", "Explanation", "Project"]
    assert [tab for tab in tabs if tab in wanted] == [tab for tab in wanted if tab in tabs]
    assert {"How to", "Reference", "Explanation"} <= set(tabs)


def test_addresses_elsewhere_are_those_of_the_list() -> None:
    """Nobody is asked: each was looked at when it came into the list, and has a host name and no space or dot at its end."""
    found = {address for page in PAGES for address in _URL.findall(prose(page))}
    found = {address for address in found if not re.match(r"https?://(localhost|127\.|\[?[\d:.]+\]?[:/]|\w+[:/]|\w+$)", address)}
    listed = set(EXTERNAL.read_text(encoding="utf-8").split())
    assert found == listed
    for address in listed:
        parts = urlsplit(address)
        assert parts.scheme == "https", address
        assert "." in (parts.hostname or ""), address
        assert not address.endswith((".", ",")), address


@pytest.mark.parametrize("link", ["[x](no-such-page.md)", "[x](b.md#no-such-heading)", "[x](/absolute.md)"])
def test_a_link_that_leads_nowhere_ends_the_build(link: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# A\n\n{link}\n")
    (tmp_path / "docs/b.md").write_text("# B\n")
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    text = re.sub(r"^hooks:\n.*\n", "", text, flags=re.MULTILINE)
    (tmp_path / "mkdocs.yml").write_text(text)
    assert build(tmp_path / "mkdocs.yml", tmp_path / "out").returncode != 0
