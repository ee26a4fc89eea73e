"""A line of `virtual_rules` or `static_rules` to rtnetlink requests: the options of `ip rule` as keepalived takes them.

Numbers: linux/fib_rules.h.
"""

import re
import struct
from typing import Any

from holdfast.config.route_parts import (
    AF_INET,
    AF_INET6,
    KEEPALIVED,
    Names,
    Prefix,
    Unfit,
    Words,
    attribute,
    family_of,
    read_prefix,
    realms,
    request,
    u32,
)
from holdfast.vrrp.routes import RouteEntry

_NEW_RULE, _DELETE_RULE = 32, 33
_CREATE_NEW = 0x600
_DST, _SRC, _IIF, _GOTO, _PRIORITY, _FWMARK, _FLOW, _TUN_ID, _SUPPRESS_GROUP, _SUPPRESS_PREFIX, _TABLE = (
    1, 2, 3, 4, 6, 10, 11, 12, 13, 14, 15
)  # fmt: skip
_FWMASK, _OIF, _L3MDEV, _UIDS, _PROTOCOL, _IP_PROTO, _SPORTS, _DPORTS = 16, 17, 19, 20, 21, 22, 23, 24
_INVERT = 2
_ACTIONS = {"table": 1, "goto": 2, "nop": 3, "blackhole": 6, "unreachable": 7, "prohibit": 8}
_IP_PROTOCOLS = {
    "icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58,
    "icmpv6": 58, "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
}  # fmt: skip
U32 = 2**32 - 1

FIRST_PREFERENCE = 16384
"""What a rule without preference gets, and each further one less, as in keepalived."""


def read_rule(words: tuple[str, ...], names: Names, preference: int) -> RouteEntry:
    """The rule of a line, at `preference` unless it says another; Unfit when it can't be carried out."""
    chosen: dict[str, Any] = {"tracked": True, "invert": False, "family": 0}
    left = Words(words)
    while left:
        _option(chosen, left, names)
    if "action" not in chosen:
        raise Unfit("the rule has no action", "write table NAME, goto N or blackhole")
    prefixes = [chosen[word].address for word in ("from", "to") if word in chosen]
    told = family_of(*prefixes)
    if chosen["family"] and told not in (0, chosen["family"]):
        raise Unfit("the line says inet or inet6 and has an address of the other family", "remove one of them")
    chosen["family"] = chosen["family"] or told or AF_INET
    chosen.setdefault("preference", preference)
    if "goto" in chosen and chosen["goto"] <= chosen["preference"]:
        raise Unfit(f"goto {chosen['goto']} leads back", f"use a number above {chosen['preference']}", "goto")
    return _entry(chosen)


def has_preference(words: tuple[str, ...]) -> bool:
    """Whether a line says where its rule stands."""
    return any(word in ("preference", "order", "priority") for word in words)


def _option(chosen: dict[str, Any], left: Words, names: Names) -> None:
    word = left.take()
    if word in ("inet", "inet6"):
        chosen["family"] = AF_INET if word == "inet" else AF_INET6
    elif word == "not":
        chosen["invert"] = True
    elif word in ("from", "to"):
        chosen[word] = read_prefix(left.take(word))
    elif word in ("preference", "order", "priority"):
        chosen["preference"] = left.number(word, U32)
    elif word in ("table", "lookup"):
        _act(chosen, "table")
        chosen["table"] = names.number("rt_tables", left.take(word), U32)
    elif word == "type":
        if left.peek() not in _ACTIONS or left.peek() == "table":
            raise Unfit(f"type can't be {left.peek()!r}", "use goto N, nop, blackhole, unreachable or prohibit", word)
    elif word == "goto":
        _act(chosen, word)
        chosen[word] = left.number(word, U32)
    elif word in _ACTIONS:
        _act(chosen, word)
    elif word == "l3mdev":
        _act(chosen, "table")
        chosen[word] = 1
    elif word == "no_track":
        chosen["tracked"] = False
    elif word == "track_group":
        left.take(word)
    else:
        _match(chosen, left, names, word)


def _act(chosen: dict[str, Any], action: str) -> None:
    if "action" in chosen:
        raise Unfit(f"the rule has a second action: {action}", "keep one", action)
    chosen["action"] = action


def _match(chosen: dict[str, Any], left: Words, names: Names, word: str) -> None:
    """What is matched, and options of a table; words that mean nothing are told elsewhere and left aside."""
    if word in ("tos", "dsfield"):
        chosen["tos"] = names.number("rt_dsfield", left.take(word), 255)
    elif word == "fwmark":
        mark, slash, mask = left.take(word).partition("/")
        pair = Words((mark, mask) if slash else (mark,))
        chosen["fwmark"] = pair.number(word, U32)
        if slash:
            chosen["fwmask"] = pair.number(word, U32)
    elif word == "realms":
        chosen[word] = realms(names, left.take(word))
    elif word in ("suppress_prefixlength", "sup_pl"):
        chosen["suppress_prefix"] = left.number(word, 2**31 - 1)
    elif word in ("suppress_ifgroup", "sup_group"):
        chosen["suppress_group"] = names.number("group", left.take(word), 2**31 - 1)
    elif word in ("dev", "iif", "oif"):
        chosen["oif" if word == "oif" else "iif"] = left.device(word)
    elif word == "tunnel-id":
        chosen["tunnel"] = left.number(word, 2**64 - 1)
    elif word == "uidrange":
        chosen["uids"] = _range(left.take(word), word, U32)
    elif word == "protocol":
        chosen["protocol"] = names.number("rt_protos", left.take(word), 255)
    elif word in ("ipproto", "ip_proto"):
        chosen["ipproto"] = _ip_protocol(left.take(word))
    elif word in ("sport", "dport"):
        chosen[word] = _range(left.take(word), word, 65535)


