"""A line's words to its keyword's value, by the row of the table."""

from typing import Any

from holdfast.config import special, values
from holdfast.config.findings import Trouble
from holdfast.config.keywords import Arg, Keyword


def read_value(keyword: Keyword, words: values.Words, text: str) -> values.Reading:
    """The value of a line that begins with `keyword`, and the problems with it; `text` is the line before splitting.

    No argument: True. One: its value. Several: a tuple (None for optional ones that are absent).
    """
    args = keyword.args
    if keyword.checked:
        return special.CHECKED[keyword.checked](keyword, words, text)
    if len(args) == 1 and len(words) == 2:  # by far the most common
        value, troubles = values.READERS[args[0].kind](args[0], words, 1, text)
        return value, troubles
    if not args:
        return True, values.surplus(words, 1)
    return _read_several(args, words, text)


def _read_several(args: tuple[Arg, ...], words: values.Words, text: str) -> values.Reading:
    found: list[Any] = []
    troubles: tuple[Trouble, ...] = ()
    position = 1
    for arg in args:
        if position >= len(words) and arg.kind != "words":
            if not arg.optional:
                return values.INVALID, (*troubles, values.missing(words))
            found.append(True if arg.kind == "bool" else None)
            continue
        value, more = values.READERS[arg.kind](arg, words, position, text)
        troubles += more
        found.append(value)
        position = len(words) if arg.kind in values.REST else position + 1
    if any(value is values.INVALID for value in found):
        return values.INVALID, troubles
    troubles += values.surplus(words, position)
    return (found[0] if len(found) == 1 else tuple(found)), troubles
