"""Joins the machines, settles them, one verb: `handle(event, now)` gives the effects, in order.

The engine is pure like the machines it holds: no socket, clock, file or log. What it adds to them:

- *Timers* lie in one heap and are checked lazily: a deadline that moved later costs nothing until the old one is due.
- *Routine* is not stepped. A master's regular adverts leave by beat (`beats.py`); a backup's identical adverts are
  absorbed by the edge (`Watch`), and only when its timer comes due are they asked for (`TimersDue.heard`).
- *Trackers, interfaces and groups* are derived: faults, effective priority and group orders are computed afresh from
  the interface table and the verdicts, and fed back until nothing changes, within a bound.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from holdfast.base.time import MILLISECOND, Nanoseconds, span_text
from holdfast.config.plan import VrrpPlan
from holdfast.engine import applied, heard, holds, lines, scripts, suspicions, trackers, watched
from holdfast.engine.beats import Beats
from holdfast.engine.faults import depends_on, expect_verdicts, own_faults, primary_address
from holdfast.engine.groups import Groups
from holdfast.engine.messages import (
    AnnounceAddresses,
    Asleep,
    Configure,
    Dismiss,
    EngineEffect,
    EngineEvent,
    Hush,
    Interface,
    InterfaceSeen,
    LogLine,
    LowerPriorityNotice,
    Notice,
    ReannounceAsked,
    ScriptFinished,
    SendBeat,
    SendOne,
    SetAddresses,
    StateNotice,
    StopAsked,
    Tell,
    TimersDue,
    Unwatch,
)
from holdfast.engine.slot import LinkSlot, ProcessSlot, ScriptSlot, Slot
from holdfast.engine.standing import restand
from holdfast.engine.stepping import step
from holdfast.engine.timers import Timed, Timers, earlier
from holdfast.track import machine as script_machine
from holdfast.track.config import ScriptConfig
from holdfast.vrrp import announce
from holdfast.vrrp.config import RESIGN, InstanceConfig
from holdfast.vrrp.machine import (
    Backup,
    Fault,
    Initialize,
    Left,
    Master,
    Standing,
    heard_again,
)
from holdfast.vrrp.messages import (
    Announce,
    Event,
    FaultCleared,
    Faulted,
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
    Withdrawn,
)
from holdfast.vrrp.priority import effective_priority, undecided_trackers

LATE: Nanoseconds = 50 * MILLISECOND
"""A beat handled later than this is not routine: its members are stepped one by one."""

SETTLE_BOUND = 8
"""Rounds within which sync groups must agree; more would be a mistake of ours."""


class Engine:
    """All virtual routers and trackers of one plan."""

    def __init__(self, plan: VrrpPlan, now: Nanoseconds, boot_age_ns: Nanoseconds = 0) -> None:
        self.plan = plan
        self.slots: dict[int, Slot] = {}
        self.beats = Beats()
        self.scripts: dict[str, ScriptSlot] = {}
        self.interfaces: dict[str, Interface] = {}
        self.processes: dict[str, ProcessSlot] = {}
        self.links: dict[str, LinkSlot] = {}
        self.verdicts: dict[tuple[str, str], int | None] = {}  # up or not; of a file its number
        self.details: dict[tuple[str, str], str] = {}  # shown, decide nothing
        self.groups = Groups()
        self.leaving = False
        self.number = 0
        self._timers = Timers()
        self._due: list[Timed] = []
        self._effects: list[EngineEffect] = []
        self._touched: set[str] = set()  # groups to settle
        settings = plan.settings
        after_boot_ns = settings.vrrp_delay_after_boot_ns - boot_age_ns
        self.hold_until = now + max(settings.vrrp_startup_delay_ns, after_boot_ns, 0)
        self._handlers: dict[type[Any], Callable[[Any, Nanoseconds], None]] = {
            TimersDue: self._timers_due,
            InterfaceSeen: self._interface_seen,
            ScriptFinished: partial(scripts.run_finished, self),
            Asleep: self._asleep,
            StopAsked: self._stop_asked,
            ReannounceAsked: self._reannounce_asked,
            **heard.handlers(self),
            **applied.handlers(self),
            **watched.handlers(self),
        }

    # ---- the verb ---------------------------------------------------------------------------------------------------

    def handle(self, event: EngineEvent | ScriptFinished, now: Nanoseconds) -> list[EngineEffect]:
        """What is to be done about `event`, in order; the engine has already taken it in."""
        self._effects = []
        self._handlers[event.__class__](event, now)
        if self._touched:
            self.settle(now)
        return self.take()

    def begin(self, interfaces: Iterable[Interface], now: Nanoseconds) -> list[EngineEffect]:
        """Take in the interfaces as they are and start every instance and script of the plan."""
        self._effects = []
        for interface in interfaces:
            self.interfaces[interface.name] = interface
            self.verdicts["interface", interface.name] = interface.up
        for script in self.plan.scripts:
            self.add_script(script_machine.start(script, now), script)
        for config in self.plan.instances:
            self.add_slot(config, now)
        watched.adopt(self, self.plan, now)
        self.form_groups()
        for slot in list(self.slots.values()):
            self.reconsider(slot, now)
        if self._touched:
            self.settle(now)
        return self.take()

    def take(self) -> list[EngineEffect]:
        """The effects gathered by calls other than handle (a reload)."""
        effects, self._effects = self._effects, []
        return effects

    def tell(self, notice: Notice) -> None:
        """Say something to the supervisor."""
        self._effects.append(Tell(notice))

    def emit(self, effect: EngineEffect) -> None:
        """Ask something of the edge."""
        self._effects.append(effect)

    # ---- timers -----------------------------------------------------------------------------------------------------

    def deadline(self) -> Nanoseconds | None:
        """When something is due next; None when nothing waits."""
        return earlier(self.beats.next_at, self._timers.next_at())

    def wake_at(self) -> Nanoseconds | None:
        """When `take_due` and TimersDue are wanted next: a little before a silent master counts as down."""
        return earlier(self.beats.next_at, self._timers.wake_at())

    def rehearse(self, at: Nanoseconds) -> None:
        """Let a stand-in take the step the next watched slot is about to take, and forget it: the real one is warm."""
        first = self._timers.first()
        if first is not None and isinstance(first[1], Slot) and isinstance(first[1].state, Backup):
            slot = first[1]
            stand_in = Slot(0, slot.config, at)
            stand_in.state = heard_again(slot.config, slot.standing, first[1].state, at - slot.down_ns)
            stand_in.standing = slot.standing
            self.step(stand_in, TimerDue(), at)
            self.beats.leave(0)
            self._effects = []

    def take_due(self, now: Nanoseconds) -> list[int]:
        """The watched slots among those whose time has come: TimersDue is to say when each was last heard."""
        return self._timers.take(now, self._due)

    def set_timer(self, timed: Timed, at: Nanoseconds | None) -> None:
        """Wake for `timed` at `at`, or before."""
        self._timers.set(timed, at)

    def _slot_deadline(self, slot: Slot) -> Nanoseconds | None:
        state = slot.state
        at: Nanoseconds | None = None
        if isinstance(state, Backup):
            at = state.master_down_at
        elif isinstance(state, Initialize):
            at = max(slot.start_at, self.hold_until)
        if slot.announcements is not announce.QUIET:
            due_at = slot.announcements.due_at()
            if due_at is not None and (at is None or due_at < at):
                at = due_at
        if slot.held is not None:
            at = earlier(at, slot.held.due_at())
        return at

    def resume(self, entries: list[tuple[Nanoseconds, int, Timed]]) -> None:
        """Go on from a checkpoint's timers, with nothing left to settle."""
        self._timers.put_back(entries)
        self._touched.clear()

    def rearm(self, slot: Slot) -> None:
        """What the slot waits for has changed."""
        self._timers.set(slot, self._slot_deadline(slot))

    def _timers_due(self, event: TimersDue, now: Nanoseconds) -> None:
        beats = self.beats.due(now)
        for beat in beats:
            if now - beat.next_at < LATE:
                self._effects.append(SendBeat(beat.number, beat.version))
            else:
                self.tell(suspicions.stalled(now - beat.next_at))
                for number in list(beat.slots):
                    slot = self.slots[number]
                    slot.state = Master(beat.next_at)
                    self.step(slot, TimerDue(), now)
        if beats:
            self.beats.advance(beats, now)
        due, self._due = self._due, []
        heard_at = event.heard
        for timed in due:
            if isinstance(timed, Slot):
                self._slot_due(timed, heard_at.get(timed.number, 0), now)
            else:
                watched.due(self, timed, now)

    def _slot_due(self, slot: Slot, heard_at: Nanoseconds, now: Nanoseconds) -> None:
        state = slot.state
        routine = heard_at > slot.heard_after and slot.held is None
        if routine and isinstance(state, Backup) and not (state.wants_master or state.listening):
            at = heard_at + slot.down_ns  # nothing but routine: the state is brought up to date when it is needed
            if at > now:
                self._timers.set(slot, at)
                return
        if slot.number not in self.slots:
            return
        self.take_heard(slot, heard_at, 0)
        state = slot.state
        if isinstance(state, Backup):
            if now >= state.master_down_at:
                self.step(slot, TimerDue(), now)
        elif isinstance(state, Initialize):
            self.reconsider(slot, now)
        if slot.held is not None:
            holds.due(self, slot, now)
        if slot.announcements is not announce.QUIET:
            slot.announcements, rounds = announce.due(slot.config.announce, slot.announcements, now)
            if rounds:
                self._effects.append(AnnounceAddresses(slot.number, rounds))
        next_at = self._slot_deadline(slot)
        if next_at is not None and (next_at > now or not isinstance(slot.state, Initialize)):
            self.set_timer(slot, next_at)  # what still waits for a result has nothing to wake for

    def take_heard(self, slot: Slot, at: Nanoseconds, count: int) -> None:
        """The watch saw the routine advert `count` more times, last at `at`."""
        if count:
            slot.count("advert_rcvd", count)
        if at > slot.heard_after and isinstance(slot.state, Backup):
            after = heard_again(slot.config, slot.standing, slot.state, at)
            if after.master_down_at > slot.state.master_down_at:
                slot.state = after

    # ---- stepping one router ----------------------------------------------------------------------------------------

    def step(self, slot: Slot, event: Event, now: Nanoseconds) -> None:
        """Give one router an event; what it asks for is gathered."""
        before = slot.state
        if isinstance(before, Master):
            adver_at = self.beats.adver_at(slot.number)
            if adver_at is not None and adver_at != before.adver_at:
                before = Master(adver_at, before.other_owner_at)
        after, effects = step(slot.config, slot.standing, before, event, now)
        slot.state = after
        if after is not before and isinstance(after, Master):
            self._join_beat(slot, after, before)
            suspicions.took_over(self, slot, before, event)
        elif isinstance(before, Master) and not isinstance(after, Master):
            slot.count("advert_sent", self.beats.leave(slot.number))
        for effect in effects:
            self._effect(slot, effect, now)
        if slot.group is not None:
            self._touched.add(slot.group)
        self.set_timer(slot, self._slot_deadline(slot))

    def _join_beat(self, slot: Slot, after: Master, before: Any) -> None:
        if isinstance(before, Master):
            if after.adver_at == before.adver_at:
                return
            slot.count("advert_sent", self.beats.sent(slot.number))
        self.beats.join(slot.number, slot.adver_interval_ns, after.adver_at)

    def _effect(self, slot: Slot, effect: Any, now: Nanoseconds) -> None:
        kind = effect.__class__
        if kind is SendAdvert:
            slot.count("advert_sent")
            if effect.priority == RESIGN:
                slot.count("pri_zero_sent")
            self._effects.append(SendOne(slot.number, effect.priority))
        elif kind is WantAddresses:
            self._effects.append(SetAddresses(slot.number, effect.present))
        elif kind is StateChanged:
            self._state_changed(slot, effect, now)
        elif kind is Announce:
            slot.announcements, rounds = announce.begin(slot.config.announce, slot.announcements, effect.reason, now)
            if rounds:
                self._effects.append(AnnounceAddresses(slot.number, rounds))
        elif kind is Silence:
            if slot.announcements is not announce.QUIET:
                slot.announcements = announce.QUIET
            self._effects.append(Hush(slot.number))
        elif kind is RivalHeard:
            self._rival(slot, effect)
        elif kind is Note:
            self.tell(LogLine(effect.level, f"({slot.config.name}) {effect.text}"))
        else:
            raise AssertionError(f"no way to carry out {effect!r}")

    def _state_changed(self, slot: Slot, effect: StateChanged, now: Nanoseconds) -> None:
        was, slot.role = slot.role, effect.role
        slot.since, slot.cause = now, effect.cause
        if effect.role is Role.MASTER:
            slot.count("become_master")
        elif was is Role.MASTER:
            slot.count("release_master")
            if slot.group is not None and effect.role is Role.BACKUP:
                self.groups.left_master.setdefault(slot.group, slot.config.name)
        if slot.watched:
            slot.watched = False
            self._effects.append(Unwatch(slot.number))
        self.tell(
            StateNotice(
                kind="INSTANCE",
                name=slot.config.name,
                state=effect.role.name,
                priority=slot.standing.priority,
                cause=effect.cause,
                quiet=was is Role.INIT and effect.role is Role.BACKUP and slot.starts_silent,
            )
        )

    def _rival(self, slot: Slot, effect: RivalHeard) -> None:
        slot.count("rival_adverts")
        self.tell(lines.rival(slot, effect.source, effect.priority))
        suspicions.rival(self, slot, effect)
        self.tell(LowerPriorityNotice(slot.config.name, slot.standing.priority))
        if slot.group is not None:  # the switches may have learnt the rival for every address of the group
            for other in self.groups.others(slot):
                rounds = other.config.announce.lower_prio_repeat
                if other.role is Role.MASTER and rounds:
                    self._effects.append(AnnounceAddresses(other.number, rounds))

    # ---- interfaces, addresses, trackers ----------------------------------------------------------------------------

    def _interface_seen(self, event: InterfaceSeen, now: Nanoseconds) -> None:
        self.take_interface(watched.believed(self, event.interface, now), now)

    def take_interface(self, seen: Interface, now: Nanoseconds) -> None:
        """An interface counts as it is given here from now on."""
        before = self.interfaces.get(seen.name)
        if before == seen:
            return
        self.interfaces[seen.name] = seen
        self.verdicts["interface", seen.name] = seen.up
        if (before.up if before else False) != seen.up:
            self.tell(lines.interface(seen))
            trackers.interface_changed(self, seen)
        for slot in list(self.slots.values()):
            if not depends_on(slot.config, seen.name):
                continue
            if before is None or before.index != seen.index or before.mac != seen.mac:
                self._effects.append(Configure(slot.number))
            slot.refused = ""  # what the kernel would not do on the interface as it was, it may do now
            self.reconsider(slot, now)
            if slot.role is Role.MASTER and before is not None and seen.up and before.index != seen.index:
                self._effects.append(SetAddresses(slot.number, True))

    def reconsider(self, slot: Slot, now: Nanoseconds) -> None:
        """Derive priority, source and faults of a slot afresh, and step its machine where they changed."""
        restand(self, slot)
        own = own_faults(slot.config, slot.refused, slot.standing.primary, self.interfaces, self.verdicts)
        undecided = undecided_trackers(slot.config.trackers, self.verdicts)
        slot.faults = own
        faults = own or self.groups.fault_of(slot)
        state = slot.state
        if isinstance(state, Left):
            return
        if isinstance(state, Initialize):
            if faults and (own or not undecided):
                self.step(slot, Faulted(faults[0]), now)
            elif undecided or self.groups.undecided(slot, self.verdicts) or now < max(slot.start_at, self.hold_until):
                waiting = f"waiting for the first result of {', '.join(undecided)}" if undecided else "start delay"
                slot.cause = waiting
                starts_at = max(slot.start_at, self.hold_until)
                if now < starts_at:
                    self.set_timer(slot, starts_at)
            else:
                self.step(slot, Startup(), now)
        elif faults and not isinstance(state, Fault):
            self.step(slot, Faulted(faults[0]), now)
        elif not faults and isinstance(state, Fault) and not (undecided or self.groups.undecided(slot, self.verdicts)):
            self.step(slot, FaultCleared(f"no longer: {state.cause}"), now)
        elif isinstance(state, Fault) and faults and state.cause not in faults:
            self.step(slot, Faulted(faults[0]), now)
            slot.cause = faults[0]
        if slot.group is not None:
            self._touched.add(slot.group)

    # ---- scripts ----------------------------------------------------------------------------------------------------

    def add_script(self, state: script_machine.ScriptState, config: ScriptConfig) -> None:
        """Take a tracking script into the plan, in the state given."""
        timed = ScriptSlot(config, state)
        self.scripts[config.name] = timed
        self.verdicts["script", config.name] = state.up
        self.set_timer(timed, state.next_at)

    # ---- sync groups ------------------------------------------------------------------------------------------------

    def form_groups(self) -> None:
        """Bind the slots to the plan's groups; called whenever either changed."""
        self.groups.form(self.plan, self.slots.values())
        self._timers.look_ahead(min((c.adver_interval_ns for c in self.plan.instances), default=0))
        self._touched |= self.groups.configs.keys()

    def settle(self, now: Nanoseconds) -> None:
        """Feed the groups' consequences back until nothing changes."""
        for _ in range(SETTLE_BOUND):
            touched, self._touched = self._touched, set()
            if not touched:
                return
            for name in [name for name in self.groups.configs if name in touched]:  # in the plan's order, every time
                self._settle_group(name, now)
        assert not self._touched, f"sync groups do not settle: {sorted(self._touched)}"

    def _settle_group(self, name: str, now: Nanoseconds) -> None:
        before = [slot.state for slot in self.groups.members[name]]
        for slot in self.groups.members[name]:
            in_fault, must = isinstance(slot.state, Fault), bool(slot.faults or self.groups.fault_of(slot))
            if in_fault != must or isinstance(slot.state, Initialize):
                self.reconsider(slot, now)
        for slot, order in self.groups.orders(name):
            self.step(slot, order, now)
        if [slot.state for slot in self.groups.members[name]] == before:
            self._touched.discard(name)
            role = self.groups.role_changed(name)
            if role is not None and not self.leaving:
                cause = self.groups.cause(name, role)
                self.tell(StateNotice(kind="GROUP", name=name, state=role.name, priority=0, cause=cause))

    # ---- coming and going -------------------------------------------------------------------------------------------

    def add_slot(self, config: InstanceConfig, now: Nanoseconds) -> Slot:
        """Take an instance into the plan; it begins when `reconsider` finds nothing against it."""
        self.number += 1
        expect_verdicts(config, self.verdicts)
        slot = Slot(self.number, config, now)
        slot.start_at = now + config.start_delay_ns
        slot.standing = Standing(effective_priority(config, self.verdicts), primary_address(config, self.interfaces))
        self.slots[slot.number] = slot
        self._effects.append(Configure(slot.number))
        return slot

    def drop_slot(self, slot: Slot, role: Role, cause: str, now: Nanoseconds) -> None:
        """Withdraw an instance (role STOP or DELETED) and forget it."""
        self.step(slot, Withdrawn(role, cause), now)
        del self.slots[slot.number]
        slot.timer_at = None
        self._effects += (Unwatch(slot.number), Dismiss(slot.number))

    def _asleep(self, event: Asleep, now: Nanoseconds) -> None:
        self.tell(LogLine(Level.WARNING, f"This machine was suspended for {span_text(event.span_ns)}; listening first"))
        self.tell(suspicions.stalled(event.span_ns))
        for slot in list(self.slots.values()):
            self.step(slot, Slept(event.span_ns), now)

    def _reannounce_asked(self, event: ReannounceAsked, now: Nanoseconds) -> None:
        for slot in self.slots.values():
            if slot.config.name == event.instance and slot.role is Role.MASTER:
                self._effects.append(AnnounceAddresses(slot.number, 1))

    def _stop_asked(self, event: StopAsked, now: Nanoseconds) -> None:
        self.leaving = True
        for slot in list(self.slots.values()):
            if not isinstance(slot.state, Left):
                self.step(slot, Withdrawn(Role.STOP, event.cause), now)
        for name in self.groups.configs:
            self.groups.roles[name] = Role.STOP
            self.tell(StateNotice(kind="GROUP", name=name, state="STOP", priority=0, cause=event.cause))
        self._touched.clear()
