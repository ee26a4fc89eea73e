"""VRRP version 2: one test a requirement of RFC 3768 §6, named by its section."""

import pytest

from holdfast.base.address import parse
from holdfast.vrrp.machine import Backup, Initialize, Left, Master, Standing, master_down_interval, skew_time
from holdfast.vrrp.messages import (
    Role,
    SendAdvert,
    Silence,
    Startup,
    StateChanged,
    TimerDue,
    WantAddresses,
    Withdrawn,
)
from tests.vrrp.routers import BACKUP, LOWER_PEER, MASTER, OURS, PEER, V2, S, at, but, heard

OWNER = but(V2, priority=255, starts_as_owner=True)


@pytest.mark.parametrize("interval_s", [1, 5, 255])
@pytest.mark.parametrize(
    ("priority", "skew"),
    [(255, 3_906_250), (254, 7_812_500), (150, 414_062_500), (100, 609_375_000), (1, 996_093_750)],
)
def test_rfc3768_6_1_skew_time_is_a_part_of_a_second_whatever_the_interval(
    priority: int, skew: int, interval_s: int
) -> None:
    assert skew_time(but(V2, adver_interval_ns=interval_s * S), priority, interval_s * S) == skew


@pytest.mark.parametrize(
    ("interval_s", "priority", "down"),
    [(1, 100, 3_609_375_000), (1, 254, 3_007_812_500), (5, 100, 15_609_375_000), (255, 1, 765_996_093_750)],
)
def test_rfc3768_6_1_master_down_interval(interval_s: int, priority: int, down: int) -> None:
    config = but(V2, adver_interval_ns=interval_s * S)
    assert master_down_interval(config, priority, interval_s * S) == down
    assert master_down_interval(config, priority, 7 * S) == down  # v2 learns nothing from the master


def test_rfc3768_6_4_1_an_owner_becomes_master_at_once() -> None:
    assert at(10 * S, Initialize(), Startup(), OWNER, Standing(255, OURS)) == (
        Master(11 * S),
        (SendAdvert(255), WantAddresses(True), StateChanged(Role.MASTER, "address owner (priority 255)")),
    )


def test_rfc3768_6_4_1_anybody_else_waits_master_down_interval_as_backup() -> None:
    assert at(10 * S, Initialize(), Startup(), but(V2, state_master=True)) == (
        Backup(13_609_375_000, S),
        (StateChanged(Role.BACKUP, "started"),),
    )


def test_rfc3768_6_4_2_shutdown_says_nothing_on_the_wire() -> None:
    after, effects = at(10 * S, BACKUP, Withdrawn(Role.STOP, "stopped"), V2)
    assert (after, effects) == (Left(), (StateChanged(Role.STOP, "stopped"),))


def test_rfc3768_6_4_2_master_down_timer_makes_master() -> None:
    assert at(12 * S, BACKUP, TimerDue(), V2) == (
        Master(13 * S),
        (SendAdvert(100), WantAddresses(True), StateChanged(Role.MASTER, "no master heard")),
    )


def test_rfc3768_6_4_2_not_a_nanosecond_earlier() -> None:
    assert at(12 * S - 1, BACKUP, TimerDue(), V2) == (BACKUP, ())


@pytest.mark.parametrize("preempt", [True, False])
def test_rfc3768_6_4_2_priority_zero_waits_skew_time(preempt: bool) -> None:
    config = but(V2, preempt=preempt, adver_interval_ns=5 * S)
    assert at(10 * S, Backup(12 * S, 5 * S, PEER, 150), heard(0, interval_ns=5 * S), config) == (
        Backup(10_609_375_000, 5 * S, PEER, 150),
        (),
    )


@pytest.mark.parametrize(("priority", "source"), [(255, PEER), (101, PEER), (100, PEER), (100, LOWER_PEER)])
def test_rfc3768_6_4_2_priority_at_least_ours_restarts_the_timer(priority: int, source: bytes) -> None:
    assert at(10 * S, BACKUP, heard(priority, source), V2) == (
        Backup(13_609_375_000, S, type(PEER)(source), priority),
        (),
    )


