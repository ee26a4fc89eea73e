"""Links and addresses of a lab by rtnetlink (rtnetlink(7)), so that a lab needs no `ip` command.

A `Links` speaks to the network namespace its socket was made in. Errors are OSError with the operation named.
"""

import os
import socket
import struct
from collections.abc import Iterator

import msgspec

from holdfast.base import address

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_SETLINK = 16, 17, 18, 19
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTM_NEWROUTE = 24
_REQUEST, _ACK, _DUMP, _CREATE, _EXCL = 1, 4, 0x300, 0x400, 0x200
_IFF_UP = 1
_NESTED = 0x8000
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 10, 18, 28
_IFLA_PROTINFO, _IFLA_LINK = 12, 5
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_NODAD = 0x02
_AF_BRIDGE = 7

# IFLA_BRPORT_ attributes (linux/if_link.h), each one byte
PORT_ATTRIBUTES = {
    "state": 1, "learning": 8, "unicast_flood": 9, "mcast_flood": 27, "bcast_flood": 30, "isolated": 33, "locked": 39
}  # fmt: skip
PORT_FLUSH = 24
FORWARDING, DISABLED = 3, 0


class HeldAddress(msgspec.Struct, frozen=True, kw_only=True):
    """One address of one interface, as the kernel has it."""

    interface: str
    address: str
    prefix: int


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _attributes(octets: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 4 <= len(octets):
        length, kind = struct.unpack_from("=HH", octets, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = octets[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


class Links:
    """The links of one network namespace: the one the making thread is in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def _ask(self, kind: int, flags: int, body: bytes, what: str) -> Iterator[bytes]:
        """Send one request; yields the bodies of a dump; OSError for a refusal."""
        self._sequence += 1
        self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | flags, self._sequence, 0) + body)
        while True:
            octets = self._socket.recv(1 << 18)
            at = 0
            while at < len(octets):
                length, answer, _flags, sequence, _pid = struct.unpack_from("=IHHII", octets, at)
                content = octets[at + 16 : at + length]
                at += (length + 3) & ~3
                if sequence != self._sequence:
                    continue
                if answer == 3:  # NLMSG_DONE
                    return
                if answer == 2:  # NLMSG_ERROR, 0 for an acknowledgement
                    (code,) = struct.unpack_from("=i", content)
                    if code:
                        raise OSError(-code, f"cannot {what}: {os.strerror(-code)}")
                    return
                yield content

    def _do(self, kind: int, flags: int, body: bytes, what: str) -> None:
        for _ in self._ask(kind, flags | _ACK, body, what):
            pass

    def index(self, name: str) -> int:
        """The interface index of `name`; OSError (ENODEV) when there is no such link."""
        body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name)
        for content in self._ask(_RTM_GETLINK, 0, body, f"find {name}"):
            (number,) = struct.unpack_from("=i", content, 4)
            return int(number)
        raise AssertionError("the kernel answers with a link or an error")

    def names(self) -> dict[int, str]:
        """Interface names by index."""
        found = {}
        for content in self._ask(_RTM_GETLINK, _DUMP, bytes(16), "list links"):
            (number,) = struct.unpack_from("=i", content, 4)
            found[int(number)] = _attributes(content[16:])[_IFLA_IFNAME].rstrip(b"\0").decode()
        return found

    def mac(self, name: str) -> str:
        """The link-layer address of `name`, as `02:00:00:00:00:01`."""
        body = bytes(16) + _text(_IFLA_IFNAME, name)
        for content in self._ask(_RTM_GETLINK, 0, body, f"find {name}"):
            return _attributes(content[16:])[_IFLA_ADDRESS].hex(":")
        raise AssertionError("the kernel answers with a link or an error")

    def _new_link(self, name: str, kind: str, more: bytes = b"", inner: bytes = b"") -> None:
        described = _text(1, kind) + (_attribute(2 | _NESTED, inner) if inner else b"")
        body = bytes(16) + _text(_IFLA_IFNAME, name) + more + _attribute(_IFLA_LINKINFO | _NESTED, described)
        self._do(_RTM_NEWLINK, _CREATE | _EXCL, body, f"make {kind} {name}")

    def make_bridge(self, name: str) -> None:
        """A bridge that forwards at once and floods every group: no snooping, no spanning tree."""
        inner = _attribute(1, struct.pack("=I", 0)) + _attribute(5, struct.pack("=I", 0)) + _attribute(23, b"\0")
        self._new_link(name, "bridge", inner=inner)

    def make_veth(self, name: str, peer: str, peer_network: int) -> None:
        """A pair of interfaces: `name` here, `peer` in the network behind the descriptor `peer_network`."""
        other = bytes(16) + _text(_IFLA_IFNAME, peer) + _attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_network))
        self._new_link(name, "veth", inner=_attribute(1 | _NESTED, other))

    def make_macvlan(self, name: str, base: str, mac: str) -> None:
        """A macvlan in bridge mode on `base`, as FRR's vrrpd wants one."""
        more = _attribute(_IFLA_LINK, struct.pack("=I", self.index(base)))
        more += _attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))
        self._new_link(name, "macvlan", more, inner=_attribute(1, struct.pack("=I", 4)))

    def delete(self, name: str) -> None:
        """Remove a link (and a veth's other end with it)."""
        self._do(_RTM_DELLINK, 0, struct.pack("=BxHiII", 0, 0, self.index(name), 0, 0), f"remove {name}")

    def _set(self, name: str, attributes: bytes, what: str, flags: int = 0, mask: int = 0) -> None:
        body = struct.pack("=BxHiII", 0, 0, self.index(name), flags, mask) + attributes
        self._do(_RTM_SETLINK, 0, body, what)

    def up(self, name: str) -> None:
        """Set `name` up."""
        self._set(name, b"", f"set {name} up", _IFF_UP, _IFF_UP)

    def down(self, name: str) -> None:
        """Set `name` down."""
        self._set(name, b"", f"set {name} down", 0, _IFF_UP)

    def set_mac(self, name: str, mac: str) -> None:
        """Give `name` the link-layer address `mac`."""
        self._set(name, _attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))), f"set the MAC of {name}")

    def join(self, name: str, bridge: str) -> None:
        """Make `name` a port of `bridge`."""
        self._set(name, _attribute(_IFLA_MASTER, struct.pack("=I", self.index(bridge))), f"put {name} into {bridge}")

    def port(self, name: str, **values: int) -> None:
        """Set attributes of a bridge port (PORT_ATTRIBUTES), and forget what the bridge learnt behind it."""
        inner = b"".join(_attribute(PORT_ATTRIBUTES[key], bytes((value,))) for key, value in values.items())
        inner += _attribute(PORT_FLUSH, b"")
        body = struct.pack("=BxHiII", _AF_BRIDGE, 0, self.index(name), 0, 0)
        self._do(_RTM_SETLINK, 0, body + _attribute(_IFLA_PROTINFO | _NESTED, inner), f"set the port {name}")

    def _address(self, kind: int, flags: int, name: str, text: str, prefix: int) -> None:
        packed = address.parse(text)
        family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
        body = struct.pack("=BBBBI", family, prefix, 0, 0, self.index(name))
        body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
        if family == socket.AF_INET6:
            body += _attribute(_IFA_FLAGS, struct.pack("=I", _IFA_F_NODAD))
        verb = "add" if kind == _RTM_NEWADDR else "remove"
        self._do(kind, flags, body, f"{verb} {text}/{prefix} on {name}")

    def add_address(self, name: str, text: str, prefix: int) -> None:
        """Add an address, usable at once (no duplicate address detection)."""
        self._address(_RTM_NEWADDR, _CREATE | _EXCL, name, text, prefix)

    def remove_address(self, name: str, text: str, prefix: int) -> None:
        """Remove an address; OSError (EADDRNOTAVAIL) when it is not there."""
        self._address(_RTM_DELADDR, 0, name, text, prefix)

    def addresses(self) -> list[HeldAddress]:
        """Every address of every interface, both families."""
        names = self.names()
        found = []
        for content in self._ask(_RTM_GETADDR, _DUMP, bytes(8), "list addresses"):
            _family, prefix, _flags, _scope, number = struct.unpack_from("=BBBBI", content)
            held = _attributes(content[8:])
            packed = held.get(_IFA_LOCAL, held.get(_IFA_ADDRESS, b""))
            shown = address.text(address.Address(packed))
            found.append(HeldAddress(interface=names.get(number, str(number)), address=shown, prefix=prefix))
        return found
