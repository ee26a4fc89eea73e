"""What became of addresses in the kernel: taken, refused, removed by somebody else."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.base.time import Nanoseconds
from holdfast.engine import lines
from holdfast.engine.messages import AddressesApplied, AddressesRefused, AddressLost, LogLine, SetAddresses
from holdfast.vrrp.messages import AddressesReady, Level, Role

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine


def handlers(engine: "Engine") -> dict[type[Any], Callable[[Any, Nanoseconds], None]]:
    """What is to be called for the events that concern addresses."""
    return {
        AddressesApplied: partial(_addresses_applied, engine),
        AddressesRefused: partial(_addresses_refused, engine),
        AddressLost: partial(_address_lost, engine),
    }


def _addresses_applied(engine: "Engine", event: AddressesApplied, now: Nanoseconds) -> None:
    """The kernel has taken the addresses of these virtual routers."""
    ready = AddressesReady()
    for number in event.slots:
        slot = engine.slots.get(number)
        if slot is not None and slot.role is Role.MASTER:
            engine.step(slot, ready, now)


def _addresses_refused(engine: "Engine", event: AddressesRefused, now: Nanoseconds) -> None:
    """The kernel would not take an address."""
    slot = engine.slots.get(event.slot)
    if slot is None:
        return
    slot.count("kernel_refusals")
    engine.tell(LogLine(Level.ERROR, f"({slot.config.name}) {event.text}"))
    if event.fatal and not slot.refused:
        slot.refused = event.text
        engine.reconsider(slot, now)


def _address_lost(engine: "Engine", event: AddressLost, now: Nanoseconds) -> None:
    """Somebody else removed an address of ours: it is put back."""
    slot = engine.slots.get(event.slot)
    if slot is None or slot.role is not Role.MASTER:
        return
    slot.count("addresses_put_back")
    engine.tell(lines.address_lost(slot, event.address, event.interface))
    engine.tell(lines.address_put_back(slot, event.address, event.interface))
    engine.emit(SetAddresses(slot.number, True))
