"""What the engine sees that may show a split brain, told to the supervisor, which puts it together.

A notice for each packet would be too many where a stranger floods us: at most two a second for each instance, kind,
reason and source, and at most so many sources.
"""

from typing import TYPE_CHECKING, Any

from holdfast.base.address import text
from holdfast.base.time import MILLISECOND, Nanoseconds, span_text
from holdfast.engine.messages import AdvertArrived, AdvertRefused, SuspicionNotice
from holdfast.engine.slot import Slot
from holdfast.vrrp.config import OWNER
from holdfast.vrrp.machine import Backup
from holdfast.vrrp.messages import Event, RivalHeard, TimerDue

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine

PACE: Nanoseconds = 500 * MILLISECOND
SOURCES = 32
"""So many kinds and sources an instance are told apart; forged sources have no end."""


def _due(slot: Slot, what: str, source: bytes, now: Nanoseconds) -> bool:
    key = f"{what} {source.hex()}"
    recent = tuple(one for one in slot.suspected if now - one[1] < PACE)
    if any(one[0] == key for one in recent) or len(recent) >= SOURCES:
        return False
    slot.suspected = (*recent, (key, now))
    return True


def rival(engine: "Engine", slot: Slot, effect: RivalHeard) -> None:
    """Another one is master too; the engine's own lines of it are limited where they are written."""
    source, priority = text(effect.source), effect.priority
    reason = "owner" if priority == OWNER and slot.config.carp is None else ""
    engine.tell(SuspicionNotice(name=slot.config.name, kind="rival", source=source, priority=priority, reason=reason))


def refused(engine: "Engine", slot: Slot, event: AdvertRefused, now: Nanoseconds) -> None:
    """An advert failed a check."""
    if event.source and _due(slot, event.reason, event.source, now):
        engine.tell(
            SuspicionNotice(
                name=slot.config.name,
                kind="refused",
                source=text(event.source),
                reason=event.reason,
                stranger=event.stranger,
                text=event.text,
            )
        )


def odd(engine: "Engine", slot: Slot, event: AdvertArrived, now: Nanoseconds) -> None:
    """An advert was taken, though something about it was not as ours."""
    if _due(slot, f"odd {event.counted}", event.source, now):
        engine.tell(
            SuspicionNotice(
                name=slot.config.name,
                kind="odd",
                source=text(event.source),
                priority=event.priority,
                reason=event.counted,
                stranger=event.stranger,
                text=event.remarks[0] if event.remarks else "",
            )
        )


def took_over(engine: "Engine", slot: Slot, before: Any, event: Event) -> None:
    """MASTER, as nothing was heard of the last one, or as we outrank it: only silence is suspicious."""
    if not isinstance(before, Backup) or not isinstance(event, TimerDue) or before.master is None or slot.resigned:
        return
    outranked = before.master_priority < slot.standing.priority and slot.config.preempt
    if not outranked:
        source = text(before.master)
        notice = SuspicionNotice(
            name=slot.config.name, kind="silent", source=source, priority=before.master_priority
        )
        engine.tell(notice)


def stalled(span_ns: Nanoseconds) -> SuspicionNotice:
    """This process did not run for a while."""
    return SuspicionNotice(name="", kind="stalled", text=span_text(span_ns))
