"""The pages, and what stands in their code blocks."""

import re
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
PAGES = tuple(
    sorted([ROOT / "README.md", ROOT / "HACKING.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "CHANGES").glob("*.md")])
)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"^(?:alpha|beta|client|s1|s2)?[$#] (.+)$", re.MULTILINE)
_INLINE = re.compile(r"`((?:holdfast|holdfast-keepalived|make) [^`]+)`", re.DOTALL)


class Code(msgspec.Struct, frozen=True):
    """A fenced block: its language and its text."""

    language: str
    text: str


def blocks(page: Path) -> list[Code]:
    """The fenced blocks of a page."""
    return [Code(language, text) for language, text in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def commands(page: Path) -> list[str]:
    """Every command line that a page shows: behind a prompt, or in its text."""
    behind = [line for code in blocks(page) if code.language == "console" for line in _PROMPT.findall(code.text)]
    return behind + [" ".join(text.split()) for text in _INLINE.findall(prose(page))]
