"""Would the firewall let an advert in and out? Its rules, walked with an advert in hand.

The rules are those that `nft -j list ruleset` prints (libnftables-json(5)); those made with iptables-nft are among
them. A match is answered yes, no or None: cannot be told from here. What cannot be told never stops the walk, but a
drop behind it is reported as a warning.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from holdfast.base.address import Address, parse, text
from holdfast.doctor.facts import Facts, Finding, Severity
from holdfast.vrrp.config import AuthType, Family, InstanceConfig

Rule = dict[str, Any]
Place = tuple[str, str, str]  # family, table, chain
PROTOCOLS = {"vrrp": 112, "ah": 51, "tcp": 6, "udp": 17, "icmp": 1, "ipv6-icmp": 58, "icmpv6": 58, "igmp": 2}
NEUTRAL = {"counter", "log", "comment", "accept", "drop", "reject", "jump", "goto", "return", "notrack"}
DEPTH = 16  # jumps; the kernel's own bound (NFT_JUMP_STACK_SIZE)


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """The advert that is walked through the rules."""

    hook: str  # input or output
    interface: str
    ipv6: bool
    protocol: int
    destination: Address | None  # None: one of ours, whichever


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What stops a packet: where, which rule ("" for the chain's policy), and whether that is sure."""

    chain: Rule
    handle: int | None
    sure: bool


def findings(instances: tuple[InstanceConfig, ...], facts: Facts, own_table: str = "") -> Iterator[Finding]:
    """What stops the adverts of each instance, in and out; `own_table` is the daemon's: it spares adverts."""
    if not instances:
        return
    if facts.ruleset is None:
        yield Finding(
            check="firewall",
            severity=Severity.WARNING,
            what="the firewall's rules could not be looked at",
            evidence=facts.ruleset_refused,
            cure="as root, with nftables installed (`nft list ruleset`)",
        )
        return
    rules = [item for item in facts.ruleset if not own_table or _table(item) != own_table]
    stopped = False
    told = set()
    for packet in dict.fromkeys(packet for one in instances for packet in _packets(one)):
        for fate in fates(packet, rules):
            place = (fate.chain["table"], fate.chain["name"], fate.handle, packet.protocol)
            if place not in told:
                told.add(place)
                stopped = True
                yield _finding(packet, fate)
    if not stopped:
        yield Finding(check="firewall", severity=Severity.OK, what="lets adverts in and out")


def _table(item: Rule) -> str:
    return next((str(one.get("table", "")) for one in item.values() if isinstance(one, dict)), "")


def _packets(instance: InstanceConfig) -> Iterator[Packet]:
    protocol = 51 if instance.auth_type is AuthType.AH else 112
    ipv6 = instance.family == Family.IPV6
    out = [instance.group] if instance.group else [peer.address for peer in instance.unicast_peers[:1]]
    for hook, destinations in (("input", [instance.group or instance.source]), ("output", out)):
        for destination in destinations:
            yield Packet(hook=hook, interface=instance.wire, ipv6=ipv6, protocol=protocol, destination=destination)


def fates(packet: Packet, ruleset: Sequence[Rule]) -> Iterator[Fate]:
    """Every place that stops the packet: each base chain of its hook judges it anew, in order of priority."""
    families = ("inet", "ip6" if packet.ipv6 else "ip")
    chains = [item["chain"] for item in ruleset if "chain" in item]
    hooks = (packet.hook, "prerouting") if packet.hook == "input" else (packet.hook, "postrouting")
    for chain in sorted((one for one in chains if one.get("hook") in hooks), key=lambda one: int(one.get("prio", 0))):
        if chain["family"] not in families or chain.get("type", "filter") != "filter":
            continue
        verdict, handle, sure = _walk(packet, chain, ruleset, True, 0)
        if verdict == "drop" or (verdict == "" and chain.get("policy") == "drop"):
            yield Fate(chain=chain, handle=handle if verdict else None, sure=sure)


def _walk(packet: Packet, chain: Rule, ruleset: Sequence[Rule], sure: bool, depth: int) -> tuple[str, int | None, bool]:
    """The verdict of a chain: accept, drop or "" (its end); the rule's handle; whether no doubt led there."""
    where = (chain["family"], chain["table"], chain["name"])
    doubt: tuple[str, int | None, bool] | None = None
    for item in ruleset:
        rule = item.get("rule")
        if rule is None or (rule["family"], rule["table"], rule["chain"]) != where:
            continue
        applies = _applies(packet, rule["expr"], ruleset, where)
        if applies is False:
            continue
        verdict, target = _verdict(packet, rule["expr"], ruleset, where)
        handle = rule.get("handle")
        if target and depth < DEPTH:
            there = {"family": where[0], "table": where[1], "name": target}
            verdict, inner, inner_sure = _walk(packet, there, ruleset, sure and applies is True, depth + 1)
            handle = inner if verdict else handle
            if verdict == "drop" and not inner_sure:
                doubt = doubt or (verdict, handle, False)
                continue
            if not verdict:
                sure = sure and inner_sure
        if verdict == "return" and applies:
            break
        if verdict in ("accept", "drop"):
            if applies and sure:
                return doubt if doubt and verdict == "accept" else (verdict, handle, True)
            if verdict == "drop":
                doubt = doubt or (verdict, handle, False)
            sure = False  # what this rule may have let through is not dropped below
    return doubt or ("", None, sure)


