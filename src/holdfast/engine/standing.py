"""A slot's standing, derived afresh: priority from trackers or a hold, source from the interface."""

from typing import TYPE_CHECKING

from holdfast.base.address import Address
from holdfast.engine import lines, trackers
from holdfast.engine.faults import primary_address
from holdfast.engine.messages import Readvertise, Unwatch
from holdfast.engine.slot import Slot
from holdfast.vrrp.machine import Backup, Initialize, Master, Standing, is_routine, master_down_interval
from holdfast.vrrp.messages import AdvertReceived
from holdfast.vrrp.priority import effective_priority

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine


def restand(engine: "Engine", slot: Slot) -> None:
    """Bring a slot's standing up to date, and with it its packets and what is routine for it."""
    config, was = slot.config, slot.standing
    priority = slot.held.priority if slot.held is not None else effective_priority(config, engine.verdicts)
    primary = primary_address(config, engine.interfaces)
    if priority == was.priority and primary == was.primary:
        return
    slot.standing = Standing(priority, primary, was.may_lead)
    engine.emit(Readvertise(slot.number))
    if priority != was.priority and not isinstance(slot.state, Initialize):
        engine.tell(lines.priority_changed(slot, was.priority))
        engine.tell(trackers.priority_changed(slot, was.priority, engine.verdicts))
    state = slot.state
    if config.carp is not None and isinstance(state, Master) and priority != was.priority:
        _another_rhythm(engine, slot)
    if slot.watched and isinstance(state, Backup):
        same = AdvertReceived(state.master_priority, state.master or Address(b""), state.master_adver_interval_ns)
        slot.down_ns = master_down_interval(config, priority, state.master_adver_interval_ns)
        if not is_routine(config, slot.standing, state, same):
            slot.watched = False
            engine.emit(Unwatch(slot.number))


def _another_rhythm(engine: "Engine", slot: Slot) -> None:
    """A CARP master's rank is its interval: from its next advert on it keeps to the new one."""
    adver_at = engine.beats.adver_at(slot.number)
    if adver_at is not None:
        slot.count("advert_sent", engine.beats.leave(slot.number))
        slot.state = Master(adver_at)
        engine.beats.join(slot.number, slot.adver_interval_ns, adver_at)
