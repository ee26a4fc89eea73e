"""Entries of value blocks: address lines, peers, uses of trackers."""

from collections.abc import Callable
from typing import Any

from holdfast.base.address import Address, text
from holdfast.base.problem import Grade
from holdfast.config import values
from holdfast.config.findings import Condition, Trouble
from holdfast.config.keywords import Arg, uint
from holdfast.vrrp.config import TrackedUse, UnicastPeer, VirtualAddress

Tell = Callable[[Trouble], None]

SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
ADDRESS_FLAGS = ("home", "-nodad", "mngtmpaddr", "noprefixroute", "autojoin", "no_track", "use_vmac")
ADDRESS_OPTIONS = ("dev", "scope", "brd", "broadcast", "label", "peer", "preferred_lft", "track_group", *ADDRESS_FLAGS)
_LIFETIME = uint(0, 2**32 - 1)


def _unusable(words: tuple[str, ...]) -> Trouble:
    return Trouble(
        f"{words[0]!r} is not an address",
        "write a numeric IPv4 or IPv6 address, with /LENGTH where needed",
        "the line is left aside",
        phrase=f"VRRP parsed invalid IP {words[0]}. skipping IP...",
    )


def _prefix(word: str, tell: Tell) -> tuple[Address, int]:
    """Address and length of `ADDR[/LEN]`; ValueError when the address can't be read."""
    written, slash, length = word.partition("/")
    where = values.parse_address(written)
    bits = len(where) * 8
    if not slash:
        return where, bits
    if length.isdecimal() and length.isascii() and len(length) < 4 and int(length) <= bits:
        return where, int(length)
    tell(
        Trouble(
            f"{length!r} is not a prefix length",
            f"use 0 to {bits}",
            f"{bits} is taken",
            token=word,
            condition=Condition.NUMBER,
            phrase=f"Invalid address prefix len {length} for address {word} - using {bits}",
        )
    )
    return where, bits


def read_address(words: tuple[str, ...], tell: Tell, *, static: bool = False) -> VirtualAddress | None:
    """An address line `ADDR[/LEN] [option …]`; None when its address can't be read (told)."""
    if len(words) == 1:  # by far the most common
        try:
            where, length = _prefix(words[0], tell)
        except ValueError:
            tell(_unusable(words))
            return None
        lifetime = 0 if len(where) == 16 and length == 128 else None
        return VirtualAddress(address=where, prefix_length=length, preferred_lft_s=lifetime)
    return _with_options(words, tell, static)


def _with_options(words: tuple[str, ...], tell: Tell, static: bool) -> VirtualAddress | None:
    try:
        where, length = _prefix(words[0], tell)
    except ValueError:
        tell(_unusable(words))
        return None
    chosen: dict[str, Any] = {}
    position = 1
    while position < len(words):
        word = words[position]
        if word in ADDRESS_FLAGS:
            if word == "use_vmac":
                chosen["own_mac"] = True
            else:
                chosen[word.removeprefix("-")] = True
            position += 1
        elif word in ADDRESS_OPTIONS:
            if position + 1 >= len(words):
                tell(Trouble(f"{word} needs a value", "write one after it", "it is left aside", word=position))
                break
            if word != "track_group" or not static:
                length = _option(word, words, position + 1, (where, length), chosen, tell)
            position += 2
        else:
            rest = " ".join(words[position:])
            tell(
                Trouble(
                    f"{word!r} is no option of an address",
                    f"use one of {', '.join(ADDRESS_OPTIONS)}; put # before a remark",
                    f"{rest!r} is left aside",
                    Grade.WARNING,
                    position,
                    phrase=f"Unknown configuration entry '{word}' for ip address - ignoring",
                )
            )
            position += 1
            while position < len(words) and words[position] not in ADDRESS_OPTIONS:
                position += 1
    if "preferred_lft_s" not in chosen and len(where) == 16 and length == 128:
        chosen["preferred_lft_s"] = 0
    return VirtualAddress(address=where, prefix_length=length, **chosen)