def _range(written: str, word: str, most: int) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", written)
    if found is None or not int(found[1]) <= int(found[2] or found[1]) <= most:
        cure = f"write FIRST-LAST, at most {most}"
        raise Unfit(f"{word} can't be {written!r}", cure, written, accepted=found is not None)
    return int(found[1]), int(found[2] or found[1])


def _ip_protocol(written: str) -> int:
    if written in _IP_PROTOCOLS:
        return _IP_PROTOCOLS[written]
    if written.isascii() and written.isdecimal() and len(written) < 4 and 0 < int(written) < 256:
        return int(written)
    raise Unfit(f"{written!r} is no transport protocol", "write its number: 6 for tcp", written)


def _entry(chosen: dict[str, Any]) -> RouteEntry:
    to, origin = chosen.get("to"), chosen.get("from")
    action, table = chosen["action"], chosen.get("table", 0)
    head = struct.pack(
        "=BBBBBBBBI", chosen["family"], to.length if to else 0, origin.length if origin else 0, chosen.get("tos", 0),
        table if table < 256 else 0, 0, 0, _ACTIONS[action], _INVERT * chosen["invert"],
    )  # fmt: skip
    protocol = KEEPALIVED if chosen["tracked"] else chosen.get("protocol", KEEPALIVED)
    body = u32(_PRIORITY, chosen["preference"]) + attribute(_PROTOCOL, bytes((protocol,)))
    for kind, prefix in ((_DST, to), (_SRC, origin)):
        if prefix and prefix.length:
            body += attribute(kind, prefix.address)
    for kind, word in (
        (_TABLE, "table"), (_GOTO, "goto"), (_FWMARK, "fwmark"), (_FWMASK, "fwmask"), (_FLOW, "realms"),
        (_SUPPRESS_GROUP, "suppress_group"), (_SUPPRESS_PREFIX, "suppress_prefix"),
    ):  # fmt: skip
        if word in chosen:
            body += u32(kind, chosen[word])
    for kind, word in ((_IIF, "iif"), (_OIF, "oif")):
        if word in chosen:
            body += attribute(kind, chosen[word].encode(errors="replace") + b"\0")
    for kind, word in ((_L3MDEV, "l3mdev"), (_IP_PROTO, "ipproto")):
        if word in chosen:
            body += attribute(kind, bytes((chosen[word],)))
    for kind, word, form in ((_UIDS, "uids", "=II"), (_SPORTS, "sport", "=HH"), (_DPORTS, "dport", "=HH")):
        if word in chosen:
            body += attribute(kind, struct.pack(form, *chosen[word]))
    if "tunnel" in chosen:
        body += attribute(_TUN_ID, chosen["tunnel"].to_bytes(8, "big"))
    said = _text(chosen, protocol)
    return RouteEntry(
        text=said,
        name=f"rule {said.removesuffix(' no_track').replace(' tos 0x0', '').replace(f' protocol {protocol}', '')}",
        add=request(_NEW_RULE, _CREATE_NEW, head + body),
        delete=request(_DELETE_RULE, 0, head + body),
        tracked=chosen["tracked"],
    )


def _text(chosen: dict[str, Any], protocol: int) -> str:
    """In the order of keepalived's dumps."""
    family = chosen["family"]

    def shown(prefix: Prefix | None) -> str:
        return "all" if prefix is None or (not prefix.length and not prefix.written) else prefix.text(family)

    said = ["not"] if chosen["invert"] else []
    said += ["from", shown(chosen.get("from"))]
    if "to" in chosen:
        said += ["to", shown(chosen["to"])]
    said += ["priority", str(chosen["preference"]), "tos", hex(chosen.get("tos", 0))]
    if "fwmark" in chosen:
        mask = f"/{chosen['fwmask']:#x}" if "fwmask" in chosen else ""
        said += ["fwmark", f"{chosen['fwmark']:#x}{mask}"]
    for word, key in (
        ("iif", "iif"), ("oif", "oif"), ("suppress_prefixlen", "suppress_prefix"),
        ("suppress_ifgroup", "suppress_group"), ("tunnel-id", "tunnel"),
    ):  # fmt: skip
        if key in chosen:
            said += [word, str(chosen[key])]
    if "uids" in chosen:
        said += ["uidrange", "{}-{}".format(*chosen["uids"])]
    said += ["l3mdev"] * ("l3mdev" in chosen) + ["protocol", str(protocol)]
    if "ipproto" in chosen:
        said += ["ipproto", str(chosen["ipproto"])]
    for word in ("sport", "dport"):
        if word in chosen:
            said += [word, "{}-{}".format(*chosen[word])]
    if "realms" in chosen:
        said += ["realms", f"{chosen['realms'] >> 16}/{chosen['realms'] & 0xFFFF}"]
    action = chosen["action"]
    if action == "table":
        said += ["lookup", str(chosen.get("table", 0))]
    elif action == "goto":
        said += ["goto", str(chosen["goto"])]
    else:
        said += ["nop"] if action == "nop" else ["type", action]
    return " ".join(said + ([] if chosen["tracked"] else ["no_track"]))
