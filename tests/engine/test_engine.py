"""Two and three engines on one virtual LAN: what an operator sees, with the times written out."""

from typing import Any

import msgspec
import pytest

from holdfast.base.address import parse
from holdfast.base.command import Command
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.config.plan import Settings, VrrpPlan
from holdfast.engine.messages import (
    AdvertArrived,
    AnnounceAddresses,
    Interface,
    InterfaceSeen,
    RunScript,
    ScriptFinished,
    SendOne,
    SetAddresses,
    StateNotice,
    Tell,
    TimersDue,
    Unwatch,
    Watch,
)
from holdfast.engine.reload import reload
from holdfast.track.config import ScriptConfig
from holdfast.vrrp.config import Family, GroupConfig, InstanceConfig, TrackedUse, VirtualAddress
from tests.engine.lan import Lan

GROUP = parse("224.0.0.18")
T0 = 1_000_000_000_000


def instance(name: str = "VI_1", vrid: int = 51, priority: int = 100, **more: Any) -> InstanceConfig:
    vip = VirtualAddress(address=parse(f"192.0.2.{100 + vrid % 100}"), prefix_length=24)
    base: dict[str, Any] = {
        "name": name, "vrid": vrid, "interface": "eth0", "family": Family.IPV4, "version": 3,
        "priority": priority, "addresses": (vip,), "group": GROUP,
    }
    return InstanceConfig(**{**base, **more})


def pair(a: VrrpPlan, b: VrrpPlan) -> Lan:
    return Lan(a=("192.0.2.11", a), b=("192.0.2.12", b))


def simple(priority_a: int = 150, priority_b: int = 100, **more: Any) -> Lan:
    return pair(
        VrrpPlan(instances=(instance(priority=priority_a, **more),)),
        VrrpPlan(instances=(instance(priority=priority_b, **more),)),
    )


def states(lan: Lan, host: str) -> list[tuple[int, str]]:
    return [(at - T0, state) for at, _, state in lan.hosts[host].history]


def test_the_higher_priority_becomes_master_after_its_down_interval() -> None:
    lan = simple()
    lan.run(10 * SECOND)
    assert states(lan, "a") == [(0, "BACKUP"), (3_414_062_500, "MASTER")]  # 3 × 1 s + 106/256 s
    assert states(lan, "b") == [(0, "BACKUP")]
    assert lan.masters() == {"VI_1": ["a"]}


def test_regular_adverts_leave_every_interval_and_are_counted() -> None:
    lan = simple()
    lan.run(10 * SECOND)
    sent = [at - T0 for at, _, _ in lan.hosts["a"].sent]
    assert sent == [3_414_062_500 + n * SECOND for n in range(7)]
    slot = lan.hosts["a"].engine.slots[1]
    assert slot.counters["advert_sent"] + lan.hosts["a"].engine.beats.sent(1) == 7


def test_a_clean_stop_is_taken_over_after_the_skew() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    lan.stop("a")
    stopped = lan.now
    assert lan.hosts["a"].sent[-1][2] == 0
    lan.run(1 * SECOND)
    assert lan.hosts["b"].history[-1] == (stopped + 609_375_000, "VI_1", "MASTER")  # 156/256 s
    assert lan.masters() == {"VI_1": ["b"]}


def test_a_killed_master_is_taken_over_after_the_down_interval() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    last = lan.hosts["a"].sent[-1][0]
    lan.kill("a")
    lan.run(4 * SECOND)
    assert lan.hosts["b"].history[-1] == (last + 3_609_375_000, "VI_1", "MASTER")


@pytest.mark.parametrize(("preempt", "owner"), [(True, "a"), (False, "b")])
def test_a_returning_master_preempts_if_and_only_if_it_may(preempt: bool, owner: str) -> None:
    lan = simple(preempt=preempt)
    lan.hosts["a"].cut = True
    lan.hosts["a"].up = False
    lan.run(6 * SECOND)
    assert lan.masters() == {"VI_1": ["b"]}
    host = lan.hosts["a"]
    host.up, host.cut = True, False
    fresh = Lan(a=("192.0.2.11", host.engine.plan)).hosts["a"]
    fresh.engine = type(fresh.engine)(host.engine.plan, lan.now)
    lan.hosts["a"] = fresh
    lan.carry_out(fresh, fresh.engine.begin([fresh.interface], lan.now))
    lan.run(10 * SECOND)
    assert lan.masters() == {"VI_1": [owner]}


