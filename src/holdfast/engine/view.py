"""The node as an operator sees it: built from the engine, read only, in slices so that no advert waits for it."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from holdfast.base.address import text
from holdfast.base.time import SECOND, Nanoseconds, span_text
from holdfast.carp.config import advertised
from holdfast.engine.engine import Engine
from holdfast.engine.node import COUNTERS as COUNTERS
from holdfast.engine.node import NodeView as NodeView
from holdfast.engine.slot import ScriptSlot, Slot
from holdfast.track import process
from holdfast.track.view import TrackerView
from holdfast.vrrp.config import OWNER, Family, TrackedUse, VirtualAddress
from holdfast.vrrp.machine import Backup, Initialize, master_down_interval
from holdfast.vrrp.messages import Role
from holdfast.vrrp.priority import contribution, fails, undecided_trackers
from holdfast.vrrp.view import CarpView, GroupView, HeardView, HeldView, InstanceView, MasterView, TrackedView

Heard = tuple[Nanoseconds, int] | None
"""Of a watched slot: when the routine advert was heard last, and how often since it was last asked."""

WallText = Callable[[Nanoseconds], str]
"""Turns a point of the monotonic clock into ISO 8601."""


def address_text(address: VirtualAddress) -> str:
    """`192.0.2.1/24`."""
    return f"{text(address.address)}/{address.prefix_length}"


def statistics(engine: Engine, slot: Slot, heard: tuple[Nanoseconds, int] | None) -> dict[str, int]:
    """All counters of a slot, the routine ones brought up to date, under their public names."""
    counters = dict(slot.counters)
    counters["advert_sent"] = counters.get("advert_sent", 0) + engine.beats.sent(slot.number)
    if heard:
        counters["advert_rcvd"] = counters.get("advert_rcvd", 0) + heard[1]
    shown = {public: counters.pop(name, 0) for public, name in COUNTERS.items()}
    shown.update(sorted(counters.items()))
    return shown


def waits_for(slot: Slot, now: Nanoseconds) -> str:
    """What the slot waits for, in words."""
    state = slot.state
    if isinstance(state, Initialize):
        return slot.cause
    if isinstance(state, Backup):
        if state.master is not None:
            return f"takes over when {text(state.master)} falls silent"
        return f"takes over in {span_text(max(state.master_down_at - now, 0))} unless a master is heard"
    if slot.role is Role.MASTER:
        return "stays master until one of higher rank is heard"
    return "returns when its faults are gone" if slot.role is Role.FAULT else ""


def held_view(slot: Slot, wall: WallText) -> HeldView | None:
    """The hold of a slot, if it is held."""
    if slot.held is None:
        return None
    until = None if slot.held.until is None else wall(slot.held.until)
    return HeldView(until, f"switch --{'here' if slot.held.here else 'away'} by {slot.held.by}")


def instance_view(
    engine: Engine, slot: Slot, heard: tuple[Nanoseconds, int] | None, wall: WallText, now: Nanoseconds
) -> InstanceView:
    """One instance as it stands at `now`."""
    config, state, standing = slot.config, slot.state, slot.standing
    master = None
    master_interval = slot.adver_interval_ns
    if slot.role is Role.MASTER and standing.primary is not None:
        master = MasterView(text(standing.primary), standing.priority, wall(slot.since))
    elif isinstance(state, Backup) and state.master is not None:
        master = MasterView(text(state.master), state.master_priority, wall(slot.master_since))
        master_interval = state.master_adver_interval_ns
    return InstanceView(
        name=config.name,
        state=slot.role.name,
        vrid=config.vrid,
        interface=config.interface,
        base=config.base,
        family="ipv4" if config.family == Family.IPV4 else "ipv6",
        version=config.version,
        priority=config.priority,
        effective_priority=standing.priority,
        advert_interval_s=slot.adver_interval_ns / SECOND,
        master_advert_interval_s=master_interval / SECOND,
        master=master,
        vips=[address_text(address) for address in config.addresses],
        excluded_vips=[address_text(address) for address in config.excluded],
        routes=[entry.name.partition(" ")[2] for entry in config.routes],
        rules=[entry.name.partition(" ")[2] for entry in config.rules],
        source=text(standing.primary) if standing.primary else None,
        since=wall(slot.since),
        cause=slot.cause,
        next=waits_for(slot, now),
        faults=list(slot.faults) or ([slot.cause] if slot.role is Role.FAULT else []),
        held=held_view(slot, wall),
        sync_group=slot.group,
        statistics=statistics(engine, slot, heard),
        trackers=[tracked_view(engine, use) for use in config.trackers],
        protocol=config.protocol,
        carp=carp_view(slot),
        owner=config.priority == OWNER,
        preempt=config.preempt,
        preempt_delay_s=config.preempt_delay_ns / SECOND,
        accept=config.accept,
        tracks_interface=bool(config.interface) and not config.dont_track_primary,
        unicast_peers=[text(peer.address) for peer in config.unicast_peers],
        last_heard=heard_view(slot, heard, now),
        undecided=undecided_trackers(config.trackers, engine.verdicts),
        **waits(engine, slot, heard, now),
    )


def carp_view(slot: Slot) -> CarpView | None:
    """The terms of a CARP instance."""
    terms = slot.config.carp
    if terms is None:
        return None
    advbase, advskew = advertised(terms, slot.standing.priority)
    return CarpView(
        advbase=terms.advbase,
        advskew=terms.advskew,
        demotion=terms.demotion,
        dead_ratio=terms.dead_ratio,
        advertised_advbase=advbase,
        advertised_advskew=advskew,
    )


def tracked_view(engine: Engine, use: TrackedUse) -> TrackedView:
    """What one tracker does to an instance now."""
    verdict = engine.verdicts.get((use.kind, use.name))
    up = None if verdict is None else bool(verdict)
    value = None
    if use.kind == "file" and verdict is not None:
        up, value = not fails(use, verdict), int(verdict)
    return TrackedView(
        kind=use.kind,
        name=use.name,
        weight=use.weight,
        reverse=use.reverse,
        up=up,
        contribution=contribution(use, verdict),
        value=value,
    )


def heard_view(slot: Slot, heard: Heard, now: Nanoseconds) -> HeardView | None:
    """The router a slot heard last."""
    if slot.peer is None:
        return None
    address, priority = slot.peer
    ago_ns = max(now - max(slot.heard_after, heard[0] if heard else 0), 0)
    return HeardView(address=text(address), priority=priority, ago_s=round(ago_ns / SECOND, 3))


def waits(engine: Engine, slot: Slot, heard: Heard, now: Nanoseconds) -> dict[str, Any]:
    """The times a slot waits for."""
    config, state = slot.config, slot.state
    interval = config.adver_interval_ns
    preempt_in = takes_over_in = starts_in = None
    if isinstance(state, Backup):
        interval = state.master_adver_interval_ns
        down_at = state.master_down_at
        if slot.watched and heard and heard[0] > slot.heard_after:
            down_at = max(down_at, heard[0] + slot.down_ns)
        takes_over_in = round(max(down_at - now, 0) / SECOND, 3)
        if state.preempt_at is not None:
            preempt_in = round(max(state.preempt_at - now, 0) / SECOND, 3)
    elif isinstance(state, Initialize):
        starts_in = round(max(slot.start_at - now, engine.hold_until - now, 0) / SECOND, 3)
    down_ns = master_down_interval(config, slot.standing.priority, interval)
    return {
        "master_down_interval_s": round(down_ns / SECOND, 3),
        "takes_over_in_s": takes_over_in,
        "preempt_in_s": preempt_in,
        "starts_in_s": starts_in,
    }


def script_view(timed: ScriptSlot, wall: WallText) -> TrackerView:
    """One tracking script."""
    state = timed.state
    return TrackerView(
        kind="script",
        name=timed.config.name,
        up=state.up,
        weight=timed.config.weight,
        detail=state.last_detail or "not run yet",
        last_run=wall(state.last_at) if state.last_at else None,
        runs=state.run,
        running=state.running,
        counter=state.counter,
    )


def interface_views(engine: Engine) -> list[TrackerView]:
    """The tracked interfaces."""
    tracked = {
        use.name for slot in engine.slots.values() for use in slot.config.trackers if use.kind == "interface"
    }
    views = []
    for name in sorted(tracked):
        interface = engine.interfaces.get(name)
        there = interface is not None and interface.index != 0
        up = interface is not None and interface.up
        detail = "up" if up else "down" if there else "absent"
        views.append(TrackerView(kind="interface", name=name, up=up, weight=0, detail=detail))
    return views


def watched_views(engine: Engine) -> list[TrackerView]:
    """Files, processes, and what the edge keeps."""
    views = []
    for config in engine.plan.files:
        value = engine.verdicts.get(("file", config.name))
        detail = engine.details.get(("file", config.name)) or ("not read yet" if value is None else str(value))
        up = None if value is None else True
        views.append(
            TrackerView(kind="file", name=config.name, up=up, weight=config.weight, detail=detail, value=value)
        )
    for name, slot in engine.processes.items():
        up, count, weight = slot.state.up, slot.state.count, slot.config.weight
        detail = "not counted yet" if up is None else process.detail(slot.config, count)
        views.append(TrackerView(kind="process", name=name, up=up, weight=weight, detail=detail, value=count))
    weights = {session.name: session.weight for session in engine.plan.bfd}
    for (kind, name), verdict in engine.verdicts.items():
        if kind in ("static", "bfd"):
            up = None if verdict is None else bool(verdict)
            detail = engine.details.get((kind, name), "")
            views.append(TrackerView(kind=kind, name=name, up=up, weight=weights.get(name, 0), detail=detail))
    return views


def node_view(
    engine: Engine, heard: dict[int, tuple[Nanoseconds, int]], wall: WallText, now: Nanoseconds, slice_size: int = 20
) -> Iterator[NodeView | None]:
    """Builds the view a slice at a time: yields None between slices and the view at the end."""
    instances = []
    for index, slot in enumerate(list(engine.slots.values()), 1):
        instances.append(instance_view(engine, slot, heard.get(slot.number), wall, now))
        if index % slice_size == 0:
            yield None
    yield msgspec.structs.replace(shared_view(engine, wall), instances=instances)


def shared_view(engine: Engine, wall: WallText) -> NodeView:
    """The view but for the instances: groups and trackers."""
    groups = [
        GroupView(
            name=name,
            state=engine.groups.roles.get(name, Role.INIT).name,
            members=[slot.config.name for slot in engine.groups.members[name]],
        )
        for name in engine.groups.configs
    ]
    trackers = [script_view(timed, wall) for timed in engine.scripts.values()] + interface_views(engine)
    trackers += watched_views(engine)
    return NodeView(instances=[], sync_groups=groups, trackers=trackers)
