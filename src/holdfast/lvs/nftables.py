"""Virtual servers as an nftables table: which chains, sets and rules a pool comes to. Text in, text out; pure.

    prerouting, output ── jump ──► choose ── protocol . address . port ──► a chain a service
                                                                             │ persistence: the server it had before
                                                                             ▼ by turns, by weight or by hash
                                                                           a chain a server: count, remember, dnat

Only the first packet of a connection passes here; the kernel's connection tracking carries on with what was chosen. So
whatever is replaced, no established connection notices. Names follow from what a service and a server are, so that a
later run finds them again and only writes what differs.

What nftables cannot count it cannot choose by: schedulers that look at connections choose by weight (`SUBSTITUTES`).

Sources: nft(8).
"""

from collections.abc import Iterable, Mapping
from math import gcd

from holdfast.base.address import Address, text
from holdfast.base.ipvs import (
    INET6,
    Destination,
    DestinationKey,
    Destinations,
    Method,
    Pool,
    Service,
    ServiceFlags,
    ServiceKey,
)

TABLE = "holdfast_lvs"
COMMENT = "holdfast"

SUBSTITUTES = {
    "lc": "rr", "wlc": "wrr", "sed": "wrr", "nq": "wrr", "lblc": "wrr", "lblcr": "wrr", "ovf": "wrr", "mh": "sh",
}  # fmt: skip
"""Schedulers that nftables does not have, and what is used in their place."""

SCHEDULERS = frozenset(("rr", "wrr", "sh", "dh", "fo", "twos", *SUBSTITUTES))

MOST_TURNS = 256
"""Weights are interleaved while their sum, divided by what they have in common, is not above this."""

STICKY_BYTES = 65536
"""So many clients are remembered for a server."""


def family_of(key: ServiceKey) -> str:
    """`ip` or `ip6`."""
    return "ip6" if key.family == INET6 else "ip"


def service_chain(key: ServiceKey) -> str:
    """The name of a service's chain: `tcp_192.0.2.1_80`, `tcp_20010db8…_80`, `mark_7`."""
    if not key.address:
        return f"mark_{key.fwmark}"
    shown = key.address.hex() if len(key.address) == 16 else text(Address(key.address))
    return f"{_protocol(key.protocol)}_{shown}_{key.port}"


def server_chain(key: ServiceKey, where: DestinationKey) -> str:
    """The name of the chain of a server of that service: the service's, a slash, `10.0.0.7_80`."""
    shown = where.address.hex() if len(where.address) == 16 else text(Address(where.address))
    return f"{service_chain(key)}/{shown}_{where.port}"


def sticky_set(key: ServiceKey, where: DestinationKey, service: Service) -> str:
    """The name of the set of clients that stay with a server."""
    return f"{server_chain(key, where)}/{service.timeout_s}_{service.netmask}"


def prologue(family: str) -> list[str]:
    """The table and what is in it once, in place of what was there; chains and sets of services stay."""
    kind = f"{family}v4_addr" if family == "ip" else "ipv6_addr"
    address = f"{family} daddr"
    fresh = [
        f"add table {family} {TABLE} {{ comment \"{COMMENT}\"; }}",
        f"add map {family} {TABLE} services {{ type inet_proto . {kind} . inet_service : verdict; }}",
        f"add map {family} {TABLE} wide {{ type inet_proto . {kind} : verdict; }}",
        f"add map {family} {TABLE} marks {{ type mark : verdict; }}",
        f"add set {family} {TABLE} empty {{ type inet_proto . {kind} . inet_service; }}",
        f"add chain {family} {TABLE} choose",
        f"add chain {family} {TABLE} refuse",
    ]
    hooks = (
        ("prerouting", "nat hook prerouting priority -100", "jump choose"),
        ("output", "nat hook output priority -100", "jump choose"),
        ("prerouting_refuse", "filter hook prerouting priority -90", "ct state new jump refuse"),
    )
    fresh += [f"add chain {family} {TABLE} {name} {{ type {hook}; policy accept; }}" for name, hook, _ in hooks]
    fresh += [f"flush chain {family} {TABLE} {name}" for name in ("choose", "refuse", *(hook[0] for hook in hooks))]
    fresh += [f"flush map {family} {TABLE} {name}" for name in ("services", "wide", "marks")]
    fresh.append(f"flush set {family} {TABLE} empty")
    fresh += [
        f"add rule {family} {TABLE} choose meta l4proto . {address} . th dport vmap @services",
        f"add rule {family} {TABLE} choose meta l4proto . {address} vmap @wide",
        f"add rule {family} {TABLE} choose meta mark != 0 meta mark vmap @marks",
        f"add rule {family} {TABLE} refuse meta l4proto . {address} . th dport @empty reject",
    ]
    return fresh + [f"add rule {family} {TABLE} {name} {rule}" for name, _, rule in hooks]


