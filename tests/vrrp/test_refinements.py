"""What operators ask for beyond the RFC, and what a machine that was not running does; every deadline written out."""

from typing import Any

import pytest

from holdfast.base.address import parse
from holdfast.vrrp.config import AnnounceConfig, InstanceConfig, UnicastPeer
from holdfast.vrrp.machine import (
    Backup,
    Fault,
    Initialize,
    Left,
    Master,
    Standing,
    State,
    Step,
    fresh_backup,
    master_down_interval,
    stall_limit,
    step,
)
from holdfast.vrrp.messages import (
    Announce,
    Effect,
    FaultCleared,
    Faulted,
    GroupOrders,
    Level,
    Note,
    RivalHeard,
    Role,
    SendAdvert,
    Silence,
    Slept,
    Startup,
    StateChanged,
    TimerDue,
    WantAddresses,
)
from tests.vrrp.routers import BACKUP, LOWER_PEER, MASTER, OURS, PEER, STANDING, V2, V3, S, at, but, heard

MS = 1_000_000
OWNER = Standing(255, OURS)


# ---- election -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [V2, V3])
@pytest.mark.parametrize(("adverts", "down"), [(1, 1_609_375_000), (3, 3_609_375_000), (5, 5_609_375_000)])
def test_down_timer_adverts_takes_the_place_of_three(config: InstanceConfig, adverts: int, down: int) -> None:
    patient = but(config, down_timer_adverts=adverts)
    assert master_down_interval(patient, 100, S) == down
    assert fresh_backup(patient, STANDING, 10 * S) == Backup(10 * S + down, S)
    assert at(10 * S, BACKUP, heard(150), patient)[0] == Backup(10 * S + down, S, PEER, 150)


def test_the_effective_priority_counts_not_the_configured() -> None:
    raised = Standing(200, OURS)
    assert at(10 * S, Initialize(), Startup(), standing=raised)[0] == Backup(13_218_750_000, S)
    assert at(10 * S, BACKUP, heard(150), standing=raised)[0] == Backup(12 * S, S, PEER, 150)
    assert at(10_200_000_000, MASTER, TimerDue(), standing=raised)[1] == (SendAdvert(200),)
    assert at(10 * S, MASTER, heard(150), standing=raised)[1][0] == SendAdvert(200)
    assert at(12 * S, BACKUP, TimerDue(), standing=raised)[1][0] == SendAdvert(200)


def test_a_preempting_backup_waits_for_its_own_timer() -> None:
    """Adverts of a lower master every second from 0.5 s on do not push the deadline away (recorded of keepalived)."""
    state: State = Backup(3_414_062_500, S)
    standing = Standing(150, OURS)
    for now in (500 * MS, 1500 * MS, 2500 * MS):
        state, effects = at(now, state, heard(100), standing=standing)
        assert (state, effects) == (Backup(3_414_062_500, S, PEER, 100), ())
    state, effects = at(3_414_062_500, state, TimerDue(), standing=standing)
    assert state == Master(4_414_062_500)
    assert effects[-1] == StateChanged(Role.MASTER, "priority 150 outranks 192.0.2.12's 100")


def test_nopreempt_waits_as_long_as_anybody_speaks_and_takes_over_from_silence() -> None:
    config, standing = but(V3, preempt=False), Standing(150, OURS)
    state: State = Backup(3_414_062_500, S)
    state, _ = at(3 * S, state, heard(100), config, standing)
    assert state == Backup(6_414_062_500, S, PEER, 100)
    assert at(6_414_062_499, state, TimerDue(), config, standing) == (state, ())
    after, effects = at(6_414_062_500, state, TimerDue(), config, standing)
    assert after == Master(7_414_062_500)
    assert effects[-1] == StateChanged(Role.MASTER, "192.0.2.12 fell silent or resigned")


