"""A kernel of links and addresses in memory, for tests and simulations.

It keeps the ports of the real one, reads the same messages, and refuses what the real one refuses, and more on demand.
A pair of sockets makes the fake monitor something a loop can wait on.
"""

import errno as errno_numbers
import os
import socket
import struct
from collections.abc import Sequence

import msgspec

from holdfast.base.address import Address
from holdfast.kernel import netlink
from holdfast.kernel.ports import (
    IFA_F_DEPRECATED,
    IFA_F_MANAGETEMPADDR,
    IFA_F_NODAD,
    IFA_F_PERMANENT,
    IFA_F_SECONDARY,
    IFF_LOOPBACK,
    IFF_MULTICAST,
    IFF_RUNNING,
    IFF_UP,
    AddressGone,
    AddressSeen,
    LinkGone,
    LinkSeen,
    Notification,
    Overrun,
)
from holdfast.kernel.route_events import RTM_DELROUTE, RTM_DELRULE, RTM_NEWROUTE, RTM_NEWRULE, Entry, entry_of

_Key = tuple[int, Address, int]


class FakeKernel:
    """Links and addresses; `netlink()` and `monitor()` give sockets to it.

    `refuse[address]` is an errno with which every addition and deletion of that address is refused; `promote` says what
    net.ipv4.conf.all.promote_secondaries says.
    """

    def __init__(self) -> None:
        self.links: dict[int, LinkSeen] = {}
        self.addresses: dict[_Key, AddressSeen] = {}
        self.entries: list[Entry] = []  # routes and rules
        self.refuse: dict[Address, int] = {}
        self.promote = False
        self._monitors: list[FakeMonitor] = []
        self._last_index = 1
        loopback = IFF_LOOPBACK | IFF_UP | IFF_RUNNING
        self._set(LinkSeen(index=1, name="lo", up=True, running=True, mac=bytes(6), mtu=65536, flags=loopback))

    def netlink(self) -> "FakeNetlink":
        """A socket that changes and lists."""
        return FakeNetlink(self)

    def monitor(self) -> "FakeMonitor":
        """A socket that hears of changes."""
        made = FakeMonitor()
        self._monitors.append(made)
        return made

    # ---- what an administrator or the hardware does ------------------------------------------------------------

    def add_link(self, name: str, mac: bytes = b"\x02\0\0\0\0\x01", kind: str = "", mtu: int = 1500) -> int:
        """A new interface, down; its index, which is never used again."""
        self._last_index += 1
        self._set(
            LinkSeen(
                index=self._last_index,
                name=name,
                up=False,
                running=False,
                mac=mac,
                mtu=mtu,
                kind=kind,
                flags=IFF_MULTICAST,
            )
        )
        return self._last_index

    def set_link(self, index: int, up: bool, running: bool) -> None:
        """Up or down, with or without carrier. IPv6 addresses go when it goes down, as in Linux."""
        seen = self.links[index]
        flags = seen.flags & ~(IFF_UP | IFF_RUNNING) | IFF_UP * up | IFF_RUNNING * (up and running)
        if seen.up and not up:
            for key in [key for key in self.addresses if key[0] == index and len(key[1]) == 16]:
                self._drop(key)
        self._set(msgspec.structs.replace(seen, up=up, running=up and running, flags=flags))

    def delete_link(self, index: int) -> None:
        """The interface is removed, its addresses first."""
        for key in [key for key in self.addresses if key[0] == index]:
            self._drop(key)
        seen = self.links.pop(index)
        self._tell(LinkGone(index=index, name=seen.name))

    def overrun(self) -> None:
        """Every monitor misses something."""
        for monitor in self._monitors:
            monitor.tell(Overrun())

    # ---- what a request does -----------------------------------------------------------------------------------

    def request(self, message: bytes) -> int:
        """The errno of one netlink message, 0 when it was done."""
        kind = struct.unpack_from("=H", message, 4)[0]
        if kind in (RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWRULE, RTM_DELRULE):
            return self._route(entry_of(message), kind in (RTM_NEWROUTE, RTM_NEWRULE))
        if kind not in (netlink.RTM_NEWADDR, netlink.RTM_DELADDR):
            return errno_numbers.EOPNOTSUPP
        # the decoder reads what the kernel says; what is asked of it has the same form
        (asked,) = netlink.decode(message[:4] + struct.pack("=H", netlink.RTM_NEWADDR) + message[6:])
        assert isinstance(asked, AddressSeen)
        if asked.address in self.refuse:
            return self.refuse[asked.address]
        if asked.index not in self.links:
            return errno_numbers.ENODEV
        if asked.prefix_length > len(asked.address) * 8:
            return errno_numbers.EINVAL
        key = (asked.index, asked.address, asked.prefix_length)
        if kind == netlink.RTM_NEWADDR:
            return self._add(key, asked, _preferred_lifetime(message))
        if key not in self.addresses:
            return errno_numbers.EADDRNOTAVAIL
        self._drop(key)
        return 0

    def _route(self, asked: Entry, new: bool) -> int:
        """A route or rule comes or goes; nothing is looked at but whether it is there."""
        there = [entry for entry in self.entries if entry.is_told_of_by(asked)]
        if new and not there:
            self.entries.append(asked)
        elif not new and there:
            self.entries.remove(there[0])
        else:
            return errno_numbers.EEXIST if new else errno_numbers.ESRCH
        return 0

    def _add(self, key: _Key, asked: AddressSeen, preferred_lft_s: int | None) -> int:
        flags = asked.flags & ~(IFA_F_NODAD | IFA_F_MANAGETEMPADDR) | IFA_F_PERMANENT
        if preferred_lft_s == 0:
            flags |= IFA_F_DEPRECATED
        if len(asked.address) == 4:
            label = asked.label or self.links[asked.index].name
            if any(one != key and _same_subnet(one, key) for one in self.addresses):
                flags |= IFA_F_SECONDARY
        else:
            flags, label = flags | asked.flags & (IFA_F_NODAD | IFA_F_MANAGETEMPADDR), ""
        if key in self.addresses:  # refreshed
            flags = flags & ~IFA_F_SECONDARY | self.addresses[key].flags & IFA_F_SECONDARY
        self.addresses[key] = msgspec.structs.replace(asked, flags=flags, label=label)
        self._tell(self.addresses[key])
        return 0

    def _drop(self, key: _Key) -> None:
        gone = self.addresses.pop(key)
        self._tell(AddressGone(index=gone.index, address=gone.address, prefix_length=gone.prefix_length))
        if len(gone.address) == 4 and not gone.secondary:
            rest = [one for one in self.addresses if _same_subnet(one, key)]
            if self.promote and rest:
                first = self.addresses[rest[0]]
                self.addresses[rest[0]] = msgspec.structs.replace(first, flags=first.flags & ~IFA_F_SECONDARY)
                self._tell(self.addresses[rest[0]])
            elif rest:
                for one in rest:  # a primary takes its secondaries along
                    taken = self.addresses.pop(one)
                    self._tell(AddressGone(index=taken.index, address=taken.address, prefix_length=one[2]))

    def _set(self, seen: LinkSeen) -> None:
        self.links[seen.index] = seen
        self._tell(seen)

    def _tell(self, said: Notification) -> None:
        for monitor in self._monitors:
            monitor.tell(said)