def _verdict(packet: Packet, expressions: list[Rule], ruleset: Sequence[Rule], where: Place) -> tuple[str, str]:
    """What a rule says: a verdict, or the chain it sends the packet to."""
    for expression in expressions:
        if "vmap" in expression:
            for key, said in _elements(expression["vmap"].get("data"), ruleset, where):
                left = {"op": "==", "left": expression["vmap"]["key"], "right": key}
                if _match(packet, left, ruleset, where):
                    return _verdict(packet, [said], ruleset, where)
        for word in ("accept", "return"):
            if word in expression:
                return word, ""
        if "drop" in expression or "reject" in expression:
            return "drop", ""
        for word in ("jump", "goto"):
            if word in expression:
                return "", expression[word]["target"]
    return "", ""


def _applies(packet: Packet, expressions: list[Rule], ruleset: Sequence[Rule], where: Place) -> bool | None:
    """Whether every expression of a rule holds for the packet."""
    outcome: bool | None = True
    for expression in expressions:
        if "match" in expression:
            held = _match(packet, expression["match"], ruleset, where)
            if held is False:
                return False
            outcome = outcome if held else None
        elif not NEUTRAL.intersection(expression) and "vmap" not in expression:
            outcome = None
    return outcome


def _match(packet: Packet, match: Rule, ruleset: Sequence[Rule], where: Place) -> bool | None:
    value, known = _value(packet, match["left"])
    if not known:
        return None
    if value is None:
        return False  # the packet has no such field: a port, a type of ICMP
    outcomes = [_same(value, one) for one in _elements(match["right"], ruleset, where)]
    held = True if True in outcomes else None if None in outcomes else False
    return held if match["op"] in ("==", "in") or held is None else not held if match["op"] == "!=" else None


def _value(packet: Packet, left: Any) -> tuple[Any, bool]:
    """What the packet has at `left`, and whether that can be told."""
    if not isinstance(left, dict):
        return None, False
    meta, payload, ct = left.get("meta"), left.get("payload"), left.get("ct")
    interface = packet.interface or None
    if meta:
        key = meta.get("key")
        facing = "iifname" if packet.hook == "input" else "oifname"
        if key in (facing, facing[:3]):
            return interface, interface is not None
        known = {"l4proto": packet.protocol, "nfproto": "ipv6" if packet.ipv6 else "ipv4",
                 "protocol": "ip6" if packet.ipv6 else "ip"}  # fmt: skip
        return known.get(key), key in known
    if payload and "protocol" in payload:
        layer, field = payload["protocol"], payload["field"]
        if layer in ("ip", "ip6"):
            if (layer == "ip6") != packet.ipv6:
                return None, True
            if field in ("protocol", "nexthdr"):
                return packet.protocol, True
            return packet.destination, field == "daddr" and packet.destination is not None
        if layer in PROTOCOLS or layer in ("th", "sctp", "dccp", "udplite"):
            return None, True
    if ct and ct.get("key") == "state":
        return "new", True  # the first advert is; what drops it drops all
    return None, False


def _elements(right: Any, ruleset: Sequence[Rule], where: Place) -> list[Any]:
    """The values of the right side: one, a list, an anonymous or a named set."""
    if isinstance(right, str) and right.startswith("@"):
        for item in ruleset:
            named = item.get("set") or item.get("map")
            if named and (named["family"], named["table"], named["name"]) == (where[0], where[1], right[1:]):
                return list(named.get("elem", []))
        return [None]
    if isinstance(right, dict) and "set" in right:
        return list(right["set"]) if isinstance(right["set"], list) else [right["set"]]
    return right if isinstance(right, list) else [right]


def _same(value: Any, wanted: Any) -> bool | None:
    """Whether a field is the value, within the prefix, or in the range; None when that can't be told."""
    if isinstance(wanted, dict) and "elem" in wanted:
        wanted = wanted["elem"].get("val")
    if isinstance(value, bytes):
        return _same_address(value, wanted)
    if isinstance(wanted, dict) and "range" in wanted:
        low, high = (PROTOCOLS.get(str(end), end) for end in wanted["range"])
        return low <= value <= high if all(isinstance(one, int) for one in (low, value, high)) else None
    if isinstance(wanted, dict) or wanted is None:
        return None
    if isinstance(value, int):
        return bool(value == (PROTOCOLS.get(wanted) or (int(wanted) if wanted.isdigit() else -1))
                    if isinstance(wanted, str) else value == wanted)  # fmt: skip
    text_wanted = str(wanted)
    return value.startswith(text_wanted[:-1]) if text_wanted.endswith("*") else bool(value == text_wanted)


def _same_address(value: bytes, wanted: Any) -> bool | None:
    try:
        if isinstance(wanted, str):
            return value == parse(wanted)
        if isinstance(wanted, dict) and "prefix" in wanted:
            network, length = parse(wanted["prefix"]["addr"]), int(wanted["prefix"]["len"])
            shift = len(value) * 8 - length
            return len(network) == len(value) and int.from_bytes(value) >> shift == int.from_bytes(network) >> shift
        if isinstance(wanted, dict) and "range" in wanted:
            low, high = (parse(end) for end in wanted["range"])
            return low <= value <= high
    except (ValueError, KeyError):
        return None
    return None


def _finding(packet: Packet, fate: Fate) -> Finding:
    chain = fate.chain
    where = f"{chain['family']} {chain['table']} {chain['name']}"
    which = f"rule handle {fate.handle}" if fate.handle is not None else "the policy (drop)"
    to = f" to {text(packet.destination)}" if packet.destination else ""
    way = "coming in" if packet.hook == "input" else "going out"
    sure = "drops" if fate.sure else "may drop"
    return Finding(
        check="firewall",
        severity=Severity.OBSTACLE if fate.sure else Severity.WARNING,
        what=f"{sure} adverts {way} on {packet.interface or 'any interface'} (protocol {packet.protocol}{to})",
        evidence=f"{which} of chain {where}, hook {chain['hook']}",
        cure=f"nft insert rule {where} meta l4proto {packet.protocol} accept",
    )