def test_a_cut_heals_with_the_better_one_as_the_only_master() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    lan.hosts["b"].cut = True
    lan.run(5 * SECOND)
    assert lan.masters() == {"VI_1": ["a", "b"]}
    lan.hosts["b"].cut = False
    lan.hosts["a"].effects.clear()
    lan.run(2 * SECOND)
    assert lan.masters() == {"VI_1": ["a"]}
    assert lan.hosts["b"].engine.slots[1].cause == "192.0.2.11 advertises priority 150, we have 100"


def test_a_rival_is_answered_and_the_neighbours_are_told_again() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    a = lan.hosts["a"]
    a.effects.clear()
    lan.handle(a, AdvertArrived(1, 90, parse("192.0.2.99"), SECOND))
    assert SendOne(1, 150) in a.effects
    assert AnnounceAddresses(1, 5) in a.effects
    lines = [e.notice.text for e in a.effects if isinstance(e, Tell) and hasattr(e.notice, "text")]
    assert any("192.0.2.99" in line and "90" in line for line in lines)


def test_announcements_come_twice_and_not_after_leaving() -> None:
    lan = simple()
    lan.run(4 * SECOND)
    a = lan.hosts["a"]
    assert [e for e in a.effects if isinstance(e, AnnounceAddresses)] == [AnnounceAddresses(1, 5)]
    lan.run(5 * SECOND)
    assert [e for e in a.effects if isinstance(e, AnnounceAddresses)] == [AnnounceAddresses(1, 5)] * 2
    lan.stop("a")
    a.effects.clear()
    lan.run(20 * SECOND)
    assert not [e for e in a.effects if isinstance(e, AnnounceAddresses)]


def test_an_interface_going_down_is_a_fault_and_coming_back_ends_it() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    a = lan.hosts["a"]
    down = msgspec.structs.replace(a.interface, up=False)
    lan.handle(a, InterfaceSeen(down))
    assert a.history[-1][2] == "FAULT"
    assert a.sent[-1][2] == 0
    lan.run(1 * SECOND)
    assert lan.masters() == {"VI_1": ["b"]}
    lan.handle(a, InterfaceSeen(a.interface))
    assert a.history[-1][2] == "BACKUP"
    lan.run(4 * SECOND)
    assert lan.masters() == {"VI_1": ["a"]}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"addresses": ()}, "no IPv4 address on eth0"),
        ({"up": False}, "interface eth0 is down"),
        ({"index": 0}, "interface eth0 does not exist"),
    ],
)
def test_every_fault_names_its_cause(change: dict[str, Any], cause: str) -> None:
    lan = simple()
    lan.run(5 * SECOND)
    a = lan.hosts["a"]
    lan.handle(a, InterfaceSeen(msgspec.structs.replace(a.interface, **change)))
    assert a.engine.slots[1].cause == cause


def scripted(weight: int, **more: Any) -> VrrpPlan:
    script = ScriptConfig(name="chk", command=Command(argv=("/bin/true",)), weight=weight)
    use = TrackedUse(kind="script", name="chk", weight=weight)
    return VrrpPlan(instances=(instance(trackers=(use,), **more),), scripts=(script,))


def runs(lan: Lan, host: str) -> list[RunScript]:
    return [e.notice for e in lan.hosts[host].effects if isinstance(e, Tell) and isinstance(e.notice, RunScript)]


def test_an_unweighted_script_holds_the_instance_until_its_first_result() -> None:
    lan = Lan(a=("192.0.2.11", scripted(0)))
    lan.run(5 * SECOND)
    a = lan.hosts["a"]
    assert a.history == []
    assert a.engine.slots[1].cause == "waiting for the first result of chk"
    lan.handle(a, ScriptFinished("chk", runs(lan, "a")[-1].run, 0))
    assert a.history[-1][2] == "BACKUP"
    lan.run(SECOND)
    lan.handle(a, ScriptFinished("chk", runs(lan, "a")[-1].run, 1))
    assert a.history[-1][2] == "FAULT"
    assert a.engine.slots[1].cause == "script chk is down"


