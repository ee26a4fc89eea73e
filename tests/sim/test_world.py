"""The simulated world keeps the protocol's times, hears as the receive checks would, and repeats itself."""

from typing import Any

import msgspec
import pytest

from holdfast.base.address import parse
from holdfast.base.command import Command
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.engine.messages import Interface
from holdfast.sim.host import NodeSpec
from holdfast.sim.wire import Weather
from holdfast.sim.world import World
from holdfast.track.config import FileConfig, ProcessConfig, ScriptConfig
from holdfast.vrrp.config import (
    AuthType,
    Family,
    GroupConfig,
    InstanceConfig,
    StaticAddress,
    TrackedUse,
    UnicastPeer,
    VirtualAddress,
)

VIP = "192.0.2.100"


def instance(priority: int = 100, name: str = "VI_1", vrid: int = 51, **more: Any) -> InstanceConfig:
    vip = VirtualAddress(address=parse(f"192.0.2.{49 + vrid}"), prefix_length=24)
    base: dict[str, Any] = {
        "name": name, "vrid": vrid, "interface": "eth0", "family": Family.IPV4, "version": 3,
        "priority": priority, "addresses": (vip,), "group": parse("224.0.0.18"),
    }  # fmt: skip
    return InstanceConfig(**{**base, **more})


def node(name: str, *instances: InstanceConfig, **plan: Any) -> NodeSpec:
    own = parse(f"192.0.2.{ord(name) - ord('a') + 11}")
    interface = Interface(name="eth0", index=2, up=True, addresses=(own,))
    return NodeSpec(name=name, plan=VrrpPlan(instances=instances, **plan), interfaces=(interface,))


def pair(first: int = 150, second: int = 100, seed: int = 0, weather: Weather | None = None, **more: Any) -> World:
    nodes = [node("a", instance(first, **more)), node("b", instance(second, **more))]
    return World(nodes, seed=seed, weather=weather or Weather())


def states(world: World, name: str) -> list[tuple[int, str]]:
    return [(e.at_ns - world.begun, e.state) for e in world.history if e.node == name and e.kind == "instance"]


def test_a_crashed_master_is_taken_over_after_the_down_interval() -> None:
    world = pair()
    world.run(10 * SECOND)
    assert states(world, "a") == [(0, "BACKUP"), (3_414_062_500, "MASTER")]  # 3 × 1 s + 106/256 s
    assert world.holders(VIP) == world.masters("VI_1") == world.holders("VI_1") == ["a"]
    crashed_at = world.now
    world.crash("a")
    world.run(10 * SECOND)
    assert world.holders(VIP) == ["b"]
    last_advert = world.begun + 9_414_062_500
    assert world.outages(VIP, crashed_at) == [(crashed_at, last_advert + 3_609_375_000)]  # 3 × 1 s + 156/256 s
    world.start("a")
    world.run(10 * SECOND)
    assert world.holders(VIP) == ["a"]
    assert world.overlaps(VIP) == []
    assert len(world.outages(VIP)) == 2  # the first election, and the crash: the return costs nothing


def test_a_clean_stop_costs_the_skew_and_with_one_unicast_peer_nothing() -> None:
    world = pair()
    world.run(5 * SECOND)
    world.stop("a")
    world.run(SECOND)
    assert world.outages(VIP)[-1][1] - world.outages(VIP)[-1][0] == 609_375_000
    nodes = [
        node("a", instance(150, group=None, source=parse("192.0.2.11"), unicast_peers=peers("192.0.2.12"))),
        node("b", instance(100, group=None, source=parse("192.0.2.12"), unicast_peers=peers("192.0.2.11"))),
    ]
    world = World(nodes)
    world.run(5 * SECOND)
    world.stop("a")
    world.run(MILLISECOND)
    assert world.holders(VIP) == ["b"]
    assert len(world.outages(VIP)) == 1


def peers(*addresses: str) -> tuple[UnicastPeer, ...]:
    return tuple(UnicastPeer(address=parse(address)) for address in addresses)


@pytest.mark.parametrize(
    ("more", "agree"),
    [
        ({}, True),
        ({"vrid": 52}, False),
        ({"group": parse("224.0.0.99")}, False),
        ({"version": 2}, False),
        ({"version": 2, "auth_type": AuthType.PASS, "auth_pass": b"1111"}, False),
        ({"group": None, "unicast_peers": peers("192.0.2.11")}, False),
    ],
)
def test_hosts_hear_each_other_only_as_the_receive_checks_have_it(more: dict[str, Any], agree: bool) -> None:
    world = World([node("a", instance(150)), node("b", instance(100, **more))])
    world.run(10 * SECOND)
    assert (world.masters("VI_1") == ["a"]) is agree


