"""What the configurations of two nodes must agree on and don't, and what each difference does.

Two instances belong together when family and VRID agree; of those left, when their name or a virtual address does.
"""

from collections.abc import Callable, Iterator

import msgspec

from holdfast.base.address import text
from holdfast.base.time import SECOND, span_text
from holdfast.config.plan import VrrpPlan
from holdfast.vrrp.config import (
    OWNER,
    AuthMode,
    AuthType,
    Family,
    InstanceConfig,
    OldChecksum,
    TrackedUse,
    VirtualAddress,
)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between two nodes. `must_agree`: the pair does not work as meant while it lasts."""

    instance: str  # its name in the first file, or in the second when only that has it
    field: str
    must_agree: bool
    first: str
    second: str
    effect: str


DEAF = "each drops the other's adverts, so both become MASTER and both own the addresses"

ORDINARY = {
    "preempt": "a node without preemption does not take the addresses back from a living master of lower priority",
    "preempt_delay_ns": "each waits its own time before it takes over from a master of lower priority",
    "start_delay_ns": "each waits its own time after a start before it takes part in the election",
    "down_timer_adverts": "each takes a silent master for dead after its own number of missed adverts",
    "accept": "after a change of master the addresses accept traffic on one node and not on the other",
    "strict": "the strict node keeps to the RFC and refuses what the other may send",
}
"""Fields that may differ, and what it does when they do."""


def drift(first: VrrpPlan, second: VrrpPlan) -> tuple[Difference, ...]:
    """Every difference that matters to two nodes which run `first` and `second`, instance by instance."""
    pairs, only_first, only_second = pair_instances(first, second)
    found = [one for a, b in pairs for one in _pair(a, b)]
    for present, absent, alone in ((True, False, only_first), (False, True, only_second)):
        for instance in alone:
            found.append(
                Difference(
                    instance=instance.name,
                    field="instance",
                    must_agree=True,
                    first=_presence(instance, present),
                    second=_presence(instance, absent),
                    effect="nobody takes its addresses over when this node fails",
                )
            )
    found += _groups(first, second, pairs)
    return tuple(found)


Pairs = list[tuple[InstanceConfig, InstanceConfig]]


def pair_instances(first: VrrpPlan, second: VrrpPlan) -> tuple[Pairs, list[InstanceConfig], list[InstanceConfig]]:
    """The instances that belong together, then those that only the first plan has, and only the second."""
    left, right, pairs = list(first.instances), list(second.instances), []
    tests: tuple[Callable[[InstanceConfig, InstanceConfig], bool], ...] = (
        lambda a, b: (_number(a), a.name) == (_number(b), b.name),
        lambda a, b: _number(a) == _number(b) and bool(_addresses(a) & _addresses(b)),
        lambda a, b: _number(a) == _number(b),
        lambda a, b: a.family == b.family and (a.name == b.name or bool(_addresses(a) & _addresses(b))),
    )
    for belongs in tests:
        for a in list(left):
            b = next((one for one in right if belongs(a, one)), None)
            if b is not None:
                pairs.append((a, b))
                left.remove(a)
                right.remove(b)
    order = {id(instance): number for number, instance in enumerate(first.instances)}
    return sorted(pairs, key=lambda pair: order[id(pair[0])]), left, right


def _number(instance: InstanceConfig) -> tuple[int, str, int]:
    return instance.family, instance.protocol, instance.vrid


def _presence(instance: InstanceConfig, present: bool) -> str:
    return f"VRID {instance.vrid} on {instance.interface or 'any interface'}" if present else "absent"


def _addresses(instance: InstanceConfig) -> frozenset[bytes]:
    return frozenset(one.address for one in instance.addresses + instance.excluded)


def _pair(a: InstanceConfig, b: InstanceConfig) -> Iterator[Difference]:
    carp = a.carp is not None or b.carp is not None
    yield from _carp(a, b) if carp else _wire(a, b)
    yield from _transport(a, b)
    yield from _vips(a, b)
    yield from _entries(a, b)
    if not carp:
        yield from _election(a, b)
    for field, effect in ORDINARY.items():
        if getattr(a, field) != getattr(b, field):
            shown = [_value(field, getattr(one, field)) for one in (a, b)]
            yield _made(a, field.removesuffix("_ns"), False, shown[0], shown[1], effect)
    mine, theirs = [{(use.kind, use.name): use for use in one.trackers} for one in (a, b)]
    for kind, name in sorted(mine.keys() | theirs.keys()):
        x, y = [_weight(uses, (kind, name)) for uses in (mine, theirs)]
        if x != y:
            yield _made(a, f"track_{kind} {name}", False, x, y, "a failure of it counts differently on the two nodes")


def _weight(uses: dict[tuple[str, str], TrackedUse], key: tuple[str, str]) -> str:
    use = uses.get(key)
    return "absent" if use is None else f"weight {use.weight}{' reverse' if use.reverse else ''}"


def _wire(a: InstanceConfig, b: InstanceConfig) -> Iterator[Difference]:
    """What decides whether one accepts the other's adverts."""
    if a.vrid != b.vrid:
        effect = "these are two virtual routers: neither hears the other, and both become MASTER"
        yield _made(a, "virtual_router_id", True, str(a.vrid), str(b.vrid), effect)
    if a.version != b.version:
        yield _made(a, "version", True, str(a.version), str(b.version), DEAF)
    if a.adver_interval_ns != b.adver_interval_ns:
        both = span_text(a.adver_interval_ns), span_text(b.adver_interval_ns)
        if a.version == b.version == 3:
            effect = "a backup takes the master's interval, so an outage is noticed later under the slower master"
            yield _made(a, "advert_int", False, *both, effect)
        else:
            yield _made(a, "advert_int", True, *both, DEAF)
    if a.auth_type is not b.auth_type:
        yield _made(a, "auth_type", True, a.auth_type.name, b.auth_type.name, DEAF)
    elif a.auth_type is not AuthType.NONE and a.auth_pass != b.auth_pass:
        yield _made(a, "auth_pass", True, "one password", "another", DEAF)
    yield from _signatures(a, b)
    if a.version == b.version == 3 and a.family is Family.IPV4:
        yield from _checksums(a, b)


