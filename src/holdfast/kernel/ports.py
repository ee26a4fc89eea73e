"""What the rest of holdfast may ask of Linux: plain structs, and protocols kept by the real kernel and by the fake."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from holdfast.base.address import Address

ADDRESS_PROTOCOL = 112
"""The IFA_PROTO our addresses carry (`ip address show proto 112`), so that a dead run's can be told from others'."""

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_POINTOPOINT = 0x10
IFF_RUNNING = 0x40
IFF_NOARP = 0x80
IFF_MULTICAST = 0x1000

IFA_F_SECONDARY = 0x01
IFA_F_NODAD = 0x02
IFA_F_DADFAILED = 0x08
IFA_F_HOMEADDRESS = 0x10
IFA_F_DEPRECATED = 0x20
IFA_F_TENTATIVE = 0x40
IFA_F_PERMANENT = 0x80
IFA_F_MANAGETEMPADDR = 0x100
IFA_F_NOPREFIXROUTE = 0x200
IFA_F_MCAUTOJOIN = 0x400


class LinkSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An interface as it is now. `flags` are those of netdevice(7), `mac` is empty where there is none."""

    index: int
    name: str
    up: bool  # IFF_UP: the administrator wants it up
    running: bool  # IFF_RUNNING: it has a carrier and may pass packets
    mac: bytes = b""
    mtu: int = 0
    kind: str = ""  # macvlan, veth, bond …; "" for hardware and loopback
    flags: int = 0
    below: int = 0  # index of the interface it stands on (IFLA_LINK)
    master: int = 0  # index of the bridge, bond or VRF it belongs to
    group: int = 0
    alias: str = ""
    table: int = 0  # of a VRF: its routing table

    @property
    def loopback(self) -> bool:
        """Whether it is the loopback device."""
        return bool(self.flags & IFF_LOOPBACK)

    @property
    def multicast(self) -> bool:
        """Whether it passes multicast."""
        return bool(self.flags & IFF_MULTICAST)

    @property
    def noarp(self) -> bool:
        """Whether it does without ARP: no announcement is sent on it."""
        return bool(self.flags & IFF_NOARP)


class LinkGone(msgspec.Struct, frozen=True, kw_only=True):
    """The interface was removed."""

    index: int
    name: str


class AddressSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An address of an interface as it is now. `scope` as in rtnetlink(7), `protocol` IFA_PROTO (0: untold)."""

    index: int
    address: Address
    prefix_length: int
    scope: int = 0
    flags: int = 0
    protocol: int = 0
    label: str = ""

    @property
    def tentative(self) -> bool:
        """Whether duplicate address detection has not finished: the kernel does not answer for it yet."""
        return bool(self.flags & IFA_F_TENTATIVE)

    @property
    def dadfailed(self) -> bool:
        """Whether duplicate address detection found another owner: the kernel will not use it."""
        return bool(self.flags & IFA_F_DADFAILED)

    @property
    def deprecated(self) -> bool:
        """Whether it is never chosen as a source."""
        return bool(self.flags & IFA_F_DEPRECATED)

    @property
    def secondary(self) -> bool:
        """Whether it is an IPv4 secondary (goes with its primary) or an IPv6 temporary address."""
        return bool(self.flags & IFA_F_SECONDARY)

    @property
    def ours(self) -> bool:
        """Whether holdfast added it (kernels from 5.18 on remember; before that nobody can tell)."""
        return self.protocol == ADDRESS_PROTOCOL


class AddressGone(msgspec.Struct, frozen=True, kw_only=True):
    """The address was removed from the interface."""

    index: int
    address: Address
    prefix_length: int


class Overrun(msgspec.Struct, frozen=True):
    """The kernel had more to say than fits: what is known is stale, dump links and addresses afresh."""


Notification = LinkSeen | LinkGone | AddressSeen | AddressGone | Overrun


class AddressLike(Protocol):
    """The options of `ip address add`; a `vrrp.config.VirtualAddress` is one, and so is AddressSpec."""

    @property
    def address(self) -> Address: ...
    @property
    def prefix_length(self) -> int: ...
    @property
    def scope(self) -> int: ...
    @property
    def broadcast(self) -> Address | None: ...
    @property
    def label(self) -> str | None: ...
    @property
    def peer(self) -> Address | None: ...
    @property
    def home(self) -> bool: ...
    @property
    def nodad(self) -> bool: ...
    @property
    def mngtmpaddr(self) -> bool: ...
    @property
    def noprefixroute(self) -> bool: ...
    @property
    def autojoin(self) -> bool: ...
    @property
    def preferred_lft_s(self) -> int | None: ...


class AddressSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An address to be added, with the options of `ip address add`."""

    address: Address
    prefix_length: int
    scope: int = 0  # as in rtnetlink(7): 0 global, 200 site, 253 link, 254 host, 255 nowhere
    broadcast: Address | None = None
    label: str | None = None
    peer: Address | None = None
    home: bool = False
    nodad: bool = False
    mngtmpaddr: bool = False
    noprefixroute: bool = False
    autojoin: bool = False
    preferred_lft_s: int | None = None  # None: for ever; 0: deprecated, never chosen as a source


class AddressBytes(msgspec.Struct, frozen=True, kw_only=True):
    """Ready-made netlink messages that add and delete one address; the interface index is patched in when sent."""

    add: bytes
    delete: bytes


class RouteNetlink(Protocol):
    """Asks the kernel to change links and addresses, and what they are."""

    def request_batch(self, messages: Sequence[bytes]) -> list[int]:
        """Send `messages` in order; an errno for each, 0 where it was done."""
        ...

    def dump_links(self) -> list[LinkSeen]:
        """Every interface."""
        ...

    def dump_addresses(self) -> list[AddressSeen]:
        """Every address of every interface, both families."""
        ...

    def close(self) -> None:
        """Give the socket back."""
        ...


class RouteMonitor(Protocol):
    """Hears of changes to links and addresses."""

    def fileno(self) -> int:
        """What to wait on for reading."""
        ...

    def read(self) -> list[Notification]:
        """What changed since the last read; never waits."""
        ...

    def close(self) -> None:
        """Give the socket back."""
        ...