def test_preempt_delay_counts_from_the_first_lower_advert() -> None:
    """Delay 2 s, priority 150, a lower master every 0.5 s: until 2.1 s it is accepted, then the timer runs out."""
    config = but(V3, preempt_delay_ns=2 * S, adver_interval_ns=500 * MS)
    standing = Standing(150, OURS)
    state: State = Backup(1_707_031_250, 500 * MS)
    expected = [
        (100 * MS, Backup(1_807_031_250, 500 * MS, PEER, 100, 2100 * MS)),
        (600 * MS, Backup(2_307_031_250, 500 * MS, PEER, 100, 2100 * MS)),
        (1600 * MS, Backup(3_307_031_250, 500 * MS, PEER, 100, 2100 * MS)),
        (2_099_999_999, Backup(3_807_031_249, 500 * MS, PEER, 100, 2100 * MS)),
        (2100 * MS, Backup(3_807_031_249, 500 * MS, PEER, 100, 2100 * MS)),
        (2600 * MS, Backup(3_807_031_249, 500 * MS, PEER, 100, 2100 * MS)),
    ]
    for now, after in expected:
        state, effects = at(now, state, heard(100, PEER, 500 * MS), config, standing)
        assert (state, effects) == (after, ()), now
    assert at(3_807_031_249, state, TimerDue(), config, standing)[0] == Master(4_307_031_249)


def test_preempt_delay_begins_afresh_after_a_better_master() -> None:
    config = but(V3, preempt_delay_ns=2 * S)
    delayed = Backup(12 * S, S, PEER, 50, 11 * S)
    assert at(10 * S, delayed, heard(150), config)[0] == Backup(13_609_375_000, S, PEER, 150)
    assert at(10 * S, BACKUP, heard(50), config)[0] == Backup(13_609_375_000, S, PEER, 50, 12 * S)


def test_preempt_delay_does_not_hold_back_when_the_master_resigns() -> None:
    delayed = Backup(12 * S, S, PEER, 50, 11 * S)
    after, _ = at(10 * S, delayed, heard(0), but(V3, preempt_delay_ns=2 * S))
    assert after == Backup(10_609_375_000, S, PEER, 50, 11 * S)


# ---- master and rivals ----------------------------------------------------------------------------------------------

RIVAL = (Announce("rival"), RivalHeard(PEER, 50))


@pytest.mark.parametrize(
    ("config", "after", "effects"),
    [
        (V3, Master(11 * S), (SendAdvert(100), *RIVAL)),
        (but(V3, lower_prio_no_advert=True), MASTER, RIVAL),
        (but(V3, strict=True, lower_prio_no_advert=True), MASTER, RIVAL[1:]),
        (but(V3, strict=True), Master(11 * S), (SendAdvert(100), RIVAL[1])),
        (but(V3, announce=AnnounceConfig(lower_prio_repeat=0)), Master(11 * S), (SendAdvert(100), RIVAL[1])),
    ],
)
def test_a_rival_of_lower_rank(config: InstanceConfig, after: State, effects: tuple[Effect, ...]) -> None:
    assert at(10 * S, MASTER, heard(50), config) == (after, effects)


def test_without_an_address_of_its_own_a_master_does_not_yield_in_a_tie() -> None:
    after, effects = at(10 * S, MASTER, heard(100), standing=Standing(100, None))
    assert after == Master(11 * S)
    assert RivalHeard(PEER, 100) in effects


def test_a_master_yields_with_a_last_word_when_told_to() -> None:
    after, effects = at(10 * S, MASTER, heard(150), but(V3, higher_prio_send_advert=True))
    assert after == Backup(13_609_375_000, S, PEER, 150)
    assert effects[:3] == (SendAdvert(100), Silence(), WantAddresses(False))


@pytest.mark.parametrize("priority", [100, 99])
def test_its_own_advert_come_back_is_remarked_and_nothing_more(priority: int) -> None:
    words = "our own address 192.0.2.11 sent an advert of our VRID: a loop, or a copy of us"
    assert at(10 * S, MASTER, heard(priority, OURS)) == (MASTER, (Note(Level.WARNING, words),))


