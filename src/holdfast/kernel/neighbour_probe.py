"""Asks the wire who has an address, and keeps every answer: ARP (RFC 826, 5227) and neighbour discovery (RFC 4861).

One packet socket an interface, opened for a moment by a command, never by the daemon's workers. It reads frames before
any firewall does, and hears the adverts that pass meanwhile, too.
"""

import ctypes
import select
import socket
import struct
import time
from collections.abc import Iterable

import msgspec

from holdfast.base.address import Address, Mac
from holdfast.base.checksum import internet_checksum
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.frames import BROADCAST, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6

_ETH_P_ALL = 3
_VRRP, _ICMPV6, _AH = 112, 58, 51
_AH_BYTES = 24  # with the 96 bits of VRRPv2's (RFC 2338 §5.3.6.3)
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")
_PACKET_OUTGOING, _PACKET_IGNORE_OUTGOING = 4, 23
_SO_ATTACH_FILTER = 26
_PACKET_ADD_MEMBERSHIP, _PACKET_MR_ALLMULTI, _SOL_PACKET = 1, 2, 263
_TAGGED = 0x8100


class Answer(msgspec.Struct, frozen=True):
    """Somebody says that `address` is at `mac`; `sender` is the frame's own source."""

    address: Address
    mac: Mac
    sender: Mac


class Overheard(msgspec.Struct, frozen=True):
    """A VRRP message that passed; `message` is what follows the IP header, not verified here."""

    source: Address
    mac: Mac
    message: bytes


def arp_request(mac: Mac, source: Address, wanted: Address) -> bytes:
    """Who has `wanted`? `source` 0.0.0.0 makes it a probe that changes nobody's table (RFC 5227 §1.1)."""
    head = BROADCAST + mac + struct.pack("!H", ETH_P_ARP)
    return head + struct.pack("!HHBBH", 1, ETH_P_IP, 6, 4, 1) + mac + source + bytes(6) + wanted


def solicitation(mac: Mac, source: Address, wanted: Address) -> bytes:
    """The same for IPv6, to the solicited-node group (RFC 4861 §4.3)."""
    group = _SOLICITED_NODE + wanted[13:]
    body = bytes((_SOLICITATION, 0, 0, 0)) + bytes(4) + wanted + b"\x01\x01" + mac
    checksum = internet_checksum(source + group + struct.pack("!II", len(body), _ICMPV6) + body)
    body = body[:2] + checksum.to_bytes(2, "big") + body[4:]
    header = struct.pack("!IHBB", 0x60000000, len(body), _ICMPV6, 255) + source + group
    return b"\x33\x33" + group[12:] + mac + struct.pack("!H", ETH_P_IPV6) + header + body


def read_frame(frame: bytes) -> Answer | Overheard | None:
    """What a frame tells about who has an address; None for everything else, and for what is cut short."""
    sender = Mac(frame[6:12])
    kind = int.from_bytes(frame[12:14], "big")
    if kind == _TAGGED and len(frame) >= 18:  # the driver left the VLAN's tag in
        frame = frame[:12] + frame[16:]
        kind = int.from_bytes(frame[12:14], "big")
    if kind == ETH_P_ARP and len(frame) >= 42:
        reply = frame[20:22] == b"\0\2"
        gratuitous = frame[28:32] == frame[38:42]
        if (reply or gratuitous) and frame[28:32] != bytes(4):
            return Answer(Address(frame[28:32]), Mac(frame[22:28]), sender)
        return None
    if kind == ETH_P_IP and len(frame) >= 42 and frame[23] in (_VRRP, _AH):
        start = 14 + (frame[14] & 15) * 4
        if frame[23] == _AH:
            if frame[start : start + 1] != bytes((_VRRP,)):
                return None
            start += _AH_BYTES
        total = 14 + int.from_bytes(frame[16:18], "big")
        message = frame[start:total]
        return Overheard(Address(frame[26:30]), sender, message) if len(message) >= 8 else None
    if kind == ETH_P_IPV6 and len(frame) >= 62:
        if frame[20] == _VRRP:
            message = frame[54 : 54 + int.from_bytes(frame[18:20], "big")]
            return Overheard(Address(frame[22:38]), sender, message) if len(message) >= 8 else None
        if frame[20] == _ICMPV6 and frame[54] == _ADVERTISEMENT and frame[21] == 255 and len(frame) >= 78:
            told = Mac(frame[80:86]) if frame[78:80] == b"\x02\x01" and len(frame) >= 86 else sender
            return Answer(Address(frame[62:78]), told, sender)
    return None