def test_who_is_on_another_segment_hears_only_unicast() -> None:
    def hosts(*configs: InstanceConfig) -> World:
        specs = [node(name, config) for name, config in zip("ab", configs, strict=True)]
        return World([msgspec.structs.replace(spec, segments={"eth0": spec.name}) for spec in specs])

    world = hosts(instance(150), instance(100))
    world.run(10 * SECOND)
    assert world.masters("VI_1") == ["a", "b"]
    assert world.overlaps(VIP)
    routed: dict[str, Any] = {"group": None}
    world = hosts(
        instance(150, unicast_peers=peers("192.0.2.12"), **routed),
        instance(100, unicast_peers=peers("192.0.2.11"), **routed),
    )
    world.run(10 * SECOND)
    assert world.masters("VI_1") == ["a"]


def test_a_one_way_cut_gives_two_masters_until_it_heals() -> None:
    world = pair()
    world.run(5 * SECOND)
    world.cut("a", "b")
    world.run(5 * SECOND)
    assert world.masters("VI_1") == ["a", "b"]  # a hears b and outranks it, b hears nobody
    assert world.overlaps(VIP)[-1][1] == world.now
    world.heal()
    world.run(SECOND)
    assert world.masters("VI_1") == ["a"]


def test_links_scripts_and_a_suspended_machine() -> None:
    use = TrackedUse(kind="script", name="chk")
    script = ScriptConfig(name="chk", command=Command(argv=("/bin/chk",)), interval_ns=2 * SECOND, fall=2, rise=2)
    world = World([node("a", instance(150, trackers=(use,)), scripts=(script,)), node("b", instance(100))])
    world.run(10 * SECOND)
    assert world.holders(VIP) == ["a"]
    world.script("a", "chk", False)
    world.run(5 * SECOND)  # two runs fail, and the skew
    assert world.holders(VIP) == ["b"]
    world.script("a", "chk", True)
    world.run(10 * SECOND)
    assert world.holders(VIP) == ["a"]
    world.link("a", "eth0", False)
    world.run(4 * SECOND)
    assert (world.holders(VIP), states(world, "a")[-1][1]) == (["b"], "FAULT")
    world.link("a", "eth0", True)
    world.run(10 * SECOND)
    world.suspend("a", 60 * SECOND)
    world.run(59 * SECOND)
    assert world.holders(VIP) == ["a", "b"]  # the kernel of a has it, and stands still
    assert world.overlaps(VIP, world.now - 50 * SECOND) == []
    world.run(10 * SECOND)
    assert world.holders(VIP) == ["a"]
    trackers = [(e.instance, e.state) for e in world.history if e.kind == "tracker"]
    assert trackers == [("chk", "UP"), ("chk", "DOWN"), ("chk", "UP")]


def test_a_hand_over_has_no_gap_and_holds() -> None:
    world = pair()
    world.run(5 * SECOND)
    begun = world.now
    assert world.switch("b", "VI_1", "here").done
    world.run(60 * SECOND)
    assert world.holders(VIP) == ["b"]
    assert world.release("b", "VI_1").done
    world.run(10 * SECOND)
    assert world.holders(VIP) == ["a"]
    assert world.outages(VIP, begun) == []


def test_the_same_seed_gives_the_same_history_and_another_seed_another() -> None:
    weather = Weather(loss=0.3, delay_ns=(0, 20 * MILLISECOND), duplicate=0.1, reorder=0.1, late_ns=MILLISECOND)

    def history(seed: int) -> list[Any]:
        world = pair(seed=seed, weather=weather)
        world.run(300 * SECOND)
        return world.history

    assert history(1) == history(1) != history(2)
    assert len(history(1)) > 6


