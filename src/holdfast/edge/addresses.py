"""Puts virtual addresses on their interfaces and takes them off, with bytes made ready when the plan was loaded."""

import errno
from collections.abc import Iterable

from holdfast.base.address import Address, text
from holdfast.edge.interfaces import Interfaces
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.netlink import address_messages, delete_message, patch_ifindex
from holdfast.kernel.ports import ADDRESS_PROTOCOL, AddressGone, AddressSeen, RouteNetlink
from holdfast.vrrp.config import InstanceConfig, StaticAddress, VirtualAddress

TRANSIENT = {errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.EBUSY}
"""Refusals that may pass: tried again after RETRY_NS."""


LEFT_BY_US = {0, 18, ADDRESS_PROTOCOL}
"""Tags an address left behind may carry: none (kernels before 5.18), keepalived's, ours; never the kernel's own."""


STATICS = 0
"""What stands for the static addresses among the slots, which count from 1."""


class Place:
    """One virtual address on one interface, with the messages that add and delete it."""

    __slots__ = ("add", "address", "delete", "index", "interface", "prefix_length")

    def __init__(self, address: VirtualAddress, interface: str, index: int, static: bool = False) -> None:
        # An IPv6 address under duplicate address detection is not answered for during a second or more, and the old
        # master may still hold it: the election is what guards a virtual address.
        ready = address_messages(address, 0) if static else address_messages(address_without_detection(address))
        self.address = address.address
        self.prefix_length = address.prefix_length
        self.interface = interface
        self.index = index
        self.add = patch_ifindex(ready.add, index)
        self.delete = patch_ifindex(ready.delete, index)

    @property
    def key(self) -> tuple[int, Address, int]:
        """What the kernel knows it by."""
        return self.index, self.address, self.prefix_length

    def text(self) -> str:
        """`192.0.2.1/24 dev eth0`."""
        return f"{text(self.address)}/{self.prefix_length} dev {self.interface}"


def address_without_detection(address: VirtualAddress) -> VirtualAddress:
    """The address with duplicate address detection off, if it is IPv6."""
    if len(address.address) == 4 or address.nodad:
        return address
    from msgspec.structs import replace

    return replace(address, nodad=True)


class Refusal:
    """An address the kernel would not take; `transient` when trying again may help."""

    __slots__ = ("slot", "text", "transient")

    def __init__(self, slot: int, sentence: str, transient: bool) -> None:
        self.slot = slot
        self.text = sentence
        self.transient = transient


