"""From the configuration files of several hosts to the hosts of a simulated world.

A file doesn't say which addresses its host has, nor which of its interfaces is in one network with which of another
host. Both are worked out: instances that belong together (`config/drift.py`) put their interfaces into one segment; a
host's address is the source it names, else the one that the others name as their peer, else one made up from the order
of the files, in the network of a virtual address where there is one.
"""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from holdfast.base.address import Address, Mac, parse, text
from holdfast.base.time import Nanoseconds
from holdfast.config.drift import Difference, drift, pair_instances
from holdfast.config.plan import VrrpPlan
from holdfast.engine.messages import Interface
from holdfast.sim.host import NodeSpec
from holdfast.vrrp.config import Family, InstanceConfig, NotifyCommands, VirtualAddress
from holdfast.vrrp.machine import master_down_interval

SETTLE_MARGIN: Nanoseconds = 300_000_000


class Member(msgspec.Struct, frozen=True):
    """One host's instance of a virtual router."""

    node: str
    config: InstanceConfig


class Router(msgspec.Struct, frozen=True, kw_only=True):
    """The instances of all hosts that are meant to be one virtual router, and the addresses they share."""

    name: str
    members: tuple[Member, ...]
    vips: tuple[Address, ...]
    alike: tuple[str, ...] = ()  # others that differ in nothing but name, VRID and addresses: this one stands for them

    def of(self, node: str) -> InstanceConfig | None:
        """The instance of a host, if it has one."""
        return next((member.config for member in self.members if member.node == node), None)


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One host. `guessed`: interfaces of which no file says which address the host has there."""

    name: str
    file: str
    plan: VrrpPlan
    interfaces: tuple[Interface, ...]
    segments: dict[str, str]
    guessed: tuple[str, ...] = ()


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts and their virtual routers; `differences`: what the files disagree on, by pairs of hosts."""

    nodes: tuple[Node, ...]
    routers: tuple[Router, ...]
    differences: tuple[tuple[str, str, Difference], ...]

    def node(self, name: str) -> Node:
        """The host of that name; KeyError."""
        return {node.name: node for node in self.nodes}[name]

    def specs(self) -> list[NodeSpec]:
        """The hosts as a world takes them."""
        return [
            NodeSpec(name=node.name, plan=node.plan, interfaces=node.interfaces, segments=node.segments)
            for node in self.nodes
        ]

    def longest_wait_ns(self) -> Nanoseconds:
        """The longest time a backup waits for a silent master, any master's interval counted."""
        configs = [member.config for router in self.routers for member in router.members]
        slowest = max((config.adver_interval_ns for config in configs), default=0)
        waits = [master_down_interval(config, 1, max(slowest, config.adver_interval_ns)) for config in configs]
        return max(waits, default=0) + SETTLE_MARGIN


def build_cluster(files: Sequence[tuple[str, str, VrrpPlan]]) -> Cluster:
    """The cluster of (name, file, plan) of each host, in order.

    Of virtual routers that differ in nothing that matters one stands for all: a thousand are tried as fast as one.
    """
    names = [name for name, _, _ in files]
    whole = [without_devices(plan) for _, _, plan in files]
    plans, alike = _thinned(names, whole)
    groups = _groups(plans)
    segments = _segments(plans, groups)
    configs = [config for plan in whole for config in plan.instances]
    virtual = {address.address for config in configs for address in (*config.addresses, *config.excluded)}
    addresses, guessed = _Addresses(plans, groups, segments, virtual).settle()
    nodes = tuple(
        Node(
            name=name,
            file=file,
            plan=plan,
            interfaces=tuple(
                Interface(
                    name=interface,
                    index=2 + number,
                    up=True,
                    mac=Mac(bytes((2, 0, 0, 0, number, order + 1))),
                    mtu=1500,
                    addresses=tuple(addresses[order, interface]),
                )
                for number, interface in enumerate(interfaces_of(plan))
            ),
            segments={interface: segments[order, interface] for interface in interfaces_of(plan)},
            guessed=tuple(interface for interface in interfaces_of(plan) if (order, interface) in guessed),
        )
        for order, ((name, file, _), plan) in enumerate(zip(files, plans, strict=True))
    )
    differences = tuple(
        (names[one], names[other], difference)
        for one in range(len(plans))
        for other in range(one + 1, len(plans))
        for difference in drift(plans[one], plans[other])
        if difference.must_agree
    )
    routers = tuple(
        msgspec.structs.replace(router, alike=alike.get((router.members[0].node, router.members[0].config.name), ()))
        for router in _routers(names, plans, groups)
    )
    return Cluster(nodes=nodes, routers=routers, differences=differences)


