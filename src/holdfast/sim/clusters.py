"""Random clusters, as operators might write them: 2 to 5 hosts, 1 to 4 virtual routers, everything drawn from a seed.

On every host the priorities of the members of a group rank the same way, and whether a virtual router preempts is the
same on all hosts: of anything else nothing definite could be promised. Priorities are 20 or more apart (so that each
Skew_Time is longer than the weather's delays), or the same.
"""

from random import Random
from typing import Any

import msgspec

from holdfast.base.address import Address, parse
from holdfast.base.command import Command
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.config.plan import VrrpPlan
from holdfast.engine.messages import Interface
from holdfast.sim.host import NodeSpec
from holdfast.sim.wire import Weather
from holdfast.track.config import ScriptConfig
from holdfast.vrrp.config import (
    OWNER,
    AuthType,
    Family,
    GroupConfig,
    InstanceConfig,
    TrackedUse,
    UnicastPeer,
    VirtualAddress,
)

NETWORKS = {"eth0": ("192.0.2", "fe80::"), "eth1": ("198.51.100", "fe80::1:")}
GROUPS = {Family.IPV4: parse("224.0.0.18"), Family.IPV6: parse("ff02::12")}
SCRIPT = "chk"


class Router(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual router of a cluster; `ranks` has the priority of each host that takes part."""

    name: str
    base: InstanceConfig
    ranks: dict[str, int]
    unicast: bool


def own_address(interface: str, family: Family, number: int) -> Address:
    """The address of the host of that number on an interface."""
    four, six = NETWORKS[interface]
    return parse(f"{four}.{11 + number}" if family == Family.IPV4 else f"{six}{11 + number}")


def cluster(chance: Random) -> list[NodeSpec]:
    """The hosts of a cluster."""
    names = "abcde"[: chance.choice((2, 2, 2, 3, 3, 3, 4, 5))]
    count = chance.choice((1, 1, 2, 2, 3, 4))
    grouped = count > 1 and chance.random() < 0.4
    ranks = _ranks(chance, names)
    common = _election(chance)
    routers = []
    for number in range(count):
        mine, election = (ranks, common) if grouped else (_ranks(chance, names), _election(chance))
        if not grouped and len(names) > 2 and chance.random() < 0.2:
            mine.pop(chance.choice(names))
        owned = not grouped and chance.random() < 0.1
        routers.append(_router(chance, number, mine, election, owned))
    tracked = chance.random() < 0.5
    weight = chance.choice((0, 0, -40, -80, -150, 60)) if tracked else 0
    interface_tracked = chance.random() < 0.2
    script = _script(chance)
    return [
        _node(name, routers, grouped, (script if tracked else None), weight, interface_tracked, number)
        for number, name in enumerate(names)
    ]


def mild_weather(chance: Random) -> Weather:
    """A healthy network: at most 2 ms on the way, timers at most 1 ms late."""
    if chance.random() < 0.3:
        return Weather()
    least = chance.randrange(MILLISECOND)
    return Weather(delay_ns=(least, least + chance.randrange(1, MILLISECOND)), late_ns=chance.choice((0, MILLISECOND)))


def bad_weather(chance: Random) -> Weather:
    """Loss, delay, copies and packets that overtake one another."""
    return Weather(
        loss=chance.choice((0.0, 0.05, 0.3, 0.7)),
        delay_ns=(0, chance.choice((1, 20, 200)) * MILLISECOND),
        duplicate=chance.choice((0.0, 0.2)),
        reorder=chance.choice((0.0, 0.2)),
        late_ns=chance.choice((1, 10, 200)) * MILLISECOND,
    )


def _ranks(chance: Random, names: str) -> dict[str, int]:
    ranks = chance.sample(range(20, 241, 22), len(names))
    if chance.random() < 0.15:
        ranks = [ranks[0]] * len(names)  # a tie: the highest address decides
    return dict(zip(names, ranks, strict=True))


def _election(chance: Random) -> dict[str, Any]:
    preempt = chance.random() < 0.65
    delay_s = chance.choice((0, 0, 0, 3, 10)) if preempt else 0
    return {"preempt": preempt, "preempt_delay_ns": delay_s * SECOND}


def _router(chance: Random, number: int, ranks: dict[str, int], election: dict[str, Any], owned: bool) -> Router:
    version = chance.choice((2, 3, 3))
    family = Family.IPV4 if version == 2 else chance.choice((Family.IPV4, Family.IPV6))
    interval: Nanoseconds = chance.choice((1, 2)) * SECOND
    if version == 3:
        interval = chance.choice((100, 500, 1000)) * MILLISECOND
    unicast = chance.random() < 0.35
    four, six = f"203.0.113.{100 + number}", f"2001:db8::{100 + number}"
    if owned:
        best = max(ranks, key=lambda name: ranks[name])
        ranks = {**ranks, best: OWNER}
        election = {"preempt": True, "preempt_delay_ns": 0}
    base = InstanceConfig(
        name=f"V{number + 1}",
        vrid=number + 1,
        interface=chance.choice(("eth0", "eth0", "eth1")),
        family=family,
        version=version,
        adver_interval_ns=interval,
        addresses=(VirtualAddress(address=parse(four if family == Family.IPV4 else six), prefix_length=32),),
        group=None if unicast else GROUPS[family],
        down_timer_adverts=chance.choice((2, 3, 3, 3, 4)),
        auth_type=AuthType.PASS if version == 2 and chance.random() < 0.3 else AuthType.NONE,
        auth_pass=b"secret",
        **election,
    )
    return Router(name=base.name, base=base, ranks=ranks, unicast=unicast)


def _script(chance: Random) -> ScriptConfig:
    return ScriptConfig(
        name=SCRIPT,
        command=Command(argv=("/usr/bin/check",), timeout_ns=2 * SECOND),
        interval_ns=chance.choice((1, 2, 5)) * SECOND,
        rise=chance.choice((1, 2, 3)),
        fall=chance.choice((1, 2, 3)),
    )


def _node(
    name: str,
    routers: list[Router],
    grouped: bool,
    script: ScriptConfig | None,
    weight: int,
    interface_tracked: bool,
    number: int,
) -> NodeSpec:
    uses = []
    if script is not None:
        uses.append(TrackedUse(kind="script", name=SCRIPT, weight=weight))
    if interface_tracked:
        uses.append(TrackedUse(kind="interface", name="eth1"))
    instances = []
    for router in routers:
        base = router.base
        if name not in router.ranks:
            continue
        order = "abcde"
        peers = tuple(
            UnicastPeer(address=own_address(base.interface, base.family, order.index(other)))
            for other in router.ranks
            if other != name
        )
        changes: dict[str, Any] = {"priority": router.ranks[name], "trackers": tuple(uses)}
        if router.ranks[name] == OWNER:
            changes["starts_as_owner"] = True
        if router.unicast:
            source = own_address(base.interface, base.family, order.index(name))
            changes |= {"unicast_peers": peers, "source": source}
        instances.append(msgspec.structs.replace(base, **changes))
    groups = (GroupConfig(name="G", members=tuple(router.name for router in routers)),) if grouped else ()
    interfaces = tuple(
        Interface(
            name=interface,
            index=2 + index,
            up=True,
            addresses=(own_address(interface, Family.IPV4, number), own_address(interface, Family.IPV6, number)),
        )
        for index, interface in enumerate(NETWORKS)
    )
    plan = VrrpPlan(instances=tuple(instances), groups=groups, scripts=(script,) if script is not None else ())
    return NodeSpec(name=name, plan=plan, interfaces=interfaces)
