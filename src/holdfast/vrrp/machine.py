"""The virtual router's state machine (RFC 3768 §6.4, RFC 9568 §6.4), with the operator's refinements.

Theory of operation
-------------------
A virtual router is in one state at a time, and each state holds exactly the timers that run in it:

    Initialize ──Startup──► Backup ──Master_Down_Timer──► Master
        ▲  (an owner goes       ▲ ▲                          │
        │   straight to Master) │ └── a better advert ───────┘
        │                       │
        └─ nothing leads back   Fault ◄── Faulted ── Backup, Master       Left: daemon stopped, instance removed

`step` takes the state, one event and the time, and gives the next state and what is to be done, in order. It reads no
clock and touches nothing. Two things that hold for the router but change by themselves are passed in as its *standing*:
the effective priority (trackers sway it) and the primary address of the interface.

Four rules beyond the RFC:

- *Stalls.* A timer handled much later than it ran out says that this process, or the whole machine, was not running.
  A backup then restarts its timer once and listens; a master silent for so long that a peer may have taken over steps
  back and listens for an interval before it goes on.
- *Rivals.* A master that hears an advert of lower rank answers at once and tells the neighbours again (RFC 9568 does
  the first; keepalived both).
- *Two owners.* Two routers of priority 255 are a mistake of their files. The lower address gives way to the higher;
  where the lower one does not (an owner may ignore all adverts), the higher does, a little more than an interval later.
- *Sync groups.* A member whose timer runs out while its group holds it back remembers that it wants to be master; the
  group takes all members along at once.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.base.address import text
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds, span_text
from holdfast.carp.config import down_interval_ns
from holdfast.vrrp.config import OWNER, RESIGN, InstanceConfig
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
from holdfast.vrrp.states import (
    NOTHING,
    ROLES,
    Backup,
    Fault,
    Initialize,
    Left,
    Master,
    Standing,
    State,
    Step,
    role_of,
)

__all__ = [
    "ROLES", "ROWS", "STALL_FLOOR", "Backup", "Fault", "Initialize", "Left", "Master", "Standing", "State", "Step",
    "become_master", "fresh_backup", "heard_again", "is_routine", "master_down_interval", "role_of", "skew_time",
    "stall_limit", "step",
]  # fmt: skip

STALL_FLOOR: Nanoseconds = 100 * MILLISECOND
"""A master that was late by less than this is taken for busy, not for frozen, however short its interval."""


def skew_time(config: InstanceConfig, priority: int, master_adver_interval_ns: Nanoseconds) -> Nanoseconds:
    """How much longer a low-priority backup waits, so that the best one moves first; rounded down.

    From 1/256 (priority 255) to 255/256 (priority 1) of a second in VRRPv2 (RFC 3768 §6.1), of the master's interval in
    VRRPv3 (RFC 9568 §6.1).
    """
    if config.version == 2:
        return (256 - priority) * SECOND // 256
    return (256 - priority) * master_adver_interval_ns // 256


def master_down_interval(config: InstanceConfig, priority: int, master_adver_interval_ns: Nanoseconds) -> Nanoseconds:
    """How long a backup waits for an advert: `down_timer_adverts` intervals and the skew (RFC 9568 §6.1).

    Of CARP, whose machine is another, by its own rule.
    """
    if config.carp is not None:
        return down_interval_ns(config.carp, priority)
    interval = config.adver_interval_ns if config.version == 2 else master_adver_interval_ns
    return config.down_timer_adverts * interval + skew_time(config, priority, interval)


def stall_limit(config: InstanceConfig) -> Nanoseconds:
    """How long after its last advert a master must reckon that a peer has taken over."""
    rank = config.timer_expired_backup or 254
    return max(
        config.down_timer_adverts * config.adver_interval_ns + skew_time(config, rank, config.adver_interval_ns),
        STALL_FLOOR,
    )


def is_routine(config: InstanceConfig, standing: Standing, state: State, event: AdvertReceived) -> bool:
    """Whether hearing `event` again and again would do nothing but restart the timer (or nothing at all).

    Such adverts need not reach the machine: `heard_again` says what they come to.
    """
    if config.carp is not None:
        return False  # no two adverts are alike
    if isinstance(state, Fault | Left):
        return True
    return (
        isinstance(state, Backup)
        and event.priority != RESIGN
        and event.source == state.master
        and (event.priority >= standing.priority or not config.preempt)
    )


def heard_again(config: InstanceConfig, standing: Standing, state: Backup, at: Nanoseconds) -> Backup:
    """`state` after the master's routine advert was heard once more at `at`."""
    down_at = at + master_down_interval(config, standing.priority, state.master_adver_interval_ns)
    if down_at == state.master_down_at:
        return state
    return msgspec.structs.replace(
        state, master_down_at=down_at, preempt_at=None, wants_master=False, listening=False
    )


