"""Announcements as whole Ethernet frames: gratuitous ARP and unsolicited neighbour advertisements.

They leave through a packet socket, so that an address needn't be usable yet when its neighbours are told, and so that
the frame's source is the virtual MAC where there is one. Sources: RFC 826, RFC 5227 §3, RFC 4861 §4.4, packet(7).
"""

import socket
import struct

import msgspec

from holdfast.base.address import Address, Mac
from holdfast.base.checksum import internet_checksum
from holdfast.kernel.batches import SendBatch
from holdfast.kernel.errors import KernelRefused

ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0800, 0x0806, 0x86DD
BROADCAST = Mac(b"\xff" * 6)
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
_ARP_ETHERNET_IPV4 = bytes.fromhex("0001080006040001")  # hardware, protocol, their lengths, request
_ICMPV6, _NEIGHBOUR_ADVERT = 58, 136
_ROUTER, _OVERRIDE = 0x80, 0x20
_PF_PACKET_NOTHING = 0  # a packet socket of protocol 0 receives nothing


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """What a gratuitous ARP or a neighbour advertisement tells: `address` is at `mac`."""

    address: Address
    mac: Mac
    ethernet_source: Mac
    ethernet_destination: Mac
    router: bool = False
    override: bool = True


def gratuitous_arp(mac: Mac, address: Address) -> bytes:
    """The 42 octets of a gratuitous ARP: a broadcast request, target MAC all ones as keepalived's."""
    assert len(mac) == 6, mac
    assert len(address) == 4, address
    return BROADCAST + mac + b"\x08\x06" + _ARP_ETHERNET_IPV4 + mac + address + BROADCAST + address


def unsolicited_na(mac: Mac, address: Address, router: bool) -> bytes:
    """The 86 octets of an unsolicited neighbour advertisement to all nodes, from the address itself, override set.

    `router` is the R flag: set it exactly when the interface forwards IPv6, or hosts drop their default route.
    """
    assert len(mac) == 6, mac
    assert len(address) == 16, address
    flags = _OVERRIDE | (_ROUTER if router else 0)
    body = bytes((_NEIGHBOUR_ADVERT, 0, 0, 0, flags, 0, 0, 0)) + address + b"\x02\x01" + mac
    pseudo = address + _ALL_NODES + struct.pack("!II", len(body), _ICMPV6)
    checksum = internet_checksum(pseudo + body)
    body = body[:2] + checksum.to_bytes(2, "big") + body[4:]
    ipv6 = struct.pack("!IHBB", 0x60000000, len(body), _ICMPV6, 255) + address + _ALL_NODES
    return _ALL_NODES_MAC + mac + b"\x86\xdd" + ipv6 + body


def announcement(mac: Mac, address: Address, router: bool = False) -> bytes:
    """The frame that tells the neighbours of `address`, in its family's way."""
    return gratuitous_arp(mac, address) if len(address) == 4 else unsolicited_na(mac, address, router)


def decode_announcement(frame: bytes) -> Announcement | None:
    """What `frame` announces; None when it is no gratuitous ARP and no neighbour advertisement, or is cut short."""
    kind = frame[12:14]
    destination, source = Mac(frame[:6]), Mac(frame[6:12])
    if kind == b"\x08\x06" and len(frame) >= 42 and frame[14:20] == _ARP_ETHERNET_IPV4[:6]:
        if frame[28:32] != frame[38:42]:
            return None  # an ordinary question or answer
        return Announcement(
            address=Address(frame[28:32]),
            mac=Mac(frame[22:28]),
            ethernet_source=source,
            ethernet_destination=destination,
        )
    if kind == b"\x86\xdd" and len(frame) >= 86 and frame[20] == _ICMPV6 and frame[54] == _NEIGHBOUR_ADVERT:
        if frame[21] != 255 or frame[78:80] != b"\x02\x01":
            return None  # RFC 4861 §7.1.2: from beyond this link; or it does not say where
        return Announcement(
            address=Address(frame[62:78]),
            mac=Mac(frame[80:86]),
            ethernet_source=source,
            ethernet_destination=destination,
            router=bool(frame[58] & _ROUTER),
            override=bool(frame[58] & _OVERRIDE),
        )
    return None


class PacketSender:
    """Sends whole frames on one interface; hears nothing. KernelRefused without CAP_NET_RAW."""

    def __init__(self, ifindex: int) -> None:
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _PF_PACKET_NOTHING)
        except OSError as refused:
            raise KernelRefused("open a packet socket", f"interface {ifindex}", refused.errno or 0) from None
        try:
            self._socket.bind((socket.if_indextoname(ifindex), _PF_PACKET_NOTHING))
        except OSError as refused:
            self._socket.close()
            raise KernelRefused("bind a packet socket", f"interface {ifindex}", refused.errno or 0) from None
        self._socket.setblocking(False)
        self.ifindex = ifindex
        # sockaddr_ll: family, protocol 0, index, and nothing else: the frame says the rest
        self._to = struct.pack("=HHiHBB8s", socket.AF_PACKET, 0, ifindex, 0, 0, 6, b"")

    def fileno(self) -> int:
        """The file descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def send_one(self, frame: bytes) -> int:
        """Send one frame; the errno of a refusal, or 0."""
        try:
            self._socket.send(frame)
        except OSError as refused:
            return refused.errno or 5
        return 0

    def batch(self, frames: list[bytes]) -> SendBatch:
        """`frames`, ready to be sent in order as often as wished."""
        return SendBatch(self._socket.fileno(), [(frame, self._to, b"") for frame in frames])

    def send(self, frames: list[bytes]) -> list[tuple[int, int]]:
        """Send `frames` in order, once; (position, errno) of each that was refused."""
        once = self.batch(frames)
        once.send()
        return list(once.errors)