def answers_filter(mac: Mac) -> bytes:
    """A classic BPF program: ARP replies and gratuitous ARP not from `mac`, and neighbour advertisements."""
    load, load_half, load_byte, to_x = 0x20, 0x28, 0x30, 0x07
    equal, equal_x, give = 0x15, 0x1D, 0x06

    def instruction(code: int, k: int = 0, jump_true: int = 0, jump_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, jump_true, jump_false, k)

    own = mac.ljust(6, b"\0")
    return b"".join(
        (
            instruction(load_half, 12),
            instruction(equal, ETH_P_ARP, 0, 10),  # no: perhaps IPv6
            instruction(load, 6),
            instruction(equal, int.from_bytes(own[:4], "big"), 0, 2),
            instruction(load_half, 10),
            instruction(equal, int.from_bytes(own[4:], "big"), 12, 0),  # our own
            instruction(load_half, 20),
            instruction(equal, 2, 9, 0),  # a reply
            instruction(load, 38),
            instruction(to_x),
            instruction(load, 28),
            instruction(equal_x, 0, 5, 6),  # gratuitous: sender and target are the same address
            instruction(equal, ETH_P_IPV6, 0, 5),
            instruction(load_byte, 20),
            instruction(equal, _ICMPV6, 0, 3),
            instruction(load_byte, 54),
            instruction(equal, _ADVERTISEMENT, 0, 1),
            instruction(give, 0xFFFF),
            instruction(give, 0),
        )
    )


def _attach(where: socket.socket, program: bytes) -> None:
    """setsockopt(SO_ATTACH_FILTER); socket(7)."""
    held = ctypes.create_string_buffer(program)
    where.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("H6xQ", len(program) // 8, ctypes.addressof(held))
    )


class NeighbourProbe:
    """The socket on one interface. KernelRefused without CAP_NET_RAW, or when there is no such interface."""

    def __init__(self, interface: str, mac: Mac, answers_only: bool = False) -> None:
        """`answers_only`: the kernel passes answers and announcements of others, and nothing else."""
        self.interface = interface
        self.mac = mac
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            self._socket = socket.socket(socket.AF_PACKET, kind, 0)  # it hears nothing before it is bound
        except OSError as refused:
            raise KernelRefused("open a packet socket", f"interface {interface}", refused.errno or 0) from None
        try:
            if answers_only:
                _attach(self._socket, answers_filter(mac))
                self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            else:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self._socket.bind((interface, _ETH_P_ALL))
            if answers_only:
                return
            # adverts of groups nobody here has joined: a host without a daemon hears them as well
            index = socket.if_nametoindex(interface)
            asked = struct.pack("iHH8s", index, _PACKET_MR_ALLMULTI, 0, b"")
            self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, asked)
        except OSError as refused:
            self._socket.close()
            raise KernelRefused("bind a packet socket", f"interface {interface}", refused.errno or 0) from None

    def ask(self, wanted: Iterable[Address], source_4: Address, source_6: Address) -> str:
        """Send one question for each address; why the kernel would not send them, or ""."""
        for address in wanted:
            if len(address) == 4:
                frame = arp_request(self.mac, source_4, address)
            else:
                frame = solicitation(self.mac, source_6, address)
            try:
                self._socket.send(frame)
            except BlockingIOError:
                time.sleep(0.001)
            except OSError as refused:
                return refused.strerror or str(refused)
        return ""

    def hear(self, seconds: float) -> list[Answer | Overheard]:
        """What comes in within `seconds`."""
        found: list[Answer | Overheard] = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0]:
                break
            found += self.take()
        return found

    def fileno(self) -> int:
        """The descriptor, to wait for."""
        return self._socket.fileno()

    def take(self, at_most: int = 256) -> list[Answer | Overheard]:
        """What has come in; nothing when the interface went down."""
        found: list[Answer | Overheard] = []
        for _ in range(at_most):
            try:
                frame, origin = self._socket.recvfrom(2048)
            except OSError:
                break
            told = None if origin[2] == _PACKET_OUTGOING else read_frame(frame)
            if told is not None:
                found.append(told)
        return found

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