def dispatch(key: ServiceKey, served: bool | None, before: bool | None) -> list[str]:
    """How packets find the service: with servers, without (refused), or (None) not at all; `before` likewise."""
    if served == before:
        return []
    family, lines = family_of(key), []
    if before is not None:
        place, element = _element(key, before)
        if place:
            lines.append(f"delete element {family} {TABLE} {place} {{ {element} }}")
    if served is not None:
        place, element = _element(key, served)
        if place:
            goes = f" : goto {service_chain(key)}" if served else ""
            lines.append(f"add element {family} {TABLE} {place} {{ {element}{goes} }}")
    return lines


def _element(key: ServiceKey, served: bool) -> tuple[str, str]:
    """The map or set, and the element in it; "" where a service without servers is not refused (marks, any port)."""
    if not key.address:
        return ("marks", str(key.fwmark)) if served else ("", "")
    where = f"{key.protocol} . {text(Address(key.address))}"
    if not key.port:
        return ("wide", where) if served else ("", "")
    return ("services" if served else "empty"), f"{where} . {key.port}"


def service_lines(key: ServiceKey, pool: Pool, chains: Iterable[str], sets: Iterable[str]) -> list[str]:
    """What makes the chain of a service and those of its servers as they should be; `chains` and `sets` are there.

    The chains of servers that are there already stay as they are, with their counters. Of a service's chain and of
    `sets` all that is not wanted any more goes.
    """
    family, name = family_of(key), service_chain(key)
    there, kept = set(chains), set(sets)
    serving = {where: one for where, one in pool.destinations.items() if usable(key, where, one)}
    sticky = {where: sticky_set(key, where, pool.service) for where in serving} if persistent(pool.service) else {}
    lines = [f"add chain {family} {TABLE} {name}", f"flush chain {family} {TABLE} {name}"]
    wanted: set[str] = set()
    for where in serving:
        chain = server_chain(key, where)
        wanted.add(chain)
        remembers = sticky.get(where, "")
        if remembers and remembers not in kept:
            kind = "ipv6_addr" if family == "ip6" else "ipv4_addr"
            lines.append(f"add set {family} {TABLE} {remembers} {{ type {kind}; flags dynamic,timeout; "
                         f"timeout {pool.service.timeout_s}s; size {STICKY_BYTES}; }}")  # fmt: skip
        if chain not in there or (remembers and remembers not in kept) or (not remembers and _stuck(chain, kept)):
            lines += [f"add chain {family} {TABLE} {chain}", f"flush chain {family} {TABLE} {chain}"]
            update = f"update @{remembers} {{ {_client(family, pool.service)} }} " if remembers else ""
            lines.append(f"add rule {family} {TABLE} {chain} counter {update}{_translation(key, where)}")
    lines += [
        f"add rule {family} {TABLE} {name} {_client(family, pool.service)} @{remembers} "
        f"goto {server_chain(key, where)}"
        for where, remembers in sticky.items()
        if serving[where].weight
    ]
    choice = _choice(key, pool.service, serving)
    if choice:
        lines.append(f"add rule {family} {TABLE} {name} {choice}")
    return lines + _removal(key, there - wanted, kept - set(sticky.values()))


def removal_lines(key: ServiceKey, chains: Iterable[str], sets: Iterable[str]) -> list[str]:
    """What removes a service's chains and sets; it must not be dispatched to any more."""
    family, name = family_of(key), service_chain(key)
    flushed = [f"flush chain {family} {TABLE} {name}"]
    return flushed + _removal(key, chains, sets) + [f"delete chain {family} {TABLE} {name}"]


def _removal(key: ServiceKey, chains: Iterable[str], sets: Iterable[str]) -> list[str]:
    family, chains = family_of(key), sorted(chains)
    lines = [f"flush chain {family} {TABLE} {chain}" for chain in chains]
    lines += [f"delete chain {family} {TABLE} {chain}" for chain in chains]
    return lines + [f"delete set {family} {TABLE} {one}" for one in sorted(sets)]


