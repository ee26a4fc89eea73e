"""A line of `virtual_routes` or `static_routes` to rtnetlink requests.

Options are those of `ip route` as keepalived takes them. Where its documentation and its parser disagree
(`inet6 default via …`), the documentation is followed. Numbers: linux/rtnetlink.h, linux/lwtunnel.h.
"""

import re
import struct
from typing import Any

from holdfast.base.address import Address, text
from holdfast.config.keywords_lines import ROUTE_TYPES
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

_NEW_ROUTE, _DELETE_ROUTE = 24, 25
_PUT_IN = {"add": 0x600, "prepend": 0x400, "append": 0xC00}
_DST, _SRC, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _METRICS, _MULTIPATH, _FLOW = 1, 2, 4, 5, 6, 7, 8, 9, 11
_TABLE, _VIA, _PREF, _ENCAP_TYPE, _ENCAP, _EXPIRES, _TTL_PROPAGATE = 15, 18, 20, 21, 22, 23, 26
_ONLINK = 4
_HEAD_BYTES = 28  # nlmsghdr and rtmsg
U32 = 2**32 - 1

TYPES = {name: number for number, name in enumerate((
    "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw"
), 1)} | {"brd": 3}  # fmt: skip
_LOCAL_TYPES = {"local": 254, "broadcast": 253, "brd": 253, "anycast": 253, "multicast": 253}
_NO_HOP = ("blackhole", "unreachable", "prohibit", "throw")

METRICS = {
    "congctl": 16, "rtt": 4, "rttvar": 5, "rto_min": 13, "features": 12, "mtu": 2, "window": 3, "ssthresh": 6,
    "cwnd": 7, "advmss": 8, "reordering": 9, "hoplimit": 10, "initcwnd": 11, "initrwnd": 14, "quickack": 15,
    "fastopen_no_cookie": 17,
}  # fmt: skip
"""RTAX_… by keyword, in the order keepalived's dumps show them."""

_LOCKABLE = ("mtu", "advmss", "rtt", "rttvar", "reordering", "cwnd", "ssthresh", "rto_min", "congctl")
_TIMES = {"rtt": 8, "rttvar": 4, "rto_min": 1}  # kernel units in a millisecond
_PREFERENCES = {"low": 3, "medium": 0, "high": 1}


class _Hop:
    """One way on: gateway, device, tunnel."""

    def __init__(self) -> None:
        self.via = b""
        self.device = ""
        self.onlink = False
        self.weight: int | None = None
        self.realms: int | None = None
        self.encap: tuple[int, bytes, str] | None = None  # type, attributes, text

    def octets(self, family: int) -> bytes:
        """The attributes of the gateway, the realms and the tunnel."""
        made = b""
        if self.via:
            other = len(self.via) != (4 if family == AF_INET else 16)
            head = struct.pack("=H", AF_INET if len(self.via) == 4 else AF_INET6)
            made += attribute(_VIA, head + self.via) if other else attribute(_GATEWAY, self.via)
        if self.realms is not None:
            made += u32(_FLOW, self.realms)
        if self.encap is not None:
            made += attribute(_ENCAP_TYPE, struct.pack("=H", self.encap[0])) + attribute(_ENCAP, self.encap[1])
        return made

    def words(self, family_words: bool = True) -> list[str]:
        """As dumps show it (`via inet 192.0.2.9 dev eth0`)."""
        said = [self.encap[2]] if self.encap else []
        if self.via:
            said += ["via", *(["inet" if len(self.via) == 4 else "inet6"] * family_words), text(Address(self.via))]
        if self.device:
            said += ["dev", self.device]
        if self.weight is not None:
            said += ["weight", str(self.weight)]
        return said + ["onlink"] * self.onlink


