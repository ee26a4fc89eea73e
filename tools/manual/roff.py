"""From a little Markdown to roff, in the macros of man(7) that man, mandoc and groff all draw.

Known: `# HEADING`, `## Heading`, paragraphs, blocks of four spaces, `code`, *argument*, and terms with a line
`: meaning` behind them. Whatever else stands in a text is drawn as it stands.
"""

import re
import textwrap

WIDE = 76

_SIGNS = {
    "\\": r"\e",
    "-": r"\-",
    "'": r"\(aq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
    "’": r"\(cq",
    "“": r"\(lq",
    "”": r"\(rq",
    "…": r"\&...",
    "–": r"\(en",
    "→": r"\(->",
}
_SPANS = re.compile(r"`([^`]+)`|(?<![\w*])\*(\w[^*\n]*)\*(?!\w)|\[([^\]]+)\]\([^)\s]+\)")
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])")


def escape(text: str) -> str:
    """Text as roff shows it as it stands."""
    return "".join(_SIGNS.get(sign) or (sign if ord(sign) < 128 else f"\\[u{ord(sign):04X}]") for sign in text)


def prose(text: str) -> str:
    """A paragraph's text: spans in their fonts, links by their words, hyphens between letters as hyphens."""
    shown, position = [], 0
    for span in _SPANS.finditer(text):
        shown.append(_plain(text[position : span.start()]))
        if span[1] is not None:
            shown.append(bold(span[1]))
        elif span[2] is not None:
            shown.append(italic(span[2]))
        else:
            shown.append(prose(span[3]))
        position = span.end()
    return "".join([*shown, _plain(text[position:])])


def _plain(text: str) -> str:
    return "-".join(escape(part) for part in _HYPHEN.split(text))


def bold(text: str) -> str:
    """What is typed as it stands."""
    return f"\\fB{escape(text)}\\fR"


def italic(text: str) -> str:
    """What something else is put for."""
    return f"\\fI{escape(text)}\\fR"


def filled(roff: str) -> list[str]:
    """A paragraph's lines, none of which can be taken for a request."""
    lines = textwrap.wrap(" ".join(roff.split()), WIDE, break_long_words=False, break_on_hyphens=False)
    return [rf"\&{line}" if line[0] in ".'" else line for line in lines]


def example(lines: list[str]) -> list[str]:
    """Lines as they are typed."""
    kept = [rf"\&{line}" if line[:1] in (".", "'") else line for line in map(escape, lines)]
    return [".PP", ".RS 4", ".nf", *(line or r"\&" for line in kept), ".fi", ".RE"]


def term(heading: str, *paragraphs: str) -> list[str]:
    """A term, already roff, and what is said of it, already roff."""
    lines = [".TP", rf"\&{heading}" if heading[0] in ".'" else heading]
    for number, paragraph in enumerate(paragraphs):
        lines += [*([".IP"] if number else []), *filled(paragraph)]
    return lines


def title(name: str, section: int, date: str, source: str, volume: str) -> str:
    """The head of a page."""
    return f'.TH {escape(name.upper())} {section} "{date}" "{source}" "{volume}"'


def heading(text: str, level: int = 1) -> str:
    """The head of a section (level 1) or of a part of one."""
    return f".S{'H' if level == 1 else 'S'} {escape(text.upper() if level == 1 else text)}"


def from_markdown(text: str) -> list[str]:
    """A page's lines, without its head."""
    lines: list[str] = []
    fresh = False  # right behind a heading no .PP is due
    for block in re.split(r"\n{2,}", text.strip("\n")):
        if block.startswith("#"):
            sharps, _, words = block.partition(" ")
            lines.append(heading(words, len(sharps)))
            fresh = True
            continue
        rows = block.split("\n")
        if all(row.startswith("    ") or not row for row in rows):
            lines += example([row[4:] for row in rows])
        elif len(rows) > 1 and rows[1].startswith(": "):
            lines += term(prose(rows[0]), prose(" ".join([rows[1][2:], *rows[2:]])))
        else:
            lines += [*([] if fresh else [".PP"]), *filled(prose(" ".join(rows)))]
        fresh = False
    return lines
