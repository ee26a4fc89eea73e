"""Adverts that need the machine: what is not routine, what does not count, and how much routine was absorbed."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.base.time import Nanoseconds
from holdfast.engine import lines, suspicions
from holdfast.engine.messages import AdvertArrived, AdvertRefused, LogLine, RoutineHeard, Unwatch, Watch
from holdfast.vrrp.config import RESIGN
from holdfast.vrrp.machine import Backup, Initialize, is_routine, master_down_interval
from holdfast.vrrp.messages import AdvertReceived, Level

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine


def handlers(engine: "Engine") -> dict[type[Any], Callable[[Any, Nanoseconds], None]]:
    """What is to be called for the events that concern adverts."""
    return {
        AdvertArrived: partial(_advert_arrived, engine),
        AdvertRefused: partial(_advert_refused, engine),
        RoutineHeard: partial(_routine_heard, engine),
    }


def _advert_arrived(engine: "Engine", event: AdvertArrived, now: Nanoseconds) -> None:
    """A valid advert of a virtual router, step by step."""
    slot = engine.slots.get(event.slot)
    if slot is None or isinstance(slot.state, Initialize):
        return
    slot.count("advert_rcvd")
    if event.priority == RESIGN:
        slot.count("pri_zero_rcvd")
    else:
        slot.peer = (event.source, event.priority)
    if event.counted:
        slot.count(event.counted)
    for remark in event.remarks:
        engine.tell(LogLine(Level.WARNING, f"({slot.config.name}) {remark}", "remark"))
    slot.resigned = event.priority == RESIGN
    received = AdvertReceived(event.priority, event.source, event.adver_interval_ns)
    if isinstance(slot.state, Backup) and event.priority == RESIGN:
        engine.tell(lines.resigned(slot, event.source))
    slot.heard_after = now
    if event.counted or event.stranger:
        suspicions.odd(engine, slot, event, now)
    was = slot.state.master if isinstance(slot.state, Backup) else None
    engine.step(slot, received, now)
    if isinstance(slot.state, Backup) and slot.state.master != was:
        slot.master_since = now
    if is_routine(slot.config, slot.standing, slot.state, received):
        slot.watched = True
        if isinstance(slot.state, Backup):
            interval = slot.state.master_adver_interval_ns
            slot.down_ns = master_down_interval(slot.config, slot.standing.priority, interval)
        engine.emit(Watch(slot.number))
    elif slot.watched and event.priority != RESIGN:  # two speak: the next advert shows whom we follow
        slot.watched = False
        engine.emit(Unwatch(slot.number))


def _advert_refused(engine: "Engine", event: AdvertRefused, now: Nanoseconds) -> None:
    """An advert for a virtual router of ours that does not count; it is, and the reason is told."""
    slot = engine.slots.get(event.slot)
    if slot is None or isinstance(slot.state, Initialize):
        return
    slot.count(event.reason)
    engine.tell(LogLine(Level.WARNING, f"({slot.config.name}) {event.text}", event.reason))
    suspicions.refused(engine, slot, event, now)


def _routine_heard(engine: "Engine", event: RoutineHeard, now: Nanoseconds) -> None:
    """The watch over the routine adverts tells how many it absorbed."""
    if event.slot in engine.slots:
        engine.take_heard(engine.slots[event.slot], event.at, event.count)
