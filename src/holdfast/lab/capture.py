"""Frames off the wire with the kernel's receive times: what a test or a benchmark asks who said what, and when.

Times are nanoseconds of CLOCK_REALTIME, as SO_TIMESTAMPNS gives them.
"""

import select
import socket
import struct
import time
from collections.abc import Iterator

import msgspec

from holdfast.base import address

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6, ETH_P_ARP = 0x0003, 0x0800, 0x86DD, 0x0806
IPPROTO_VRRP, IPPROTO_ICMPV6 = 112, 58
BRIDGE = "switch"
_SO_TIMESTAMPNS = 35
_PACKET_OUTGOING = 4
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One Ethernet frame and when the kernel received it (ns, CLOCK_REALTIME)."""

    time_ns: int
    port: str
    octets: bytes

    @property
    def source_mac(self) -> str:
        """The sender's link-layer address."""
        return self.octets[6:12].hex(":")


class Advert(msgspec.Struct, frozen=True, kw_only=True):
    """A VRRP advert, only as far as a test needs it: nothing is verified here."""

    time_ns: int
    source: str
    source_mac: str
    destination: str
    version: int
    vrid: int
    priority: int
    vips: tuple[str, ...]
    octets: bytes


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """A gratuitous ARP or an unsolicited neighbour advertisement."""

    time_ns: int
    address: str
    source_mac: str


def tap_here() -> socket.socket:
    """A packet socket for every frame of the network the calling thread is in."""
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(ETH_P_ALL))


class Capture:
    """A packet socket that keeps what arrives from the moment it was made."""

    def __init__(
        self,
        tap: socket.socket,
        interface: str | None = None,
        incoming_only: bool = True,
        protocols: frozenset[int] | None = None,
        buffer_bytes: int = 32 << 20,
    ) -> None:
        """`tap`: as `tap_here` makes it. `protocols`: the IP protocol numbers (0x0806: ARP) to keep; None keeps all."""
        self._socket = tap
        self._protocols = protocols
        self._incoming_only = incoming_only
        tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        for option in (33, socket.SO_RCVBUF):  # SO_RCVBUFFORCE where allowed
            try:
                tap.setsockopt(socket.SOL_SOCKET, option, buffer_bytes)
                break
            except OSError:
                continue
        if incoming_only:
            tap.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        tap.setblocking(False)
        if interface is not None:
            tap.bind((interface, ETH_P_ALL))
        self.frames: list[Frame] = []

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def drain(self) -> list[Frame]:
        """Take in what has arrived; only the new frames."""
        fresh = []
        while True:
            try:
                octets, ancillary, _flags, sender = self._socket.recvmsg(2048, 64)
            except BlockingIOError:
                break
            except OSError:  # an interface went down
                continue
            if self._incoming_only and sender[2] == _PACKET_OUTGOING:  # from before the option was set
                continue
            if sender[0].startswith(BRIDGE):  # the switch hears broadcasts itself: each would be there twice
                continue
            if self._protocols is not None and _protocol(octets) not in self._protocols:
                continue
            fresh.append(Frame(time_ns=_kernel_time(ancillary), port=sender[0], octets=octets))
        self.frames += fresh
        return fresh

    def wait(self, seconds: float) -> bool:
        """Wait until something arrives, `seconds` at most; whether it did."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def collect(self, seconds: float) -> None:
        """Keep taking in for `seconds`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.wait(min(left, 0.05))
            self.drain()

    def adverts(self) -> Iterator[Advert]:
        """Every VRRP advert seen so far, in order."""
        self.drain()
        for frame in self.frames:
            seen = advert_of(frame)
            if seen is not None:
                yield seen

    def announcements(self) -> Iterator[Announcement]:
        """Every gratuitous ARP and unsolicited neighbour advertisement seen so far."""
        self.drain()
        for frame in self.frames:
            seen = announcement_of(frame)
            if seen is not None:
                yield seen

    def close(self) -> None:
        """Stop."""
        self._socket.close()


def _kernel_time(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            whole, rest = struct.unpack("=qq", value)
            return int(whole * 1_000_000_000 + rest)
    return time.time_ns()


def _protocol(octets: bytes) -> int:
    kind = int.from_bytes(octets[12:14], "big")
    if kind == ETH_P_IP:
        return octets[23]
    if kind == ETH_P_IPV6:
        return octets[20]
    return kind


def _ip(octets: bytes) -> tuple[str, str, int, bytes] | None:
    """(source, destination, protocol, payload) of a frame that carries IP."""
    kind = int.from_bytes(octets[12:14], "big")
    if kind == ETH_P_IP and len(octets) >= 34:
        header = (octets[14] & 15) * 4
        total = int.from_bytes(octets[16:18], "big")
        ends = [address.text(address.Address(octets[at : at + 4])) for at in (26, 30)]
        return ends[0], ends[1], octets[23], octets[14 + header : 14 + total]
    if kind == ETH_P_IPV6 and len(octets) >= 54:
        total = int.from_bytes(octets[18:20], "big")
        ends = [address.text(address.Address(octets[at : at + 16])) for at in (22, 38)]
        return ends[0], ends[1], octets[20], octets[54 : 54 + total]
    return None


def advert_of(frame: Frame) -> Advert | None:
    """The VRRP advert in `frame`, None when it carries something else."""
    found = _ip(frame.octets)
    if found is None or found[2] != IPPROTO_VRRP or len(found[3]) < 8:
        return None
    source, destination, _protocol_number, payload = found
    size = 16 if ":" in source else 4
    vips = tuple(
        address.text(address.Address(payload[at : at + size]))
        for at in range(8, min(8 + payload[3] * size, len(payload) - size + 1), size)
    )
    return Advert(
        time_ns=frame.time_ns,
        source=source,
        source_mac=frame.source_mac,
        destination=destination,
        version=payload[0] >> 4,
        vrid=payload[1],
        priority=payload[2],
        vips=vips,
        octets=payload,
    )


def announcement_of(frame: Frame) -> Announcement | None:
    """The gratuitous ARP or unsolicited NA in `frame`, None when it carries something else."""
    octets = frame.octets
    if octets[12:14] == b"\x08\x06" and octets[28:32] == octets[38:42] and octets[28:32] != bytes(4):
        shown = address.text(address.Address(octets[28:32]))
        return Announcement(time_ns=frame.time_ns, address=shown, source_mac=octets[22:28].hex(":"))
    found = _ip(octets)
    if found is not None and found[2] == IPPROTO_ICMPV6 and found[3][:1] == b"\x88" and found[1] == "ff02::1":
        shown = address.text(address.Address(found[3][8:24]))
        return Announcement(time_ns=frame.time_ns, address=shown, source_mac=frame.source_mac)
    return None
