"""The table of CARP's machine: 192.0.2.5 with advbase 1, advskew 100 (1.390625 s) unless the row says otherwise."""

from typing import Any

import msgspec
import pytest

from holdfast.base.address import Address
from holdfast.carp.config import CarpTerms, advertised, down_interval_ns, interval_ns, priority_of
from holdfast.carp.machine import ROWS, step
from holdfast.vrrp import messages
from holdfast.vrrp.messages import (
    AdvertReceived,
    Faulted,
    GroupOrders,
    RivalHeard,
    Role,
    SendAdvert,
    Slept,
    StateChanged,
    TakeOver,
    TimerDue,
    WantAddresses,
    Withdrawn,
)
from holdfast.vrrp.states import Backup, Fault, Initialize, Left, Master
from tests.carp.scenes import LOWER, NOW, OURS, THEIRS, backup, instance, standing

MS = 1_000_000
S = 1_000 * MS
OWN_NS = 1_390_625_000
DOWN_NS = 3_390_625_000
FAREWELL_NS = 255_996_093_750


def advert(interval_ns: int, source: Address = THEIRS, priority: int = 200) -> AdvertReceived:
    return AdvertReceived(priority, source, interval_ns)


HEARD: list[tuple[str, bool, AdvertReceived, str]] = [
    ("faster, preempt", True, advert(1_000 * MS), "waits"),
    ("faster", False, advert(1_000 * MS), "waits"),
    ("equal, from a lower address", True, advert(OWN_NS, LOWER), "waits"),
    ("equal, from a higher address", True, advert(OWN_NS), "waits"),
    ("slower by one skew, preempt", True, advert(1_394_531_250), "master"),
    ("slower by one skew", False, advert(1_394_531_250), "waits"),
    ("as slow as our patience", False, advert(DOWN_NS), "waits"),
    ("going to time out", False, advert(DOWN_NS + 1), "master"),
    ("farewell", False, advert(FAREWELL_NS, priority=0), "master"),
]


@pytest.mark.parametrize(("preempt", "event", "outcome"), [row[1:] for row in HEARD], ids=[row[0] for row in HEARD])
def test_backup_hears(preempt: bool, event: AdvertReceived, outcome: str) -> None:
    config = instance(preempt=preempt)
    after, effects = step(config, standing(config), backup(), event, NOW)
    if outcome == "master":
        assert after == Master(NOW + OWN_NS)
        assert effects[:2] == (SendAdvert(154), WantAddresses(True))
    else:
        assert after == Backup(NOW + DOWN_NS, event.adver_interval_ns, event.source, event.priority)
        assert effects == ()


MET: list[tuple[str, AdvertReceived, str]] = [
    ("faster", advert(1_386_718_750), "yields"),
    ("slower", advert(1_394_531_250), "answers"),
    ("equal, from a lower address", advert(OWN_NS, LOWER), "yields"),
    ("equal, from a higher address", advert(OWN_NS, THEIRS), "answers"),
    ("farewell", advert(FAREWELL_NS, priority=0), "sends"),
    ("from our own address", advert(OWN_NS, OURS), "notes"),
]


@pytest.mark.parametrize(("event", "outcome"), [row[1:] for row in MET], ids=[row[0] for row in MET])
def test_master_hears(event: AdvertReceived, outcome: str) -> None:
    config = instance()
    after, effects = step(config, standing(config), Master(NOW + 700 * MS), event, NOW)
    kinds = [effect.__class__.__name__ for effect in effects]
    if outcome == "yields":
        assert after == Backup(NOW + DOWN_NS, event.adver_interval_ns, event.source, event.priority)
        assert kinds == ["Silence", "WantAddresses", "StateChanged"]
    elif outcome == "answers":
        assert after == Master(NOW + OWN_NS)
        assert kinds == ["SendAdvert", "Announce", "RivalHeard"]
        assert effects[-1] == RivalHeard(event.source, event.priority)
    elif outcome == "sends":
        assert (after, effects) == (Master(NOW + OWN_NS), (SendAdvert(154),))
    else:
        assert (after, kinds) == (Master(NOW + 700 * MS), ["Note"])


def test_a_silent_master_is_succeeded_on_time_and_not_before() -> None:
    config = instance()
    before = backup()
    assert step(config, standing(config), before, TimerDue(), NOW + 999 * MS) == (before, ())
    after, effects = step(config, standing(config), before, TimerDue(), NOW + S)
    assert after == Master(NOW + S + OWN_NS)
    assert effects[-1] == StateChanged(Role.MASTER, "192.0.2.9 fell silent")


