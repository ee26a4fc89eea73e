"""Tables and colour for people: aligned, as wide as the terminal; plain and whole in a pipe."""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

COLOURS = {"green": "32", "cyan": "36", "red": "31", "yellow": "33", "bold": "1", "faint": "2"}
"""SGR codes (ECMA-48 §8.3.117)."""

PLAIN = {"×": "x", "−": "-", "µ": "u", "…": "..."}
"""What stands for signs that a terminal doesn't know."""

GAP = "  "


class Sheet:
    """Where lines go: knows whether colour is wanted and how wide a line may be (None: no bound)."""

    def __init__(self, out: TextIO | None = None, colour: bool | None = None, width: int | None = None) -> None:
        self.out = out or sys.stdout
        terminal = self.out.isatty()
        self.colour = terminal and not os.environ.get("NO_COLOR") if colour is None else colour
        self.width = width
        if width is None and terminal:
            try:
                self.width = os.get_terminal_size(self.out.fileno()).columns or None
            except OSError:
                self.width = 80
        self.lines: list[str] = []

    def paint(self, text: str, colour: str) -> str:
        """`text` in that colour, where colour is wanted."""
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if self.colour and colour and text else text

    def line(self, text: str = "", colour: str = "") -> None:
        """One line."""
        self.lines.append(self.paint(text.rstrip(), colour))

    def wrapped(self, text: str, indent: int, lead: str = "", colour: str = "") -> None:
        """Prose after `lead`, wrapped to the width and hanging at `indent`."""
        room = None if self.width is None else max(self.width - indent, 20)
        first = True
        for piece in wrap(text, room):
            margin = f"{lead:<{indent}}" if first else " " * indent
            self.lines.append((margin + self.paint(piece, colour)).rstrip())
            first = False

    def flush(self) -> None:
        """Write what was gathered, at once."""
        self.out.write(spoken("".join(f"{line}\n" for line in self.lines), self.out.encoding))
        self.out.flush()
        self.lines.clear()


def spoken(text: str, encoding: str | None) -> str:
    """`text` as a terminal of that encoding can show it."""
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        plain = text.translate({ord(sign): other for sign, other in PLAIN.items()})
        return plain.encode(encoding or "utf-8", "replace").decode(encoding or "utf-8")
    return text


def wrap(text: str, room: int | None) -> list[str]:
    """`text` in lines of at most `room` characters, broken between words (a longer word stands alone)."""
    if room is None or len(text) <= room:
        return [text]
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= room:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def aligned(row: Sequence[str], columns: Sequence[int]) -> list[str]:
    """The cells of a row, padded; the last one isn't."""
    return [f"{cell:<{width}}" for cell, width in zip(row[:-1], columns, strict=False)] + [row[-1]]


def fitted(items: Sequence[str], room: int | None) -> str:
    """The items in one line; those for which there is no room are counted (`(+3)`), the first one always stands."""
    whole = " ".join(items)
    if room is None or len(whole) <= room or len(items) < 2:
        return whole
    for kept in range(len(items) - 1, 0, -1):
        shown = f"{' '.join(items[:kept])} (+{len(items) - kept})"
        if len(shown) <= room:
            return shown
    return f"{items[0]} (+{len(items) - 1})"