def test_a_weighted_script_moves_the_address_by_its_weight() -> None:
    lan = pair(scripted(-60, priority=150), VrrpPlan(instances=(instance(priority=100),)))
    lan.run(100 * MILLISECOND)
    a = lan.hosts["a"]
    lan.handle(a, ScriptFinished("chk", runs(lan, "a")[-1].run, 0))
    lan.run(5 * SECOND)
    assert lan.masters() == {"VI_1": ["a"]}
    lan.handle(a, ScriptFinished("chk", runs(lan, "a")[-1].run, 1))
    assert a.engine.slots[1].standing.priority == 90
    lan.run(6 * SECOND)
    assert lan.masters() == {"VI_1": ["b"]}


def grouped(priority: int) -> VrrpPlan:
    return VrrpPlan(
        instances=(instance("V1", 1, priority), instance("V2", 2, priority)),
        groups=(GroupConfig(name="G", members=("V1", "V2")),),
    )


def test_a_sync_group_becomes_master_as_one() -> None:
    lan = pair(grouped(150), grouped(100))
    lan.run(8 * SECOND)
    assert lan.masters() == {"V1": ["a"], "V2": ["a"]}
    a = lan.hosts["a"]
    became = [at for at, name, state in a.history if state == "MASTER" and name in ("V1", "V2")]
    assert len(became) == 2
    assert became[0] == became[1]
    assert ("G", "MASTER") in [(name, state) for _, name, state in a.history]


def test_a_fault_of_one_member_takes_the_group_along_and_back() -> None:
    lan = pair(grouped(150), grouped(100))
    lan.run(8 * SECOND)
    a = lan.hosts["a"]
    plan = a.engine.plan
    broken = msgspec.structs.replace(plan.instances[1], trackers=(TrackedUse(kind="interface", name="eth1"),))
    lan.carry_out(a, reload(a.engine, msgspec.structs.replace(plan, instances=(plan.instances[0], broken)), [], lan.now))
    lan.handle(a, InterfaceSeen(Interface(name="eth1", index=3, up=False)))
    lan.run(2 * SECOND)
    assert lan.masters() == {"V1": ["b"], "V2": ["b"]}
    assert a.engine.slots[1].cause.startswith("sync group G: V2 is in FAULT (interface eth1 is down")
    lan.handle(a, InterfaceSeen(Interface(name="eth1", index=3, up=True)))
    lan.run(9 * SECOND)
    assert lan.masters() == {"V1": ["a"], "V2": ["a"]}


def test_routine_adverts_are_watched_and_move_the_deadline_lazily() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    b = lan.hosts["b"]
    assert Watch(1) in b.effects
    slot = b.engine.slots[1]
    assert slot.watched
    lan.hosts["a"].cut = True  # the edge absorbs them from now on: nothing arrives
    due_at = b.engine.deadline()
    assert due_at is not None
    lan.now = due_at
    assert b.engine.take_due(lan.now) == [1]
    heard_at = lan.now - 200 * MILLISECOND
    lan.handle(b, TimersDue({1: heard_at}))
    assert slot.role.name == "BACKUP"
    assert b.engine.deadline() == heard_at + 3_609_375_000
    lan.now = heard_at + 3_609_375_000
    assert b.engine.take_due(lan.now) == [1]
    lan.handle(b, TimersDue({1: heard_at}))
    assert b.history[-1] == (lan.now, "VI_1", "MASTER")
    assert Unwatch(1) in b.effects


def test_a_resigning_master_is_believed_though_it_was_heard_a_moment_ago() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    b = lan.hosts["b"]
    lan.hosts["a"].cut = True
    lan.run(100 * MILLISECOND)
    resigned_at = lan.now
    lan.handle(b, AdvertArrived(1, 0, parse("192.0.2.11"), SECOND))
    lan.now = resigned_at + 609_375_000
    assert b.engine.take_due(lan.now) == [1]
    lan.handle(b, TimersDue({1: resigned_at - 1}))
    assert b.history[-1] == (lan.now, "VI_1", "MASTER")


def test_reload_of_the_same_plan_touches_nothing() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    a = lan.hosts["a"]
    before = a.engine.deadline()
    effects = reload(a.engine, a.engine.plan, [a.interface], lan.now)
    assert not [e for e in effects if not isinstance(e, Tell)]
    assert a.engine.deadline() == before
    assert a.engine.slots[1].role.name == "MASTER"


