"""What a BFD session does to the routers that track it, and when a backup takes over because of one."""

import pytest

from holdfast.base.address import parse
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.bfd.config import SessionConfig
from holdfast.config.plan import VrrpPlan
from holdfast.engine.engine import Engine
from holdfast.engine.messages import AdvertArrived, Interface, Tell, TrackerNotice, TrackerReported
from holdfast.engine.record import RecordedEngine
from holdfast.engine.replay import file_octets, read, replay, restored
from holdfast.vrrp.config import TrackedUse
from holdfast.vrrp.messages import Role
from tests.engine.lan import Lan
from tests.engine.test_engine import instance, pair
from tests.engine.test_record import HEADER


def plan(priority: int, neighbor: str, weight: int = 0, reverse: bool = False, preempt: bool = True) -> VrrpPlan:
    use = TrackedUse(kind="bfd", name="p", weight=weight, reverse=reverse)
    return VrrpPlan(
        instances=(
            instance(priority=priority, preempt=preempt, trackers=(use,)),
        ),
        bfd=(SessionConfig(name="p", neighbor=parse(neighbor)),),
    )


def told(lan: Lan, up: bool, *hosts: str) -> None:
    for name in hosts:
        lan.handle(lan.hosts[name], TrackerReported("bfd", "p", up, "because"))


def test_a_session_is_waited_for_and_its_end_is_a_fault() -> None:
    lan = Lan(a=("192.0.2.11", plan(100, "192.0.2.99")))
    a = lan.hosts["a"]
    lan.run(SECOND)
    assert a.history == []
    told(lan, False, "a")
    assert a.engine.slots[1].faults == ("bfd p is down",)
    told(lan, True, "a")
    lan.run(5 * SECOND)
    told(lan, False, "a")
    assert [state for _, _, state in a.history] == ["FAULT", "BACKUP", "MASTER", "FAULT"]
    notices = [e.notice for e in a.effects if isinstance(e, Tell) and isinstance(e.notice, TrackerNotice)]
    assert [(one.kind, one.name, one.up, one.detail, one.instances) for one in notices] == [
        ("bfd", "p", False, "because", ("VI_1",)), ("bfd", "p", True, "because", ("VI_1",)),
        ("bfd", "p", False, "because", ("VI_1",)),
    ]  # fmt: skip


def test_a_session_nobody_tracks_is_told_all_the_same() -> None:
    """Checks of real servers go by it."""
    lan = Lan(a=("192.0.2.11", VrrpPlan(bfd=(SessionConfig(name="p", neighbor=parse("192.0.2.99")),))))
    told(lan, True, "a")
    notices = [e.notice for e in lan.hosts["a"].effects if isinstance(e, Tell) and isinstance(e.notice, TrackerNotice)]
    assert [(one.name, one.up, one.instances) for one in notices] == [("p", True, ())]


@pytest.mark.parametrize(
    ("priority", "neighbor", "weight", "reverse", "moves"),
    [
        (100, "192.0.2.11", 60, True, True),  # 40, and 100 without the session; the master has 150 less 60
        (80, "192.0.2.11", -60, True, True),  # 80, and 140
        (20, "192.0.2.11", 60, False, False),  # 80, and 20: it loses by it
        (80, "192.0.2.11", 60, True, False),  # 20, and 80 do not outrank 90
        (100, "192.0.2.77", 60, True, False),  # somebody else's session
    ],
)
def test_who_takes_over_at_once(priority: int, neighbor: str, weight: int, reverse: bool, moves: bool) -> None:
    lan = pair(plan(150, "192.0.2.12", 60, True), plan(priority, neighbor, weight, reverse))
    told(lan, True, "a", "b")
    lan.run(10 * SECOND)
    assert lan.masters() == {"VI_1": ["a"]}
    lan.kill("a")
    told(lan, False, "b")
    assert (lan.hosts["b"].history[-1][2] == "MASTER") is moves
    lan.run(10 * MILLISECOND)
    assert (lan.hosts["b"].history[-1][2] == "MASTER") is moves


def test_a_session_that_only_costs_priority_is_no_word_on_the_master() -> None:
    """200 less 10 outranks the master as 200 did: `nopreempt` waits for its adverts to be missing."""
    lan = pair(plan(150, "192.0.2.12"), plan(200, "192.0.2.11", -10, preempt=False))
    told(lan, True, "a")
    lan.run(10 * SECOND)
    told(lan, True, "b")
    lan.run(10 * SECOND)
    assert lan.masters() == {"VI_1": ["a"]}
    told(lan, False, "b")
    assert lan.masters() == {"VI_1": ["a"]}


def test_a_master_that_lives_gives_way_to_it() -> None:
    lan = pair(plan(150, "192.0.2.12", 60, True), plan(100, "192.0.2.11", 60, True))
    told(lan, True, "a", "b")
    lan.run(10 * SECOND)
    told(lan, False, "b")  # a's session stays: 90 against 100
    lan.run(2 * SECOND)
    assert lan.masters() == {"VI_1": ["b"]}
    told(lan, False, "a")
    lan.run(10 * SECOND)
    assert lan.masters() == {"VI_1": ["a"]}


def test_decided_again_it_comes_out_the_same() -> None:
    now = 1_000 * SECOND
    engine = RecordedEngine(plan(100, "192.0.2.11", 60, True), now)
    engine.begin([Interface(name="eth0", index=2, up=True, addresses=(parse("192.0.2.12"),))], now)
    advert = AdvertArrived(slot=1, priority=90, source=parse("192.0.2.11"), adver_interval_ns=SECOND)
    for event in (told_up := TrackerReported("bfd", "p", True), advert, advert, TrackerReported("bfd", "p", False), told_up):
        now += 100 * MILLISECOND
        engine.handle(event, now)
    assert engine.slots[1].role is Role.MASTER
    recording = read(file_octets(HEADER, b"".join(engine.frames())))
    assert replay(recording, restored(recording, Engine)).difference is None