def _carp(a: InstanceConfig, b: InstanceConfig) -> Iterator[Difference]:
    """CARP: what is under the HMAC must agree, and the one with the shorter interval leads."""
    x, y = a.carp, b.carp
    if x is None or y is None:
        yield _made(a, "protocol", True, a.protocol, b.protocol, DEAF)
        return
    if a.vrid != b.vrid:
        effect = "these are two virtual hosts: neither hears the other, and both become MASTER"
        yield _made(a, "vhid", True, str(a.vrid), str(b.vrid), effect)
    if x.password != y.password:
        yield _made(a, "password", True, "one password", "another", DEAF)
    if {one.address for one in a.addresses} != {one.address for one in b.addresses}:
        effect = "the virtual addresses are under the HMAC: " + DEAF
        yield _made(a, "virtual_ipaddress under the HMAC", True, _list(a.addresses), _list(b.addresses), effect)
    if x.anti_replay != y.anti_replay:
        effect = "one refuses old adverts of the other, and the other does not"
        yield _made(a, "anti_replay", False, _value("", x.anti_replay), _value("", y.anti_replay), effect)
    first, second = [f"{span_text(one.adver_interval_ns)} (advbase {c.advbase}, advskew {c.advskew + c.demotion})"
                 for one, c in ((a, x), (b, y))]  # fmt: skip
    if a.adver_interval_ns == b.adver_interval_ns:
        effect = "equal: after a tie the lower address wins, whichever host that is"
        yield _made(a, "interval equal", False, first, second, effect)
    else:
        faster = "first" if a.adver_interval_ns < b.adver_interval_ns else "second"
        yield _made(a, "interval", False, first, second, f"as it should: the {faster} is MASTER while both are well")
    patience = [c.dead_ratio * c.advbase * SECOND for c in (x, y)]
    if patience[0] < b.adver_interval_ns or patience[1] < a.adver_interval_ns:
        effect = "one counts as dead before its next advert: the other takes over from it again and again"
        yield _made(a, "dead_ratio", True, first, second, effect)


