"""The kernel's connections, as its connection tracking has them: who talks to whom, and whether it is established.

Sources: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_tcp.h.
"""

import socket
import struct
from collections.abc import Iterator

import msgspec

from holdfast.kernel.netlink import NLM_F_DUMP, RequestSocket, attributes, message

_NETLINK_NETFILTER = 12
_GET = 1 << 8 | 1  # of the subsystem ctnetlink
_NEW = 1 << 8
_ORIGINAL, _REPLY, _PROTOCOL_STATE, _COUNTED, _COUNTED_REPLY = 1, 2, 4, 9, 10
_ADDRESSES, _PORTS = 1, 2
_BYTES = 2
_TCP_STATE = 1
_TCP, _ESTABLISHED = 6, 3
_U16, _U64 = struct.Struct("!H"), struct.Struct("!Q")


class Tracked(msgspec.Struct, frozen=True, gc=False):
    """A connection: whom the client asked for, and who answers. Octets are 0 unless the kernel counts them."""

    protocol: int
    asked: bytes
    asked_port: int
    answering: bytes
    answering_port: int
    established: bool  # of TCP; of others whether it is tracked at all
    bytes_in: int = 0
    bytes_out: int = 0


class ConntrackSocket(RequestSocket):
    """Asks the connection tracking of this network namespace (net.netfilter.nf_conntrack_acct counts octets)."""

    def __init__(self) -> None:
        super().__init__(_NETLINK_NETFILTER, "NETLINK_NETFILTER", "look at connections")

    def connections(self, six: bool) -> Iterator[Tracked]:
        """Every connection of a family."""
        family = socket.AF_INET6 if six else socket.AF_INET
        request = message(_GET, NLM_F_DUMP, struct.pack("!BBH", family, 0, 0))
        for answer in self.answers(request, "look at connections"):
            start = 0
            while start + 20 <= len(answer):
                length, kind = struct.unpack_from("=IH", answer, start)
                if kind == _NEW:
                    found = _tracked(dict(attributes(answer, start + 20, start + length)))
                    if found is not None:
                        yield found
                start += max((length + 3) & ~3, 16)


def _inner(octets: bytes) -> dict[int, bytes]:
    return dict(attributes(octets, 0, len(octets)))


def _tracked(parts: dict[int, bytes]) -> Tracked | None:
    if _ORIGINAL not in parts or _REPLY not in parts:
        return None
    original, reply = _inner(parts[_ORIGINAL]), _inner(parts[_REPLY])
    there, back = _inner(original.get(_PORTS, b"")), _inner(reply.get(_PORTS, b""))
    asked, answering = _inner(original.get(_ADDRESSES, b"")), _inner(reply.get(_ADDRESSES, b""))
    protocol = there.get(1, b"\0")[0]
    established = True
    if protocol == _TCP:
        state = _inner(_inner(parts.get(_PROTOCOL_STATE, b"")).get(1, b""))
        established = state.get(_TCP_STATE, b"\0")[0] == _ESTABLISHED
    return Tracked(
        protocol,
        asked.get(2) or asked.get(4, b""),
        _port(there.get(3)),
        answering.get(1) or answering.get(3, b""),
        _port(back.get(2)),
        established,
        _octets(parts.get(_COUNTED)),
        _octets(parts.get(_COUNTED_REPLY)),
    )


def _port(octets: bytes | None) -> int:
    return int(_U16.unpack(octets)[0]) if octets else 0


def _octets(counted: bytes | None) -> int:
    value = _inner(counted).get(_BYTES) if counted else None
    return int(_U64.unpack(value)[0]) if value else 0
