"""The raw sockets adverts leave and arrive through: protocol 112, TTL 255, bound to one interface.

IPv4 packets carry their own IP header both ways (IP_HDRINCL; the kernel fills in identification and header checksum).
IPv6 packets are the VRRP message alone, both ways: the kernel makes the header from the socket's options, computes the
checksum when sending and drops what fails it when receiving (IPV6_CHECKSUM at offset 6), before any filter sees it.
CARP's checksum leaves the pseudo header out, in IPv6 too (`covers_header=False`): the kernel then leaves it alone.
A raw IPv6 socket hears every group somebody on the host has joined, so look at `ReceiveBatch.arrival`'s destination; an
IPv4 one hears only the groups it joined itself (IP_MULTICAST_ALL is off).

Sources: ip(7), ipv6(7), raw(7), RFC 3542 §3.1; RFC 9568 §5.1 for the numbers on the wire.
"""

import ctypes
import errno as errno_numbers
import socket
import struct

from holdfast.base.address import Address, is_multicast
from holdfast.base.address import text as address_text
from holdfast.kernel.batches import ReceiveBatch, control_message
from holdfast.kernel.errors import KernelRefused

VRRP_PROTOCOL = 112
AH_PROTOCOL = 51
CARP_OVER_IPV6 = 0x100 | VRRP_PROTOCOL
"""Stands for protocol 112 where a socket of its own is needed: the kernel would refuse CARP's checksum as VRRP's."""

CONTROL_PRIORITY = 6  # SO_PRIORITY: the most urgent an ordinary user may set
TRAFFIC_CLASS = 0xC0  # internetwork control

_IP_PKTINFO, _IP_MULTICAST_ALL = 8, 49
_IPV6_PKTINFO, _IPV6_HOPLIMIT, _IPV6_FREEBIND = 50, 52, 78
_SO_RCVBUFFORCE, _SO_ATTACH_FILTER, _SO_DETACH_FILTER = 33, 26, 27
_VRRP_CHECKSUM_OFFSET = 6
_CURES = {errno_numbers.EPERM: "grant CAP_NET_RAW (run as root, or AmbientCapabilities=CAP_NET_RAW in the unit)"}


def _refused(operation: str, target: str, refused: OSError) -> KernelRefused:
    errno = refused.errno or 0
    return KernelRefused(operation, target, errno, _CURES.get(errno, ""))


def _open(family: int, protocol: int, ifname: str) -> socket.socket:
    """A raw socket that has heard nothing but what came from `ifname` ("": from anywhere)."""
    try:
        opened = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except OSError as refused:
        raise _refused("open a raw socket", ifname or "any interface", refused) from None
    opened.setblocking(False)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, CONTROL_PRIORITY)
        if ifname:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, ifname.encode() + b"\0")
    except OSError as refused:
        opened.close()
        raise _refused("bind a raw socket to the interface", ifname, refused) from None
    return opened


def _deafen(opened: socket.socket) -> None:
    """Let nothing in, and forget what came in before."""
    nothing = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))  # classic BPF: return 0
    program = struct.pack("@HP", 1, ctypes.addressof(nothing))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    batch = ReceiveBatch(opened.fileno(), 16, 64)
    while batch.receive():
        pass


