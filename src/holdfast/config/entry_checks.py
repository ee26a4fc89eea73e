"""Checks of route and rule lines, word by word, as the reference makes them."""

import re
from collections.abc import Callable

from holdfast.config import values
from holdfast.config.findings import Condition, Trouble
from holdfast.config.keywords import Arg, Block
from holdfast.config.keywords_lines import ROUTE, ROUTE_TYPES, RULE, U32

Tell = Callable[[Trouble], None]
_EVERYWHERE = ("default", "any", "all", "default6")
_ACTIONS = frozenset({"table", "lookup", "goto", "nop", "blackhole", "unreachable", "prohibit", "l3mdev"})


def check_entry(block: str, words: tuple[str, ...], tell: Tell) -> None:
    """Tells what is wrong with an entry of the block of that name."""
    _CHECKS[block](words, tell)


def _prefix(word: str) -> bool:
    if word in _EVERYWHERE:
        return True
    written, slash, length = word.partition("/")
    try:
        where = values.parse_address(written)
    except ValueError:
        # iproute2 allows short IPv4 prefixes: 10/8
        return bool(re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}/[0-9]{1,2}", word))
    return not slash or (length.isdecimal() and len(length) < 4 and int(length) <= len(where) * 8)


def _route(words: tuple[str, ...], tell: Tell) -> None:
    position = 0
    for expected in (("inet", "inet6"), ("to",), ROUTE_TYPES):
        if position < len(words) and words[position] in expected:
            position += 1
    if position >= len(words) or (words[position] not in ROUTE.keywords and not _prefix(words[position])):
        written = words[min(position, len(words) - 1)]
        tell(Trouble(f"{written!r} is not a destination", "write a prefix or default", token=written))
        return
    if words[position] not in ROUTE.keywords:  # options may stand before it: `dev eth0 to B via C`
        position += 1
    _options(ROUTE, words, position, tell)


def _rule(words: tuple[str, ...], tell: Tell) -> None:
    if words[0] == "{":
        tell(Trouble("'{' is no rule", "remove it"))
        return
    _options(RULE, words, 0, tell)
    if not _ACTIONS.intersection(words):
        tell(Trouble("the rule has no action", "write table NAME, goto N or blackhole", "the line is left aside"))


def _options(table: Block, words: tuple[str, ...], position: int, tell: Tell) -> None:
    """Option by option, each with the arguments its row asks for."""
    while position < len(words):
        keyword = table.keywords.get(words[position])
        if keyword is None:
            # the destination may stand among the options
            if table is ROUTE and (words[position] in ROUTE_TYPES or _prefix(words[position])):
                position += 1
                continue
            tell(
                Trouble(
                    f"{words[position]!r} is no option of a {table.name.removesuffix(' line')}",
                    f"use one of {', '.join(table.keywords)}",
                    "it is left aside",
                    word=position,
                )
            )
            position += 1
            continue
        position += 1
        for arg in keyword.args:
            position = _argument(arg, keyword.name, words, position, tell)


def _argument(arg: Arg, name: str, words: tuple[str, ...], position: int, tell: Tell) -> int:
    """Reads one argument; returns where the next word is."""
    if arg.kind == "words":
        return len(words)
    if arg.kind.startswith("locked") and position < len(words) and words[position] == "lock":
        position += 1
    if arg.kind == "gateway" and position < len(words) and words[position] in ("inet", "inet6"):
        position += 1
    if position >= len(words):
        cure, meanwhile = "write one after it", "it is left aside"
        last = len(words) - 1
        tell(Trouble(f"{name} needs a value", cure, meanwhile, word=last, condition=Condition.MISSING))
        return position
    reader = values.READERS.get(arg.kind)
    if arg.kind == "locked":
        arg, reader = U32, values.READERS["uint"]
    elif arg.kind == "gateway":
        reader = values.READERS["ip"]
    elif arg.kind == "any_base":
        try:
            int(words[position], 0)
        except ValueError:
            tell(Trouble(f"{words[position]!r} is not a number", "write one", "it is left aside", word=position))
        return position + 1
    if reader is not None:
        for trouble in reader(arg, words, position, "")[1]:
            tell(trouble)
    return position + 1


_CHECKS: dict[str, Callable[[tuple[str, ...], Tell], None]] = {
    "static_routes": _route,
    "virtual_routes": _route,
    "static_rules": _rule,
    "virtual_rules": _rule,
}
