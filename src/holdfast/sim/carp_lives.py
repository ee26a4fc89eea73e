"""Random clusters that speak CARP: their lives, and what is promised of them. One seed, one life.

At every moment a host holds the addresses of its masters and no others. When all is well again and the dead time is
over there is one master a virtual host: the one with the shortest interval, or without `preempt` whoever it was. A
master that dies is succeeded within dead_ratio · advbase + advskew/256 s of the best backup; one that leaves, at once.
"""

from random import Random

import msgspec

from holdfast.base.address import parse
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.carp.config import CarpTerms, interval_ns
from holdfast.config.plan import VrrpPlan
from holdfast.engine.messages import Interface
from holdfast.sim.clusters import GROUPS, own_address
from holdfast.sim.host import NodeSpec
from holdfast.sim.life import Life
from holdfast.sim.promises import check_span, require, transitions
from holdfast.vrrp.config import Family, InstanceConfig, UnicastPeer, VirtualAddress

SLACK: Nanoseconds = 10 * MILLISECOND
STEP = 20  # skews of two hosts differ by so much at least: 78 ms, more than a mild weather's delays
ADDRESSES = {Family.IPV4: "203.0.113.{}", Family.IPV6: "2001:db8::{}"}


def carp_cluster(chance: Random) -> list[NodeSpec]:
    """2 to 4 hosts with 1 to 3 virtual hosts; advbase, dead_ratio and `preempt` are the same on all of them."""
    names = "abcd"[: chance.choice((2, 2, 3, 4))]
    instances: dict[str, list[InstanceConfig]] = {name: [] for name in names}
    for number in range(chance.choice((1, 2, 3))):
        family = chance.choice((Family.IPV4, Family.IPV4, Family.IPV6))
        skews = chance.sample(range(0, 241, STEP), len(names))
        unicast = chance.random() < 0.3
        shared = CarpTerms(
            advbase=chance.choice((1, 1, 2)), dead_ratio=chance.choice((2, 3, 3)), password=b"swordfish"
        )
        preempt = chance.random() < 0.6
        vip = parse(ADDRESSES[family].format(100 + number))
        for name, skew in zip(names, skews, strict=True):
            terms = msgspec.structs.replace(shared, advskew=skew)
            others = [own_address("eth0", family, "abcd".index(other)) for other in names if other != name]
            instances[name].append(
                InstanceConfig(
                    name=f"C{number + 1}",
                    vrid=number + 1,
                    interface="eth0",
                    family=family,
                    version=2,
                    priority=terms.priority,
                    adver_interval_ns=interval_ns(terms, terms.priority),
                    down_timer_adverts=terms.dead_ratio,
                    carp=terms,
                    addresses=(VirtualAddress(address=vip, prefix_length=32 if len(vip) == 4 else 128),),
                    group=None if unicast else GROUPS[family],
                    unicast_peers=tuple(UnicastPeer(address=other) for other in others) if unicast else (),
                    preempt=preempt,
                )
            )
    return [_node(name, tuple(instances[name]), number) for number, name in enumerate(names)]


def _node(name: str, instances: tuple[InstanceConfig, ...], number: int) -> NodeSpec:
    families = (Family.IPV4, Family.IPV6)
    interfaces = tuple(
        Interface(name=each, index=index, up=True, addresses=tuple(own_address(each, one, number) for one in families))
        for index, each in enumerate(("eth0", "eth1"), 2)
    )
    return NodeSpec(name=name, plan=VrrpPlan(instances=instances), interfaces=interfaces)


def dead_time(config: InstanceConfig) -> Nanoseconds:
    """How long a backup waits for a silent master."""
    assert config.carp is not None
    return config.carp.dead_ratio * config.carp.advbase * SECOND + config.carp.advskew * SECOND // 256


def live_with_carp(seed: int, turns: int = 4) -> Life:
    """A life of `turns` losses and as many storms. Raises BrokenPromise with the story as its note."""
    life = Life(seed, make=carp_cluster)
    try:
        life.begin()
        for _ in range(turns):
            _lose_a_master(life)
            life.storm()
            life.calm(20 * SECOND)
    except Exception as broken:
        broken.add_note(life.told())
        broken.add_note(f"\nCARP, seed {seed}")
        raise
    return life


def _lose_a_master(life: Life) -> None:
    """The master of something dies or is stopped, and comes back."""
    world, chance = life.world, life.chance
    node = chance.choice(sorted({master for master in life.masters.values() if master is not None}))
    stops = chance.random() < 0.5
    world.remark(f"{node} {'is stopped' if stops else 'dies'}")
    before, since, at = dict(life.masters), len(world.history), world.now
    (world.stop if stops else world.crash)(node)
    life.settle(before)
    for instance, master in before.items():
        entered = transitions(world, since, instance)
        if master != node:
            require(not entered, "nothing flaps without cause", f"{instance}: {entered}")
            continue
        best = life.expected.candidates(instance)[0]
        config = life.expected.config(best, instance)
        assert config is not None
        least = 0 if stops else dead_time(config) - config.adver_interval_ns - 2 * SECOND
        most = SLACK if stops else dead_time(config) + SLACK
        require(bool(entered), "a backup takes over", instance)
        check_span("it takes over within the dead time", instance, entered[0][0] - at, least, most)
        if not stops:
            require([who for _, who in entered] == [best], "exactly one backup takes over", f"{instance}: {entered}")
    world.start(node)
    life.settle()