def _option(
    word: str, words: tuple[str, ...], position: int, place: tuple[Address, int], chosen: dict[str, Any], tell: Tell
) -> int:
    """Notes one option with a value; returns the prefix length, which `peer` may change."""
    value = words[position]
    where, length = place
    bad = ""
    match word:
        case "dev":
            interface, troubles = values.READERS["interface"](Arg(kind="interface"), words, position, "")
            for trouble in troubles:
                tell(trouble)
            if interface is not values.INVALID:
                chosen["interface"] = interface
        case "scope":
            if value in SCOPES or (value.isdecimal() and value.isascii() and len(value) < 4 and int(value) < 256):
                chosen["scope"] = SCOPES[value] if value in SCOPES else int(value)
            else:
                bad = f"use {', '.join(SCOPES)} or 0 to 255"
        case "brd" | "broadcast":
            bad = _broadcast(value, where, length, chosen)
        case "label":
            if len(value) <= 15 and len(where) == 4:
                chosen["label"] = value
            else:
                bad = "labels have at most 15 characters, and IPv4 addresses only"
        case "peer":
            try:
                peer, peer_length = _prefix(value, tell)
                chosen["peer"] = peer
                return peer_length if "/" in value else length
            except ValueError:
                bad = "write an address"
        case "preferred_lft":
            if value == "forever":
                chosen["preferred_lft_s"] = None
            else:
                number, troubles = values.READERS["uint"](_LIFETIME, words, position, "")
                for trouble in troubles:
                    tell(trouble)
                if number is not values.INVALID:
                    chosen["preferred_lft_s"] = number
        case "track_group":
            bad = "it belongs to static addresses"
    if bad:
        tell(Trouble(f"{word} can't be {value!r}", bad, "it is left aside", word=position))
    return length


def _broadcast(value: str, where: Address, length: int, chosen: dict[str, Any]) -> str:
    """Notes the broadcast address; says what is wrong, or ""."""
    if len(where) != 4 or (value in "+-" and length > 30):
        return "broadcast addresses need IPv4 and a prefix of at most 30"
    number = int.from_bytes(where, "big")
    host = (1 << (32 - length)) - 1
    if value in "+-":
        number = number | host if value == "+" else number & ~host
        chosen["broadcast"] = Address(number.to_bytes(4, "big"))
        return ""
    try:
        given = values.parse_address(value)
    except ValueError:
        return "write an address, + or -"
    if len(given) != 4:
        return "write an IPv4 address"
    chosen["broadcast"] = given
    return ""


def read_peer(words: tuple[str, ...], tell: Tell) -> UnicastPeer | None:
    """A line of unicast_peer: IP [min_ttl N] [max_ttl N]; None when the address can't be read (told)."""
    written, slash, _length = words[0].partition("/")
    try:
        where = values.parse_address(written)
        if slash:
            tell(values.needless_prefix(words[0], written, 0))
    except ValueError:
        tell(
            Trouble(
                f"{words[0]!r} is not the address of a peer",
                "write a numeric IPv4 or IPv6 address",
                "the line is left aside",
                phrase=f"Configuration error: VRRP instance malformed unicast peer address[{words[0]}]. Skipping...",
            )
        )
        return None
    bounds: dict[str, int] = {}
    position = 1
    while position < len(words):
        if words[position] not in ("min_ttl", "max_ttl") or position + 1 >= len(words):
            rest = " ".join(words[position:])
            tell(
                Trouble(
                    f"{rest!r} after {text(where)} means nothing",
                    "put # before a remark; a peer has min_ttl N and max_ttl N",
                    "it is left aside",
                    Grade.WARNING,
                    position,
                    Condition.GENERAL,
                )
            )
            break
        number, troubles = values.READERS["uint"](uint(0, 255), words, position + 1, "")
        for trouble in troubles:
            tell(trouble)
        if number is not values.INVALID:
            bounds[words[position]] = number
        position += 2
    return UnicastPeer(address=where, min_ttl=bounds.get("min_ttl"), max_ttl=bounds.get("max_ttl"))


LIMITS = {"interface": 254, "script": 253, "file": 254, "process": 254, "bfd": 253}


def read_use(
    kind: str, words: tuple[str, ...], tell: Tell, default: tuple[int, bool] = (0, False)
) -> TrackedUse:
    """A line of a `track_…` block: NAME [weight N [reverse|noreverse]]; `default` is the tracker's own weight."""
    weight, reverse = default
    position = 1
    limit = LIMITS[kind]
    while position < len(words):
        word = words[position]
        if word == "weight" and position + 1 < len(words):
            arg = Arg(kind="int", low=-limit, high=limit)
            number, troubles = values.READERS["int"](arg, words, position + 1, "")
            for trouble in troubles:
                tell(trouble)
            if number is not values.INVALID:
                weight = max(-253, min(253, number)) if kind == "interface" else number
            position += 2
            if position < len(words) and words[position] in ("reverse", "noreverse"):
                reverse = words[position] == "reverse"
                position += 1
        elif word == "reverse" or word == "noreverse":
            reverse = word == "reverse"
            position += 1
        else:
            tell(
                Trouble(
                    f"{word!r} after the tracked {kind} {words[0]} means nothing",
                    "write weight N, and reverse after it; put # before a remark",
                    "it is left aside",
                    Grade.WARNING,
                    position,
                    phrase=f"unknown track {kind} option {word} - ignoring",
                )
            )
            break
    return TrackedUse(kind=kind, name=words[0], weight=weight, reverse=reverse)