def _thinned(
    names: Sequence[str], plans: Sequence[VrrpPlan]
) -> tuple[list[VrrpPlan], dict[tuple[str, str], tuple[str, ...]]]:
    """The plans with one virtual router of each kind, and the names of those it stands for.

    The key is the host and the instance of the first member.
    """
    groups = _groups(plans)
    grouped = [{member for group in plan.groups for member in group.members} for plan in plans]
    first: dict[object, tuple[str, str]] = {}
    alike: dict[tuple[str, str], tuple[str, ...]] = {}
    dropped: set[Place] = set()
    for group in groups:
        members = [(node, plans[node].instances[number]) for node, number in group]
        every = [address.address for _, config in members for address in (*config.addresses, *config.excluded)]
        order = list(dict.fromkeys(every))
        key: object = tuple((node, _kind(config, order)) for node, config in members)
        if any(config.name in grouped[node] for node, config in members):
            key = (key, tuple(group))  # what a sync group does depends on all of its members
        node, config = members[0]
        chosen = first.setdefault(key, (names[node], config.name))
        if chosen != (names[node], config.name):
            alike[chosen] = (*alike.get(chosen, ()), config.name)
            dropped.update(group)
    thinned = [
        msgspec.structs.replace(
            plan,
            instances=tuple(one for number, one in enumerate(plan.instances) if (node, number) not in dropped),
        )
        for node, plan in enumerate(plans)
    ]
    return thinned, alike


def _kind(config: InstanceConfig, order: list[Address]) -> bytes:
    """The instance without its name and numbers; its addresses by their place among those of the router."""

    def numbered(addresses: tuple[VirtualAddress, ...]) -> tuple[VirtualAddress, ...]:
        return tuple(
            msgspec.structs.replace(one, address=Address(order.index(one.address).to_bytes(4, "big")), label=None)
            for one in addresses
        )

    kind = msgspec.structs.replace(
        config,
        name="",
        vrid=0,
        addresses=numbered(config.addresses),
        excluded=numbered(config.excluded),
        notify=NotifyCommands(),
    )
    return msgspec.msgpack.encode(kind)


def without_devices(plan: VrrpPlan) -> VrrpPlan:
    """The plan with each VMAC and ipvlan replaced by the interface below: which MAC is used decides nothing here."""
    if not plan.devices:
        return plan
    below = {device.name: device.base for device in plan.devices}

    def grounded(addresses: tuple[VirtualAddress, ...]) -> tuple[VirtualAddress, ...]:
        return tuple(replace(one, interface=below.get(one.interface or "", one.interface)) for one in addresses)

    instances = tuple(
        replace(
            one,
            interface=one.network,
            base="",
            sends_on_base=False,
            source_on_base=False,
            addresses=grounded(one.addresses),
            excluded=grounded(one.excluded),
        )
        for one in plan.instances
    )
    return replace(plan, instances=instances, devices=())


def interfaces_of(plan: VrrpPlan) -> list[str]:
    """Every interface that a plan names, the instances' own first."""
    own = [config.interface for config in plan.instances]
    more = [
        name
        for config in plan.instances
        for name in (
            *(address.interface or "" for address in (*config.addresses, *config.excluded)),
            *(use.name for use in config.trackers if use.kind == "interface"),
            *(name for route in config.routes for name in route.interfaces),
        )
    ]
    named = [name for name in dict.fromkeys((*own, *more)) if name]
    return named or ["eth0"]


Place = tuple[int, int]  # host, instance, both as counted in files and plans


def _groups(plans: Sequence[VrrpPlan]) -> list[list[Place]]:
    """The instances that belong together, in the order of the files."""
    of = {(node, number): [(node, number)] for node, plan in enumerate(plans) for number in range(len(plan.instances))}
    for one in range(len(plans)):
        for other in range(one + 1, len(plans)):
            for a, b in pair_instances(plans[one], plans[other])[0]:
                here = of[one, _index(plans[one], a)]
                there = of[other, _index(plans[other], b)]
                if here is there or {node for node, _ in here} & {node for node, _ in there}:
                    continue  # a host has one instance of a virtual router
                here += there
                for place in there:
                    of[place] = here
    found: list[list[Place]] = []
    for place in sorted(of):
        if not any(of[place] is group for group in found):
            found.append(of[place])
    return [sorted(group) for group in found]


def _index(plan: VrrpPlan, config: InstanceConfig) -> int:
    return next(number for number, one in enumerate(plan.instances) if one is config)


def _routers(names: Sequence[str], plans: Sequence[VrrpPlan], groups: list[list[Place]]) -> Iterator[Router]:
    taken: set[str] = set()
    for group in groups:
        members = tuple(Member(names[node], plans[node].instances[number]) for node, number in group)
        first = members[0].config
        name = first.name
        if name in taken:
            name = f"{name} (VRID {first.vrid} on {members[0].node})"
        taken.add(name)
        every = (address for one in members for address in (*one.config.addresses, *one.config.excluded))
        vips = tuple(dict.fromkeys(address.address for address in every))
        yield Router(name=name, members=members, vips=vips)


def _segments(plans: Sequence[VrrpPlan], groups: list[list[Place]]) -> dict[tuple[int, str], str]:
    """The segment of each host's interface."""
    of = {(node, name): {(node, name)} for node, plan in enumerate(plans) for name in interfaces_of(plan)}
    for group in groups:
        members = [(node, plans[node].instances[number]) for node, number in group]
        for position, (node, config) in enumerate(members):
            for other_node, other in members[position + 1 :]:
                if not config.interface or not other.interface or config.family != other.family:
                    continue
                here, there = of[node, config.interface], of[other_node, other.interface]
                if here is there or {each for each, _ in here} & {each for each, _ in there}:
                    continue
                here |= there
                for place in there:
                    of[place] = here
    labels: dict[int, str] = {}
    return {place: labels.setdefault(id(of[place]), f"{place[1]} of host {place[0] + 1}") for place in sorted(of)}


