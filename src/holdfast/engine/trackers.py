"""What the supervisor is told of trackers: another verdict, and what it does to a priority."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from holdfast.engine.faults import depends_on
from holdfast.engine.messages import Interface, PriorityNotice, TrackerNotice
from holdfast.engine.slot import ScriptSlot, Slot
from holdfast.vrrp.messages import Role
from holdfast.vrrp.priority import contribution, verdict_text

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine

NAMED = 32
"""So many instances that a tracker concerns are named; where there are more, none is."""


def script_changed(engine: "Engine", timed: ScriptSlot) -> None:
    """A tracking script has its first verdict, or another one."""
    name, state = timed.config.name, timed.state
    named = [slot.config.name for slot in users(engine, "script", name)]
    _tell(engine, "script", name, bool(state.up), state.last_detail, named)


def users(engine: "Engine", kind: str, name: str) -> list[Slot]:
    """The slots that use a tracker."""
    return [
        slot
        for slot in engine.slots.values()
        if any(use.kind == kind and use.name == name for use in slot.config.trackers)
    ]


def reported(engine: "Engine", kind: str, name: str, up: bool, detail: str, value: int | None = None) -> None:
    """A file, a process or what the edge keeps has its first verdict, or another one."""
    _tell(engine, kind, name, up, detail, [slot.config.name for slot in users(engine, kind, name)], value)


def interface_changed(engine: "Engine", seen: Interface) -> None:
    """An interface went up, down or away; told when an instance depends on it."""
    named = [slot.config.name for slot in engine.slots.values() if depends_on(slot.config, seen.name)]
    if named:
        detail = "up" if seen.up else "down" if seen.index else "absent"
        _tell(engine, "interface", seen.name, seen.up, detail, named)


def _tell(
    engine: "Engine", kind: str, name: str, up: bool, detail: str, users: list[str], value: int | None = None
) -> None:
    named = tuple(users) if len(users) <= NAMED else ()
    engine.tell(TrackerNotice(kind=kind, name=name, up=up, detail=detail, instances=named, value=value))


def priority_changed(slot: Slot, was: int, verdicts: Mapping[tuple[str, str], int | None]) -> PriorityNotice:
    """The effective priority of a slot was another: what counts now."""
    role = slot.role if slot.role in (Role.MASTER, Role.BACKUP) else None
    return PriorityNotice(
        slot.config.name,
        slot.role.name,
        slot.standing.priority,
        was,
        _counts(slot, verdicts),
        slot.config.notify_priority_changes and role is not None,
    )


def _counts(slot: Slot, verdicts: Mapping[tuple[str, str], int | None]) -> str:
    if slot.held is not None:
        return f"switch --{'here' if slot.held.here else 'away'} by {slot.held.by}"
    base = slot.config.priority
    said = []
    for use in slot.config.trackers:
        up = verdicts.get((use.kind, use.name))
        if adds := contribution(use, up):
            said.append(f"{use.kind} {use.name} is {verdict_text(use.kind, up)}: {adds:+d}")
    return f"base {base}; {', '.join(said)}" if said else f"base {base}"