def test_of_two_owners_the_lower_address_yields() -> None:
    assert isinstance(at(10 * S, MASTER, heard(255, PEER), standing=OWNER)[0], Backup)
    assert isinstance(at(10 * S, MASTER, heard(255, LOWER_PEER), standing=OWNER)[0], Master)


def owner_heard(now_ms: int, state: State, interval_ms: int = 1000, **changes: Any) -> Step:
    config = but(V3, priority=255, **changes)
    return at(now_ms * 1_000_000, state, heard(255, LOWER_PEER, interval_ms * 1_000_000), config, OWNER)


def test_an_owner_of_higher_address_gives_way_to_one_that_does_not() -> None:
    """Heard at 10 s, 11 s, 12 s: 1.2 s after the first it had the time to hear us."""
    words = (
        "192.0.2.10 is address owner (priority 255) too, which only one router can be: give one of the two another "
        "priority; unless it gives way within 1.2 s, we do"
    )
    first, effects = owner_heard(10_000, MASTER)
    assert first == Master(11 * S, 10 * S)
    assert effects == (
        SendAdvert(255),
        Announce("rival"),
        Note(Level.ERROR, words),
        RivalHeard(LOWER_PEER, 255),
    )
    timed, effects = at(11 * S, first, TimerDue(), standing=OWNER)
    assert (timed, effects) == (Master(12 * S, 10 * S), (SendAdvert(255),))
    second, effects = owner_heard(11_199, timed)
    assert second == Master(12_199_000_000, 10 * S)
    assert effects == (SendAdvert(255), Announce("rival"), RivalHeard(LOWER_PEER, 255))
    third, effects = owner_heard(11_200, second)
    cause = (
        "192.0.2.10 advertises our priority 255 and does not give way; only one router can be address owner: give one "
        "of the two another priority"
    )
    assert effects == (Silence(), WantAddresses(False), StateChanged(Role.BACKUP, cause))
    assert third == Backup(14_203_906_250, S, LOWER_PEER, 255)
    assert owner_heard(12_200, third)[1] == ()
    assert at(16 * S, third, TimerDue(), standing=OWNER)[0] == Backup(19_003_906_250, S, LOWER_PEER, 255, listening=True)
    assert isinstance(at(14_203_906_250, third, TimerDue(), standing=OWNER)[0], Master)


@pytest.mark.parametrize(
    ("version", "interval_ms", "again_ms", "gives_way"),
    [
        (3, 1000, 1199, False), (3, 1000, 1200, True), (3, 1000, 5999, True), (3, 1000, 6000, False),
        (3, 4000, 4799, False), (3, 4000, 4800, True), (3, 100, 1199, False), (3, 100, 1200, True),
        (2, 4000, 1199, False), (2, 4000, 1200, True),  # in version 2 an advert of another interval is refused before
    ],
)  # fmt: skip
def test_how_long_another_owner_has(version: int, interval_ms: int, again_ms: int, gives_way: bool) -> None:
    first, _ = owner_heard(10_000, MASTER, interval_ms, version=version)
    after, effects = owner_heard(10_000 + again_ms, first, interval_ms, version=version)
    assert isinstance(after, Backup) is gives_way
    if again_ms >= 6000:  # heard long ago: it has its time again
        assert after == Master(17 * S, 16 * S)
        assert any(isinstance(effect, Note) for effect in effects)


# ---- faults and owners ----------------------------------------------------------------------------------------------


def test_an_owner_goes_back_to_master_when_its_fault_is_gone() -> None:
    config = but(V3, priority=255, starts_as_owner=True)
    after, effects = at(10 * S, Fault("eth0 is down"), FaultCleared("eth0 is up"), config, OWNER)
    assert after == Master(11 * S)
    assert effects == (
        SendAdvert(255),
        WantAddresses(True),
        StateChanged(Role.MASTER, "address owner (priority 255)"),
    )


