"""`no_accept`: while master, traffic to and from the virtual addresses is dropped (RFC 9568 §6.1, Accept_Mode false).

The table exists only while some instance asks for it; an address enters the set before it is added to its interface,
and leaves it after.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from holdfast.base.address import text
from holdfast.config.plan import Settings
from holdfast.edge.addresses import Addresses
from holdfast.kernel.errors import KernelRefused
from holdfast.vrrp.config import InstanceConfig

if TYPE_CHECKING:
    from holdfast.kernel.firewall import Firewall


class NoAccept:
    """The drop rules of all slots that do not accept."""

    def __init__(self, settings: Settings, addresses: Addresses) -> None:
        self._settings = settings
        self._addresses = addresses
        self._firewall: Firewall | None = None
        self._wanted: set[int] = set()
        self._dropped: dict[int, list[bytes]] = {}  # slot → the messages that end dropping

    def configure(self, slot: int, config: InstanceConfig) -> None:
        """Note whether a slot accepts; KernelRefused when the table cannot be made."""
        if config.accept:
            self._wanted.discard(slot)
            return
        self._wanted.add(slot)
        if self._firewall is None:
            from holdfast.kernel.firewall import Firewall

            settings = self._settings
            firewall = Firewall(settings.nftables_table, settings.nftables_priority, settings.nftables_counters)
            firewall.setup()
            self._firewall = firewall

    def before(self, wanted: Iterable[tuple[int, bool]]) -> list[tuple[int, str]]:
        """Drop the traffic of what is about to be added; (slot, sentence) of what the kernel refused."""
        if not self._wanted or self._firewall is None:
            return []
        messages, whose = [], []
        for slot, present in wanted:
            if present and slot in self._wanted and slot not in self._dropped:
                ends = []
                for place in self._addresses.places(slot):
                    add, delete = self._firewall.element_messages(place.address, place.index)
                    messages.append(add)
                    whose.append((slot, place))
                    ends.append(delete)
                self._dropped[slot] = ends
        refused = []
        for (slot, place), outcome in zip(whose, self._firewall.request_batch(messages), strict=True):
            if outcome:
                table = self._settings.nftables_table
                why = KernelRefused(f"drop the traffic of {text(place.address)}", table, outcome)
                refused.append((slot, str(why)))
        return refused

    def after(self, wanted: Iterable[tuple[int, bool]]) -> None:
        """End dropping for what has been taken off."""
        if not self._dropped or self._firewall is None:
            return
        messages = []
        for slot, present in wanted:
            if not present:
                messages += self._dropped.pop(slot, [])
        if messages:
            self._firewall.request_batch(messages)

    def close(self) -> None:
        """Delete the table."""
        if self._firewall is not None:
            self._firewall.teardown()
            self._firewall.close()
            self._firewall = None