def test_rfc3768_6_4_2_lower_priority_is_discarded_the_timer_runs_on() -> None:
    for priority in (99, 1):
        assert at(10 * S, BACKUP, heard(priority), V2) == (Backup(12 * S, S, PEER, priority), ())


def test_rfc3768_6_4_2_without_preempt_lower_priority_restarts_the_timer() -> None:
    assert at(10 * S, BACKUP, heard(99), but(V2, preempt=False)) == (Backup(13_609_375_000, S, PEER, 99), ())


def test_rfc3768_6_4_3_shutdown_sends_priority_zero() -> None:
    assert at(10 * S, MASTER, Withdrawn(Role.STOP, "stopped"), V2) == (
        Left(),
        (SendAdvert(0), Silence(), WantAddresses(False), StateChanged(Role.STOP, "stopped")),
    )


def test_rfc3768_6_4_3_adver_timer_sends_an_advert() -> None:
    assert at(10_200_000_000, MASTER, TimerDue(), V2) == (Master(11_200_000_000), (SendAdvert(100),))
    assert at(10_199_999_999, MASTER, TimerDue(), V2) == (MASTER, ())


def test_rfc3768_6_4_3_priority_zero_is_answered_at_once() -> None:
    assert at(10 * S, MASTER, heard(0), V2) == (Master(11 * S), (SendAdvert(100),))


@pytest.mark.parametrize(
    ("priority", "source", "cause"),
    [
        (101, LOWER_PEER, "192.0.2.10 advertises priority 101, we have 100"),
        (255, PEER, "192.0.2.12 advertises priority 255, we have 100"),
        (100, PEER, "192.0.2.12 advertises our priority 100 and has the higher address"),
    ],
)
def test_rfc3768_6_4_3_a_better_master_makes_backup(priority: int, source: bytes, cause: str) -> None:
    assert at(10 * S, MASTER, heard(priority, source), V2) == (
        Backup(13_609_375_000, S, type(PEER)(source), priority),
        (Silence(), WantAddresses(False), StateChanged(Role.BACKUP, cause)),
    )


@pytest.mark.parametrize(("priority", "source"), [(99, PEER), (1, PEER), (100, LOWER_PEER), (100, OURS), (99, OURS)])
def test_rfc3768_6_4_3_any_other_advert_changes_nothing_of_the_state(priority: int, source: bytes) -> None:
    after, effects = at(10 * S, MASTER, heard(priority, source), V2)
    assert isinstance(after, Master)
    assert not {type(effect) for effect in effects} & {WantAddresses, StateChanged, Silence}


def test_rfc3768_6_4_3_preempt_or_not_a_master_yields_to_the_better() -> None:
    after, _ = at(10 * S, MASTER, heard(101), but(V2, preempt=False))
    assert after == Backup(13_609_375_000, S, PEER, 101)


def test_rfc3768_6_4_3_addresses_compare_as_unsigned_numbers() -> None:
    standing = Standing(100, parse("127.0.0.1"))
    assert isinstance(at(10 * S, MASTER, heard(100, parse("128.0.0.1")), V2, standing)[0], Backup)
    standing = Standing(100, parse("9.255.255.255"))
    assert isinstance(at(10 * S, MASTER, heard(100, parse("10.0.0.0")), V2, standing)[0], Backup)


def test_rfc3768_6_4_2_the_interval_is_configured_never_learnt() -> None:
    assert at(10 * S, BACKUP, heard(150, interval_ns=7 * S), V2)[0] == Backup(13_609_375_000, S, PEER, 150)
    assert at(10 * S, MASTER, heard(150, interval_ns=7 * S), V2)[0] == Backup(13_609_375_000, S, PEER, 150)