@pytest.mark.parametrize("more", [{}, {"version": 2}, {"adver_interval_ns": SECOND // 10}])
def test_leaping_over_calm_stretches_comes_to_the_same_as_going_step_by_step(more: dict[str, Any]) -> None:
    def live(leaps: bool) -> World:
        use = TrackedUse(kind="script", name="chk")
        script = ScriptConfig(name="chk", command=Command(argv=("/bin/chk",)), interval_ns=3 * SECOND, fall=2)
        nodes = [
            node("a", instance(150, trackers=(use,), **more), instance(100, "V2", 52, **more), scripts=(script,)),
            node("b", instance(100, **more), instance(150, "V2", 52, preempt_delay_ns=20 * SECOND, **more)),
            node("c", instance(50, **more)),
        ]
        world = World(nodes, leaps=leaps)
        for happens in (
            lambda: world.crash("a"),
            lambda: world.start("a"),
            lambda: world.switch("c", "VI_1", "here", for_ns=700 * SECOND),
            lambda: world.suspend("b", 20 * SECOND),
            lambda: world.script("a", "chk", False),
            lambda: world.link("b", "eth0", False),
            lambda: world.link("b", "eth0", True),
            lambda: world.script("a", "chk", True),
            lambda: world.isolate("a"),
        ):
            world.run(431 * SECOND + 217 * MILLISECOND)
            happens()
        world.run(3600 * SECOND)
        for host in world.hosts.values():
            assert host.engine is not None
            host.bring_up_to_date()
        return world

    stepped, leapt = live(False), live(True)
    assert stepped.leapt_ns == 0
    assert leapt.leapt_ns > 0.9 * (leapt.now - leapt.begun)
    assert leapt.history == stepped.history
    for name, host in stepped.hosts.items():
        other = leapt.hosts[name].engine
        assert host.engine is not None
        assert other is not None
        for number, slot in host.engine.slots.items():
            beats, others = host.engine.beats, other.beats
            assert (slot.counters, beats.sent(number)) == (other.slots[number].counters, others.sent(number))
            assert slot.state == other.slots[number].state
            assert beats.adver_at(number) == others.adver_at(number)
        assert {n: s.state for n, s in host.engine.scripts.items()} == {n: s.state for n, s in other.scripts.items()}


def test_a_rival_that_the_master_outranks_does_not_confuse_a_backup() -> None:
    """Absorbed adverts count although another router's advert comes between them, and the real master is known."""
    world = World([node("a", instance(150)), node("b", instance(100)), node("c", instance(20))], logs=True)
    for deaf_at in range(1, 40):
        world.run(7 * SECOND + 130 * MILLISECOND * deaf_at)
        world.cut("a", "c", both=True)
        world.cut("b", "c")
        world.run(4 * SECOND + 50 * MILLISECOND)  # c hears nobody, becomes master, and b alone hears it
        world.heal()
        world.run(SECOND)
        slot = world.slot("b", "VI_1")
        assert slot is not None
        assert getattr(slot.state, "master", None) == parse("192.0.2.11")
    assert states(world, "b") == [(0, "BACKUP")]
    assert [e for e in world.history if e.node == "b" and "not running" in e.cause] == []
    assert len(states(world, "c")) > 70


def test_a_group_that_waits_for_one_members_script_does_not_spin() -> None:
    """What waits for a result is not woken again and again by a time that has passed."""
    use = TrackedUse(kind="script", name="chk")
    script = ScriptConfig(name="chk", command=Command(argv=("/bin/chk",), timeout_ns=5 * SECOND), interval_ns=5 * SECOND)
    group = GroupConfig(name="G", members=("V1", "V2"))
    configs = (instance(150, "V1", 51, trackers=(use,)), instance(150, "V2", 52))
    world = World([node("a", *configs, scripts=(script,), groups=(group,))], start=False)
    world.script("a", "chk", None)
    world.start("a")
    world.suspend("a", SECOND)
    world.run(3 * SECOND)
    engine = world.hosts["a"].engine
    assert engine is not None
    assert engine.deadline() == world.hosts["a"].clock + 3 * SECOND  # the script's next run
    world.script("a", "chk", True)
    world.run(30 * SECOND)
    assert world.masters("V1") == world.masters("V2") == ["a"]


def test_files_and_processes_are_as_the_world_says() -> None:
    uses = (
        TrackedUse(kind="file", name="load", weight=2),
        TrackedUse(kind="process", name="web", weight=-30),
        TrackedUse(kind="static", name="198.51.100.1/24 dev eth0"),
    )
    address = VirtualAddress(address=parse("198.51.100.1"), prefix_length=24, interface="eth0")
    tracked = {
        "files": (FileConfig(name="load", path="/x", weight=2, init_value=5),),
        "processes": (ProcessConfig(name="web", command="nginx", terminate_delay_ns=SECOND),),
        "statics": (StaticAddress(address=address, tracked=True),),
    }
    world = World([node("a", instance(110, trackers=uses), **tracked), node("b", instance(100))])
    world.run(10 * SECOND)
    assert world.holders(VIP) == ["a"]
    world.file("a", "load", 0)
    world.script("a", "web", False)
    world.run(900 * MILLISECOND)
    assert world.holders(VIP) == ["a"]  # 110
    world.run(5 * SECOND)
    assert world.holders(VIP) == ["b"]  # 110 - 30
    world.restart("a")
    world.run(10 * SECOND)
    assert world.holders(VIP) == ["b"]
    world.file("a", "load", 11)
    world.run(10 * SECOND)
    assert world.holders(VIP) == ["a"]  # 110 + 22 - 30