def _stuck(chain: str, sets: Iterable[str]) -> bool:
    """Whether the server's chain still remembers clients."""
    return any(one.startswith(f"{chain}/") for one in sets)


def usable(key: ServiceKey, where: DestinationKey, one: Destination) -> bool:
    """Whether nftables can send packets to this server: by NAT, within one family."""
    return one.forwarding.method == Method.NAT and (len(where.address) == 16) == (key.family == INET6)


def serves(key: ServiceKey, pool: Pool) -> bool:
    """Whether somebody gets the connections of a service."""
    return any(one.weight > 0 and usable(key, where, one) for where, one in pool.destinations.items())


def persistent(service: Service) -> bool:
    """Whether a client stays with the server it had."""
    return bool(service.flags & ServiceFlags.PERSISTENT) and service.timeout_s > 0


def _client(family: str, service: Service) -> str:
    """The client's address, or the network it counts for (`persistence_granularity`)."""
    if family == "ip6":
        if service.netmask >= 128:
            return "ip6 saddr"
        bits = ((1 << service.netmask) - 1) << (128 - service.netmask)
        return f"ip6 saddr & {text(Address(bits.to_bytes(16, 'big')))}"
    mask = service.netmask & 0xFFFFFFFF
    return "ip saddr" if mask == 0xFFFFFFFF else f"ip saddr & {text(Address(mask.to_bytes(4, 'big')))}"


def _translation(key: ServiceKey, where: DestinationKey) -> str:
    address = text(Address(where.address))
    port = where.port or (key.port if key.address else 0)
    if not port:
        return f"dnat to {address}"
    shown = f"[{address}]" if len(where.address) == 16 else address
    carried = "" if key.protocol else "meta l4proto { tcp, udp, sctp } "
    carried = carried or f"meta l4proto {key.protocol} "
    return f"{carried}dnat to {shown}:{port}"


def _choice(key: ServiceKey, service: Service, serving: Destinations) -> str:
    """The expression that picks a server's chain; "" when there is none to pick."""
    scheduler = SUBSTITUTES.get(service.scheduler, service.scheduler)
    weights = {server_chain(key, where): one.weight for where, one in serving.items() if one.weight > 0}
    if not weights:
        return ""
    if scheduler == "fo":
        return f"goto {max(weights, key=lambda chain: weights[chain])}"
    if scheduler == "rr":
        weights = dict.fromkeys(weights, 1)
    if len(weights) == 1:
        return f"goto {next(iter(weights))}"
    turns = interleaved(weights)
    total = turns[-1][1] + 1
    picks = ", ".join(f"{low if low == high else f'{low}-{high}'} : goto {chain}" for low, high, chain in turns)
    return f"{_number(key, service, scheduler, total)} vmap {{ {picks} }}"


def _number(key: ServiceKey, service: Service, scheduler: str, total: int) -> str:
    family = family_of(key)
    if scheduler in ("sh", "dh"):
        hashed = f"{family} {'saddr' if scheduler == 'sh' else 'daddr'}"
        if scheduler == "sh" and service.flags & ServiceFlags.SCHED2:
            hashed += " . th sport"
        return f"jhash {hashed} mod {total} seed 0x686f6c64"
    return f"numgen {'random' if scheduler == 'twos' else 'inc'} mod {total}"


def interleaved(weights: Mapping[str, int]) -> list[tuple[int, int, str]]:
    """Turns by weight as (first, last, name): spread as evenly as may be, or in blocks when there are too many."""
    common = gcd(*weights.values())
    shares = {name: weight // common for name, weight in weights.items()}
    total = sum(shares.values())
    order: list[str] = []
    if total <= MOST_TURNS:
        credit = dict.fromkeys(shares, 0)
        for _ in range(total):
            for name, share in shares.items():
                credit[name] += share
            chosen = max(credit, key=lambda name: credit[name])
            credit[chosen] -= total
            order.append(chosen)
        runs: list[tuple[int, int, str]] = []
        for place, name in enumerate(order):
            if runs and runs[-1][2] == name:
                runs[-1] = (runs[-1][0], place, name)
            else:
                runs.append((place, place, name))
        return runs
    runs, first = [], 0
    for name, share in shares.items():
        runs.append((first, first + share - 1, name))
        first += share
    return runs


def _protocol(number: int) -> str:
    return {6: "tcp", 17: "udp", 132: "sctp"}.get(number, f"ip{number}")
