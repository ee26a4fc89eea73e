"""A replay in an operator's words: for each transition the event, the state and timers before, and the rule."""

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.base.address import Address
from holdfast.base.address import text as address_text
from holdfast.base.time import Nanoseconds, span_text
from holdfast.engine import scripts
from holdfast.engine.engine import Engine
from holdfast.engine.messages import (
    AddressesApplied,
    AddressesRefused,
    AddressLost,
    AdvertArrived,
    AnnounceAddresses,
    Asleep,
    EngineEffect,
    InterfaceSeen,
    LinkPolled,
    ProcessesCounted,
    ReannounceAsked,
    ScriptFinished,
    SendOne,
    SetAddresses,
    StopAsked,
    TimersDue,
    TrackerReported,
)
from holdfast.engine.record import Begun, Commanded, Reloaded
from holdfast.engine.slot import Slot
from holdfast.vrrp.machine import ROWS, Backup, Fault, Initialize, Master, Standing, State
from holdfast.vrrp.messages import Event, Role
from holdfast.vrrp.priority import verdict_text

Clock = Callable[[Nanoseconds], str]
"""A moment of the recording as wall time."""

RULES = {
    "_startup": "begins as a backup and listens for its whole Master_Down_Interval; an address owner (priority 255) "
    "leads at once (RFC 9568 section 6.4.1)",
    "_backup_timer": "its Master_Down_Timer ran out: it leads (RFC 9568 section 6.4.2)",
    "_backup_to_fault": "something it depends on failed: it neither sends nor listens any more",
    "_master_to_fault": "something it depends on failed: it resigns with priority 0 and gives the addresses up",
    "_leave": "it ends; a backup has nothing to resign from",
    "_master_leaves": "it ends: it resigns with priority 0, so that a backup waits only its Skew_Time",
    "_backup_orders": "the members of a sync group lead together",
    "_master_orders": "told to step back (its sync group, or switch --away --force): it resigns with priority 0",
    "_backup_takes_over": "an operator's switch --here: it advertises a priority above the one heard and leads",
    "_master_timer": "it was silent for so long that another may have taken over: it steps back and listens",
    "_master_slept": "the machine was suspended so long that another may have taken over: it steps back and listens",
    "_master_advert": "a better master speaks (higher priority, or the same and the higher address): it yields "
    "(RFC 9568 section 6.4.3)",
}
"""What the rows of the machine's table that lead to another state come to, by their function's name."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one instance's machine that changed its state."""

    slot: int
    instance: str
    was: Role
    became: Role
    cause: str
    before: State
    standing: Standing
    event: Event
    row: str


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A transition explained. `time` is wall time; `row` names the machine's row (vrrp/machine.py)."""

    now: Nanoseconds
    time: str
    instance: str
    was: str
    became: str
    cause: str
    event: str
    before: str
    standing: str
    rule: str
    row: str
    then: tuple[str, ...]


class ExplainedEngine(Engine):
    """An engine that notes which step changed a state; `turns` is for the caller to empty."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.turns: list[Turn] = []

    def step(self, slot: Slot, event: Event, now: Nanoseconds) -> None:
        """As the engine's, and noted."""
        before, was, standing = slot.state, slot.role, slot.standing
        if isinstance(before, Master):
            before = Master(self.beats.adver_at(slot.number) or before.adver_at, before.other_owner_at)
        super().step(slot, event, now)
        if slot.role is not was:
            row = ROWS[before.__class__, event.__class__].__name__
            if row == "_master_advert" and slot.cause.startswith("was not running"):
                row = "_master_timer"
            turn = Turn(
                slot=slot.number,
                instance=slot.config.name,
                was=was,
                became=slot.role,
                cause=slot.cause,
                before=before,
                standing=standing,
                event=event,
                row=row,
            )
            self.turns.append(turn)


def transitions(
    engine: ExplainedEngine, event: Any, now: Nanoseconds, effects: list[EngineEffect], clock: Clock
) -> list[Transition]:
    """The transitions of the event just handled, explained; the engine's `turns` are emptied."""
    turns, engine.turns = engine.turns, []
    return [
        Transition(
            now=now,
            time=clock(now),
            instance=turn.instance,
            was=turn.was.name,
            became=turn.became.name,
            cause=turn.cause,
            event=event_text(engine, event),
            before=state_text(turn.before, now, clock),
            standing=_standing_text(turn.standing),
            rule=RULES.get(turn.row, turn.row),
            row=f"{type(turn.before).__name__} × {type(turn.event).__name__}",
            then=tuple(words for effect in effects if (words := _effect_text(effect, turn.slot))),
        )
        for turn in turns
    ]


