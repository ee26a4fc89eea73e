"""Trackers that are watched elsewhere: files, processes, what the edge keeps; and links that are not believed at once.

Files and processes are watched by the supervisor: reading a file or the process table takes time. The engine is told
the number in a file, how many processes match, whether a polled interface has a link.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.base.time import Nanoseconds
from holdfast.config.plan import VrrpPlan
from holdfast.engine import scripts, sessions, trackers
from holdfast.engine.faults import depends_on
from holdfast.engine.messages import Interface, LinkPolled, LogLine, ProcessesCounted, TrackerReported
from holdfast.engine.slot import LinkSlot, ProcessSlot, ScriptSlot
from holdfast.track import process
from holdfast.track.config import ProcessConfig
from holdfast.vrrp.machine import Backup
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine

WORDS = {"file": "Track file", "process": "Tracked process", "static": "Static address", "bfd": "BFD session"}


def handlers(engine: "Engine") -> dict[type[Any], Callable[[Any, Nanoseconds], None]]:
    """What is to be called for the events that concern these."""
    return {
        TrackerReported: partial(_reported, engine),
        ProcessesCounted: partial(_counted, engine),
        LinkPolled: partial(_polled, engine),
    }


def adopt(engine: "Engine", plan: VrrpPlan, now: Nanoseconds) -> list[Interface]:
    """Take processes and links of a plan in, at the start and at a reload; what stays the same keeps its state.

    Gives the interfaces whose delay ends here, as they count from now on.
    """
    before, engine.processes = engine.processes, {}
    for config in plan.processes:
        slot = before.get(config.name)
        if slot is None or _matching(slot.config) != _matching(config):
            slot = ProcessSlot(config)
        elif slot.config != config:
            count, slot = slot.state.count, ProcessSlot(config)
            slot.state = process.counted(config, slot.state, count, now)
        engine.processes[config.name] = slot
        engine.verdicts["process", config.name] = slot.state.up
    links, engine.links = engine.links, {}
    for link in plan.links:
        known = links.get(link.name)
        fresh = LinkSlot(link, known.seen if known is not None else engine.interfaces.get(link.name))
        fresh.silent = known is not None and known.silent and bool(link.polled)
        engine.links[link.name] = fresh
    used = {(use.kind, use.name) for one in plan.instances for use in one.trackers}
    for session in plan.bfd:  # told to the supervisor whoever uses it
        used.add(("bfd", session.name))
        engine.verdicts.setdefault(("bfd", session.name), None)
    for key in [key for key in engine.verdicts if key[0] in WORDS and key not in used]:
        del engine.verdicts[key]
    engine.details = {key: said for key, said in engine.details.items() if key in used}
    links.update(engine.links)
    return [_as_it_counts(link_slot) for link_slot in links.values() if link_slot.seen is not None]


def _matching(config: ProcessConfig) -> tuple[Any, ...]:
    return config.command, config.parameters, config.match, config.full_command


def due(engine: "Engine", timed: ScriptSlot | ProcessSlot | LinkSlot, now: Nanoseconds) -> None:
    """The time of something beside the instances has come."""
    if isinstance(timed, ScriptSlot):
        scripts.run_due(engine, timed, now)
    elif isinstance(timed, ProcessSlot):
        if engine.processes.get(timed.config.name) is timed:
            _stands(engine, timed, process.due(timed.config, timed.state, now), now)
    elif engine.links.get(timed.config.name) is timed and timed.due_at is not None and timed.seen is not None:
        if now < timed.due_at:
            engine.set_timer(timed, timed.due_at)
            return
        timed.due_at = None
        engine.take_interface(_as_it_counts(timed), now)


# ---- files, processes, and whatever is told as a verdict -------------------------------------------------------------


def _reported(engine: "Engine", event: TrackerReported, now: Nanoseconds) -> None:
    key = (event.kind, event.name)
    if key not in engine.verdicts:
        return  # nobody uses it (any more)
    was, engine.verdicts[key] = engine.verdicts[key], event.value
    engine.details[key] = event.detail
    if was == event.value and was is not None:
        return
    if event.kind == "file":
        good, said = True, f"is {event.value}" + (f", was {was}" if was is not None else "")
        number: int | None = int(event.value)
    else:
        good, said, number = bool(event.value), "up" if event.value else "down", None
    detail = f" ({event.detail})" if event.detail else ""
    level = Level.INFO if good else Level.WARNING
    engine.tell(LogLine(level, f"{WORDS[event.kind]} {event.name} {said}{detail}"))
    why = event.detail or ("" if number is None or was is None else f"was {was}")
    trackers.reported(engine, event.kind, event.name, good, why, number)
    _reconsider(engine, event.kind, event.name, now)
    if event.kind == "bfd" and was and not event.value:
        sessions.lost(engine, event.name, trackers.users(engine, "bfd", event.name), now)


def _counted(engine: "Engine", event: ProcessesCounted, now: Nanoseconds) -> None:
    slot = engine.processes.get(event.name)
    if slot is not None:
        _stands(engine, slot, process.counted(slot.config, slot.state, event.count, now), now)


def _stands(engine: "Engine", slot: ProcessSlot, state: process.ProcessState, now: Nanoseconds) -> None:
    name, was, slot.state = slot.config.name, slot.state.up, state
    if state.due_at is not None:
        engine.set_timer(slot, state.due_at)
    if state.up == was or state.up is None:
        return
    engine.verdicts["process", name] = state.up
    said = process.detail(slot.config, state.count)
    level, word = (Level.INFO, "gained") if state.up else (Level.WARNING, "lost")
    engine.tell(LogLine(level, f"Quorum {word} for tracked process {name} ({said})"))
    trackers.reported(engine, "process", name, state.up, said)
    _reconsider(engine, "process", name, now)


def _reconsider(engine: "Engine", kind: str, name: str, now: Nanoseconds) -> None:
    for slot in trackers.users(engine, kind, name):
        engine.reconsider(slot, now)


# ---- links ----------------------------------------------------------------------------------------------------------


def believed(engine: "Engine", seen: Interface, now: Nanoseconds) -> Interface:
    """The interface as it counts now: one whose link has just changed may be taken as before for a while."""
    link = engine.links.get(seen.name)
    if link is None:
        return seen
    link.seen = seen
    seen, before = _as_it_counts(link), engine.interfaces.get(seen.name)
    if before is None or not (seen.index and before.index) or seen.up == before.up:
        link.due_at = None
        return seen
    delay = link.config.up_ns if seen.up else min(link.config.down_ns, _longest_down_ns(engine, seen.name))
    if not delay:
        return seen
    if link.due_at is None:
        link.due_at = now + delay
        engine.set_timer(link, link.due_at)
    return msgspec.structs.replace(seen, up=before.up)


def _as_it_counts(link: LinkSlot) -> Interface:
    assert link.seen is not None
    return msgspec.structs.replace(link.seen, up=False) if link.silent else link.seen


def _polled(engine: "Engine", event: LinkPolled, now: Nanoseconds) -> None:
    link = engine.links.get(event.interface)
    if link is None or link.silent != event.up:
        return
    link.silent = not event.up
    if link.seen is not None:
        engine.take_interface(believed(engine, link.seen, now), now)


def _longest_down_ns(engine: "Engine", name: str) -> Nanoseconds:
    """A dead link must be noticed before the other hosts notice the silence: (down_timer_adverts - 1) intervals."""
    longest = []
    for slot in engine.slots.values():
        if depends_on(slot.config, name):
            interval = slot.config.adver_interval_ns
            if isinstance(slot.state, Backup):
                interval = min(interval, slot.state.master_adver_interval_ns)
            longest.append(max((slot.config.down_timer_adverts - 1) * interval - interval // 256, 0))
    return min(longest, default=1 << 62)
