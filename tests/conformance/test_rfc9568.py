"""VRRP version 3: one test a requirement of RFC 9568 (and 5798) §6 where it says more than RFC 3768."""

import pytest

from holdfast.base.address import parse
from holdfast.vrrp.machine import Backup, Initialize, Left, Master, Standing, master_down_interval, skew_time
from holdfast.vrrp.messages import (
    Announce,
    RivalHeard,
    Role,
    SendAdvert,
    Silence,
    Startup,
    StateChanged,
    TimerDue,
    WantAddresses,
    Withdrawn,
)
from tests.vrrp.routers import BACKUP, LOWER_PEER, MASTER, OURS, PEER, V3, S, at, but, heard

MS = 1_000_000


@pytest.mark.parametrize(
    ("interval_ms", "priority", "skew"),
    [
        (1000, 255, 3_906_250),
        (1000, 254, 7_812_500),
        (1000, 150, 414_062_500),
        (1000, 100, 609_375_000),
        (1000, 1, 996_093_750),
        (500, 100, 304_687_500),
        (300, 100, 182_812_500),
        (10, 100, 6_093_750),
        (10, 255, 39_062),
        (10, 1, 9_960_937),
        (40_950, 1, 40_790_039_062),
    ],
)
def test_rfc9568_6_1_skew_time_is_a_part_of_the_masters_interval_fractions_kept(
    interval_ms: int, priority: int, skew: int
) -> None:
    assert skew_time(V3, priority, interval_ms * MS) == skew


@pytest.mark.parametrize(
    ("interval_ms", "priority", "down"),
    [(1000, 100, 3_609_375_000), (500, 150, 1_707_031_250), (10, 100, 36_093_750), (40_950, 1, 163_640_039_062)],
)
def test_rfc9568_6_1_active_down_interval(interval_ms: int, priority: int, down: int) -> None:
    assert master_down_interval(V3, priority, interval_ms * MS) == down


def test_rfc9568_6_4_1_an_owner_becomes_active_at_once() -> None:
    config = but(V3, priority=255, starts_as_owner=True, adver_interval_ns=10 * MS)
    after, effects = at(10 * S, Initialize(), Startup(), config, Standing(255, OURS))
    assert after == Master(10_010_000_000)
    assert effects[:2] == (SendAdvert(255), WantAddresses(True))


def test_rfc9568_6_4_1_a_backup_begins_with_its_own_interval() -> None:
    config = but(V3, adver_interval_ns=500 * MS)
    after, effects = at(10 * S, Initialize(), Startup(), config)
    assert after == Backup(11_804_687_500, 500 * MS)
    assert effects == (StateChanged(Role.BACKUP, "started"),)


def test_rfc9568_6_4_2_shutdown_says_nothing_on_the_wire() -> None:
    after, effects = at(10 * S, BACKUP, Withdrawn(Role.STOP, "stopped"))
    assert (after, effects) == (Left(), (StateChanged(Role.STOP, "stopped"),))


def test_rfc9568_6_4_2_the_advert_goes_first_the_neighbours_hear_when_the_addresses_are_there() -> None:
    after, effects = at(12 * S, BACKUP, TimerDue())
    assert after == Master(13 * S)
    assert effects == (SendAdvert(100), WantAddresses(True), StateChanged(Role.MASTER, "no master heard"))


def test_rfc9568_6_4_2_becoming_active_it_sends_at_its_own_interval() -> None:
    config = but(V3, adver_interval_ns=2 * S)
    after, _ = at(12 * S, Backup(12 * S, 300 * MS, PEER, 150), TimerDue(), config)
    assert after == Master(14 * S)


def test_rfc9568_6_4_2_priority_zero_waits_skew_time_of_the_learnt_interval() -> None:
    # the recorded case: the master at 30 cs resigns, a backup of priority 100 waits 183 ms
    after, effects = at(10 * S, Backup(10_900_000_000, 300 * MS, PEER, 150), heard(0, interval_ns=300 * MS))
    assert (after, effects) == (Backup(10_182_812_500, 300 * MS, PEER, 150), ())


