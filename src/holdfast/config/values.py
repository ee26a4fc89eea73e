"""Words of a line to a checked value, by the keyword's row: numbers in one unit, addresses packed, scripts as argv.

Nothing here raises. A value that can't be used is INVALID, and the setting keeps its default; a sloppy one
(`1,`, words left over) is used and told. One reader a kind of argument; `reading.read_value` puts them together.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

from holdfast.base import address
from holdfast.base.problem import Grade
from holdfast.config import lexer
from holdfast.config.findings import Condition, Trouble
from holdfast.config.keywords import Arg

Words: TypeAlias = tuple[str, ...]
Reading: TypeAlias = tuple[Any, tuple[Trouble, ...]]


class Invalid:
    """The type of INVALID."""

    def __repr__(self) -> str:
        return "INVALID"


INVALID = Invalid()
"""In place of a value that can't be used; the problem has been told."""


class RawScript(msgspec.Struct, frozen=True):
    """A script as written: its argument vector and the words that may name user and group."""

    argv: tuple[str, ...]
    user: tuple[str, ...] = ()


_INTEGER = re.compile(r"[-+]?[0-9]+")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)")
BOOLEANS = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


def missing(words: Words) -> Trouble:
    """The keyword's argument is not there: the reference gives up here."""
    return Trouble(
        f"{words[0]} needs a value",
        "write one after it",
        "the configuration can't be used",
        condition=Condition.MISSING,
        phrase=f"*** Configuration line starting `{words[0]}` is missing a parameter after keyword `{words[0]}`"
        " at word position 2",
    )


def surplus(words: Words, used: int) -> tuple[Trouble, ...]:
    """Words after what a keyword takes: left aside."""
    if len(words) <= used:
        return ()
    rest = " ".join(words[used:])
    return (
        Trouble(
            f"{rest!r} after {words[0] if used == 1 else words[used - 1]!r} means nothing",
            "put # before a remark",
            "it is left aside",
            Grade.WARNING,
            used,
            Condition.NONE,
        ),
    )