def _preferred_lifetime(message: bytes) -> int | None:
    """The preferred lifetime an RTM_NEWADDR asks for, if it does."""
    place = 24
    while place + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, place)
        if kind == 6:
            return int(struct.unpack_from("=I", message, place + 4)[0])
        place += max((length + 3) & ~3, 4)
    return None


def _same_subnet(one: _Key, other: _Key) -> bool:
    """Whether two IPv4 addresses share interface, prefix length and prefix: then the later is a secondary."""
    if one[0] != other[0] or one[2] != other[2] or len(one[1]) != 4 or len(other[1]) != 4:
        return False
    shift = 32 - one[2]
    return int.from_bytes(one[1], "big") >> shift == int.from_bytes(other[1], "big") >> shift


class FakeNetlink:
    """Keeps ports.RouteNetlink."""

    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel

    def request_batch(self, messages: Sequence[bytes]) -> list[int]:
        """An errno for each, 0 where it was done."""
        return [self._kernel.request(message) for message in messages]

    def dump_links(self) -> list[LinkSeen]:
        """Every interface."""
        return list(self._kernel.links.values())

    def dump_addresses(self) -> list[AddressSeen]:
        """Every address, IPv4 first."""
        return sorted(self._kernel.addresses.values(), key=lambda seen: len(seen.address))

    def close(self) -> None:
        """Nothing to give back."""


class FakeMonitor:
    """Keeps ports.RouteMonitor."""

    def __init__(self) -> None:
        self._heard: list[Notification] = []
        self._waking, self._sleeping = socket.socketpair()
        self._waking.setblocking(False)

    def tell(self, said: Notification) -> None:
        """The kernel's side: something happened."""
        if not self._heard:
            self._waking.send(b"!")
        self._heard.append(said)

    def fileno(self) -> int:
        """What to wait on for reading."""
        return self._sleeping.fileno()

    def read(self) -> list[Notification]:
        """What changed since the last read; never waits. Just an Overrun when something was missed."""
        if not self._heard:
            return []
        os.read(self._sleeping.fileno(), 1)
        heard, self._heard = self._heard, []
        return [Overrun()] if Overrun() in heard else heard

    def close(self) -> None:
        """Give the descriptors back."""
        self._waking.close()
        self._sleeping.close()