class Addresses:
    """The virtual addresses of all slots: what each wants, and what is there on our behalf."""

    def __init__(self, netlink: RouteNetlink, interfaces: Interfaces) -> None:
        self._netlink = netlink
        self._interfaces = interfaces
        self._places: dict[int, list[Place]] = {}
        self._held: dict[int, dict[tuple[int, Address, int], Place]] = {}
        self.release_all = False  # take off every address of a slot that leaves, held by us or not (`-X`)
        self._owner: dict[tuple[int, Address], int] = {}  # (index, address) → the slot that holds it

    def configure(self, slot: int, config: InstanceConfig) -> None:
        """Make the messages of a slot ready; what it holds already stays until `apply` is asked."""
        places = []
        for address in (*config.addresses, *config.excluded):
            name = address.interface or config.interface
            index = self._interfaces.index_of(name)
            if index:
                places.append(Place(address, name, index))
        self._places[slot] = places

    def keep(self, statics: Iterable[StaticAddress]) -> None:
        """Make the messages of the static addresses ready, under the number STATICS."""
        named = [(static.address, static.address.interface or "") for static in statics]
        found = [(address, name, self._interfaces.index_of(name)) for address, name in named]
        self._places[STATICS] = [Place(address, name, index, True) for address, name, index in found if index]

    def places(self, slot: int) -> list[Place]:
        """The addresses a slot wants while it is master, in the order of the configuration."""
        return self._places.get(slot, [])

    def apply(self, wanted: Iterable[tuple[int, bool]]) -> tuple[tuple[int, ...], list[Refusal]]:
        """Bring the kernel to what is wanted, in one batch: the slots whose addresses are all there, and refusals."""
        messages: list[bytes] = []
        asked: list[tuple[int, Place, bool]] = []
        on: list[int] = []
        for slot, present in wanted:
            held = self._held.setdefault(slot, {})
            if self.release_all and not present:
                held.update({place.key: place for place in self._places.get(slot, [])})
                self._owner.update({key[:2]: slot for key in held})
            places = self._places.get(slot, []) if present else []
            keys = {place.key for place in places}
            for key, place in list(held.items()):
                if key not in keys:
                    del held[key]
                    if self._owner.get(key[:2]) == slot:
                        del self._owner[key[:2]]
                        messages.append(place.delete)
                        asked.append((slot, place, False))
            for place in places:
                there = held.get(place.key)
                if there is not None and there.add == place.add:
                    continue
                messages.append(place.add)
                asked.append((slot, place, True))
                held[place.key] = place
                self._owner[place.index, place.address] = slot
            if present:
                on.append(slot)
        if not messages:
            return tuple(on), []
        refusals = self._refusals(asked, self._request(messages))
        bad = {refusal.slot for refusal in refusals}
        return tuple(slot for slot in on if slot not in bad), refusals

    def _request(self, messages: list[bytes]) -> list[int]:
        try:
            return self._netlink.request_batch(messages)
        except KernelRefused as refused:
            return [refused.errno or errno.EIO] * len(messages)

    def _refusals(self, asked: list[tuple[int, Place, bool]], outcomes: list[int]) -> list[Refusal]:
        refusals = []
        for (slot, place, adding), outcome in zip(asked, outcomes, strict=True):
            if outcome == 0 or (not adding and outcome in (errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO)):
                continue
            if adding:
                self._held.get(slot, {}).pop(place.key, None)
            verb = "add" if adding else "remove"
            cure = ""
            if outcome == errno.EACCES and len(place.address) == 16:
                cure = f"IPv6 is switched off there: sysctl -w net.ipv6.conf.{place.interface}.disable_ipv6=0"
            sentence = str(KernelRefused(f"{verb} {place.text()}", "", outcome, cure))
            refusals.append(Refusal(slot, sentence, outcome in TRANSIENT))
        return refusals

    def owner_of(self, gone: AddressGone) -> int | None:
        """The slot that held an address which has just gone without our doing; None when it was none of ours."""
        slot = self._owner.get((gone.index, gone.address))
        if slot is None or (gone.index, gone.address, gone.prefix_length) not in self._held.get(slot, {}):
            return None
        return slot

    def forget(self, slot: int, gone: AddressGone) -> None:
        """Somebody removed an address a slot held: `apply` is to add it again."""
        self._held.get(slot, {}).pop((gone.index, gone.address, gone.prefix_length), None)
        self._owner.pop((gone.index, gone.address), None)

    def missing(self, seen: Iterable[AddressSeen]) -> list[AddressGone]:
        """What is held as far as we know, and is not among the addresses that are there."""
        there = {(address.index, address.address, address.prefix_length) for address in seen}
        held = [key for places in self._held.values() for key in places]
        return [AddressGone(index=i, address=a, prefix_length=p) for i, a, p in held if (i, a, p) not in there]

    def forget_interface(self, index: int) -> None:
        """The interface is gone, and its addresses with it."""
        for held in self._held.values():
            for key in [key for key in held if key[0] == index]:
                del held[key]
                self._owner.pop(key[:2], None)

    def drop(self, slot: int) -> None:
        """Forget a slot (its addresses were taken off before)."""
        self._places.pop(slot, None)
        self._held.pop(slot, None)

    def holding(self) -> list[int]:
        """The slots that hold addresses now."""
        return [slot for slot, held in self._held.items() if held]

    def held_keys(self, slot: int) -> set[tuple[int, Address, int]]:
        """What a slot holds, as the kernel knows it: (interface index, address, prefix length)."""
        return set(self._held.get(slot, ()))

    def sweep(self, seen: Iterable[AddressSeen]) -> list[str]:
        """Remove what a dead run left: addresses of this plan that are tagged as ours. Names what was removed."""
        planned = {place.key: place for places in self._places.values() for place in places}
        left = [address for address in seen if (address.index, address.address, address.prefix_length) in planned]
        left = [address for address in left if address.protocol in LEFT_BY_US]
        outcomes = self._request([delete_message(address) for address in left]) if left else []
        return [
            f"{text(address.address)}/{address.prefix_length} from {self._interfaces.name_of(address.index)}"
            for address, outcome in zip(left, outcomes, strict=True)
            if outcome == 0
        ]
