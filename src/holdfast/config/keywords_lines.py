"""Rows of the keyword table: the options of address, route and rule lines, and of two small value blocks."""

from holdfast.config.keywords import (
    IF,
    IP,
    WORD,
    Arg,
    Block,
    Keyword,
    block,
    choice,
    k,
    later,
    seconds,
    uint,
)

U32 = uint(0, 2**32 - 1)
_TIME = Arg(kind="word")
_LOCKED = Arg(kind="locked")  # [lock] UINT32
_BIT = choice("0", "1")

ADDRESS = block(
    "address line",
    "ADDR[/LEN] and options in any order",
    k("dev", "the instance's", "device", IF),
    k("scope", "global", "scope: global, site, link, host, nowhere or a number (IPv4)", WORD),
    k("brd", "none", "broadcast address, + or - (IPv4)", WORD),
    k("broadcast", "none", "broadcast address, + or - (IPv4)", WORD),
    k("label", "none", "label, at most 15 characters (IPv4)", WORD),
    k("peer", "none", "the other end: IP[/LEN]", WORD),
    k("home", "off", "a home address of Mobile IPv6"),
    k("-nodad", "off", "no duplicate address detection"),
    k("mngtmpaddr", "off", "template of temporary addresses"),
    k("noprefixroute", "off", "no route for the prefix"),
    k("autojoin", "off", "join the multicast group"),
    k("preferred_lft", "for ever; 0 for /128", "preferred lifetime in seconds, or forever", WORD),
    k("no_track", "off", "losing it changes nothing"),
    k("track_group", "none", "instances that follow it (static addresses)", WORD),
    k("use_vmac", "off", "an interface with the virtual MAC for it"),
)


def _same(names: str, default: str, meaning: str, *args: Arg) -> tuple[Keyword, ...]:
    return tuple(k(name, default, meaning, *args) for name in names.split())


ROUTE_TYPES = (
    "unicast", "local", "broadcast", "brd", "multicast", "anycast", "throw", "unreachable", "prohibit", "blackhole",
    "nat", "xresolve",
)  # fmt: skip

ROUTE = block(
    "route line",
    "[inet|inet6] [to] [TYPE] DESTINATION and options",
    *_same("inet inet6", "from the addresses", "address family"),
    *_same("to", "", "begins the destination"),
    *_same("src", "none", "preferred source", IP),
    *_same("via", "none", "gateway: [inet|inet6] IP", Arg(kind="gateway")),
    k("gw", "none", "gateway", IP, deprecated="via"),
    k("or", "none", "a second gateway", IP, deprecated="nexthop"),
    *_same("from", "none", "source-specific route: prefix (IPv6)", WORD),
    *_same("tos dsfield", "0", "type of service", WORD),
    *_same("table", "main", "routing table", WORD),
    *_same("protocol", "keepalived", "who made the route", WORD),
    *_same("scope", "the kernel's rule", "scope", WORD),
    *_same("metric priority preference", "the kernel's", "metric", U32),
    *_same("dev oif", "none", "output device", IF),
    *_same("onlink", "off", "the gateway is on the link"),
    *_same("encap", "none", "light tunnel: ip, ip6, mpls or ila and its options", Arg(kind="words")),
    *_same("expires", "none", "lifetime in seconds (IPv6)", uint()),
    *_same("mtu advmss reordering cwnd ssthresh", "none", "[lock] a number for TCP or IP", _LOCKED),
    *_same("rtt rttvar rto_min", "none", "[lock] a time: 200ms, 2s or kernel units", Arg(kind="locked_word")),
    *_same("hoplimit", "none", "hop limit", uint(0, 255)),
    *_same("window initcwnd initrwnd", "none", "a window", U32),
    *_same("realms", "none", "[SOURCE/]DESTINATION realms", WORD),
    *_same("features", "none", "features of the route", choice("ecn")),
    *_same("quickack fastopen_no_cookie", "none", "0 or 1", _BIT),
    *_same("congctl", "none", "[lock] congestion control", Arg(kind="locked_word")),
    *_same("pref", "medium", "preference (IPv6)", choice("low", "medium", "high")),
    *_same("ttl-propagate", "none", "MPLS TTL", choice("enabled", "disabled")),
    *_same("vrf", "none", "routing domain: an interface of the kind vrf, whose table is used", IF),
    *_same("add prepend append", "prepend", "how it is put in"),
    *_same("nexthop", "none", "one of several gateways: via, dev, weight, onlink, encap, realms", Arg(kind="words")),
    *_same("no_track", "off", "losing it changes nothing"),
    *_same("track_group", "none", "instances that follow it (static routes)", WORD),
)

RULE = block(
    "rule line",
    "Matches and one action",
    *_same("inet inet6", "from the addresses", "address family"),
    *_same("not", "off", "turn the match round"),
    *_same("from to", "all", "source or destination prefix", WORD),
    *_same("table lookup", "", "action: look up this table", WORD),
    *_same("preference order priority", "downwards from 16384", "position", Arg(kind="any_base")),
    *_same("tos dsfield", "none", "type of service", WORD),
    *_same("fwmark", "none", "MARK[/MASK]", WORD),
    *_same("realms", "none", "[SOURCE/]DESTINATION realms", WORD),
    *_same("suppress_prefixlength sup_pl", "none", "overlook routes with prefixes as short", uint(0, 2**31 - 1)),
    *_same("suppress_ifgroup sup_group", "none", "overlook routes to this group", WORD),
    *_same("dev iif", "none", "input device", IF),
    *_same("oif", "none", "output device", IF),
    *_same("tunnel-id", "none", "tunnel", uint(0, 2**64 - 1)),
    *_same("uidrange", "none", "users: A-B", WORD),
    *_same("l3mdev", "off", "look up the table of the routing domain"),
    *_same("protocol", "keepalived", "who made the rule", WORD),
    *_same("ipproto ip_proto", "none", "transport protocol", WORD),
    *_same("sport dport", "none", "ports: A-B", WORD),
    *_same("type", "", "begins the action"),
    *_same("goto", "", "action: go on at this position", Arg(kind="any_base")),
    *_same("nop", "", "action: nothing"),
    *_same("blackhole", "", "action: drop in silence"),
    *_same("unreachable", "", "action: say network unreachable"),
    *_same("prohibit", "", "action: say prohibited"),
    *_same("no_track", "off", "losing it changes nothing"),
    *_same("track_group", "none", "instances that follow it (static rules)", WORD),
)

GROUP_ENTRY = block(
    "virtual_server_group line",
    "IP [PORT], a range [PORT], or fwmark N",
    later("fwmark", "", "a mark, and the family of what carries it", U32, choice("inet", "inet6", optional=True)),
)

DELAY = seconds(0, 255)
POLLED = choice("MII", "ETHTOOL", "IOCTL", optional=True)

ANYWHERE = block(
    "anywhere",
    "Lines that are read before all others, in any block",
    *(
        Keyword(name=name, meaning=meaning, args=(Arg(kind="path"),))
        for name, meaning in (
            ("include", "read the files that match, if any"),
            ("includer", "read them; one that can't be read refuses the start"),
            ("includem", "the same, and a plain name without a file refuses the start"),
            ("includew", "the same, and a pattern without a file refuses the start"),
            ("includeb", "as includer, and an alternative in braces without a file refuses the start"),
            ("includea", "all these checks"),
        )
    ),
)

LINES: tuple[Block, ...] = (ANYWHERE, ADDRESS, ROUTE, RULE, GROUP_ENTRY)
