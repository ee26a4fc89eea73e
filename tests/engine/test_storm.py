"""Any sequence of faults, on two and three engines; when the weather clears there is one master, and soon."""

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.base.address import parse
from holdfast.base.command import Command
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.track.config import ScriptConfig
from holdfast.vrrp.config import Family, GroupConfig, InstanceConfig, TrackedUse, VirtualAddress
from holdfast.vrrp.messages import Role
from tests.engine.storm import Router, Storm

SCRIPT = ScriptConfig(name="chk", command=Command(argv=("/bin/true",)), weight=0)
STRICT_USE = TrackedUse(kind="script", name="chk")
WEIGHED_USE = TrackedUse(kind="script", name="chk", weight=-60)
HEALED_WITHIN = 15 * SECOND
"""Two down intervals of the lowest priority (3 × 1 s + 206/256 s each) for the election, one more for a group whose
members come one after the other, and the seconds a script's next run takes."""


def instance(name: str, vrid: int, priority: int, **more: Any) -> InstanceConfig:
    base: dict[str, Any] = {
        "name": name, "vrid": vrid, "interface": "eth0", "family": Family.IPV4, "version": 3, "priority": priority,
        "addresses": (VirtualAddress(address=parse(f"192.0.2.{100 + vrid}"), prefix_length=24),),
        "group": parse("224.0.0.18"),
    }  # fmt: skip
    return InstanceConfig(**{**base, **more})


