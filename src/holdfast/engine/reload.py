"""Reload by difference: what is the same keeps its state, its timers and its kernel objects untouched.

An instance is the same one when interface, family, VRID and transport agree (`InstanceConfig.key`), whatever its name.
"""

import msgspec

from holdfast.base.time import Nanoseconds
from holdfast.config.plan import VrrpPlan
from holdfast.engine import watched
from holdfast.engine.engine import Engine
from holdfast.engine.faults import expect_verdicts
from holdfast.engine.messages import (
    AnnounceAddresses,
    Configure,
    EngineEffect,
    Interface,
    LogLine,
    Readvertise,
    SendOne,
    SetAddresses,
    StateNotice,
    Unwatch,
)
from holdfast.engine.slot import Slot
from holdfast.engine.stepping import fresh_backup
from holdfast.track import machine as script_machine
from holdfast.vrrp.config import InstanceConfig
from holdfast.vrrp.machine import Backup, Master, master_down_interval
from holdfast.vrrp.messages import Level, Role


def reload(engine: Engine, plan: VrrpPlan, interfaces: list[Interface], now: Nanoseconds) -> list[EngineEffect]:
    """Bring `engine` to `plan`; the effects touch only what differs."""
    engine.take()
    for interface in interfaces:
        engine.interfaces[interface.name] = interface
        engine.verdicts["interface", interface.name] = interface.up
    engine.plan = plan
    _reload_scripts(engine, plan, now)
    old = {slot.config.key: slot for slot in engine.slots.values()}
    kept = {config.key for config in plan.instances}
    started = changed = 0
    for key, slot in old.items():
        if key not in kept:
            role = Role.DELETED if slot.config.notify.notify_deleted else Role.FAULT
            engine.drop_slot(slot, role, "removed from the configuration", now)
    touched: list[Slot] = []
    for config in plan.instances:
        slot_or_none = old.get(config.key)
        if slot_or_none is None:
            touched.append(engine.add_slot(config, now))
            started += 1
        elif slot_or_none.config != config:
            _change(engine, slot_or_none, config, now)
            touched.append(slot_or_none)
            changed += 1
    settled = watched.adopt(engine, plan, now)
    bound_to = {slot.number: slot.group for slot in engine.slots.values()}
    engine.form_groups()
    # one whose group is another now, though its own lines are the same, may have been held or failed by the old one
    known = {slot.number for slot in touched}
    others = [slot for slot in engine.slots.values() if slot.number not in known]
    touched += [slot for slot in others if slot.group != bound_to[slot.number] or slot.config.trackers]
    for slot in touched:
        engine.reconsider(slot, now)
    for interface in settled:
        engine.take_interface(interface, now)
    stopped = len(old.keys() - kept)
    same = len(plan.instances) - started - changed
    summary = f"Reloaded: {same} unchanged, {changed} changed, {started} started, {stopped} stopped"
    engine.tell(LogLine(Level.INFO, summary))
    engine.settle(now)
    return engine.take()


def _reload_scripts(engine: Engine, plan: VrrpPlan, now: Nanoseconds) -> None:
    """Scripts with the same command and user keep their result; the others begin anew."""
    old = engine.scripts
    engine.scripts = {}
    for config in plan.scripts:
        before = old.get(config.name)
        if before is None or before.config.command.argv != config.command.argv or before.config.command.uid != (
            config.command.uid
        ):
            engine.add_script(script_machine.start(config, now), config)
        elif before.config == config:
            engine.scripts[config.name] = before
        else:
            top = config.rise + config.fall - 1
            counter = top if before.state.up else min(before.state.counter, config.rise - 1)
            next_at = min(before.state.next_at, now + config.interval_ns)
            state = msgspec.structs.replace(before.state, counter=counter, next_at=next_at)
            engine.add_script(state, config)
    for name in old.keys() - engine.scripts.keys():
        engine.verdicts.pop(("script", name), None)


def _change(engine: Engine, slot: Slot, config: InstanceConfig, now: Nanoseconds) -> None:
    """Give `slot` its new configuration; its state stays."""
    was, slot.config = slot.config, config
    expect_verdicts(config, engine.verdicts)
    slot.refused = ""
    engine.emit(Configure(slot.number))
    if slot.watched:
        slot.watched = False
        engine.emit(Unwatch(slot.number))
    timing = ("adver_interval_ns", "down_timer_adverts", "priority", "preempt", "version", "carp")
    if any(getattr(was, name) != getattr(config, name) for name in timing):
        _restart_timer(engine, slot, now)
    engine.emit(Readvertise(slot.number))
    if slot.role is Role.MASTER and _kept(was) != _kept(config):
        engine.emit(SetAddresses(slot.number, True))
        if set(config.addresses + config.excluded) - set(was.addresses + was.excluded):
            engine.emit(AnnounceAddresses(slot.number, config.announce.master_repeat))
    if was.name != config.name:
        cause = f"renamed from {was.name}"
        notice = StateNotice(
            kind="INSTANCE",
            name=config.name,
            state=slot.role.name,
            priority=slot.standing.priority,
            cause=cause,
            quiet=True,
        )
        engine.tell(notice)


def _restart_timer(engine: Engine, slot: Slot, now: Nanoseconds) -> None:
    """A changed configuration: a backup waits its new full interval, a master advertises at once and goes on."""
    state = slot.state
    if isinstance(state, Backup):
        if state.master is None:
            slot.state = fresh_backup(slot.config, slot.standing, now)
        else:
            wait = master_down_interval(slot.config, slot.standing.priority, state.master_adver_interval_ns)
            slot.state = msgspec.structs.replace(state, master_down_at=now + wait)
        slot.timer_at = None
        engine.rearm(slot)
    elif isinstance(state, Master):
        slot.count("advert_sent", engine.beats.leave(slot.number) + 1)
        slot.state = Master(now + slot.adver_interval_ns)
        engine.beats.join(slot.number, slot.adver_interval_ns, slot.state.adver_at)
        engine.emit(SendOne(slot.number, slot.standing.priority))


def _kept(config: InstanceConfig) -> tuple[object, ...]:
    """What a master keeps in the kernel."""
    return config.addresses, config.excluded, config.routes, config.rules