def _signatures(a: InstanceConfig, b: InstanceConfig) -> Iterator[Difference]:
    """`auth_hmac`: each must know the key the other signs with, and whoever insists must be sent signatures."""
    x, y = a.auth_hmac, b.auth_hmac
    if x is None or y is None:
        if x is not None or y is not None:
            shown = ("none" if x is None else x.mode.value, "none" if y is None else y.mode.value)
            yield _made(a, "auth_hmac", True, *shown, DEAF)
        return
    for mine, theirs, other in ((x, y, "second"), (y, x, "first")):
        known = {key.id: key.secret for key in theirs.keys}
        signed_with = {key.id: key.secret for key in mine.keys}[mine.active_key]
        if mine.signs and known.get(mine.active_key) != signed_with:
            what = "unknown there" if mine.active_key not in known else "another key there"
            shown = (f"signs with key {mine.active_key}", what)
            yield _made(a, "auth_hmac key", True, *(shown if other == "second" else shown[::-1]), DEAF)
        if theirs.mode is AuthMode.ENFORCE and not mine.signs:
            yield _made(a, "auth_hmac mode", True, x.mode.value, y.mode.value, DEAF)
    if x.mode is not y.mode and x.signs == y.signs:
        effect = "well while keys or modes are being changed; in the end both should enforce"
        yield _made(a, "auth_hmac mode", False, x.mode.value, y.mode.value, effect)


def _checksums(a: InstanceConfig, b: InstanceConfig) -> Iterator[Difference]:
    if a.checksum_as_v2 != b.checksum_as_v2:
        forms = ["without pseudo header" if one.checksum_as_v2 else "with pseudo header" for one in (a, b)]
        effect = "holdfast accepts both forms; other makes drop the one they do not send"
        yield _made(a, "v3_checksum_as_v2", True, forms[0], forms[1], effect)
    old = {a.old_checksum, b.old_checksum}
    if a.unicast and b.unicast and old == {OldChecksum.ALWAYS, OldChecksum.NEVER}:
        effect = "the node with `never` drops the other's adverts, and becomes MASTER beside it"
        yield _made(a, "old_unicast_checksum", True, str(a.old_checksum), str(b.old_checksum), effect)


def _transport(a: InstanceConfig, b: InstanceConfig) -> Iterator[Difference]:
    """Whether the adverts of one go where the other listens."""
    if a.source_on_base != b.source_on_base:
        forms = ["use_vmac" if one.source_on_base else "the interface's MAC" for one in (a, b)]
        effect = "neighbours must learn another MAC when the address moves; adverts are understood"
        yield _made(a, "use_vmac", False, forms[0], forms[1], effect)
    if a.unicast != b.unicast:
        forms = ["unicast" if one.unicast else "multicast" for one in (a, b)]
        yield _made(a, "unicast_peer", True, forms[0], forms[1], DEAF)
        return
    if a.group is not None and b.group is not None and a.group != b.group:
        yield _made(a, "vrrp_mcast_group", True, text(a.group), text(b.group), DEAF)
    if a.source is not None and a.source == b.source:
        effect = "each takes the other's adverts for its own: the address must be each node's own"
        field = "unicast_src_ip" if a.unicast else "mcast_src_ip"
        yield _made(a, field, True, text(a.source), text(b.source), effect)
        return
    if not a.unicast:
        return
    for sender, receiver in ((a, b), (b, a)):
        if sender.source is not None:
            yield from _heard(a, sender, receiver, swapped=sender is b)


def _heard(named: InstanceConfig, sender: InstanceConfig, receiver: InstanceConfig, *, swapped: bool) -> (
    Iterator[Difference]
):
    """Whether `receiver` names `sender` as its peer, and lets its TTL pass."""
    assert sender.source is not None
    source = text(sender.source)
    listed = ", ".join(text(peer.address) for peer in receiver.unicast_peers)
    sides = (f"sends from {source}", f"peers {listed}")
    peer = next((one for one in receiver.unicast_peers if one.address == sender.source), None)
    if peer is None:
        effect = f"the node that does not name {source} neither hears it nor sends to it: both become MASTER"
        yield _made(named, "unicast_peer", True, *(sides[::-1] if swapped else sides), effect)
        return
    ttl = 255 if sender.unicast_ttl is None else sender.unicast_ttl
    least, most = peer.min_ttl or 0, 255 if peer.max_ttl is None else peer.max_ttl
    if not least <= ttl <= most:
        sides = (f"sends with TTL {ttl}", f"takes TTL {least} to {most}")
        effect = f"the adverts of {source} are dropped, and both become MASTER"
        yield _made(named, "unicast_ttl", True, *(sides[::-1] if swapped else sides), effect)