def text(address: Address) -> str:
    """An address; in hexadecimal if it is none, for a recording may be damaged."""
    return address_text(address) if len(address) in (4, 16) else address.hex() or "nobody"


def event_text(engine: Engine, event: Any) -> str:
    """What the engine was told, in words."""
    match event:
        case TimersDue():
            return "a timer ran out"
        case AdvertArrived():
            interval = span_text(event.adver_interval_ns)
            words = f"an advert for {_name(engine, event.slot)} from {text(event.source)}, priority {event.priority}"
            return f"{words} (resigns)" if event.priority == 0 else f"{words}, interval {interval}"
        case InterfaceSeen():
            seen = event.interface
            state = "gone" if not seen.index else "up" if seen.up else "down"
            addresses = ", ".join(map(text, seen.addresses)) or "no address"
            return f"interface {seen.name} is {state}" + (f", with {addresses}" if seen.index else "")
        case ScriptFinished():
            return f"script {event.name} {scripts.outcome(event)}"
        case TrackerReported():
            return f"{event.kind} {event.name} is {verdict_text(event.kind, event.value)}"
        case ProcessesCounted():
            return f"{event.count} processes match {event.name}"
        case LinkPolled():
            return f"interface {event.interface} was asked, and has {'a' if event.up else 'no'} link"
        case AddressesApplied():
            return f"the kernel has the addresses of {', '.join(_name(engine, slot) for slot in event.slots)}"
        case AddressesRefused():
            return f"the kernel refused an address of {_name(engine, event.slot)}: {event.text}"
        case AddressLost():
            return f"somebody removed {text(event.address)} from {event.interface}"
        case Asleep():
            return f"the machine had been suspended for {span_text(event.span_ns)}"
        case StopAsked():
            return f"asked to leave: {event.cause}"
        case ReannounceAsked():
            return f"a rival of {event.instance} is gone"
        case Begun():
            return "the daemon started"
        case Reloaded():
            return "the configuration was read again"
        case Commanded():
            direction = event.direction if event.direction == "release" else f"switch --{event.direction}"
            return f"{direction} {event.instance}, by {event.by}"
    return type(event).__name__


def state_text(state: State, now: Nanoseconds, clock: Clock) -> str:
    """A machine's state with the timers that run in it."""
    match state:
        case Initialize():
            return "not begun"
        case Fault():
            return f"in FAULT: {state.cause}"
        case Master():
            return f"master; next advert {_when(state.adver_at, now, clock)}"
        case Backup():
            who = "nobody heard"
            if state.master is not None:
                who = f"heard {text(state.master)} with priority {state.master_priority}"
            parts = [f"backup; {who}; Master_Down_Timer {_when(state.master_down_at, now, clock)}"]
            if state.preempt_at is not None:
                parts.append(f"preempt_delay {_when(state.preempt_at, now, clock)}")
            if state.wants_master:
                parts.append("held back by its sync group")
            if state.listening:
                parts.append("listening after a pause")
            return "; ".join(parts)
    return "left"


def _when(at: Nanoseconds, now: Nanoseconds, clock: Clock) -> str:
    apart = span_text(abs(at - now))
    return f"at {clock(at)} ({apart} {'ago' if at <= now else 'to go'})"


def _standing_text(standing: Standing) -> str:
    source = text(standing.primary) if standing.primary is not None else "no address to send from"
    return f"priority {standing.priority}, {source}" + ("" if standing.may_lead else ", held by its sync group")


def _effect_text(effect: EngineEffect, slot: int) -> str:
    if getattr(effect, "slot", None) != slot:
        return ""
    match effect:
        case SendOne():
            return f"advert with priority {effect.priority}"
        case SetAddresses():
            return "addresses on" if effect.present else "addresses off"
        case AnnounceAddresses():
            return f"neighbours told {effect.rounds} times"
    return ""


def _name(engine: Engine, number: int) -> str:
    slot = engine.slots.get(number)
    return slot.config.name if slot is not None else f"slot {number}"
