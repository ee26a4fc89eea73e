"""A command line as getopt_long(3) reads it, without importing anything: a daemon's start must stay small."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple


class Takes(Enum):
    """Whether an option has an argument."""

    NOTHING = 0
    ARGUMENT = 1
    OPTIONAL = 2  # only in the same word: -gFILE, --log-file=FILE


class Option(NamedTuple):
    """One option: its long name, its letter (or ""), its argument, what the argument is called and what it does."""

    name: str
    letter: str
    takes: Takes
    metavar: str
    meaning: str


class UnusableError(Exception):
    """An option that is unknown, or lacks its argument; the text says which."""


def read_options(
    table: Sequence[Option], words: Sequence[str]
) -> tuple[list[tuple[Option, str | None]], list[str], list[str]]:
    """The options in order, the other words, and what was wrong with options left aside.

    Options may stand together (`-nlD`), after other words, and be abbreviated while that is unambiguous.
    """
    options: list[tuple[Option, str | None]] = []
    others: list[str] = []
    wrong: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            others += words[position:]
            break
        following = words[position] if position < len(words) else None
        try:
            if word.startswith("--"):
                used = _long(table, word, following, options)
            elif word.startswith("-") and len(word) > 1:
                used = _letters(table, word, following, options)
            else:
                others.append(word)
                used = False
        except UnusableError as reason:
            wrong.append(str(reason))
            used = False
        position += used
    return options, others, wrong


def _long(
    table: Sequence[Option], word: str, following: str | None, options: list[tuple[Option, str | None]]
) -> bool:
    name, equals, argument = word[2:].partition("=")
    found = [option for option in table if option.name == name] or [o for o in table if o.name.startswith(name)]
    if len(found) != 1:
        raise UnusableError(f"Unknown option --{name}" if not found else f"Ambiguous option --{name}")
    option = found[0]
    if option.takes is Takes.NOTHING and equals:
        raise UnusableError(f"Option --{option.name} takes no parameter")
    if option.takes is not Takes.ARGUMENT or equals:
        options.append((option, argument if equals else None))
        return False
    if following is None:
        raise UnusableError(f"Missing parameter for option --{option.name}")
    options.append((option, following))
    return True


def _letters(
    table: Sequence[Option], word: str, following: str | None, options: list[tuple[Option, str | None]]
) -> bool:
    for index, letter in enumerate(word[1:], 2):
        option = next((option for option in table if option.letter == letter), None)
        if option is None:
            raise UnusableError(f"Unknown option -{letter}")
        if option.takes is Takes.NOTHING:
            options.append((option, None))
            continue
        attached = word[index:]
        if attached or option.takes is Takes.OPTIONAL:
            options.append((option, attached or None))
            return False
        if following is None:
            raise UnusableError(f"Missing parameter for option -{letter}")
        options.append((option, following))
        return True
    return False


def usage_lines(table: Sequence[Option], width: int = 31) -> list[str]:
    """The options, a line each, as a usage message shows them."""
    lines = []
    for option in table:
        shown = f"  -{option.letter}, --{option.name}" if option.letter else f"      --{option.name}"
        if option.takes is Takes.ARGUMENT:
            shown += f"={option.metavar}"
        elif option.takes is Takes.OPTIONAL:
            shown += f"[={option.metavar}]"
        gap = " " * (width - len(shown)) if len(shown) < width else "\n" + " " * width
        lines.append(shown + gap + option.meaning)
    return lines