def range_text(arg: Arg) -> str:
    """The range of a number in its own unit: `1 to 255`, `at least 0.01 s`."""
    unit = f" {arg.unit}" if arg.unit else ""
    low = f"{(arg.low or 0) / arg.scale:g}"
    if arg.low is not None and arg.low % arg.scale == 0:
        low = str(arg.low // arg.scale)
    if arg.high is None:
        return f"at least {low}{unit}"
    high = str(arg.high // arg.scale) if arg.high % arg.scale == 0 else f"{arg.high / arg.scale:g}"
    return f"{low} to {high}{unit}"


def _sloppy(word: str, taken: str, position: int) -> Trouble:
    return Trouble(
        f"{word!r} is not a number",
        f"write {taken}",
        f"read as {taken}",
        Grade.WARNING,
        position,
        Condition.NUMBER,
        f"invalid number '{word}'",
    )


def _number(arg: Arg, words: Words, position: int, _text: str) -> Reading:
    word = words[position]
    troubles: tuple[Trouble, ...] = ()
    if not (word.isdecimal() and word.isascii()):
        match = _INTEGER.match(word)
        if not match or (arg.kind == "uint" and match.group()[0] == "-"):
            return INVALID, (
                Trouble(
                    f"{word!r} is not a whole number",
                    f"use {range_text(arg)}",
                    "the default is kept",
                    word=position,
                    condition=Condition.NUMBER,
                    phrase=f"invalid number '{word}'",
                ),
            )
        if match.end() != len(word):
            troubles = (_sloppy(word, match.group(), position),)
        word = match.group()
    if len(word) > 20:
        word = word[:20]
    return _bounded(arg, int(word) * arg.scale, words, position, troubles)


def _bounded(arg: Arg, value: int, words: Words, position: int, troubles: tuple[Trouble, ...]) -> Reading:
    if arg.zero is not None and value == 0:
        value = arg.zero * arg.scale
    low, high = arg.low, arg.high
    if (low is None or value >= low) and (high is None or value <= high):
        return value, troubles
    phrase = f"number '{words[position]}' outside range [{_edge(low, arg)}, {_edge(high, arg)}]"
    nearest = low if low is not None and value < low else high
    assert nearest is not None
    meanwhile = f"{nearest / arg.scale:g} is taken" if arg.clamp else "the default is kept"
    out = Trouble(
        f"{words[0]} {words[position]} is out of range",
        f"use {range_text(arg)}",
        meanwhile,
        word=position,
        condition=Condition.NUMBER,
        phrase=phrase,
    )
    return (nearest if arg.clamp else INVALID), (*troubles, out)


def _edge(bound: int | None, arg: Arg) -> str:
    return "" if bound is None else f"{bound / arg.scale:.{arg.digits}f}"


def _decimal(arg: Arg, words: Words, position: int, _text: str) -> Reading:
    word = words[position]
    match = _DECIMAL.match(word)
    if not match or match.group()[0] == "-":
        return INVALID, (
            Trouble(
                f"{word!r} is not a number",
                f"use {range_text(arg)}",
                "the default is kept",
                word=position,
                condition=Condition.NUMBER,
                phrase=f"invalid number '{word}'",
            ),
        )
    troubles: tuple[Trouble, ...] = ()
    taken = match.group()
    if match.end() != len(word):
        troubles = (_sloppy(word, taken, position),)
    whole, _, fraction = taken.lstrip("+")[:40].partition(".")
    if len(fraction) > arg.digits:
        kept = fraction[: arg.digits]
        rounded = int((whole or "0") + kept) + (fraction[arg.digits] >= "5")
        troubles += (
            Trouble(
                f"{word} is finer than {words[0]} can be",
                f"at most {arg.digits} decimals count",
                "it is rounded",
                Grade.WARNING,
                position,
                Condition.WARNING,
            ),
        )
    else:
        rounded = int((whole or "0") + fraction.ljust(arg.digits, "0"))
    return _bounded(arg, rounded * arg.scale // 10**arg.digits, words, position, troubles)


def _boolean(_arg: Arg, words: Words, position: int, _text: str) -> Reading:
    value = BOOLEANS.get(words[position])
    if value is not None:
        return value, ()
    return INVALID, (
        Trouble(
            f"{words[position]!r} is neither on nor off",
            "use on, off, true, false, yes or no, in lower case",
            "the setting is not changed",
            word=position,
            phrase=f"Invalid value for {words[0]} - must be on/off, true/false, yes/no",
        ),
    )


def _choice(arg: Arg, words: Words, position: int, _text: str) -> Reading:
    word = words[position]
    if word in arg.choices:
        return word, ()
    if arg.fold:
        for one in arg.choices:
            if one.lower() == word.lower():
                return one, ()
    return INVALID, (
        Trouble(
            f"{words[0]} can't be {word!r}",
            f"use {' or '.join(arg.choices)}",
            "the setting is left aside",
            word=position,
            phrase=f"Unknown {words[0]} '{word}' - ignoring",
        ),
    )


def _address(_arg: Arg, words: Words, position: int, _text: str) -> Reading:
    written, slash, _length = words[position].partition("/")
    try:
        where = parse_address(written)
        return where, () if not slash else (needless_prefix(words[position], written, position),)
    except ValueError:
        return INVALID, (
            Trouble(
                f"{words[position]!r} is not a numeric IPv4 or IPv6 address",
                "write one, names are not looked up",
                "the setting is left aside",
                word=position,
                phrase=f"Invalid IP address {words[position]} - ignoring",
            ),
        )


def needless_prefix(word: str, written: str, position: int) -> Trouble:
    """An address of one host with a prefix length, which keepalived overlooks."""
    return Trouble(
        f"{word!r} is to be one address, without prefix length",
        f"write {written}",
        f"{written} is taken",
        Grade.WARNING,
        position,
        Condition.NONE,
    )


@lru_cache(maxsize=65536)
def parse_address(word: str) -> address.Address:
    """`address.parse`, remembered."""
    return address.parse(word)


def _interface(_arg: Arg, words: Words, position: int, _text: str) -> Reading:
    word = words[position]
    if 0 < len(word.encode("utf-8", "surrogateescape")) <= 15:
        return word, ()
    return INVALID, (
        Trouble(
            f"{word!r} can't be the name of an interface",
            "names have 1 to 15 characters",
            "the setting is left aside",
            word=position,
            phrase=f"Interface name '{word}' too long - ignoring",
        ),
    )


def _word(_arg: Arg, words: Words, position: int, _text: str) -> Reading:
    return words[position], ()


def _words(arg: Arg, words: Words, position: int, _text: str) -> Reading:
    if position >= len(words) and not arg.optional:
        return INVALID, (missing(words),)
    return words[position:], ()


def _script(arg: Arg, words: Words, _position: int, text: str) -> Reading:
    """The line is read again, with the quoting of scripts; `user` and `group` may follow the command."""
    pieces, unmatched = lexer.quoted_words(text)
    if unmatched:
        return INVALID, (
            Trouble(
                "a quote is never closed", "close it", "the line is left aside", word=1, condition=Condition.QUOTE
            ),
        )
    argv = lexer.escaped_words(pieces[1]) if len(pieces) > 1 else ()
    if not argv:
        return INVALID, (
            Trouble(f"{words[0]} names no program", "write its path", "the line is left aside", word=1),
        )
    if arg.kind == "command":
        return RawScript(argv), _after_command(words, pieces)
    extra: tuple[Trouble, ...] = ()
    if len(pieces) > 4:
        extra = (
            Trouble(
                f"{' '.join(pieces[4:])!r} after command, user and group means nothing",
                "put quotes around the whole command line",
                "it is left aside",
                Grade.WARNING,
                word=len(words) - 1,
                condition=Condition.NONE,
            ),
        )
    return RawScript(argv, tuple(pieces[2:4])), extra


def _after_command(words: Words, pieces: list[str]) -> tuple[Trouble, ...]:
    if len(pieces) <= 2:
        return ()
    rest = " ".join(pieces[2:])
    return (
        Trouble(
            f"{rest!r} is not given to the program",
            f'put quotes around the whole command line: {words[0]} "{pieces[1]} {rest}"',
            "it is left aside",
            Grade.WARNING,
            min(2, len(words) - 1),
            Condition.NONE,
        ),
    )


def _escaped(_arg: Arg, words: Words, _position: int, text: str) -> Reading:
    rest = text[len(words[0]) :].strip()
    pieces = lexer.escaped_words(rest)
    return (pieces[0] if pieces else ""), ()


READERS: dict[str, Callable[[Arg, Words, int, str], Reading]] = {
    "uint": _number,
    "int": _number,
    "decimal": _decimal,
    "bool": _boolean,
    "choice": _choice,
    "ip": _address,
    "interface": _interface,
    "word": _word,
    "path": _word,
    "words": _words,
    "user": _words,
    "script": _script,
    "command": _script,
    "escaped": _escaped,
}
SCRIPTS = ("script", "command", "escaped")
REST = ("words", "user", "script", "command", "escaped")