def fresh_backup(config: InstanceConfig, standing: Standing, now: Nanoseconds) -> Backup:
    """Backup with a full timer of our own interval."""
    interval = config.adver_interval_ns
    return Backup(now + master_down_interval(config, standing.priority, interval), interval)


def step(config: InstanceConfig, standing: Standing, state: State, event: Event, now: Nanoseconds) -> Step:
    """One event; every pair of state and event has a row in the table below."""
    return ROWS[state.__class__, event.__class__](config, standing, state, event, now)


# ---- becoming and leaving -------------------------------------------------------------------------------------------


def become_master(config: InstanceConfig, standing: Standing, now: Nanoseconds, cause: str) -> Step:
    """Advert, addresses, then (once the kernel has them) the neighbours: the peer yields before they hear of us."""
    return Master(now + config.adver_interval_ns), (
        SendAdvert(standing.priority),
        WantAddresses(True),
        StateChanged(Role.MASTER, cause),
    )


def _startup(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    if standing.priority == OWNER and config.starts_as_owner and standing.may_lead:
        return become_master(config, standing, now, "address owner (priority 255)")
    cause = event.cause if isinstance(event, FaultCleared) else "started"
    return fresh_backup(config, standing, now), (StateChanged(Role.BACKUP, cause),)


def _backup_to_fault(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return Fault(event.cause), (StateChanged(Role.FAULT, event.cause),)


def _master_to_fault(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return Fault(event.cause), (
        SendAdvert(RESIGN),
        Silence(),
        WantAddresses(False),
        StateChanged(Role.FAULT, event.cause),
    )


def _leave(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return Left(), (StateChanged(event.role, event.cause),)


def _master_leaves(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return Left(), (SendAdvert(RESIGN), Silence(), WantAddresses(False), StateChanged(event.role, event.cause))


# ---- BACKUP ---------------------------------------------------------------------------------------------------------


def _backup_advert(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    if event.priority == RESIGN:  # RFC 9568 §6.4.2: wait only the skew, so that the best backup moves first
        skew = skew_time(config, standing.priority, state.master_adver_interval_ns)
        wait = 0 if config.succeeds_at_once else skew
        return msgspec.structs.replace(state, master_down_at=now + wait, listening=False), NOTHING
    if event.priority >= standing.priority or not config.preempt:
        return _accept(config, standing, state, event, now, None), NOTHING
    if config.preempt_delay_ns:
        preempt_at = now + config.preempt_delay_ns if state.preempt_at is None else state.preempt_at
        if now < preempt_at:
            return _accept(config, standing, state, event, now, preempt_at), NOTHING
    if event.source == state.master and event.priority == state.master_priority:
        return state, NOTHING
    # we outrank it: let the timer run out, but know who is master meanwhile
    return msgspec.structs.replace(state, master=event.source, master_priority=event.priority), NOTHING


def _accept(
    config: InstanceConfig,
    standing: Standing,
    state: Backup,
    event: AdvertReceived,
    now: Nanoseconds,
    preempt_at: Nanoseconds | None,
) -> Backup:
    """Another is master: restart the timer with the interval it says."""
    interval = config.adver_interval_ns if config.version == 2 else event.adver_interval_ns
    return Backup(
        now + master_down_interval(config, standing.priority, interval),
        interval,
        event.source,
        event.priority,
        preempt_at,
    )


def _backup_timer(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    late = now - state.master_down_at
    if late < 0:
        return state, NOTHING
    if not state.listening and late >= max(state.master_adver_interval_ns, STALL_FLOOR):
        return _listen(config, standing, state, late, now)
    if not standing.may_lead:
        wait = master_down_interval(config, standing.priority, state.master_adver_interval_ns)
        return msgspec.structs.replace(state, master_down_at=now + wait, wants_master=True), NOTHING
    if state.master is None:
        cause = "no master heard"
    elif state.master_priority < standing.priority and config.preempt:
        cause = f"priority {standing.priority} outranks {text(state.master)}'s {state.master_priority}"
    else:
        cause = f"{text(state.master)} fell silent or resigned"
    return become_master(config, standing, now, cause)


def _listen(config: InstanceConfig, standing: Standing, state: Backup, late: Nanoseconds, now: Nanoseconds) -> Step:
    """The timer ran out while we were not running: who was master meanwhile, we cannot know; listen once more."""
    wait = master_down_interval(config, standing.priority, state.master_adver_interval_ns)
    return msgspec.structs.replace(state, master_down_at=now + wait, listening=True), (
        Note(Level.WARNING, f"was not running for about {span_text(late)}; listening for {span_text(wait)} first"),
    )


def _backup_slept(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    return _listen(config, standing, state, event.span_ns, now)


def _backup_orders(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    if event.role is Role.MASTER:
        return become_master(config, standing, now, event.cause)
    return state, NOTHING


def _backup_takes_over(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return become_master(config, standing, now, event.cause)


# ---- MASTER ---------------------------------------------------------------------------------------------------------


def _stalled(config: InstanceConfig, standing: Standing, state: Master, now: Nanoseconds) -> Nanoseconds:
    """How long this master has been silent, when that was long enough for a peer to have taken over; else 0."""
    silent = now - (state.adver_at - config.adver_interval_ns)
    return silent if silent >= stall_limit(config) and standing.priority != OWNER else 0


def _step_back(config: InstanceConfig, standing: Standing, silent: Nanoseconds, now: Nanoseconds) -> Step:
    """A peer has had time to become master: give up the addresses, listen for one interval, then go on."""
    interval = config.adver_interval_ns
    wait = interval + skew_time(config, standing.priority, interval)
    frozen = f"was not running for about {span_text(silent)}"
    cause = f"{frozen}: another may have taken over; listening for {span_text(wait)}"
    return Backup(now + wait, interval, listening=True), (
        Silence(),
        WantAddresses(False),
        Note(Level.WARNING, cause),
        StateChanged(Role.BACKUP, cause),
    )


def _master_timer(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    if now < state.adver_at:
        return state, NOTHING
    if silent := _stalled(config, standing, state, now):
        return _step_back(config, standing, silent, now)
    return Master(now + config.adver_interval_ns, state.other_owner_at), (SendAdvert(standing.priority),)


def _master_slept(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    if event.span_ns < stall_limit(config) or standing.priority == OWNER:
        return state, NOTHING
    return _step_back(config, standing, event.span_ns, now)


def _master_advert(config: InstanceConfig, standing: Standing, state: Any, event: Any, now: Nanoseconds) -> Step:
    if silent := _stalled(config, standing, state, now):
        backup, effects = _step_back(config, standing, silent, now)
        after, more = _backup_advert(config, standing, backup, event, now)
        return after, effects + more
    restarted = Master(now + config.adver_interval_ns)
    if event.priority == RESIGN:
        return restarted, (SendAdvert(standing.priority),)
    primary = standing.primary
    if event.priority > standing.priority or (
        event.priority == standing.priority and primary is not None and event.source > primary
    ):
        return _yield(config, standing, state, event, now)
    if event.source == primary:
        echo = f"our own address {text(event.source)} sent an advert of our VRID: a loop, or a copy of us"
        return state, (Note(Level.WARNING, echo),)
    if event.priority == OWNER and _outlasted(config, state, event, now):
        return _yield(config, standing, state, event, now)
    answer = () if config.lower_prio_no_advert else (SendAdvert(standing.priority),)
    announce = () if config.strict or not config.announce.lower_prio_repeat else (Announce("rival"),)
    after, note = restarted if answer else state, NOTHING
    if event.priority == OWNER:
        after, note = _beside_owner(config, state, after, event, now)
    return after, (*answer, *announce, *note, RivalHeard(event.source, event.priority))


def _patience(config: InstanceConfig, event: AdvertReceived) -> Nanoseconds:
    """How long an owner of lower address has to give way: the longer interval, and a fifth of it."""
    theirs = config.adver_interval_ns if config.version == 2 else event.adver_interval_ns
    return max(config.adver_interval_ns, theirs) * 6 // 5


def _outlasted(config: InstanceConfig, state: Master, event: AdvertReceived, now: Nanoseconds) -> bool:
    """Whether the other owner goes on though it had the time to hear us; what was long ago does not count."""
    patience = _patience(config, event)
    return bool(state.other_owner_at) and patience <= now - state.other_owner_at < 5 * patience


def _beside_owner(
    config: InstanceConfig, state: Master, after: Master, event: AdvertReceived, now: Nanoseconds
) -> tuple[Master, tuple[Effect, ...]]:
    """Another owner, of lower address: say so once, and remember since when it is heard."""
    patience = _patience(config, event)
    if state.other_owner_at and now - state.other_owner_at < patience:
        return Master(after.adver_at, state.other_owner_at), ()
    said = (
        f"{text(event.source)} is address owner (priority 255) too, which only one router can be: give one of the two "
        f"another priority; unless it gives way within {span_text(patience)}, we do"
    )
    return Master(after.adver_at, now), (Note(Level.ERROR, said),)


def _yield(config: InstanceConfig, standing: Standing, state: Master, event: AdvertReceived, now: Nanoseconds) -> Step:
    """A better master speaks: off with the addresses, no farewell (RFC 9568 §6.4.3)."""
    last_word = (SendAdvert(standing.priority),) if config.higher_prio_send_advert else ()
    if event.priority > standing.priority:
        cause = f"{text(event.source)} advertises priority {event.priority}, we have {standing.priority}"
    else:
        higher = standing.primary is not None and event.source > standing.primary
        why = "has the higher address" if higher else "does not give way"
        cause = f"{text(event.source)} advertises our priority {event.priority} and {why}"
        if event.priority == OWNER:
            cause += "; only one router can be address owner: give one of the two another priority"
    backup = _accept(config, standing, fresh_backup(config, standing, now), event, now, None)
    return backup, (*last_word, Silence(), WantAddresses(False), StateChanged(Role.BACKUP, cause))


def _master_ready(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return state, (Announce("master"),)


def _master_orders(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    if event.role is Role.MASTER:
        return state, NOTHING
    # Nobody outranked us on this VRID, so say that we leave: the peer's member need not wait its full interval.
    return fresh_backup(config, standing, now), (
        SendAdvert(RESIGN),
        Silence(),
        WantAddresses(False),
        StateChanged(Role.BACKUP, event.cause),
    )


# ---- the table ------------------------------------------------------------------------------------------------------


def _nothing(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return state, NOTHING


def _new_cause(config: InstanceConfig, standing: Standing, state: State, event: Any, now: Nanoseconds) -> Step:
    return Fault(event.cause), NOTHING


Row = Callable[[InstanceConfig, Standing, Any, Any, Nanoseconds], Step]

ROWS: dict[tuple[type[Any], type[Any]], Row] = {
    (Initialize, Startup): _startup,
    (Initialize, TimerDue): _nothing,
    (Initialize, AdvertReceived): _nothing,
    (Initialize, AddressesReady): _nothing,
    (Initialize, Faulted): _backup_to_fault,
    (Initialize, FaultCleared): _nothing,
    (Initialize, GroupOrders): _nothing,
    (Initialize, TakeOver): _nothing,
    (Initialize, Withdrawn): _leave,
    (Initialize, Slept): _nothing,
    (Backup, Startup): _nothing,
    (Backup, TimerDue): _backup_timer,
    (Backup, AdvertReceived): _backup_advert,
    (Backup, AddressesReady): _nothing,
    (Backup, Faulted): _backup_to_fault,
    (Backup, FaultCleared): _nothing,
    (Backup, GroupOrders): _backup_orders,
    (Backup, TakeOver): _backup_takes_over,
    (Backup, Withdrawn): _leave,
    (Backup, Slept): _backup_slept,
    (Master, Startup): _nothing,
    (Master, TimerDue): _master_timer,
    (Master, AdvertReceived): _master_advert,
    (Master, AddressesReady): _master_ready,
    (Master, Faulted): _master_to_fault,
    (Master, FaultCleared): _nothing,
    (Master, GroupOrders): _master_orders,
    (Master, TakeOver): _nothing,
    (Master, Withdrawn): _master_leaves,
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
