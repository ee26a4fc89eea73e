"""Every state answers every event: the table as written out here, beside the one in the machine."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.base.address import parse, text
from holdfast.vrrp.config import InstanceConfig
from holdfast.vrrp.machine import (
    ROWS,
    Backup,
    Fault,
    Initialize,
    Left,
    Master,
    Standing,
    State,
    heard_again,
    is_routine,
    role_of,
    step,
)
from holdfast.vrrp.messages import (
    AddressesReady,
    AdvertReceived,
    Announce,
    Effect,
    Event,
    FaultCleared,
    Faulted,
    GroupOrders,
    Level,
    Note,
    Role,
    SendAdvert,
    Silence,
    Slept,
    Startup,
    StateChanged,
    TakeOver,
    TimerDue,
    WantAddresses,
    Withdrawn,
)
from tests.vrrp.routers import BACKUP, LOWER_PEER, MASTER, OURS, PEER, STANDING, V2, V3, S, at, but, heard

BETTER = heard(150, PEER, 500_000_000)
STATES: tuple[State, ...] = (Initialize(), BACKUP, MASTER, Fault("eth0 is down"), Left())
EVENTS: tuple[Event, ...] = (
    Startup(),
    TimerDue(),
    BETTER,
    AddressesReady(),
    Faulted("check failed"),
    FaultCleared("no longer: eth0 is down"),
    GroupOrders(Role.MASTER, "sync group G: all"),
    TakeOver("switch --here by ann"),
    Withdrawn(Role.STOP, "stopped"),
    Slept(60 * S),
)
FROZEN = "was not running for about 1 min: another may have taken over; listening for 1.609 s"

# What happens at 10 s; a pair that is not here changes nothing and asks for nothing.
TABLE: dict[tuple[type[Any], type[Any]], tuple[State, tuple[Effect, ...]]] = {
    (Initialize, Startup): (Backup(13_609_375_000, S), (StateChanged(Role.BACKUP, "started"),)),
    (Initialize, Faulted): (Fault("check failed"), (StateChanged(Role.FAULT, "check failed"),)),
    (Initialize, Withdrawn): (Left(), (StateChanged(Role.STOP, "stopped"),)),
    (Backup, AdvertReceived): (Backup(11_804_687_500, 500_000_000, PEER, 150), ()),
    (Backup, Faulted): (Fault("check failed"), (StateChanged(Role.FAULT, "check failed"),)),
    (Backup, TakeOver): (
        Master(11 * S),
        (SendAdvert(100), WantAddresses(True), StateChanged(Role.MASTER, "switch --here by ann")),
    ),
    (Backup, GroupOrders): (
        Master(11 * S),
        (SendAdvert(100), WantAddresses(True), StateChanged(Role.MASTER, "sync group G: all")),
    ),
    (Backup, Withdrawn): (Left(), (StateChanged(Role.STOP, "stopped"),)),
    (Backup, Slept): (
        Backup(13_609_375_000, S, listening=True),
        (Note(Level.WARNING, "was not running for about 1 min; listening for 3.609 s first"),),
    ),
    (Master, AdvertReceived): (
        Backup(11_804_687_500, 500_000_000, PEER, 150),
        (
            Silence(),
            WantAddresses(False),
            StateChanged(Role.BACKUP, "192.0.2.12 advertises priority 150, we have 100"),
        ),
    ),
    (Master, AddressesReady): (MASTER, (Announce("master"),)),
    (Master, Faulted): (
        Fault("check failed"),
        (SendAdvert(0), Silence(), WantAddresses(False), StateChanged(Role.FAULT, "check failed")),
    ),
    (Master, Withdrawn): (
        Left(),
        (SendAdvert(0), Silence(), WantAddresses(False), StateChanged(Role.STOP, "stopped")),
    ),
    (Master, Slept): (
        Backup(11_609_375_000, S, listening=True),
        (Silence(), WantAddresses(False), Note(Level.WARNING, FROZEN), StateChanged(Role.BACKUP, FROZEN)),
    ),
    (Fault, Faulted): (Fault("check failed"), ()),
    (Fault, FaultCleared): (Backup(13_609_375_000, S), (StateChanged(Role.BACKUP, "no longer: eth0 is down"),)),
    (Fault, Withdrawn): (Left(), (StateChanged(Role.STOP, "stopped"),)),
}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("state", STATES, ids=lambda state: type(state).__name__)
def test_every_state_answers_every_event(state: State, event: Event) -> None:
    assert at(10 * S, state, event) == TABLE.get((type(state), type(event)), (state, ()))


def test_the_table_has_every_pair_and_no_other() -> None:
    assert {type(event) for event in EVENTS} == set(Event.__subclasses__())
    assert set(ROWS) == {(type(state), type(event)) for state in STATES for event in EVENTS}


def test_the_names_of_the_states() -> None:
    assert [role_of(state) for state in STATES] == [Role.INIT, Role.BACKUP, Role.MASTER, Role.FAULT, Role.STOP]


def test_removed_by_a_reload_it_ends_as_deleted() -> None:
    for state in (Initialize(), BACKUP, MASTER, Fault("x")):
        after, effects = at(10 * S, state, Withdrawn(Role.DELETED, "removed"))
        assert after == Left()
        assert effects[-1] == StateChanged(Role.DELETED, "removed")


@pytest.mark.parametrize(
    ("advert", "cause"),
    [
        (heard(50, PEER), "priority 100 outranks 192.0.2.12's 50"),
        (heard(60, PEER), "priority 100 outranks 192.0.2.12's 60"),
        (heard(50, LOWER_PEER), "priority 100 outranks 192.0.2.10's 50"),
        (heard(60, LOWER_PEER), "priority 100 outranks 192.0.2.10's 60"),
    ],
)
def test_the_last_lower_master_heard_is_the_one_told_of(advert: AdvertReceived, cause: str) -> None:
    state, effects = at(11 * S, Backup(12 * S, S, PEER, 50), advert)
    assert (state, effects) == (Backup(12 * S, S, parse(text(advert.source)), advert.priority), ())
    assert at(12 * S, state, TimerDue())[1][-1] == StateChanged(Role.MASTER, cause)


def test_a_master_of_equal_priority_is_not_outranked_when_it_falls_silent() -> None:
    effects = at(12 * S, Backup(12 * S, S, PEER, 100), TimerDue())[1]
    assert effects[-1] == StateChanged(Role.MASTER, "192.0.2.12 fell silent or resigned")


# ---- routine --------------------------------------------------------------------------------------------------------

HEARING = Backup(12 * S, S, PEER, 150)


@pytest.mark.parametrize(
    ("state", "advert", "preempt", "routine"),
    [
        (HEARING, heard(150), True, True),
        (HEARING, heard(100), True, True),
        (HEARING, heard(99), True, False),
        (HEARING, heard(99), False, True),
        (HEARING, heard(0), True, False),
        (HEARING, heard(0), False, False),
        (HEARING, heard(150, LOWER_PEER), True, False),
        (BACKUP, heard(150), True, False),
        (MASTER, heard(50), True, False),
        (MASTER, heard(150), True, False),
        (Initialize(), heard(150), True, False),
        (Fault("x"), heard(0), True, True),
        (Left(), heard(150), True, True),
    ],
)
def test_which_adverts_are_routine(state: State, advert: AdvertReceived, preempt: bool, routine: bool) -> None:
    assert is_routine(but(V3, preempt=preempt), STANDING, state, advert) is routine


def test_heard_again_restarts_the_timer_with_the_learnt_interval() -> None:
    learnt = Backup(12 * S, 500_000_000, PEER, 150, preempt_at=11 * S, wants_master=True, listening=True)
    assert heard_again(V3, STANDING, learnt, 11 * S) == Backup(12_804_687_500, 500_000_000, PEER, 150)
    assert heard_again(V2, STANDING, HEARING, 11 * S) == Backup(14_609_375_000, S, PEER, 150)


PRIORITIES = st.sampled_from([0, 1, 99, 100, 101, 254, 255])
ADVERTS = st.builds(
    AdvertReceived,
    PRIORITIES,
    st.sampled_from([OURS, PEER, LOWER_PEER, parse("203.0.113.1")]),
    st.sampled_from([10_000_000, S, 40_950_000_000]),
)
CONFIGS = st.builds(
    lambda version, preempt, delay, owner, quiet, eager, strict, expired: InstanceConfig(
        name="VI",
        vrid=51,
        interface="eth0",
        family=V3.family,
        version=version,
        preempt=preempt,
        preempt_delay_ns=delay,
        starts_as_owner=owner,
        lower_prio_no_advert=quiet,
        higher_prio_send_advert=eager,
        strict=strict,
        timer_expired_backup=expired,
        group=V3.group,
    ),
    st.sampled_from([2, 3]),
    st.booleans(),
    st.sampled_from([0, 5 * S]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 1, 200]),
)
STANDINGS = st.builds(Standing, st.sampled_from([1, 100, 254, 255]), st.sampled_from([None, OURS]), st.booleans())
ANY_EVENT = st.one_of(
    st.just(Startup()),
    st.just(TimerDue()),
    ADVERTS,
    st.just(AddressesReady()),
    st.just(Faulted("eth0 is down")),
    st.just(FaultCleared("eth0 is up")),
    st.builds(GroupOrders, st.sampled_from([Role.MASTER, Role.BACKUP]), st.just("group")),
    st.builds(Slept, st.sampled_from([0, S, 3_600 * S])),
    st.just(Withdrawn(Role.STOP, "stopped")),
)
LAPSE = st.sampled_from([0, 1, 10_000_000, 500_000_000, S, 3_609_375_000, 60 * S])


@settings(deadline=None, max_examples=300)
@given(CONFIGS, STANDINGS, ADVERTS, st.integers(0, 20 * S), st.booleans(), st.booleans())
def test_a_routine_advert_is_just_what_heard_again_says(
    config: InstanceConfig, standing: Standing, advert: AdvertReceived, later: int, wants: bool, listening: bool
) -> None:
    """Hearing the same again may be left to the shortcut: the machine would have come to the same, and asked nothing."""
    before = Backup(12 * S, S, PEER, 99, 10 * S, wants, listening)
    state, effects = step(config, standing, before, advert, 10 * S)
    assert effects == ()
    if is_routine(config, standing, state, advert):
        assert isinstance(state, Backup)
        again = 10 * S + later
        assert step(config, standing, state, advert, again) == (heard_again(config, standing, state, again), ())


@settings(deadline=None, max_examples=300)
@given(CONFIGS, st.lists(st.tuples(ANY_EVENT, LAPSE, STANDINGS), max_size=30))
def test_whatever_happens_addresses_and_role_go_together(
    config: InstanceConfig, story: list[tuple[Event, int, Standing]]
) -> None:
    state: State = Initialize()
    now, present = 100 * S, False
    for event, lapse, standing in [(Startup(), 0, STANDING), *story]:
        now += lapse
        after, effects = step(config, standing, state, event, now)
        told = [effect.role for effect in effects if isinstance(effect, StateChanged)]
        assert told == ([role_of(after)] if role_of(after) is not role_of(state) else [])
        for effect in effects:
            if isinstance(effect, WantAddresses):
                assert effect.present is not present, "asked twice"
                present = effect.present
            assert not isinstance(effect, Announce) or isinstance(after, Master)
        assert present is isinstance(after, Master)
        if isinstance(event, TimerDue):
            due_at = after.master_down_at if isinstance(after, Backup) else getattr(after, "adver_at", now + 1)
            assert due_at > now, "a timer that would come due again at once"
        state = after
