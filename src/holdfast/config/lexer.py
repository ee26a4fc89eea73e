"""One line of text: comments, braces, words. Source: keepalived.conf(5), and its parser's observed behaviour.

There are three tokenisers: `split` for almost everything, `quoted_words` for lines that name scripts, and
`escaped_words` for the argument vector within such a word and for regular expressions.
"""

import re
from functools import lru_cache

SPECIAL = re.compile(r'[#!"{}\\\r\x0b\x0c\x1c-\x1f]')
"""Characters that need more than `str.split`."""

_WORD = re.compile(r'"([^"]*)"|"(.*)$|([^ \t"]+)')
_BLANKS = " \t\r\n"


def strip_comment(line: str) -> tuple[str, bool]:
    r"""`line` without its comment and outer blanks, and whether a `"` was left open. `\#` and `\!` become literal."""
    if "#" not in line and "!" not in line and '"' not in line:
        return line.strip(_BLANKS), False
    kept: list[str] = []
    quoted = False
    index, size = 0, len(line)
    while index < size:
        character = line[index]
        if character == '"':
            quoted = not quoted
        elif not quoted:
            if character in "#!":
                break
            if character == "\\" and index + 1 < size and line[index + 1] in "#!":
                kept.append(line[index + 1])
                index += 2
                continue
        kept.append(character)
        index += 1
    return "".join(kept).strip(_BLANKS), quoted


def split_braces(text: str) -> list[str]:
    """`text` cut at each brace outside double quotes: the pieces, blanks stripped, each brace a piece of its own."""
    if "{" not in text and "}" not in text:
        return [text] if text else []
    if text[-1] == "{" and text.count("{") == 1 and "}" not in text and '"' not in text:
        before = text[:-1].rstrip(_BLANKS)
        return [before, "{"] if before else ["{"]
    pieces: list[str] = []
    start, quoted = 0, False
    for index, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif not quoted and character in "{}":
            before = text[start:index].strip(_BLANKS)
            if before:
                pieces.append(before)
            pieces.append(character)
            start = index + 1
    rest = text[start:].strip(_BLANKS)
    if rest:
        pieces.append(rest)
    return pieces


def split(text: str) -> tuple[tuple[str, ...], bool]:
    """The words of `text`, and whether a quote was left open (the words before it are returned)."""
    if '"' not in text:
        if text.isascii():
            return tuple(text.split()), False
        return tuple(word for word in re.split("[ \t]+", text) if word), False
    words: list[str] = []
    for match in _WORD.finditer(text):
        if match.group(1) is not None:
            words.append(match.group(1))
        elif match.group(2) is not None:
            return tuple(words), True
        else:
            words.append(match.group(3))
    return tuple(words), False


def quoted_words(text: str) -> tuple[list[str], bool]:
    """Words of a script line: both quotes quote, pieces that touch join, backslashes stay with what follows them.

    The words keep the quotes inside other quotes, so that `escaped_words` can read the command line again.
    Returns the words and whether a quote was left open.
    """
    words: list[str] = []
    current: list[str] | None = None
    quote = ""
    index, size = 0, len(text)
    while index < size:
        character = text[index]
        if character == "\\" and index + 1 < size:
            current = [*(current or []), character, text[index + 1]]
            index += 2
            continue
        if quote:
            if character == quote:
                quote = ""
            else:
                current = current if current is not None else []
                current.append(character)
        elif character in "\"'":
            quote = character
            current = current if current is not None else []
        elif character in " \t":
            if current is not None:
                words.append("".join(current))
                current = None
        else:
            current = current if current is not None else []
            current.append(character)
        index += 1
    if current is not None:
        words.append("".join(current))
    return words, bool(quote)


_ESCAPES = {"a": "\a", "b": "\b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_OCTAL = re.compile(r"[0-7]{1,3}")
_HEX = re.compile(r"[0-9A-Fa-f]{1,2}")


def _escape(text: str, index: int) -> tuple[str, int]:
    r"""What the escape after the backslash at `index` stands for, and where it ends."""
    letter = text[index + 1]
    octal = _OCTAL.match(text, index + 1)
    if octal:
        return chr(int(octal.group(), 8) & 0xFF), octal.end()
    if letter == "x":
        digits = _HEX.match(text, index + 2)
        if digits:
            return chr(int(digits.group(), 16)), digits.end()
    if letter == "c" and index + 2 < len(text):
        return chr(ord(text[index + 2]) & 0x1F), index + 3
    return _ESCAPES.get(letter, letter), index + 2


@lru_cache(maxsize=4096)
def escaped_words(text: str) -> tuple[str, ...]:
    r"""The argument vector in `text`: quotes join and are removed, escapes (`\n`, `\x41`, `\ `) are carried out."""
    words: list[str] = []
    current: list[str] | None = None
    quote = ""
    index, size = 0, len(text)
    while index < size:
        character = text[index]
        if character == "\\" and index + 1 < size:
            letter, index = _escape(text, index)
            current = current if current is not None else []
            current.append(letter)
            continue
        if quote:
            if character == quote:
                quote = ""
            else:
                current = current if current is not None else []
                current.append(character)
        elif character in "\"'":
            quote = character
            current = current if current is not None else []
        elif character in " \t":
            if current is not None:
                words.append("".join(current))
                current = None
        else:
            current = current if current is not None else []
            current.append(character)
        index += 1
    if current is not None:
        words.append("".join(current))
    return tuple(words)
