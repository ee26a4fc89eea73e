"""Planned hand-overs: `switch --here`, `switch --away`, `release`. By the protocol itself, so that any peer follows.

*Here*: advertise a priority above the one heard and become master at once; the old master hears it and yields.
*Away*: advertise the lowest priority and go on serving until another has taken over; if nobody does in the time they
would need, stay master and say so. With force: resign with priority 0.

A hold replaces the effective priority until it is released or runs out; it survives a reload and is no FAULT.
"""

from typing import TYPE_CHECKING

import msgspec

from holdfast.base.address import text
from holdfast.base.time import SECOND, Nanoseconds, span_text
from holdfast.carp.config import interval_ns
from holdfast.engine.messages import HoldNotice, LogLine, SendOne
from holdfast.engine.slot import Held, Slot
from holdfast.engine.standing import restand
from holdfast.vrrp.config import OWNER
from holdfast.vrrp.machine import Backup
from holdfast.vrrp.messages import GroupOrders, Level, Role, TakeOver

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine

LOWEST = 1
HIGHEST = OWNER - 1
PATIENCE_MARGIN: Nanoseconds = SECOND // 2


class Check(msgspec.Struct, frozen=True):
    """One thing looked at before a hand-over; a red one that is not `vital` only warns."""

    what: str
    ok: bool
    vital: bool
    text: str


class Precheck(msgspec.Struct, frozen=True, kw_only=True):
    """What speaks for and against a hand-over of an instance (and its sync group)."""

    instance: str
    direction: str  # here or away
    members: list[str]
    state: str
    checks: list[Check]
    patience_s: float  # how long it may take at most

    @property
    def possible(self) -> bool:
        """Whether nothing vital speaks against it."""
        return all(check.ok for check in self.checks if check.vital)


def members_of(engine: "Engine", name: str) -> list[Slot]:
    """The instance of that name and, first it, the others of its sync group; empty when there is none."""
    for slot in engine.slots.values():
        if slot.config.name == name:
            return [slot, *engine.groups.others(slot)]
    return []


def patience(slot: Slot) -> Nanoseconds:
    """How long a backup of any priority may need to take over from a master that it outranks."""
    config = slot.config
    slowest_skew = SECOND if config.version == 2 else config.adver_interval_ns
    return config.down_timer_adverts * config.adver_interval_ns + slowest_skew + PATIENCE_MARGIN


def raised_priority(slot: Slot) -> int:
    """The priority with which a slot would outrank the master it hears; 0 when none would.

    While nobody is heard the highest: a master may be there that we have not heard yet.
    """
    state, carp = slot.state, slot.config.carp
    if carp is not None:  # one step faster than any advskew of our advbase
        heard_ns = state.master_adver_interval_ns if isinstance(state, Backup) and state.master is not None else None
        return 0 if heard_ns is not None and heard_ns <= interval_ns(carp, OWNER) else OWNER
    if not isinstance(state, Backup) or state.master is None:
        return HIGHEST
    heard = state.master_priority
    if heard >= OWNER:
        return 0
    if heard == HIGHEST:
        primary = slot.standing.primary
        return HIGHEST if primary is not None and primary > state.master else 0
    return min(max(heard + 1, slot.standing.priority), HIGHEST)


def precheck(engine: "Engine", slots: list[Slot], here: bool) -> Precheck:
    """Look before switching; nothing is changed."""
    checks: list[Check] = []
    for slot in slots:
        checks += _checks_here(slot) if here else _checks_away(slot)
        differing = slot.counters.get("addr_list_err", 0)
        name = slot.config.name
        lists = f"{name}: {differing or 'no'} adverts listed other addresses than ours"
        checks.append(Check("same addresses", not differing, False, lists))
        base, now = slot.config.priority, slot.standing.priority
        green = slot.held is not None or now >= base
        checks.append(Check("checks green", green, False, f"{name}: effective priority {now}, base {base}"))
    return Precheck(
        instance=slots[0].config.name,
        direction="here" if here else "away",
        members=[slot.config.name for slot in slots],
        state=slots[0].role.name,
        checks=checks,
        patience_s=max(patience(slot) for slot in slots) / SECOND,
    )


def _checks_here(slot: Slot) -> list[Check]:
    name, state = slot.config.name, slot.state
    ready = slot.role in (Role.BACKUP, Role.MASTER)
    why = f"{name} is {slot.role.name}" + ("" if ready else f": {slot.cause}")
    checks = [Check("able to serve", ready, True, why)]
    if isinstance(state, Backup):
        heard = state.master is not None
        who = f"{text(state.master)} with priority {state.master_priority}" if state.master is not None else "nobody"
        checks.append(Check("peer heard", heard, False, f"{name}: {who} is heard as master"))
        raised = raised_priority(slot)
        won = f"{name}: would advertise {raised}" if raised else f"{name}: no priority up to {HIGHEST} outranks {who}"
        checks.append(Check("would win", bool(raised), True, won))
    return checks


