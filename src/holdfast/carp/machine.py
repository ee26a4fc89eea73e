"""CARP's state machine, as ucarp and OpenBSD have it (there is no RFC): same states and events as VRRP's, another rank.

The rank is the interval itself (`carp/config.py`): shorter is better, and of equals the *lower* address stays master,
the opposite of VRRP. What differs besides:

- A backup waits dead_ratio · advbase + advskew/256 of its *own* terms, whatever the master says.
- With `preempt` a backup that hears a slower master takes over at once; it does not wait for silence.
- A master so slow that it would count as dead before its next advert ("going to time out") is succeeded at once, with
  or without `preempt`. That is how a farewell works: it says advbase 255, advskew 255.

The two rules that VRRP's machine has beyond its RFC hold here too: whoever was not running listens first, and a member
that its sync group holds back remembers that it wants to be master.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.base.address import text
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds, span_text
from holdfast.carp.config import CarpTerms, down_interval_ns, interval_ns
from holdfast.vrrp.config import RESIGN, InstanceConfig
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
    RivalHeard,
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
from holdfast.vrrp.states import NOTHING, Backup, Fault, Initialize, Left, Master, Standing, State, Step

STALL_FLOOR: Nanoseconds = 100 * MILLISECOND
OFF: tuple[Effect, ...] = (Silence(), WantAddresses(False))


def terms_of(config: InstanceConfig) -> CarpTerms:
    """The CARP terms of an instance that has them."""
    assert config.carp is not None
    return config.carp


def stall_limit(config: InstanceConfig) -> Nanoseconds:
    """How long after its last advert a master must reckon that a peer has taken over: the fastest of our advbase."""
    terms = terms_of(config)
    return terms.dead_ratio * terms.advbase * SECOND


def step(config: InstanceConfig, standing: Standing, state: State, event: Event, now: Nanoseconds) -> Step:
    """One event; every pair of state and event has a row in the table below."""
    return ROWS[state.__class__, event.__class__](config, standing, state, event, now)


def fresh_backup(config: InstanceConfig, standing: Standing, now: Nanoseconds) -> Backup:
    """Backup with a full timer."""
    terms = terms_of(config)
    return Backup(now + down_interval_ns(terms, standing.priority), interval_ns(terms, standing.priority))


def _become_master(config: InstanceConfig, standing: Standing, now: Nanoseconds, cause: str) -> Step:
    return Master(now + interval_ns(terms_of(config), standing.priority)), (
        SendAdvert(standing.priority),
        WantAddresses(True),
        StateChanged(Role.MASTER, cause),
    )


def _take_over(config: InstanceConfig, standing: Standing, state: Backup, now: Nanoseconds, cause: str) -> Step:
    """Master, unless the sync group holds us back."""
    if standing.may_lead:
        return _become_master(config, standing, now, cause)
    wait = down_interval_ns(terms_of(config), standing.priority)
    return msgspec.structs.replace(state, master_down_at=now + wait, wants_master=True), NOTHING


# ---- any state ------------------------------------------------------------------------------------------------------


def _nothing(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return state, NOTHING


def _startup(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    cause = event.cause if isinstance(event, FaultCleared) else "started"
    return fresh_backup(config, standing, now), (StateChanged(Role.BACKUP, cause),)


def _to_fault(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    farewell = (SendAdvert(RESIGN), *OFF) if isinstance(state, Master) else ()
    return Fault(event.cause), (*farewell, StateChanged(Role.FAULT, event.cause))


def _leave(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    farewell = (SendAdvert(RESIGN), *OFF) if isinstance(state, Master) else ()
    return Left(), (*farewell, StateChanged(event.role, event.cause))


def _new_cause(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return Fault(event.cause), NOTHING


# ---- BACKUP ---------------------------------------------------------------------------------------------------------


def _backup_advert(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    terms = terms_of(config)
    own, theirs = interval_ns(terms, standing.priority), event.adver_interval_ns
    down = down_interval_ns(terms, standing.priority)
    who = text(event.source)
    after = Backup(now + down, theirs, event.source, event.priority)
    if event.priority == RESIGN:
        return _take_over(config, standing, after, now, f"{who} said farewell")
    if theirs > down:
        cause = f"{who} is going to time out: it advertises every {span_text(theirs)}, we wait {span_text(down)}"
        return _take_over(config, standing, after, now, cause)
    if theirs <= own or not config.preempt:
        return after, NOTHING
    if config.preempt_delay_ns:
        preempt_at = now + config.preempt_delay_ns if state.preempt_at is None else state.preempt_at
        if now < preempt_at:
            return msgspec.structs.replace(after, preempt_at=preempt_at), NOTHING
    cause = f"we advertise every {span_text(own)}, faster than {who} ({span_text(theirs)})"
    return _take_over(config, standing, after, now, cause)


def _backup_timer(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    late = now - state.master_down_at
    if late < 0:
        return state, NOTHING
    if not state.listening and late >= max(state.master_adver_interval_ns, STALL_FLOOR):
        return _listen(config, standing, state, late, now)
    cause = "no master heard" if state.master is None else f"{text(state.master)} fell silent"
    return _take_over(config, standing, state, now, cause)


def _listen(config: InstanceConfig, standing: Standing, state: Backup, late: Nanoseconds, now: Nanoseconds) -> Step:
    """The timer ran out while we were not running: who was master meanwhile, we cannot know; listen once more."""
    wait = down_interval_ns(terms_of(config), standing.priority)
    return msgspec.structs.replace(state, master_down_at=now + wait, listening=True), (
        Note(Level.WARNING, f"was not running for about {span_text(late)}; listening for {span_text(wait)} first"),
    )


def _backup_slept(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    return _listen(config, standing, state, event.span_ns, now)


def _backup_orders(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    if event.role is Role.MASTER:
        return _become_master(config, standing, now, event.cause)
    return state, NOTHING


def _backup_takes_over(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return _become_master(config, standing, now, event.cause)


# ---- MASTER ---------------------------------------------------------------------------------------------------------


def _stalled(config: InstanceConfig, standing: Standing, state: Master, now: Nanoseconds) -> Nanoseconds:
    """How long this master has been silent, when that was long enough for a peer to have taken over; else 0."""
    silent = now - (state.adver_at - interval_ns(terms_of(config), standing.priority))
    return silent if silent >= stall_limit(config) else 0


def _step_back(config: InstanceConfig, standing: Standing, silent: Nanoseconds, now: Nanoseconds) -> Step:
    """A peer has had time to become master: give up the addresses, listen for longer than its interval, then go on."""
    terms = terms_of(config)
    interval = interval_ns(terms, standing.priority)
    wait = (terms.advbase + 1) * SECOND
    frozen = f"was not running for about {span_text(silent)}"
    cause = f"{frozen}: another may have taken over; listening for {span_text(wait)}"
    return Backup(now + wait, interval, listening=True), (
        *OFF,
        Note(Level.WARNING, cause),
        StateChanged(Role.BACKUP, cause),
    )


def _master_timer(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    if now < state.adver_at:
        return state, NOTHING
    if silent := _stalled(config, standing, state, now):
        return _step_back(config, standing, silent, now)
    return Master(now + interval_ns(terms_of(config), standing.priority)), (SendAdvert(standing.priority),)


def _master_slept(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    if event.span_ns < stall_limit(config):
        return state, NOTHING
    return _step_back(config, standing, event.span_ns, now)


def _master_advert(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    if silent := _stalled(config, standing, state, now):
        backup, effects = _step_back(config, standing, silent, now)
        after, more = _backup_advert(config, standing, backup, event, now)
        return after, effects + more
    own, theirs = interval_ns(terms_of(config), standing.priority), event.adver_interval_ns
    primary = standing.primary
    restarted = Master(now + own)
    if event.priority == RESIGN:
        return restarted, (SendAdvert(standing.priority),)
    if theirs < own or (theirs == own and primary is not None and event.source < primary):
        return _yield(config, standing, own, event, now)
    if event.source == primary:
        echo = f"our own address {text(event.source)} sent an advert of our vhid: a loop, or a copy of us"
        return state, (Note(Level.WARNING, echo),)
    answer = () if config.lower_prio_no_advert else (SendAdvert(standing.priority),)
    announce = (Announce("rival"),) if config.announce.lower_prio_repeat else ()
    return (restarted if answer else state), (*answer, *announce, RivalHeard(event.source, event.priority))


def _yield(
    config: InstanceConfig, standing: Standing, own: Nanoseconds, event: AdvertReceived, now: Nanoseconds
) -> Step:
    """A better master speaks. ucarp says a last word here; its peers need none, and neither do BSD's."""
    who, theirs = text(event.source), event.adver_interval_ns
    last_word = (SendAdvert(standing.priority),) if config.higher_prio_send_advert else ()
    if theirs < own:
        cause = f"{who} advertises every {span_text(theirs)}, we every {span_text(own)}"
    else:
        cause = f"{who} advertises as often as we and has the lower address"
    down = down_interval_ns(terms_of(config), standing.priority)
    backup = Backup(now + down, theirs, event.source, event.priority)
    return backup, (*last_word, *OFF, StateChanged(Role.BACKUP, cause))


