"""Hears of routes and rules that were deleted, and tells which of ours they were.

A router may have a million routes of others: a socket filter lets only those through that carry keepalived's protocol,
and rules. Sources: rtnetlink(7), linux/rtnetlink.h, linux/fib_rules.h.
"""

import ctypes
import errno as errno_numbers
import socket
import struct
import sys

import msgspec

from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.netlink import attributes, open_netlink

RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWRULE, RTM_DELRULE = 24, 25, 32, 33
ROUTE_PROTOCOL = 18
"""RTPROT_KEEPALIVED: `ip route show proto keepalived`."""

_GROUPS = (7, 8, 11, 19)  # RTNLGRP_IPV4_ROUTE, _IPV4_RULE, _IPV6_ROUTE, _IPV6_RULE
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_SO_ATTACH_FILTER = 26
_HEADER = struct.Struct("=IHHII")
_HEAD_BYTES = 12
_READ_BYTES = 65536
_INVERT = 2
_ROUTE_DST, _ROUTE_SRC, _ROUTE_OIF, _ROUTE_GATEWAY, _PRIORITY, _ROUTE_TABLE = 1, 2, 4, 5, 6, 15
_TOLD_OF_ROUTES = (_ROUTE_DST, _ROUTE_SRC, _ROUTE_OIF, _ROUTE_GATEWAY, _PRIORITY, _ROUTE_TABLE)


class Entry(msgspec.Struct, frozen=True):
    """A route or rule as a message has it: the twelve octets after the header, and its attributes."""

    rule: bool
    head: bytes
    attributes: dict[int, bytes]

    @property
    def place(self) -> tuple[bool, int, bytes]:
        """What two messages about one entry always share: kind, family, and destination or preference."""
        if self.rule:
            return True, self.head[0], self.attributes.get(_PRIORITY, b"")
        return False, self.head[0], self.head[1:2] + self.attributes.get(_ROUTE_DST, b"")

    def is_told_of_by(self, other: "Entry") -> bool:
        """Whether `other`, which the kernel has completed, speaks of this one, which was asked for."""
        # family, prefix lengths; tos means something in IPv4 only
        if self.place != other.place or self.head[1:3] != other.head[1:3] or self.head[7] != other.head[7]:
            return False
        if (self.rule or self.head[0] == socket.AF_INET) and self.head[3] != other.head[3]:
            return False
        if self.rule and (self.head[8] ^ other.head[8]) & _INVERT:  # the lowest octet on a little-endian machine
            return False
        wanted = self.attributes if self.rule else {
            kind: value for kind, value in self.attributes.items() if kind in _TOLD_OF_ROUTES
        }  # fmt: skip
        return all(other.attributes.get(kind) == value for kind, value in wanted.items())


class EntryGone(msgspec.Struct, frozen=True):
    """A route or rule was deleted; `port` is the netlink port of who asked for it, 0: the kernel by itself."""

    entry: Entry
    port: int

    @property
    def by_kernel(self) -> bool:
        """Nobody asked: its interface or source address went."""
        return self.port == 0


def entry_of(message: bytes) -> Entry:
    """What a request or notification of a route or rule is about."""
    kind = struct.unpack_from("=H", message, 4)[0]
    head = message[16 : 16 + _HEAD_BYTES]
    found = dict(attributes(message, 16 + _HEAD_BYTES, len(message)))
    return Entry(kind in (RTM_NEWRULE, RTM_DELRULE), head, found)


def decode(octets: bytes, own_port: int) -> list[EntryGone]:
    """The deletions in `octets`, without those the socket with the netlink port `own_port` asked for."""
    gone = []
    start, size = 0, len(octets)
    while start + 16 + _HEAD_BYTES <= size:
        length, kind, _, _, port = _HEADER.unpack_from(octets, start)
        if length < 16 or start + length > size:
            break
        if kind in (RTM_DELROUTE, RTM_DELRULE) and port != own_port and length >= 16 + _HEAD_BYTES:
            gone.append(EntryGone(entry_of(octets[start : start + length]), port))
        start += (length + 3) & ~3
    return gone


def _filter() -> bytes:
    """Classic BPF: deletions of rules, and of routes with our protocol."""
    low = 4 if sys.byteorder == "little" else 5
    lines = (
        (0x30, 0, 0, low),  # the octet of the message's type that says something
        (0x15, 3, 0, RTM_DELRULE),
        (0x15, 0, 3, RTM_DELROUTE),
        (0x30, 0, 0, 21),  # rtm_protocol
        (0x15, 0, 1, ROUTE_PROTOCOL),
        (0x06, 0, 0, 0xFFFFFFFF),
        (0x06, 0, 0, 0),
    )
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


class RouteEvents:
    """A socket that hears of deleted routes with our protocol, and of deleted rules."""

    def __init__(self, own_port: int) -> None:
        """What the socket with the netlink port `own_port` does is not told of."""
        self._own_port = own_port
        self._socket = open_netlink(socket.NETLINK_ROUTE, "NETLINK_ROUTE")
        self._socket.setblocking(False)
        program = _filter()
        kept = ctypes.create_string_buffer(program, len(program))
        reference = struct.pack("@HP", len(program) // 8, ctypes.addressof(kept))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, reference)
        for group in _GROUPS:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def fileno(self) -> int:
        """What to wait on for reading."""
        return self._socket.fileno()

    def read(self) -> tuple[list[EntryGone], bool]:
        """What was deleted since the last read, and whether something was missed; never waits."""
        gone: list[EntryGone] = []
        missed = False
        while True:
            try:
                gone += decode(self._socket.recv(_READ_BYTES), self._own_port)
            except BlockingIOError:
                return gone, missed
            except OSError as failed:
                if failed.errno != errno_numbers.ENOBUFS:
                    raise KernelRefused("hear of deleted routes", "netlink", failed.errno or 0) from None
                missed = True

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