class _Route:
    """A line being read."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.kind = "unicast"
        self.to: Prefix | None = None
        self.hop = _Hop()
        self.second = b""
        self.hops: list[_Hop] = []
        self.family = 0
        self.chosen: dict[str, Any] = {}  # src, from, tos, table, protocol, scope, metric, expires, pref, ttl
        self.metrics: dict[str, int | str] = {}
        self.locked: set[str] = set()
        self.how = ""
        self.tracked = True


def read_route(words: tuple[str, ...], names: Names) -> RouteEntry:
    """The route of a line; Unfit when it can't be carried out."""
    route, left = _Route(names), Words(words)
    forced = left.skip("inet", "inet6")
    route.family = {"inet": AF_INET, "inet6": AF_INET6}.get(forced, 0)
    while left:
        _option(route, left)
    if route.to is None:
        raise Unfit("the route has no destination", "write a prefix, or default")
    if route.second:
        first, route.hop = route.hop, _Hop()
        other = _Hop()
        other.via, other.device, first.device = route.second, first.device, first.device
        route.hops = [first, other, *route.hops]
    told = family_of(route.to.address, route.chosen.get("src"), getattr(route.chosen.get("from"), "address", None))
    hops = [route.hop, *route.hops]
    by_gateway = AF_INET6 if any(len(hop.via) == 16 for hop in hops) else AF_INET
    if route.family and told not in (0, route.family):
        raise Unfit(f"the line says {forced} and has an address of the other family", "remove one of them", forced)
    route.family = route.family or told or by_gateway
    if route.family == AF_INET6 and any(len(hop.via) == 4 for hop in hops):
        raise Unfit("an IPv6 route can't have an IPv4 gateway", "write an IPv6 gateway")
    if route.family == AF_INET and route.kind in _NO_HOP and any(hop.via or hop.device for hop in hops):
        raise Unfit(f"a {route.kind} route leads nowhere", "remove via, dev and nexthop", route.kind, accepted=True)
    if route.hops and (route.hop.via or route.hop.device):
        raise Unfit("the route has via or dev, and nexthop", "put every gateway into a nexthop of its own", "nexthop")
    if not (route.kind in _NO_HOP or route.hops or route.hop.via or route.hop.device):
        raise Unfit("the route leads nowhere", "write via GATEWAY, dev INTERFACE, or blackhole before the destination")
    if "vrf" in route.chosen and "table" in route.chosen:
        raise Unfit("the route has table and vrf", "keep one: a VRF has its own table", "vrf")
    if "from" in route.chosen and route.family == AF_INET:
        raise Unfit("from is for IPv6 routes", "use a rule: from PREFIX table N", "from")
    return _entry(route)


def _option(route: _Route, left: Words) -> None:
    """Take one option."""
    word = left.take()
    if word in ROUTE_TYPES and route.to is None:
        if word not in TYPES:
            raise Unfit(f"Linux has no {word} routes", "remove the line", word, accepted=True)
        route.kind = word
    elif word == "to":
        if left.peek() in ROUTE_TYPES:
            _option(route, left)
        route.to = read_prefix(left.take(word))
    elif word in ("via", "gw"):
        route.hop.via = left.address(word)
    elif word == "or":
        route.second = left.address(word)
    elif word in ("dev", "oif"):
        route.hop.device = left.device(word)
    elif word == "onlink":
        route.hop.onlink = True
    elif word == "encap":
        route.hop.encap = _encap(left)
    elif word == "realms":
        route.hop.realms = realms(route.names, left.take(word))
    elif word == "nexthop":
        route.hops.append(_nexthop(route, left))
    elif word in METRICS:
        _metric(route, left, word)
    elif word in _PUT_IN:
        route.how = word
    elif word == "no_track":
        route.tracked = False
    elif word == "track_group":
        left.take(word)
    elif word in ("inet", "inet6"):
        route.family = AF_INET if word == "inet" else AF_INET6
    elif word == "vrf":
        route.chosen["vrf"] = left.device(word)
    elif not _plain_option(route, left, word):
        if route.to is not None:
            return  # no option: told already, and left aside
        route.to = read_prefix(word)


