"""Planned hand-overs in virtual time: who serves, for how long nobody did, and what holds."""

from typing import Any

import msgspec

from holdfast.base.time import MILLISECOND, SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.engine import holds
from holdfast.engine.messages import HoldNotice, Interface, InterfaceSeen, Tell
from holdfast.engine.reload import reload
from holdfast.vrrp.config import GroupConfig
from tests.engine.lan import Lan
from tests.engine.test_engine import instance, pair, simple


def command(lan: Lan, host: str, direction: str, name: str = "VI_1", **more: Any) -> holds.Answer:
    """Give a command on a host, as its worker would."""
    wanted: dict[str, Any] = {"by": "ann", "for_ns": None, "force": False, "dry_run": False, **more}
    engine = lan.hosts[host].engine
    answer = holds.command(engine, name, direction, now=lan.now, **wanted)
    lan.carry_out(lan.hosts[host], engine.take())
    return answer


def ended(lan: Lan, host: str) -> list[HoldNotice]:
    """The holds that ended by themselves, as told."""
    effects = lan.hosts[host].effects
    return [e.notice for e in effects if isinstance(e, Tell) and isinstance(e.notice, HoldNotice)]


def priority(lan: Lan, host: str) -> int:
    return lan.hosts[host].engine.slots[1].standing.priority


def test_here_takes_over_at_once_with_a_priority_above_the_one_heard() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    assert command(lan, "b", "here").done
    assert lan.masters() == {"VI_1": ["b"]}
    assert (priority(lan, "a"), priority(lan, "b")) == (150, 151)
    assert lan.hosts["b"].history[-1] == (lan.now, "VI_1", "MASTER")
    assert lan.hosts["a"].history[-1] == (lan.now, "VI_1", "BACKUP")
    lan.run(60 * SECOND)
    assert lan.masters() == {"VI_1": ["b"]}  # held, although a would preempt


def test_release_lets_the_better_one_take_back_without_a_gap() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    command(lan, "b", "here")
    lan.run(5 * SECOND)
    assert command(lan, "b", "release").done
    assert not command(lan, "b", "release").done
    assert priority(lan, "b") == 100
    lan.run(5 * SECOND)
    assert lan.masters() == {"VI_1": ["a"]}


def test_a_hold_ends_by_itself() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    command(lan, "b", "here", for_ns=10 * SECOND)
    lan.run(9 * SECOND)
    assert lan.masters() == {"VI_1": ["b"]}
    lan.run(6 * SECOND)
    assert lan.masters() == {"VI_1": ["a"]}
    assert lan.hosts["b"].engine.slots[1].held is None
    assert ended(lan, "b") == [HoldNotice(name="VI_1", what="expired", cause="the end of --for")]


def test_away_goes_on_serving_until_another_has_taken_over() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    assert command(lan, "a", "away").done
    sent = lan.hosts["a"].sent[-1]
    assert sent[0] == lan.now
    assert sent[2] == 1
    asked_at = lan.now
    while lan.masters() == {"VI_1": ["a"]}:
        lan.run(10 * MILLISECOND)
    assert lan.masters() == {"VI_1": ["b"]}  # and never nobody
    assert lan.now - asked_at < 3_700 * MILLISECOND
    lan.run(60 * SECOND)
    assert lan.masters() == {"VI_1": ["b"]}


def test_away_with_nobody_there_stays_master_and_says_so() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    lan.kill("b")
    command(lan, "a", "away")
    lan.run(4 * SECOND)
    assert priority(lan, "a") == 1
    lan.run(SECOND)  # patience: 3 × 1 s + 1 s + 0.5 s
    assert priority(lan, "a") == 150
    assert lan.hosts["a"].engine.slots[1].held is None
    assert lan.masters() == {"VI_1": ["a"]}
    why = "nobody took over within 4.5 s: no backup listens, or theirs is nopreempt"
    assert ended(lan, "a") == [HoldNotice(name="VI_1", what="given up", cause=why)]