def _checks_away(slot: Slot) -> list[Check]:
    name, config = slot.config.name, slot.config
    checks = [Check("master now", slot.role is Role.MASTER, True, f"{name} is {slot.role.name}")]
    peers = ", ".join(text(peer.address) for peer in config.unicast_peers)
    whom = f"unicast peers {peers}" if peers else "backups are silent: whether one listens shows when we step back"
    checks.append(Check("somebody there", True, False, f"{name}: {whom}"))
    return checks


def switch(
    engine: "Engine", slots: list[Slot], here: bool, force: bool, until: Nanoseconds | None, by: str, now: Nanoseconds
) -> None:
    """Hand over: effects are gathered in the engine. The precheck has found nothing vital against it."""
    direction = "here" if here else "away"
    longest = max(patience(slot) for slot in slots)  # a group moves when its slowest member may
    for slot in slots:
        give_up_at = None if here or force or slot.role is not Role.MASTER else now + longest
        priority = raised_priority(slot) or HIGHEST if here else LOWEST
        slot.held = Held(here, priority, by, until, give_up_at)
        line = f"({slot.config.name}) switch --{direction} by {by}: held with priority {priority}"
        engine.tell(LogLine(Level.INFO, line + (" until released" if until is None else "")))
    for slot in slots:
        restand(engine, slot)
        if here and slot.role is not Role.MASTER:
            engine.step(slot, TakeOver(f"switch --here by {by}"), now)
        elif not here and slot.role is Role.MASTER and force:
            engine.step(slot, GroupOrders(Role.BACKUP, f"switch --away --force by {by}"), now)
        elif slot.role is Role.MASTER:
            slot.count("advert_sent")
            engine.emit(SendOne(slot.number, slot.standing.priority))
        engine.rearm(slot)
    engine.settle(now)


def release(engine: "Engine", slots: list[Slot], by: str, now: Nanoseconds) -> bool:
    """End the hold of these slots; whether there was one. The election goes on by its own rules."""
    held = [slot for slot in slots if slot.held is not None]
    for slot in held:
        slot.held = None
        engine.tell(LogLine(Level.INFO, f"({slot.config.name}) released by {by}: the election is free again"))
        engine.reconsider(slot, now)
    engine.settle(now)
    return bool(held)


def due(engine: "Engine", slot: Slot, now: Nanoseconds) -> None:
    """A hold's time may have come: nobody took over from us, or `--for` is over."""
    held = slot.held
    if held is None:
        return
    if held.give_up_at is not None and now >= held.give_up_at:
        if slot.role is Role.MASTER:
            slot.held = None
            waited = span_text(max(patience(each) for each in (slot, *engine.groups.others(slot))))
            line = (
                f"({slot.config.name}) nobody took over within {waited}: no backup listens, or theirs is nopreempt; "
                f"staying master (switch --away --force resigns all the same)"
            )
            engine.tell(LogLine(Level.WARNING, line))
            why = f"nobody took over within {waited}: no backup listens, or theirs is nopreempt"
            engine.tell(HoldNotice(name=slot.config.name, what="given up", cause=why))
            engine.reconsider(slot, now)
            return
        slot.held = held = msgspec.structs.replace(held, give_up_at=None)
    if held.until is not None and now >= held.until:
        engine.tell(HoldNotice(name=slot.config.name, what="expired", cause="the end of --for"))
        release(engine, [slot], "the end of --for", now)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `switch` and `release`."""

    instance: str
    direction: str
    done: bool
    error: str = ""
    cure: str = ""
    precheck: Precheck | None = None


def command(
    engine: "Engine",
    name: str,
    direction: str,
    *,
    by: str,
    for_ns: Nanoseconds | None,
    force: bool,
    dry_run: bool,
    now: Nanoseconds,
) -> Answer:
    """What an operator asked for; `direction` is here, away or release. Effects are gathered in the engine."""
    slots = members_of(engine, name)
    if not slots:
        known = ", ".join(slot.config.name for slot in engine.slots.values()) or "none"
        cure = f"the instances here are {known}"
        return Answer(instance=name, direction=direction, done=False, error=f"there is no instance {name}", cure=cure)
    if direction == "release":
        done = dry_run or release(engine, slots, by, now)
        error = "" if done else f"{name} is not held"
        return Answer(instance=name, direction=direction, done=done, error=error)
    looked = precheck(engine, slots, direction == "here")
    if not looked.possible:
        wrong = "; ".join(check.text for check in looked.checks if check.vital and not check.ok)
        return Answer(instance=name, direction=direction, done=False, error=wrong, precheck=looked)
    if not dry_run:
        until = None if for_ns is None else now + for_ns
        switch(engine, slots, direction == "here", force, until, by, now)
    return Answer(instance=name, direction=direction, done=not dry_run, precheck=looked)