def _plain_option(route: _Route, left: Words, word: str) -> bool:
    """Take an option with one value; False when `word` is none of them."""
    chosen, names = route.chosen, route.names
    if word == "src":
        chosen["src"] = left.address(word)
    elif word == "from":
        chosen["from"] = read_prefix(left.take(word))
    elif word in ("tos", "dsfield"):
        chosen["tos"] = names.number("rt_dsfield", left.take(word), 255)
    elif word == "table":
        chosen["table"] = names.number("rt_tables", left.take(word), U32)
    elif word == "protocol":
        chosen["protocol"] = names.number("rt_protos", left.take(word), 255)
    elif word == "scope":
        chosen["scope"] = names.number("rt_scopes", left.take(word), 255)
    elif word in ("metric", "priority", "preference"):
        chosen["metric"] = left.number(word, U32)
    elif word == "expires":
        chosen["expires"] = left.number(word, U32)
    elif word == "pref":
        chosen["pref"] = _choice(left, word, _PREFERENCES)
    elif word == "ttl-propagate":
        chosen["ttl"] = _choice(left, word, {"enabled": 1, "disabled": 0})
    else:
        return False
    return True


def _choice(left: Words, word: str, choices: dict[str, int]) -> int:
    value = left.take(word)
    if value not in choices:
        raise Unfit(f"{word} can't be {value!r}", f"use {', '.join(choices)}", value)
    return choices[value]


def _metric(route: _Route, left: Words, word: str) -> None:
    if word in _LOCKABLE and left.skip("lock"):
        route.locked.add(word)
    if word == "congctl":
        route.metrics[word] = left.take(word)
    elif word == "features":
        _choice(left, word, {"ecn": 1})
        route.metrics[word] = 1
    elif word in _TIMES:
        route.metrics[word] = _time(left.take(word), word)
    elif word in ("quickack", "fastopen_no_cookie"):
        route.metrics[word] = left.number(word, 1)
    else:
        route.metrics[word] = left.number(word, 255 if word == "hoplimit" else U32)


def _time(written: str, word: str) -> int:
    """Kernel units: a bare number is that already, one with a unit is kept between 200 ms and 120 s."""
    found = re.fullmatch(r"([0-9]{1,10}(?:\.[0-9]{1,6})?)(s|sec|secs|ms|msec|msecs)?", written)
    if found is None:
        raise Unfit(f"{written!r} after {word} is not a time", "write 300ms, 2s, or a number of kernel units", written)
    if found[2] is None:
        if "." in written or int(written) > U32:
            raise Unfit(f"{word} can't be {written}", "write a whole number, or a unit after it", written)
        return int(written)
    milliseconds = float(found[1]) * (1 if found[2].startswith("m") else 1000)
    return round(min(max(milliseconds, 200), 120_000)) * _TIMES[word]


def _nexthop(route: _Route, left: Words) -> _Hop:
    hop = _Hop()
    while left and left.peek() != "nexthop":
        word = left.peek()
        if word == "via":
            hop.via = left.address(left.take())
        elif word in ("dev", "oif"):
            hop.device = left.device(left.take())
        elif word == "weight":
            hop.weight = left.number(left.take(), 256, 1)
        elif word == "onlink":
            hop.onlink = bool(left.take())
        elif word == "realms":
            hop.realms = realms(route.names, left.take() and left.take(word))
        elif word == "encap":
            left.take()
            hop.encap = _encap(left)
        elif word in ("no_track", "track_group"):
            break
        else:
            raise Unfit(
                f"{word!r} is no option of a nexthop",
                "use via, dev, weight, onlink, encap, realms; options of the whole route stand before nexthop",
                word,
            )
    if not (hop.via or hop.device):
        raise Unfit("a nexthop leads nowhere", "write via GATEWAY or dev INTERFACE after it", "nexthop")
    return hop