def test_rfc9568_6_4_2_an_accepted_advert_teaches_the_interval() -> None:
    after, effects = at(10 * S, BACKUP, heard(150, interval_ns=300 * MS))
    assert (after, effects) == (Backup(11_082_812_500, 300 * MS, PEER, 150), ())


def test_rfc9568_6_4_2_equal_priority_is_accepted_whatever_the_address() -> None:
    for source in (PEER, LOWER_PEER):
        after, _ = at(10 * S, BACKUP, heard(100, source, 2 * S))
        assert after == Backup(17_218_750_000, 2 * S, type(PEER)(source), 100)


def test_rfc9568_6_4_2_a_discarded_advert_teaches_nothing() -> None:
    assert at(10 * S, BACKUP, heard(99, interval_ns=300 * MS)) == (Backup(12 * S, S, PEER, 99), ())


def test_rfc9568_6_4_2_without_preempt_a_lower_priority_teaches_too() -> None:
    after, _ = at(10 * S, BACKUP, heard(1, interval_ns=300 * MS), but(V3, preempt=False))
    assert after == Backup(11_082_812_500, 300 * MS, PEER, 1)


def test_rfc9568_6_4_3_shutdown_sends_priority_zero() -> None:
    after, effects = at(10 * S, MASTER, Withdrawn(Role.STOP, "stopped"))
    assert after == Left()
    assert effects == (SendAdvert(0), Silence(), WantAddresses(False), StateChanged(Role.STOP, "stopped"))


def test_rfc9568_6_4_3_priority_zero_is_answered_at_once() -> None:
    assert at(10 * S, MASTER, heard(0), but(V3, adver_interval_ns=500 * MS)) == (
        Master(10_500_000_000),
        (SendAdvert(100),),
    )


def test_rfc9568_6_4_3_a_better_one_is_yielded_to_and_its_interval_learnt() -> None:
    after, effects = at(10 * S, MASTER, heard(150, interval_ns=500 * MS))
    assert after == Backup(11_804_687_500, 500 * MS, PEER, 150)
    cause = "192.0.2.12 advertises priority 150, we have 100"
    assert effects == (Silence(), WantAddresses(False), StateChanged(Role.BACKUP, cause))


@pytest.mark.parametrize(
    ("ours", "theirs", "yields"),
    [
        ("fe80::b", "fe80::a", False),
        ("fe80::a", "fe80::b", True),
        ("fe80::7fff", "fe80::8000", True),
        ("fe80::a", "fe80::a", False),
        ("fe80::ffff:ffff:ffff:ffff", "fe80:0:0:1::", True),
        ("192.0.2.12", "192.0.2.11", False),
        ("127.255.255.255", "128.0.0.0", True),
    ],
)
def test_rfc9568_6_4_3_a_tie_goes_to_the_greater_address_unsigned(ours: str, theirs: str, yields: bool) -> None:
    after, _ = at(10 * S, MASTER, heard(100, parse(theirs)), standing=Standing(100, parse(ours)))
    assert isinstance(after, Backup) is yields


def test_rfc9568_6_4_3_a_lesser_one_is_answered_at_once() -> None:
    for priority, source in ((99, PEER), (1, PEER), (100, LOWER_PEER)):
        assert at(10 * S, MASTER, heard(priority, source)) == (
            Master(11 * S),
            (SendAdvert(100), Announce("rival"), RivalHeard(type(PEER)(source), priority)),
        )


def test_rfc9568_6_4_3_back_as_backup_it_forgets_what_it_had_learnt_before() -> None:
    """From backup of a 30 cs master to master and, by a fresh start, to backup: its own interval counts again."""
    master, _ = at(12 * S, Backup(12 * S, 300 * MS, PEER, 150), TimerDue())
    after, _ = at(12_500_000_000, master, heard(150, interval_ns=S))
    assert after == Backup(16_109_375_000, S, PEER, 150)