def _master_ready(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return state, (Announce("master"),)


def _master_orders(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    if event.role is Role.MASTER:
        return state, NOTHING
    farewell = (SendAdvert(RESIGN), *OFF, StateChanged(Role.BACKUP, event.cause))
    return fresh_backup(config, standing, now), farewell


# ---- the table ------------------------------------------------------------------------------------------------------

Row = Callable[[InstanceConfig, Standing, Any, Any, Nanoseconds], Step]

ROWS: dict[tuple[type[Any], type[Any]], Row] = {
    (Initialize, Startup): _startup,
    (Initialize, TimerDue): _nothing,
    (Initialize, AdvertReceived): _nothing,
    (Initialize, AddressesReady): _nothing,
    (Initialize, Faulted): _to_fault,
    (Initialize, FaultCleared): _nothing,
    (Initialize, GroupOrders): _nothing,
    (Initialize, TakeOver): _nothing,
    (Initialize, Withdrawn): _leave,
    (Initialize, Slept): _nothing,
    (Backup, Startup): _nothing,
    (Backup, TimerDue): _backup_timer,
    (Backup, AdvertReceived): _backup_advert,
    (Backup, AddressesReady): _nothing,
    (Backup, Faulted): _to_fault,
    (Backup, FaultCleared): _nothing,
    (Backup, GroupOrders): _backup_orders,
    (Backup, TakeOver): _backup_takes_over,
    (Backup, Withdrawn): _leave,
    (Backup, Slept): _backup_slept,
    (Master, Startup): _nothing,
    (Master, TimerDue): _master_timer,
    (Master, AdvertReceived): _master_advert,
    (Master, AddressesReady): _master_ready,
    (Master, Faulted): _to_fault,
    (Master, FaultCleared): _nothing,
    (Master, GroupOrders): _master_orders,
    (Master, TakeOver): _nothing,
    (Master, Withdrawn): _leave,
    (Master, Slept): _master_slept,
    (Fault, Startup): _nothing,
    (Fault, TimerDue): _nothing,
    (Fault, AdvertReceived): _nothing,
    (Fault, AddressesReady): _nothing,
    (Fault, Faulted): _new_cause,
    (Fault, FaultCleared): _startup,
    (Fault, GroupOrders): _nothing,
    (Fault, TakeOver): _nothing,
    (Fault, Withdrawn): _leave,
    (Fault, Slept): _nothing,
    (Left, Startup): _nothing,
    (Left, TimerDue): _nothing,
    (Left, AdvertReceived): _nothing,
    (Left, AddressesReady): _nothing,
    (Left, Faulted): _nothing,
    (Left, FaultCleared): _nothing,
    (Left, GroupOrders): _nothing,
    (Left, TakeOver): _nothing,
    (Left, Withdrawn): _nothing,
    (Left, Slept): _nothing,
}