def _encap(left: Words) -> tuple[int, bytes, str]:
    """Type, attributes and text of a light tunnel."""
    kind = left.take("encap")
    if kind == "mpls":
        return _mpls(left.take(kind))
    if kind == "ila":
        written = left.take(kind)
        if not re.fullmatch(r"[0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4}){3}", written):
            raise Unfit(f"{written!r} is not a locator", "write four hexadecimal numbers: 1:2:3:4", written)
        locator = b"".join(int(piece, 16).to_bytes(2, "big") for piece in written.split(":"))
        return 3, attribute(1, locator), f"encap ila {written}"
    if kind not in ("ip", "ip6"):
        raise Unfit(f"encap {kind!r} is not known", "use ip, ip6, mpls or ila", kind)
    six = kind == "ip6"
    limits = {"hoplimit" if six else "ttl": (4, 255), "tc" if six else "tos": (5, 255)}
    made, said = b"", ["encap", kind]
    while left.peek() in ("id", "dst", "src", "flags", "dsfield", *limits) and left:
        word = left.take()
        if word == "id":
            number = left.number(word, 2**64 - 1)
            made += attribute(1, number.to_bytes(8, "big"))
            said += [word, str(number)]
        elif word in ("dst", "src"):
            where = left.address(word)
            if len(where) != (16 if six else 4):
                raise Unfit(f"{text(where)} is not of the family of encap {kind}", "use the other encap", text(where))
            made += attribute(2 if word == "dst" else 3, where)
            said += [word, text(where)]
        elif word == "flags":
            number = left.number(word, 65535)
            made += attribute(7, number.to_bytes(2, "big"))
            said += [word, hex(number)]
        else:
            attr, most = limits.get(word, (5, 255))
            number = left.number(word, most)
            made += attribute(attr, bytes((number,)))
            said += [word, str(number)]
    return 4 if six else 2, made, " ".join(said)


def _mpls(written: str) -> tuple[int, bytes, str]:
    labels = written.split("/")
    if not all(label.isascii() and label.isdecimal() and len(label) < 8 and int(label) < 1 << 20 for label in labels):
        raise Unfit(f"{written!r} are no MPLS labels", "write numbers up to 1048575: 100/200", written)
    stack = b"".join(
        (int(label) << 12 | (number == len(labels)) << 8).to_bytes(4, "big") for number, label in enumerate(labels, 1)
    )
    return 1, attribute(1, stack), f"encap mpls {written}"


# ---- to octets and text ---------------------------------------------------------------------------------------------


def _entry(route: _Route) -> RouteEntry:
    chosen, to, hop = route.chosen, route.to, route.hop
    assert to is not None
    table = chosen.get("table", 255 if route.kind in _LOCAL_TYPES else 254)
    if "scope" in chosen:
        scope = chosen["scope"]
    elif route.family == AF_INET6 or route.kind in _NO_HOP:
        scope = 0
    else:
        scope = _LOCAL_TYPES.get(route.kind, 0 if hop.via or route.hops else 253)
    protocol = KEEPALIVED if route.tracked else chosen.get("protocol", KEEPALIVED)
    origin = chosen.get("from")
    head = struct.pack(
        "=BBBBBBBBI", route.family, to.length, origin.length if origin else 0, chosen.get("tos", 0),
        table if table < 256 else 0, protocol, scope, TYPES[route.kind], _ONLINK * hop.onlink,
    )  # fmt: skip
    body = u32(_TABLE, table)
    if to.length:
        body += attribute(_DST, to.address)
    if origin and origin.length:
        body += attribute(_SRC, origin.address)
    if "src" in chosen:
        body += attribute(_PREFSRC, chosen["src"])
    if "metric" in chosen:
        body += u32(_PRIORITY, chosen["metric"])
    body += hop.octets(route.family)
    if "pref" in chosen:
        body += attribute(_PREF, bytes((chosen["pref"],)))
    if "ttl" in chosen:
        body += attribute(_TTL_PROPAGATE, bytes((chosen["ttl"],)))
    if route.metrics:
        body += attribute(_METRICS, _metric_octets(route))
    devices: list[tuple[int, str]] = []
    if hop.device:
        devices.append((_HEAD_BYTES + len(body) + 4, hop.device))
        body += u32(_OIF, 0)
    if route.hops:
        body = _with_hops(route, body, devices)
    put_in = route.how or ("prepend" if route.kind == "unicast" else "add")
    expires = u32(_EXPIRES, chosen["expires"]) if "expires" in chosen else b""
    # where IPv6 gives a route without metric 1024, a deletion without metric takes the first there is
    rank = u32(_PRIORITY, 1024) if route.family == AF_INET6 and "metric" not in chosen else b""
    return RouteEntry(
        text=f"{put_in} {_text(route, protocol)}",
        name=f"route {_name(route)}",
        add=request(_NEW_ROUTE, _PUT_IN[route.how or "prepend"], head + body + expires),
        delete=request(_DELETE_ROUTE, 0, head + body + rank),
        devices=tuple(devices),
        tracked=route.tracked,
        vrf=chosen.get("vrf", ""),
    )