def plans(priority: int) -> list[VrrpPlan]:
    """What a host may be told to be: the first is what it is told in the end."""
    one, two = instance("V1", 1, priority), instance("V2", 2, priority)
    group = GroupConfig(name="G", members=("V1", "V2"))
    other = msgspec.structs.replace
    tracked = other(one, trackers=(STRICT_USE,))
    weighed = other(one, trackers=(WEIGHED_USE,))
    return [
        VrrpPlan(instances=(one, two), groups=(group,)),
        VrrpPlan(instances=(one, two)),
        VrrpPlan(instances=(one,)),
        VrrpPlan(instances=(other(one, name="renamed"), two)),
        VrrpPlan(instances=(tracked, two), groups=(group,), scripts=(SCRIPT,)),
        VrrpPlan(instances=(weighed, two), scripts=(SCRIPT,)),
        VrrpPlan(instances=(other(one, preempt=False), other(two, preempt=False)), groups=(group,)),
        VrrpPlan(instances=(other(one, priority=250 - priority), two)),
        VrrpPlan(instances=(other(one, adver_interval_ns=SECOND // 2), two)),
        VrrpPlan(instances=(other(one, start_delay_ns=SECOND), other(two, preempt_delay_ns=2 * SECOND))),
        VrrpPlan(),
    ]


HOSTS = {"a": ("192.0.2.11", 150), "b": ("192.0.2.12", 100), "c": ("192.0.2.13", 50)}
KINDS = len(plans(1))

Weather = tuple[str, str, int]
"""What happens, to which host, how (a number whose meaning depends on what happens)."""

weather = st.tuples(
    st.sampled_from(
        [
            "run", "run", "run", "cut", "heal", "kill", "stop", "start", "start", "down", "up", "vanish", "return",
            "no address", "lose", "script", "reload", "reload", "freeze", "thaw", "sleep", "refuse",
        ]
    ),
    st.sampled_from("abc"),
    st.integers(0, 5_000),
)  # fmt: skip


def down(storm: Storm, router: Router, _: int) -> None:
    storm.set_interface(router, msgspec.structs.replace(router.interfaces["eth0"], up=False))


def up(storm: Storm, router: Router, _: int) -> None:
    interface = router.interfaces["eth0"]
    if interface.index:
        own = storm.sources[router.name]
        storm.set_interface(router, msgspec.structs.replace(interface, up=True, addresses=(own,)))


def vanish(storm: Storm, router: Router, _: int) -> None:
    gone = msgspec.structs.replace(router.interfaces["eth0"], index=0, up=False, addresses=())
    storm.set_interface(router, gone)


def come_back(storm: Storm, router: Router, number: int) -> None:
    own = storm.sources[router.name]
    fresh = msgspec.structs.replace(router.interfaces["eth0"], index=3 + number, up=True, addresses=(own,))
    storm.set_interface(router, fresh)


def no_address(storm: Storm, router: Router, _: int) -> None:
    storm.set_interface(router, msgspec.structs.replace(router.interfaces["eth0"], addresses=()))


def refuse(storm: Storm, router: Router, _: int) -> None:
    router.refusing = 1


def freeze(storm: Storm, router: Router, _: int) -> None:
    storm.world.freeze(router.name)


def set_script(storm: Storm, router: Router, number: int) -> None:
    storm.world.script(router.name, "chk", number % 2 == 0)


def set_cut(storm: Storm, router: Router, _: int) -> None:
    storm.world.isolate(router.name)


def heal(storm: Storm, router: Router, _: int) -> None:
    storm.world.isolate(router.name, cut=False)


FAULTS: dict[str, Callable[[Storm, Router, int], None]] = {
    "run": lambda storm, router, number: storm.run(number * MILLISECOND),
    "cut": set_cut,
    "heal": heal,
    "kill": lambda storm, router, number: storm.world.crash(router.name),
    "stop": lambda storm, router, number: storm.world.stop(router.name),
    "start": lambda storm, router, number: storm.start(router),
    "down": down,
    "up": up,
    "vanish": vanish,
    "return": come_back,
    "no address": no_address,
    "lose": lambda storm, router, number: storm.lose_address(router),
    "script": set_script,
    "reload": lambda storm, router, number: storm.reload(router, plans(HOSTS[router.name][1])[number % KINDS]),
    "freeze": freeze,
    "thaw": lambda storm, router, number: storm.world.thaw(router.name),
    "sleep": lambda storm, router, number: storm.sleep(router, number * MILLISECOND),
    "refuse": refuse,
}


def clear_up(storm: Storm, last_plan: int) -> None:
    """Everything is mended, as an operator would."""
    for router in storm.routers.values():
        router.refusing = 0
        heal(storm, router, 0)
        set_script(storm, router, 0)
        storm.world.thaw(router.name)
        down(storm, router, 0)
        if not router.interfaces["eth0"].index:
            come_back(storm, router, 9)
        up(storm, router, 0)
        storm.reload(router, plans(HOSTS[router.name][1])[last_plan])
        storm.start(router)
    storm.run(HEALED_WITHIN)


def owners(storm: Storm, vrid: int) -> list[str]:
    return storm.world.holders(f"192.0.2.{100 + vrid}")


def play(hosts: str, happenings: list[Weather], last_plan: int) -> Storm:
    storm = Storm(**{name: (HOSTS[name][0], plans(HOSTS[name][1])[0]) for name in hosts})
    for what, name, number in happenings:
        router = storm.routers.get(name)
        if router is not None:
            FAULTS[what](storm, router, number)
            storm.check()
    clear_up(storm, last_plan)
    return storm


@settings(max_examples=700, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["ab", "abc"]), st.lists(weather, max_size=30), st.sampled_from([0, 1, 4]))
@example("ab", [], 1)  # out of a group, and free of it
@example("ab", [("refuse", "a", 0), ("run", "a", 3415)], 0)  # refused once is not refused for good
@example("ab", [("reload", "b", 4)], 1)  # held in FAULT by a group that is no more
@example("ab", [("run", "a", 3415), ("reload", "a", 2), ("reload", "a", 0)], 0)  # joins a group of masters
def test_after_any_weather_the_best_host_is_the_only_master(hosts: str, happenings: list[Weather], last: int) -> None:
    storm = play(hosts, happenings, last)
    assert {vrid: owners(storm, vrid) for vrid in (1, 2)} == {1: ["a"], 2: ["a"]}
    for name in hosts[1:]:
        engine = storm.routers[name].engine
        assert engine is not None
        assert {slot.role for slot in engine.slots.values()} == {Role.BACKUP}


@settings(max_examples=700, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["ab", "abc"]), st.lists(weather, max_size=30))
@example("ab", [("down", "a", 0), ("reload", "a", 4), ("up", "a", 0)])  # one member's script has not answered yet
def test_after_any_weather_somebody_is_the_only_master_without_preemption(
    hosts: str, happenings: list[Weather]
) -> None:
    storm = play(hosts, happenings, 6)
    assert {vrid: len(owners(storm, vrid)) for vrid in (1, 2)} == {1: 1, 2: 1}
    assert owners(storm, 1) == owners(storm, 2)
