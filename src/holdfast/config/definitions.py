"""Definitions and iterations: `$NAME=`, `${NAME}`, the built-ins, `~SEQ` and `~LST`."""

import re
from collections.abc import Callable, Iterator

from holdfast.base.problem import Grade
from holdfast.config.disk import Disk
from holdfast.config.findings import Condition, Trouble

DEFINITION = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)([^{}]*)\}|([A-Za-z_][A-Za-z0-9_]*)(?=[ \t,)]|$))")
_ITERATOR = re.compile(r"~(SEQx?|LST)\(")
MOST_REPLACEMENTS = 1000
LONGEST_LINE = 65536

Tell = Callable[[Trouble], None]


class Definitions:
    """What the parameters stand for at this point of the file. A value of several lines is a list."""

    def __init__(self, config_id: str, disk: Disk) -> None:
        self.values: dict[str, str | list[str]] = {}
        self.config_id = config_id
        self.disk = disk

    def expand(self, text: str, directory: str, tell: Tell) -> tuple[str, list[str]]:
        """`text` with its parameters replaced, again and again, and the further lines of a last one of several lines.

        An undefined reference stays as it is. A definition that contains itself is told and left.
        """
        position = replaced = 0
        while match := _REFERENCE.search(text, position):
            name = match[1] or match[3]
            value = self._value(name, match[2], directory, tell)
            if isinstance(value, list):
                if match.end() == len(text):
                    return text[: match.start()] + value[0], value[1:]
                value = None
            if value is None:
                if match[1] and name not in self.values and not name.startswith("_"):
                    tell(_undefined(match[0], name))
                position = match.end()
                continue
            text = text[: match.start()] + value + text[match.end() :]
            position = match.start()
            replaced += 1
            if replaced > MOST_REPLACEMENTS or len(text) > LONGEST_LINE:
                tell(
                    Trouble(
                        f"the definition of {name} contains itself",
                        f"take ${name} out of its own value",
                        "the line is left aside",
                        token=match[0],
                    )
                )
                return "", []
        return text, []

    def _value(self, name: str, argument: str | None, directory: str, tell: Tell) -> str | list[str] | None:
        if name in self.values:
            return self.values[name] if not (argument or "").strip() else None
        if not name.startswith("_"):
            return None
        words = (argument or "").split()
        match name:
            case "_PWD":
                return directory
            case "_INSTANCE":
                return self.config_id
            case "_HASH":
                return "\\#"  # an escape, so that it begins no comment
            case "_BANG":
                return "\\!"
            case "_ENV":
                if len(words) != 1:
                    tell(Trouble("_ENV wants one name", "write ${_ENV NAME}", "the text stays", token="_ENV"))
                    return None
                return self.disk.variables().get(words[0], "")
            case "_RANDOM":
                return self._random(words, tell)
        return None

    def _random(self, words: list[str], tell: Tell) -> str | None:
        if len(words) > 2 or not all(word.isdecimal() and word.isascii() and len(word) < 19 for word in words):
            tell(
                Trouble(
                    "_RANDOM wants at most two plain numbers",
                    "write ${_RANDOM MIN MAX}",
                    "the text stays",
                    token="_RANDOM",
                )
            )
            return None
        low = int(words[0]) if words else 0
        high = int(words[1]) if len(words) > 1 else max(32767, low)
        if low > high:
            tell(
                Trouble(
                    f"_RANDOM {low} {high}: the least is above the most",
                    "swap them",
                    f"{low} is taken",
                    token="_RANDOM",
                )
            )
            return str(low)
        return str(self.disk.random(low, high))


def _undefined(written: str, name: str) -> Trouble:
    return Trouble(
        f"{written} is not defined",
        f"define it before: ${name}=…",
        "the text stays, and its braces count as braces",
        Grade.WARNING,
        condition=Condition.NONE,
        token=written,
    )


def iterations(text: str, expand: Callable[[str], str], tell: Tell) -> tuple[Iterator[dict[str, str]], str] | None:
    """What the iterator at the start of `text` sets, pass by pass, and the line it is applied to.

    None when it can't be read (told).
    """
    match = _ITERATOR.match(text)
    end = text.find(")", match.end()) if match else -1
    if not match or end < 0:
        tell(_bad_iterator(text, "write ~SEQ(VAR, START, END) line or ~LST(VAR, a, b) line"))
        return None
    inside, rest = expand(text[match.end() : end]), text[end + 1 :].lstrip(" \t")
    if match[1] == "LST":
        passes = _list_passes(inside, tell)
    else:
        passes = _sequence_passes(inside, match[1] == "SEQx", tell)
    return None if passes is None else (passes, rest)


def _bad_iterator(text: str, cure: str) -> Trouble:
    return Trouble(f"{text[:40]!r} can't be read", cure, "the line is left aside", token=text.split("(")[0])


def _integer(word: str) -> int:
    sign = -1 if word.startswith("-") else 1
    digits = word.lstrip("+-")
    if re.fullmatch("0[0-7]+", digits):
        return sign * int(digits, 8)
    return sign * int(digits, 0)


def _sequence_passes(inside: str, hexadecimal: bool, tell: Tell) -> Iterator[dict[str, str]] | None:
    name, *rest = (piece.strip() for piece in inside.split(","))
    try:
        numbers = [_integer(word) for word in rest]
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or not 1 <= len(numbers) <= 3:
            raise ValueError
    except ValueError:
        tell(_bad_iterator(f"~SEQ({inside})", "write ~SEQ(VAR, START, STEP, END) with numbers"))
        return None
    last = numbers[-1]
    first = numbers[0] if len(numbers) > 1 else (-1 if last < 0 else 1)
    step = numbers[1] if len(numbers) == 3 else (1 if last >= first else -1)
    if step == 0 or (last - first) * step < 0 or (hexadecimal and min(first, last) < 0):
        tell(_bad_iterator(f"~SEQ({inside})", "let STEP lead from START to END, and ~SEQx count from 0 up"))
        return None
    form = "x" if hexadecimal else "d"
    return ({name: format(value, form)} for value in range(first, last + (1 if step > 0 else -1), step))


def _list_passes(inside: str, tell: Tell) -> Iterator[dict[str, str]] | None:
    pieces = [match[1] if match[1] is not None else match[2] for match in _LIST_PIECE.finditer(inside)]
    tuples = [[word.strip() for word in piece.split(",")] for piece in pieces]
    if len(tuples) < 2 or not all(re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) for name in tuples[0]):
        tell(_bad_iterator(f"~LST({inside})", "write ~LST(VAR, a, b) or ~LST({V,W}, {a,b}, {c,d})"))
        return None
    names = tuples[0]
    if any(len(values) > len(names) for values in tuples[1:]):
        tell(_bad_iterator(f"~LST({inside})", f"give at most {len(names)} values each"))
        return None
    return (dict(zip(names, values + [""] * (len(names) - len(values)), strict=True)) for values in tuples[1:])


_LIST_PIECE = re.compile(r"\{([^{}]*)\}|([^,{}\s]+)")