def _metric_octets(route: _Route) -> bytes:
    made = b""
    for word, value in route.metrics.items():
        octets = value.encode(errors="replace") + b"\0" if isinstance(value, str) else struct.pack("=I", value)
        made += attribute(METRICS[word], octets)
    if route.locked:
        made += u32(1, sum(1 << METRICS[word] for word in route.locked))
    return made


def _with_hops(route: _Route, body: bytes, devices: list[tuple[int, str]]) -> bytes:
    inside = b""
    for hop in route.hops:
        octets = hop.octets(route.family)
        if hop.device:
            devices.append((_HEAD_BYTES + len(body) + 4 + len(inside) + 4, hop.device))
        weight = (hop.weight or 1) - 1
        inside += struct.pack("=HBBI", 8 + len(octets), _ONLINK * hop.onlink, weight, 0) + octets
    return body + attribute(_MULTIPATH, inside)


def _name(route: _Route) -> str:
    """`10.1.0.0/24 via 192.0.2.9 dev eth0 table 100`, as `ip route` would have it."""
    assert route.to is not None
    said = [] if route.kind == "unicast" else [route.kind]
    said.append(route.to.text(route.family) if route.to.length else "default")
    said += route.hop.words(False)
    for word in ("table", "vrf", "metric"):
        if word in route.chosen:
            said += [word, str(route.chosen[word])]
    for hop in route.hops:
        said += ["nexthop", *hop.words(False)]
    return " ".join(said)


def _text(route: _Route, protocol: int) -> str:
    """In the order of keepalived's dumps."""
    chosen, hop = route.chosen, route.hop
    assert route.to is not None
    said = [] if route.kind == "unicast" else [route.kind]
    said.append(route.to.text(route.family))
    if "from" in chosen:
        said += ["from", chosen["from"].text(route.family)]
    if "src" in chosen:
        said += ["src", text(chosen["src"])]
    if "tos" in chosen:
        said += ["tos", str(chosen["tos"])]
    said += hop.words()
    for word, shown in (("table", "table"), ("vrf", "vrf"), (None, "proto"), ("scope", "scope"), ("metric", "metric")):
        value = protocol if word is None else chosen.get(word)
        if value is not None:
            said += [shown, str(value)]
    if "pref" in chosen:
        said += ["pref", next(name for name, number in _PREFERENCES.items() if number == chosen["pref"])]
    if "expires" in chosen:
        said += ["expires", f"{chosen['expires']}sec"]
    if hop.realms is not None:
        said += ["realms", f"{hop.realms >> 16}/{hop.realms & 0xFFFF}"]
    for word in METRICS:
        if word in route.metrics:
            said += [word, *(["lock"] if word in route.locked else []), _shown(word, route.metrics[word])]
    if "ttl" in chosen:
        said += ["ttl-propagate", "enabled" if chosen["ttl"] else "disabled"]
    for one in route.hops:
        said += ["nexthop", *one.words()]
    # keepalived tracks no route without an interface of its own, and says so
    return " ".join(said + (["no_track"] if not (route.tracked and hop.device) else []))


def _shown(word: str, value: int | str) -> str:
    if word == "features":
        return "ecn"
    if word in _TIMES and isinstance(value, int):
        return f"{value / _TIMES[word]:g}ms"
    return str(value)