@pytest.mark.parametrize(
    ("standing", "starts_as_owner"),
    [(Standing(254, OURS), True), (OWNER, False), (Standing(255, OURS, may_lead=False), True)],
)
def test_who_is_not_quite_an_owner_starts_as_backup(standing: Standing, starts_as_owner: bool) -> None:
    config = but(V3, priority=255, starts_as_owner=starts_as_owner)
    after, effects = at(10 * S, Initialize(), Startup(), config, standing)
    assert isinstance(after, Backup)
    assert effects == (StateChanged(Role.BACKUP, "started"),)


def test_a_fault_takes_all_timers_and_the_memory_of_the_master_away() -> None:
    state: State = Backup(12 * S, 300 * MS, PEER, 150, 11 * S, wants_master=True, listening=True)
    state, _ = at(10 * S, state, Faulted("eth0 is down"))
    assert state == Fault("eth0 is down")
    assert at(20 * S, state, FaultCleared("eth0 is up"))[0] == Backup(23_609_375_000, S)


# ---- sync groups ----------------------------------------------------------------------------------------------------

HELD = Standing(100, OURS, may_lead=False)


def test_a_member_held_back_remembers_that_it_wants_to_be_master() -> None:
    state: State = Backup(12 * S, 500 * MS, PEER, 150)
    state, effects = at(12 * S, state, TimerDue(), standing=HELD)
    assert (state, effects) == (Backup(13_804_687_500, 500 * MS, PEER, 150, wants_master=True), ())
    assert at(13 * S, state, heard(150), standing=HELD)[0] == Backup(16_609_375_000, S, PEER, 150)


def test_the_group_takes_a_master_back_with_a_farewell() -> None:
    for role in (Role.BACKUP, Role.FAULT):
        assert at(10 * S, MASTER, GroupOrders(role, "sync group G: VI_2 became BACKUP")) == (
            Backup(13_609_375_000, S),
            (
                SendAdvert(0),
                Silence(),
                WantAddresses(False),
                StateChanged(Role.BACKUP, "sync group G: VI_2 became BACKUP"),
            ),
        )


def test_orders_that_are_carried_out_already_change_nothing() -> None:
    assert at(10 * S, MASTER, GroupOrders(Role.MASTER, "all")) == (MASTER, ())
    assert at(10 * S, BACKUP, GroupOrders(Role.BACKUP, "all")) == (BACKUP, ())


# ---- stalls and sleep -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, 3_007_812_500),
        ({"priority": 1}, 3_007_812_500),  # the best possible peer counts, not ourselves
        ({"timer_expired_backup": 200}, 3_218_750_000),
        ({"down_timer_adverts": 2}, 2_007_812_500),
        ({"adver_interval_ns": 500 * MS}, 1_503_906_250),
        ({"adver_interval_ns": 10 * MS}, 100_000_000),  # the floor: 30 ms late is busy, not frozen
        ({"version": 2, "adver_interval_ns": 5 * S}, 15_007_812_500),
    ],
)
def test_stall_limit(changes: dict[str, Any], limit: int) -> None:
    assert stall_limit(but(V3, **changes)) == limit


def test_a_master_that_was_late_by_less_goes_on() -> None:
    # last advert at 9.2 s, so 12.2078125 s is the limit
    assert at(12_207_812_499, MASTER, TimerDue()) == (Master(13_207_812_499), (SendAdvert(100),))


def test_a_master_silent_for_as_long_as_a_peer_waits_steps_back_and_listens() -> None:
    cause = "was not running for about 3.008 s: another may have taken over; listening for 1.609 s"
    assert at(12_207_812_500, MASTER, TimerDue()) == (
        Backup(13_817_187_500, S, listening=True),
        (Silence(), WantAddresses(False), Note(Level.WARNING, cause), StateChanged(Role.BACKUP, cause)),
    )


def test_an_owner_never_steps_back() -> None:
    assert at(60 * S, MASTER, TimerDue(), standing=OWNER) == (Master(61 * S), (SendAdvert(255),))
    assert at(60 * S, MASTER, Slept(50 * S), standing=OWNER) == (MASTER, ())


