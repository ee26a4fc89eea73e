"""What the engine says in the log: the instance first, keepalived's words where it has them."""

from holdfast.base.address import Address, text
from holdfast.engine.messages import Interface, LogLine, PutBackNotice
from holdfast.engine.slot import Slot
from holdfast.vrrp.messages import Level


def rival(slot: Slot, source: Address, priority: int) -> LogLine:
    """While MASTER an advert of lower rank was heard."""
    line = (
        f"({slot.config.name}) Received advert from {text(source)} with lower priority {priority}, "
        f"ours {slot.standing.priority}: it is master too; answering and telling the neighbours again"
    )
    return LogLine(Level.WARNING, line, "rival")


def resigned(slot: Slot, source: Address) -> LogLine:
    """The master says that it leaves."""
    return LogLine(
        Level.INFO, f"({slot.config.name}) Backup received priority 0 advertisement from {text(source)}"
    )


def address_lost(slot: Slot, address: Address, interface: str) -> LogLine:
    """Somebody else removed an address of a master."""
    line = (
        f"({slot.config.name}) {text(address)} was removed from {interface} by somebody else; "
        f"putting it back (see who: `ip monitor address`, NetworkManager, networkd)"
    )
    return LogLine(Level.WARNING, line, "put-back")


def address_put_back(slot: Slot, address: Address, interface: str) -> PutBackNotice:
    """The same, for the journal."""
    what = f"address {text(address)}"
    return PutBackNotice(name=slot.config.name, of="address", what=what, cause=f"removed from {interface} by somebody")


def priority_changed(slot: Slot, was: int) -> LogLine:
    """Trackers changed the effective priority."""
    name, priority = slot.config.name, slot.standing.priority
    return LogLine(Level.INFO, f"({name}) Changing effective priority from {was} to {priority}")


def interface(seen: Interface) -> LogLine:
    """An interface went up, down or away."""
    what = "up" if seen.up else "down" if seen.index else "gone"
    return LogLine(Level.INFO, f"Netlink reports {seen.name} {what}")