def test_away_from_a_peer_that_says_nopreempt_needs_force() -> None:
    lan = simple(preempt=False)
    lan.run(5 * SECOND)
    command(lan, "a", "away")
    lan.run(6 * SECOND)
    assert lan.masters() == {"VI_1": ["a"]}
    command(lan, "a", "away", force=True)
    assert lan.hosts["a"].sent[-1][2] == 0
    lan.run(SECOND)
    assert lan.masters() == {"VI_1": ["b"]}


def test_a_dry_run_and_what_cannot_work_change_nothing() -> None:
    lan = simple(255, 100, starts_as_owner=True)
    lan.run(5 * SECOND)
    before = list(lan.hosts["b"].history)
    answer = command(lan, "b", "here")
    assert (answer.done, answer.error) == (
        False, "VI_1: no priority up to 254 outranks 192.0.2.11 with priority 255",
    )  # fmt: skip
    lan = simple()
    lan.run(5 * SECOND)
    looked = command(lan, "b", "here", dry_run=True)
    assert not looked.done
    assert looked.precheck is not None
    assert looked.precheck.possible
    assert lan.masters() == {"VI_1": ["a"]}
    assert command(lan, "b", "away").error == "VI_1 is BACKUP"
    assert command(lan, "b", "here", "VI_9").error == "there is no instance VI_9"
    assert lan.hosts["b"].history == before


def test_a_hold_survives_a_reload_and_a_fault() -> None:
    lan = simple()
    lan.run(5 * SECOND)
    command(lan, "b", "here")
    b = lan.hosts["b"]
    other = msgspec.structs.replace(b.engine.plan.instances[0], priority=90)
    lan.carry_out(b, reload(b.engine, VrrpPlan(instances=(other,)), [b.interface], lan.now))
    assert priority(lan, "b") == 151
    lan.handle(b, InterfaceSeen(msgspec.structs.replace(b.interface, up=False)))
    assert b.history[-1][2] == "FAULT"
    lan.run(5 * SECOND)
    assert lan.masters() == {"VI_1": ["a"]}
    lan.handle(b, InterfaceSeen(b.interface))
    lan.run(10 * SECOND)
    assert lan.masters() == {"VI_1": ["b"]}  # the decision still holds


def test_a_sync_group_moves_as_one() -> None:
    def grouped(rank: int) -> VrrpPlan:
        members = (instance("V1", 1, rank), instance("V2", 2, rank))
        return VrrpPlan(instances=members, groups=(GroupConfig(name="G", members=("V1", "V2")),))

    lan = pair(grouped(150), grouped(100))
    lan.run(8 * SECOND)
    assert command(lan, "b", "here", "V1").done
    assert lan.masters() == {"V1": ["b"], "V2": ["b"]}
    lan.run(20 * SECOND)
    assert lan.masters() == {"V1": ["b"], "V2": ["b"]}
    command(lan, "b", "away", "V2")
    lan.run(5 * SECOND)
    assert lan.masters() == {"V1": ["a"], "V2": ["a"]}


def test_a_group_is_given_the_time_of_its_slowest_member() -> None:
    def grouped(rank: int) -> VrrpPlan:
        members = (instance("V1", 1, rank, adver_interval_ns=SECOND // 10), instance("V2", 2, rank))
        return VrrpPlan(instances=members, groups=(GroupConfig(name="G", members=("V1", "V2")),))

    lan = pair(grouped(150), grouped(100))
    lan.run(8 * SECOND)
    command(lan, "a", "away", "V1")
    lan.run(4 * SECOND)  # V2 of b: 3 × 1 s + 156/256 s
    assert lan.masters() == {"V1": ["b"], "V2": ["b"]}
    lan.kill("b")
    lan.run(5 * SECOND)
    assert lan.masters() == {"V1": ["a"], "V2": ["a"]}


def test_an_instance_without_a_peer_can_be_taken_and_held() -> None:
    lan = Lan(a=("192.0.2.11", VrrpPlan(instances=(instance(),))))
    lan.run(SECOND)
    assert command(lan, "a", "here").done
    assert lan.masters() == {"VI_1": ["a"]}
    lan.handle(lan.hosts["a"], InterfaceSeen(Interface(name="eth0", index=0)))
    assert command(lan, "a", "here").error.startswith("VI_1 is FAULT")
