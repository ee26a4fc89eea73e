"""Calm stretches are leapt over: nothing in them needs deciding, so only their counts and times are entered.

A stretch is calm when every regular advert of every master reaches only routers that absorb it, every backup hears such
an advert, every tracking script says what it said before, and nothing else is under way. Until the next thing that is
due, each stroke of a beat and each run of a script would then do nothing but move on a time and a counter. What comes
of leaping is what would have come of going step by step (tests/sim holds the two against each other).
"""

from typing import TYPE_CHECKING

import msgspec

from holdfast.base.time import Nanoseconds
from holdfast.engine.beats import Beat
from holdfast.engine.slot import ScriptSlot, Slot
from holdfast.sim.host import Host
from holdfast.vrrp.machine import Backup, Initialize, Master

if TYPE_CHECKING:
    from holdfast.sim.world import World

Feeds = dict[tuple[str, int], tuple[Host, Beat]]
"""Which beat (of which host) a slot (node, number) hears."""


NEVER: Nanoseconds = 1 << 62
"""Later than anything."""


def leap(world: "World", until: Nanoseconds, least_ns: Nanoseconds) -> bool:
    """Go on to `until` or to what is due before, when all is calm and that is `least_ns` or more away."""
    if world.weather.loss or world.weather.duplicate or world.weather.reorder:
        return False
    feeds: Feeds = {}
    hosts = [host for host in world.hosts.values() if host.engine is not None]
    for host in hosts:
        ends_at = _calm_until(host)
        if ends_at is None or not _feed(world, host, feeds):
            return False
        until = min(until, ends_at)
    if until - world.now < least_ns or not all(_is_fed(host, feeds) for host in hosts):
        return False
    _enter(world, hosts, feeds, until)
    return True


def _calm_until(host: Host) -> Nanoseconds | None:
    """Until when (by the world's clock) nothing but routine is due on a host; None when it is not calm."""
    engine = host.engine
    assert engine is not None
    if host.frozen or host.suspended:
        return None
    ends: list[Nanoseconds] = []
    for slot in engine.slots.values():
        if isinstance(slot.state, Initialize):
            return None
        for at in (slot.announcements.due_at(), slot.held.due_at() if slot.held is not None else None):
            if at is not None:
                ends.append(at + host.slept_ns)
    if not all(_steady(host, timed) for timed in engine.scripts.values()):
        return None
    return min(ends, default=NEVER)


def _steady(host: Host, timed: ScriptSlot) -> bool:
    """Whether the next runs of a script would say what is known already."""
    state, config = timed.state, timed.config
    says = host.verdicts.get(config.name, True)
    if state.running or says is None or state.up is not says:
        return False
    return state.counter == (config.rise + config.fall - 1 if says else 0)


def _feed(world: "World", host: Host, feeds: Feeds) -> bool:
    """Enter who hears the masters of a host; False when somebody would have to think about it."""
    assert host.engine is not None
    for slot in host.engine.slots.values():
        if not isinstance(slot.state, Master):
            continue
        beat = host.engine.beats.of(slot.number)
        for frame in host.frames.get(slot.number, ((), ()))[0]:
            for other, interface, arriving in world.route(host, slot.config.interface, frame):
                hearing = other.absorbs(interface, arriving)
                if hearing is None or beat is None:
                    return False
                for number in hearing:
                    feeds[other.name, number] = (host, beat)
    return True


def _is_fed(host: Host, feeds: Feeds) -> bool:
    assert host.engine is not None
    return all(_hears(host, slot, feeds) for slot in host.engine.slots.values() if isinstance(slot.state, Backup))


def _hears(host: Host, slot: Slot, feeds: Feeds) -> bool:
    state = slot.state
    quiet = slot.watched and isinstance(state, Backup) and not (state.wants_master or state.listening)
    return quiet and (host.name, slot.number) in feeds


def _enter(world: "World", hosts: list[Host], feeds: Feeds, until: Nanoseconds) -> None:
    """Let the time be `until`."""
    strokes: dict[int, tuple[int, Nanoseconds]] = {}  # of the beat (by identity): how many more, and the last one
    for host in hosts:
        assert host.engine is not None
        for beat, count, last_at in host.engine.beats.skip(until - host.slept_ns):
            strokes[id(beat)] = (count, last_at + host.slept_ns)
        for timed in host.engine.scripts.values():
            _run_on(host, timed, until - host.slept_ns)
    least, most = world.weather.delay_ns
    for (name, number), (_, beat) in feeds.items():
        count, last_at = strokes.get(id(beat), (0, 0))
        if count:
            other = world.hosts[name]
            delay = world.chance.randint(least, most) if most > least else least
            known = other.heard.get(number)
            at = min(last_at + delay, until) - other.slept_ns
            other.heard[number] = (at, count + (known[1] if known else 0))
    world.leapt_ns += until - world.now
    world.now = until
    for host in hosts:
        world.rearm(host)


def _run_on(host: Host, timed: ScriptSlot, until: Nanoseconds) -> None:
    """Enter the runs of a script that have ended by `until` (the host's clock)."""
    state, interval_ns = timed.state, timed.config.interval_ns
    runs = (until - host.script_ns - state.next_at) // interval_ns + 1
    if runs > 0:
        timed.state = msgspec.structs.replace(
            state,
            run=state.run + runs,
            next_at=state.next_at + runs * interval_ns,
            last_at=state.next_at + (runs - 1) * interval_ns + host.script_ns,
        )