class _Addresses:
    """Works out which addresses each host has on each of its interfaces."""

    def __init__(
        self,
        plans: Sequence[VrrpPlan],
        groups: list[list[Place]],
        segments: dict[tuple[int, str], str],
        virtual: set[Address],
    ) -> None:
        self._plans = plans
        self._groups = groups
        self._segments = segments
        self._found: dict[tuple[int, str], list[Address]] = {place: [] for place in segments}
        self._guessed: set[tuple[int, str]] = set()
        self._virtual = virtual

    def settle(self) -> tuple[dict[tuple[int, str], list[Address]], set[tuple[int, str]]]:
        """The addresses by host and interface, and where they were made up."""
        self._named()
        for group in self._groups:
            self._by_peers(group)
        for (node, interface), segment in self._segments.items():
            self._made_up(node, interface, segment)
        return self._found, self._guessed

    def _add(self, node: int, interface: str, address: Address) -> None:
        name = interface or interfaces_of(self._plans[node])[0]
        if address not in self._found[node, name]:
            self._found[node, name].append(address)

    def _named(self) -> None:
        for node, plan in enumerate(self._plans):
            for config in plan.instances:
                if config.source is not None:
                    self._add(node, config.interface, config.source)

    def _by_peers(self, group: list[Place]) -> None:
        """The address of a unicast host that doesn't name its own: the one the others send to."""
        members = [(node, self._plans[node].instances[number]) for node, number in group]
        sources = {config.source for _, config in members}
        for position, (node, config) in enumerate(members):
            if config.source is not None or not config.unicast:
                continue
            own = {peer.address for peer in config.unicast_peers}
            others = [other for each, other in members if each != node and other.unicast]
            lists = [[peer.address for peer in other.unicast_peers] for other in others]
            common = [one for one in lists[0] if all(one in each for each in lists)] if lists else []
            candidates = [one for one in common if one not in own and one not in sources]
            if candidates:
                self._add(node, config.interface, candidates[0])
            elif len(common) == len(members):  # everybody lists everybody: by the order of the files
                self._add(node, config.interface, common[position])

    def _made_up(self, node: int, interface: str, segment: str) -> None:
        found = self._found[node, interface]
        used = {address for place, addresses in self._found.items() for address in addresses}
        if not any(len(address) == 4 for address in found):
            address = next(
                one for one in self._free_addresses(node, segment) if one not in used and one not in self._virtual
            )
            found.append(address)
            if any(config.interface == interface and config.family == Family.IPV4 for config in self._instances(node)):
                self._guessed.add((node, interface))
        number = 1 + list(dict.fromkeys(self._segments.values())).index(segment)
        if not any(len(address) == 16 and address[:2] == b"\xfe\x80" for address in found):
            found.append(parse(f"fe80::{number:x}:{node + 1:x}"))
            if any(config.interface == interface and config.family == Family.IPV6 for config in self._instances(node)):
                self._guessed.add((node, interface))

    def _instances(self, node: int) -> tuple[InstanceConfig, ...]:
        return self._plans[node].instances

    def _free_addresses(self, node: int, segment: str) -> Iterator[Address]:
        """Addresses for a host in a segment, the likeliest first; they rise with the order of the hosts."""
        network = self._network(segment)
        before = [
            address[3]
            for place, addresses in self._found.items()
            if place in self._guessed and place[0] < node and self._segments[place] == segment
            for address in addresses
            if address[:3] == network[:3]
        ]
        for host in (*range(max(before, default=10) + 1, 255), *range(1, 11)):
            yield Address(network[:3] + bytes((host,)))
        for third in range(256):
            yield Address(bytes((198, 18, third, 1 + node)))

    def _network(self, segment: str) -> bytes:
        """The network (as of /24) of a segment: that of a host's own address, of a virtual one, or one made up."""
        places = [place for place, name in self._segments.items() if name == segment]
        for place in places:
            for address in self._found[place]:
                if len(address) == 4:
                    return bytes(address)
        for node, interface in places:
            for config in self._instances(node):
                if config.interface == interface:
                    for virtual in (*config.addresses, *config.excluded):
                        if len(virtual.address) == 4 and virtual.interface in (None, interface):
                            return bytes(virtual.address)
        number = list(dict.fromkeys(self._segments.values())).index(segment)
        return bytes((198, 18, number % 256, 0))


def primary(node: Node, config: InstanceConfig) -> str:
    """The address an instance advertises from, as text; "" when it has none."""
    if config.source is not None:
        return text(config.source)
    for interface in node.interfaces:
        if interface.name == config.interface:
            for address in interface.addresses:
                wanted = len(address) == 4 if config.family == Family.IPV4 else address[:2] == b"\xfe\x80"
                if wanted:
                    return text(address)
    return ""