def _undeafen(opened: socket.socket) -> None:
    opened.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def receive_buffer(opened: socket.socket, wanted_bytes: int) -> int:
    """Ask for a receive buffer of `wanted_bytes`, beyond net.core.rmem_max when privileged; what was granted."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, wanted_bytes)
    except OSError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted_bytes)
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def open_receiver(
    family: int,
    ifname: str,
    ifindex: int,
    groups: tuple[Address, ...],
    protocol: int = VRRP_PROTOCOL,
    buffer_bytes: int | None = None,
    covers_header: bool = True,
) -> socket.socket:
    """A non-blocking socket that hears adverts for `groups` (and unicast ones) on `ifname` only.

    `family` is AF_INET or AF_INET6; `ifname` "" and `ifindex` 0 hear unicast adverts on every interface (then ask
    `ReceiveBatch.arrival` where one came in). What arrived before it was bound is not heard. KernelRefused on refusal.
    """
    opened = _open(family, protocol, ifname)
    try:
        _deafen(opened)
        if family == socket.AF_INET:
            opened.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            if not ifname:
                opened.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        else:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            if covers_header:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, _VRRP_CHECKSUM_OFFSET)
        if buffer_bytes is not None:
            receive_buffer(opened, buffer_bytes)
        for group in groups:
            join(opened, group, ifindex, ifname)
        _undeafen(opened)
    except OSError as refused:
        opened.close()
        raise _refused("prepare a raw socket", ifname or "any interface", refused) from None
    except KernelRefused:
        opened.close()
        raise
    return opened


def join(opened: socket.socket, group: Address, ifindex: int, ifname: str) -> None:
    """Hear `group` on the interface; KernelRefused with the group named. Joined already is well."""
    try:
        if len(group) == 4:
            membership = group + struct.pack("=4si", b"", ifindex)
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        else:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("=i", ifindex))
    except OSError as refused:
        if refused.errno != errno_numbers.EADDRINUSE:
            cure = "raise net.ipv4.igmp_max_memberships" if refused.errno == errno_numbers.ENOBUFS else ""
            raise KernelRefused(f"join {address_text(group)}", ifname, refused.errno or 0, cure) from None


def open_sender(
    family: int, ifname: str = "", ifindex: int = 0, protocol: int = VRRP_PROTOCOL, unicast_hops: int | None = None,
    covers_header: bool = True,
) -> socket.socket:  # fmt: skip
    """A non-blocking socket that sends adverts and hears nothing.

    Without `ifname` one socket serves every interface: then give each message its interface with `leave_by`, and all
    that is due leaves in one system call. `unicast_hops` is IPv6's hop limit to unicast peers (None: the system's, 64);
    groups always get 255. IPv4 messages bring their own header. KernelRefused on refusal.
    """
    opened = _open(family, socket.IPPROTO_RAW if family == socket.AF_INET else protocol, ifname)
    try:
        if family == socket.AF_INET:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            if ifindex:
                opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", b"", b"", ifindex))
        else:
            _deafen(opened)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, TRAFFIC_CLASS)
            # through a VMAC adverts leave from the address of the interface below it
            opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            if covers_header:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, _VRRP_CHECKSUM_OFFSET)
            if unicast_hops is not None:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, unicast_hops)
            if ifindex:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, ifindex)
    except OSError as refused:
        opened.close()
        raise _refused("prepare a raw socket", ifname or "any interface", refused) from None
    return opened


def open_broadcaster() -> socket.socket:
    """A non-blocking socket for IPv4 packets in broadcast frames, on any interface: give each `broadcast_on`.

    It hears nothing, and what it sends passes no firewall rule of this host. KernelRefused on refusal.
    """
    try:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
    except OSError as refused:
        raise _refused("open a packet socket", "any interface", refused) from None
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, CONTROL_PRIORITY)
    return opened


def broadcast_on(ifindex: int) -> bytes:
    """Everyone on the interface's wire as a sockaddr_ll (packet(7)), for an IPv4 packet."""
    return struct.pack("=H2siHBB8s", socket.AF_PACKET, b"\x08\x00", ifindex, 0, 0, 6, b"\xff" * 6)


def destination(address: Address, ifindex: int = 0) -> bytes:
    """`address` as a sockaddr; IPv6 link-local and group addresses need the interface."""
    if len(address) == 4:
        return struct.pack("=HH4s8s", socket.AF_INET, 0, address, b"")
    scoped = ifindex if is_multicast(address) or address[:2] == b"\xfe\x80" else 0
    return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, address, scoped)


def leave_by(family: int, ifindex: int, source: Address | None = None, hop_limit: int | None = None) -> bytes:
    """Ancillary octets that send a message through `ifindex`, from `source` (IPv6), with `hop_limit` (IPv6)."""
    if family == socket.AF_INET:
        return control_message(socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=i4s4s", ifindex, b"", b""))
    control = control_message(socket.IPPROTO_IPV6, _IPV6_PKTINFO, (source or bytes(16)) + struct.pack("=i", ifindex))
    if hop_limit is not None:
        control += control_message(socket.IPPROTO_IPV6, _IPV6_HOPLIMIT, struct.pack("=i", hop_limit))
    return control