def _vips(a: InstanceConfig, b: InstanceConfig) -> Iterator[Difference]:
    for field, mine, theirs in (
        ("virtual_ipaddress", a.addresses, b.addresses),
        ("virtual_ipaddress_excluded", a.excluded, b.excluded),
    ):
        x, y = [tuple(one.address for one in side) for side in (mine, theirs)]
        if set(x) != set(y):
            lone = ", ".join(text(address) for address in sorted(set(x) ^ set(y)))
            effect = f"{lone}: served while one node is MASTER, and by nobody while the other is"
            yield _made(a, field, True, _list(mine), _list(theirs), effect)
        elif x != y:
            effect = "adverts list another order: harmless to holdfast; some makes complain in their log"
            yield _made(a, field + " order", False, _list(mine), _list(theirs), effect)
        elif [one.prefix_length for one in mine] != [one.prefix_length for one in theirs]:
            effect = "the network of the address changes with its owner: routes and broadcasts differ"
            yield _made(a, field + " prefix", True, _list(mine), _list(theirs), effect)


def _entries(a: InstanceConfig, b: InstanceConfig) -> Iterator[Difference]:
    """Routes and rules; gateways and interfaces may well be each node's own, so nothing must agree."""
    for field, mine, theirs in (("virtual_routes", a.routes, b.routes), ("virtual_rules", a.rules, b.rules)):
        x, y = [[one.name.partition(" ")[2] for one in side] for side in (mine, theirs)]
        if sorted(x) != sorted(y):
            lone = "; ".join(sorted(set(x) ^ set(y)))
            effect = f"{lone}: there while one node is MASTER, and not while the other is"
            yield _made(a, field, False, "; ".join(x) or "none", "; ".join(y) or "none", effect)


def _election(a: InstanceConfig, b: InstanceConfig) -> Iterator[Difference]:
    p, q = str(a.priority), str(b.priority)
    if a.priority == b.priority == OWNER:
        yield _made(a, "priority", True, p, q, "both claim to own the addresses, and neither ever yields")
    elif a.priority == b.priority:
        effect = "equal: after a tie the higher address wins, whichever host that is"
        yield _made(a, "priority equal", False, p, q, effect)
    else:
        higher = "first" if a.priority > b.priority else "second"
        yield _made(a, "priority", False, p, q, f"as it should: the {higher} is MASTER while both are well")
    if a.state_master and b.state_master:
        effect = "both begin as candidates for MASTER; the priority decides, and `state BACKUP` on both is plainer"
        yield _made(a, "state", False, "MASTER", "MASTER", effect)
    if a.network != b.network:
        yield _made(a, "interface", False, a.network or "none", b.network or "none",
                    "fine where both interfaces are in the same network")  # fmt: skip


def _groups(first: VrrpPlan, second: VrrpPlan, pairs: Pairs) -> Iterator[Difference]:
    """Instances that move together on one node and not on the other; told in the first node's names."""
    names = {b.name: a.name for a, b in pairs}
    mine = {frozenset(group.members): group.name for group in first.groups}
    theirs = {frozenset(names.get(name, name) for name in group.members): group.name for group in second.groups}
    for members in sorted(mine.keys() ^ theirs.keys(), key=sorted):
        listed = ", ".join(sorted(members))
        here, there = [f"together: {listed}" if members in side else "not so" for side in (mine, theirs)]
        name = mine.get(members) or theirs[members]
        effect = "after a fault these may be MASTER on different nodes, or move when they should not"
        yield Difference(
            instance=name, field="vrrp_sync_group", must_agree=True, first=here, second=there, effect=effect
        )


def _list(addresses: tuple[VirtualAddress, ...]) -> str:
    return ", ".join(f"{text(one.address)}/{one.prefix_length}" for one in addresses) or "none"


def _value(field: str, value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return span_text(value) if field.endswith("_ns") and isinstance(value, int) else str(value)


def _made(a: InstanceConfig, field: str, must_agree: bool, first: str, second: str, effect: str) -> Difference:
    return Difference(
        instance=a.name, field=field, must_agree=must_agree, first=first, second=second, effect=effect
    )