def test_whoever_was_not_running_listens_first() -> None:
    config = instance()
    after, _ = step(config, standing(config), backup(), TimerDue(), NOW + 3 * S)
    assert isinstance(after, Backup)
    assert after.listening
    assert after.master_down_at == NOW + 3 * S + DOWN_NS
    late = Master(NOW)  # its last advert was at NOW - 1.39 s: after 3 s of silence a peer may lead
    stays, _ = step(config, standing(config), late, TimerDue(), NOW + 1600 * MS)
    assert isinstance(stays, Master)
    back, effects = step(config, standing(config), late, TimerDue(), NOW + 1610 * MS)
    assert back == Backup(NOW + 1610 * MS + 2 * S, OWN_NS, listening=True)
    assert WantAddresses(False) in effects
    assert isinstance(step(config, standing(config), Master(NOW + S), Slept(3 * S), NOW)[0], Backup)


def test_preempt_delay_runs_once_and_ends_in_a_take_over() -> None:
    config = instance(preempt=True, preempt_delay_ns=5 * S)
    slower = advert(1_500 * MS)
    after, effects = step(config, standing(config), backup(), slower, NOW)
    assert isinstance(after, Backup)
    assert (after.preempt_at, effects) == (NOW + 5 * S, ())
    after, _ = step(config, standing(config), after, slower, NOW + 4 * S)
    assert isinstance(after, Backup)
    assert after.preempt_at == NOW + 5 * S
    assert isinstance(step(config, standing(config), after, slower, NOW + 5 * S)[0], Master)


def test_a_sync_group_holds_back() -> None:
    config = instance(preempt=True)
    held = standing(config, may_lead=False)
    for event in (advert(FAREWELL_NS, priority=0), advert(1_500 * MS)):
        after, effects = step(config, held, backup(), event, NOW)
        assert isinstance(after, Backup)
        assert (after.wants_master, effects) == (True, ())
    assert isinstance(step(config, held, backup(), GroupOrders(Role.MASTER, "all"), NOW)[0], Master)
    after, effects = step(config, held, Master(NOW + S), GroupOrders(Role.BACKUP, "all"), NOW)
    assert isinstance(after, Backup)
    assert effects[0] == SendAdvert(0)


@pytest.mark.parametrize("event", [Faulted("no link"), Withdrawn(Role.STOP, "ends")], ids=["fault", "stop"])
def test_a_leaving_master_says_farewell(event: Any) -> None:
    config = instance()
    after, effects = step(config, standing(config), Master(NOW + S), event, NOW)
    assert isinstance(after, Fault | Left)
    assert effects[0] == SendAdvert(0)
    assert WantAddresses(False) in effects
    _, effects = step(config, standing(config), backup(), event, NOW)
    assert SendAdvert(0) not in effects


def test_an_operator_takes_over_from_anyone() -> None:
    config = instance(advskew=0)
    after, effects = step(config, msgspec.structs.replace(standing(config), priority=255), backup(), TakeOver("me"), NOW)
    assert after == Master(NOW + 996_093_750)  # advbase 0, advskew 255: faster than 1 s
    assert effects[0] == SendAdvert(255)


def test_every_state_has_a_row_for_every_event() -> None:
    events = [e for e in vars(messages).values() if isinstance(e, type) and issubclass(e, messages.Event)]
    events.remove(messages.Event)
    assert {(s, e) for s in (Initialize, Backup, Master, Fault, Left) for e in events} == set(ROWS)


@pytest.mark.parametrize(
    ("advskew", "demotion", "priority"), [(0, 0, 254), (10, 5, 239), (100, 240, 14), (253, 0, 1), (250, 20, 4)]
)
def test_a_skew_stands_as_a_priority(advskew: int, demotion: int, priority: int) -> None:
    terms = CarpTerms(advskew=advskew, demotion=demotion)
    assert terms.priority == priority
    assert advertised(terms, priority) == (1, 254 - priority)


def test_times_and_what_stands_for_them() -> None:
    terms = CarpTerms(advbase=2, advskew=128, dead_ratio=4)
    assert interval_ns(terms, 126) == 2_500 * MS
    assert down_interval_ns(terms, 126) == 8_500 * MS
    assert advertised(terms, 0) == (255, 255)
    assert advertised(terms, 255) == (1, 255)
    assert [priority_of(*pair) for pair in ((255, 255), (1, 0), (1, 253), (1, 255), (255, 0))] == [0, 254, 1, 1, 254]