def test_reload_withdraws_what_is_gone_and_keeps_the_rest() -> None:
    two = VrrpPlan(instances=(instance("V1", 1), instance("V2", 2)))
    lan = Lan(a=("192.0.2.11", two))
    lan.run(5 * SECOND)
    a = lan.hosts["a"]
    effects = reload(a.engine, msgspec.structs.replace(two, instances=(two.instances[0],)), [a.interface], lan.now)
    assert SendOne(2, 0) in effects
    assert SetAddresses(2, False) in effects
    assert [e.notice.state for e in effects if isinstance(e, Tell) and isinstance(e.notice, StateNotice)] == ["FAULT"]
    assert list(a.engine.slots) == [1]


def test_a_frozen_master_steps_back_and_listens() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    a = lan.hosts["a"]
    lan.now += 20 * SECOND  # nobody ran
    a.engine.take_due(lan.now)
    lan.handle(a, TimersDue())
    assert a.history[-1][2] == "BACKUP"
    assert "was not running for about 20" in a.engine.slots[1].cause


def test_a_thousand_instances_share_few_beats() -> None:
    plan = VrrpPlan(instances=tuple(instance(f"V{n}", n % 255 + 1, priority=100) for n in range(1000)))
    lan = Lan(a=("192.0.2.11", plan))
    lan.run(4 * SECOND)
    assert len(lan.hosts["a"].holds) == 1000
    assert len({id(beat) for beat, _ in lan.hosts["a"].engine.beats._of_slot.values()}) == 8


def test_a_start_delay_keeps_the_instance_in_init() -> None:
    lan = Lan(a=("192.0.2.11", VrrpPlan(instances=(instance(start_delay_ns=7 * SECOND),))))
    lan.run(6 * SECOND)
    assert lan.hosts["a"].history == []
    assert lan.hosts["a"].engine.slots[1].cause == "start delay"
    lan.run(2 * SECOND)
    assert states(lan, "a") == [(7 * SECOND, "BACKUP")]


def test_the_startup_delay_holds_all_and_adverts_are_not_listened_to() -> None:
    settings = Settings(vrrp_startup_delay_ns=5 * SECOND)
    lan = Lan(a=("192.0.2.11", VrrpPlan(settings=settings, instances=(instance("V1", 1), instance("V2", 2)))))
    lan.run(4 * SECOND)
    lan.handle(lan.hosts["a"], AdvertArrived(1, 200, parse("192.0.2.12"), SECOND))
    assert lan.hosts["a"].engine.slots[1].counters == {}
    lan.run(2 * SECOND)
    assert states(lan, "a") == [(5 * SECOND, "BACKUP"), (5 * SECOND, "BACKUP")]


def test_a_tracked_interface_that_does_not_exist_is_down() -> None:
    plan = VrrpPlan(instances=(instance(trackers=(TrackedUse(kind="interface", name="eth9"),)),))
    lan = Lan(a=("192.0.2.11", plan))
    assert lan.hosts["a"].history == [(T0, "VI_1", "FAULT")]
    assert lan.hosts["a"].engine.slots[1].cause == "interface eth9 is down"


def test_a_changed_interval_is_taken_up_by_a_master_at_once() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    a = lan.hosts["a"]
    a.sent.clear()
    faster = VrrpPlan(instances=(instance(priority=150, adver_interval_ns=SECOND // 2),))
    lan.carry_out(a, reload(a.engine, faster, [a.interface], lan.now))
    begun = lan.now
    lan.run(SECOND)
    assert [at - begun for at, _, _ in a.sent] == [0, SECOND // 2, SECOND]
    assert a.engine.slots[1].role.name == "MASTER"


def test_an_owner_is_master_at_once_and_after_a_fault() -> None:
    lan = Lan(a=("192.0.2.11", VrrpPlan(instances=(instance(priority=255, starts_as_owner=True),))))
    a = lan.hosts["a"]
    assert a.history == [(T0, "VI_1", "MASTER")]
    lan.handle(a, InterfaceSeen(msgspec.structs.replace(a.interface, up=False)))
    lan.handle(a, InterfaceSeen(a.interface))
    assert [state for _, _, state in a.history] == ["MASTER", "FAULT", "MASTER"]


def test_a_rehearsal_leaves_no_trace() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    engine = lan.hosts["b"].engine
    before = engine.slots[1].state, dict(engine.slots[1].counters), engine.deadline(), engine.beats.next_at
    engine.rehearse(lan.now + SECOND)
    assert (engine.slots[1].state, engine.slots[1].counters, engine.deadline(), engine.beats.next_at) == before
    assert engine.take() == []