def test_a_silent_master_hears_first_what_came_meanwhile() -> None:
    frozen = "was not running for about 3.8 s: another may have taken over; listening for 1.609 s"
    stepped_back = (
        Silence(),
        WantAddresses(False),
        Note(Level.WARNING, frozen),
        StateChanged(Role.BACKUP, frozen),
    )
    assert at(13 * S, MASTER, heard(150)) == (Backup(16_609_375_000, S, PEER, 150), stepped_back)
    assert at(13 * S, MASTER, heard(50)) == (Backup(14_609_375_000, S, PEER, 50, listening=True), stepped_back)
    assert at(13 * S, MASTER, heard(0)) == (Backup(13_609_375_000, S), stepped_back)
    assert isinstance(at(12_207_812_499, MASTER, heard(50))[0], Master)


def test_a_master_that_slept_steps_back_only_after_long_enough() -> None:
    assert at(10 * S, MASTER, Slept(3_007_812_499)) == (MASTER, ())
    assert at(10 * S, MASTER, Slept(3_007_812_500))[0] == Backup(11_609_375_000, S, listening=True)


@pytest.mark.parametrize(("interval_ns", "late"), [(S, S), (500 * MS, 500 * MS), (10 * MS, 100 * MS)])
def test_a_backup_whose_timer_is_handled_late_listens_once(interval_ns: int, late: int) -> None:
    state = Backup(12 * S, interval_ns, PEER, 150)
    assert isinstance(at(12 * S + late - 1, state, TimerDue())[0], Master)
    after, effects = at(12 * S + late, state, TimerDue())
    assert isinstance(after, Backup)
    assert after.listening
    assert [type(effect) for effect in effects] == [Note]
    trusted, _ = at(after.master_down_at + 60 * S, after, TimerDue())
    assert isinstance(trusted, Master)


def test_listening_ends_with_the_first_accepted_advert() -> None:
    state = Backup(12 * S, S, PEER, 150, listening=True)
    assert at(11 * S, state, heard(150))[0] == Backup(14_609_375_000, S, PEER, 150)
    assert at(11 * S, state, heard(0))[0] == Backup(11_609_375_000, S, PEER, 150)


def test_a_late_member_held_back_listens_too() -> None:
    after, effects = at(13 * S, BACKUP, TimerDue(), standing=HELD)
    assert after == Backup(16_609_375_000, S, listening=True)
    words = "was not running for about 1 s; listening for 3.609 s first"
    assert effects == (Note(Level.WARNING, words),)


def test_two_routers_have_one_master_at_the_end() -> None:
    """Two masters meet: by address one yields, the other answers, and the answer is heard."""
    first, second = Standing(100, OURS), Standing(100, PEER)
    one, two = Master(10 * S), Master(10 * S)
    after_two, said = step(V3, second, two, heard(100, OURS), 9_500_000_000)
    assert said[0] == SendAdvert(100)
    after_one, _ = step(V3, first, one, heard(100, PEER), 9_500_000_000)
    assert (after_one, after_two) == (Backup(13_109_375_000, S, PEER, 100), Master(10_500_000_000))
    assert at(60 * S, Left(), heard(100, parse("192.0.2.99"))) == (Left(), ())


ONE_PEER = (UnicastPeer(address=PEER),)


@pytest.mark.parametrize(
    ("changes", "down_at"),
    [
        ({"group": None, "unicast_peers": ONE_PEER}, 10 * S),  # nobody to race with
        ({"group": None, "unicast_peers": ONE_PEER, "resign_skew": True}, 10_609_375_000),
        ({"group": None, "unicast_peers": ONE_PEER, "strict": True}, 10_609_375_000),
        ({"group": None, "unicast_peers": ONE_PEER * 2}, 10_609_375_000),
        ({}, 10_609_375_000),
    ],
)
def test_with_one_peer_alone_a_resigned_master_is_succeeded_at_once(changes: dict[str, Any], down_at: int) -> None:
    state, effects = at(10 * S, Backup(13 * S, S, PEER, 150), heard(0), but(V3, **changes))
    assert state == Backup(down_at, S, PEER, 150)
    assert effects == ()
