"""The UDP sockets BFD is spoken through (RFC 5881 §4, §5): one to hear by, and one a session to send by.

A receiver tells of every datagram the TTL it arrived with and the address it was for (ip(7), ipv6(7)). A sender has a
source port of its own from 49152 up, the same for as long as it is open, and is connected to its neighbour.
"""

import contextlib
import errno as errno_numbers
import os
import socket
import struct

from holdfast.base.address import Address
from holdfast.base.address import text as address_text
from holdfast.kernel.errors import KernelRefused

FIRST_PORT, PORTS = 49152, 16384
TRAFFIC_CLASS = 0xC0  # internetwork control
LARGEST = 512  # octets of a datagram that are looked at
_TRIES = 64
_IP_PKTINFO, _IP_RECVTTL = 8, 12
_IPV6_PKTINFO = 50
_INT = struct.Struct("@i")
_CONTROL_BYTES = socket.CMSG_SPACE(4) + socket.CMSG_SPACE(20)
_IN_USE = (
    "another BFD daemon holds the port: stop it, or give every session of that family a source_ip that it doesn't use"
)

Heard = tuple[bytes, int, bytes, bytes]
"""The octets, the TTL (0: not told), the source and our address, both packed."""


def _family(address: bytes) -> socket.AddressFamily:
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6


def _open(family: socket.AddressFamily) -> socket.socket:
    try:
        opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    except OSError as refused:
        raise KernelRefused("open a BFD socket", "", refused.errno or 0) from None
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return opened


def open_receiver(six: bool, address: Address | None, port: int) -> socket.socket:
    """A socket that hears `port` at `address` (None: at every one of the family). KernelRefused."""
    opened = _open(socket.AF_INET6 if six else socket.AF_INET)
    where = address_text(address) if address else "::" if six else "0.0.0.0"
    try:
        if six:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            opened.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
            opened.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        opened.bind((where, port))
    except OSError as refused:
        opened.close()
        errno = refused.errno or 0
        cure = _IN_USE if errno == errno_numbers.EADDRINUSE else ""
        raise KernelRefused("listen for BFD", f"{where} port {port}", errno, cure) from None
    return opened


def open_sender(neighbor: Address, source: Address | None, port: int, ttl: int, own_port: int = 0) -> socket.socket:
    """A socket connected to `port` of `neighbor`; `own_port` is the source port tried first. KernelRefused."""
    opened = _open(_family(neighbor))
    six = len(neighbor) == 16
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    where = address_text(source) if source else "::" if six else "0.0.0.0"
    operation, target = "send BFD from", where
    try:
        opened.setsockopt(level, socket.IPV6_UNICAST_HOPS if six else socket.IP_TTL, ttl)
        with contextlib.suppress(OSError):  # an ordinary user may do without
            opened.setsockopt(level, socket.IPV6_TCLASS if six else socket.IP_TOS, TRAFFIC_CLASS)
        for number in range(_TRIES):
            drawn = FIRST_PORT + int.from_bytes(os.urandom(2)) % PORTS
            try:
                opened.bind((where, own_port if own_port and not number else drawn))
                break
            except OSError as refused:
                if refused.errno != errno_numbers.EADDRINUSE or number == _TRIES - 1:
                    raise
        operation, target = "reach the BFD neighbour", address_text(neighbor)
        opened.connect((target, port))
    except OSError as refused:
        opened.close()
        raise KernelRefused(operation, target, refused.errno or 0) from None
    return opened


def read(opened: socket.socket, most: int) -> list[Heard]:
    """What has come, at most `most` datagrams."""
    heard: list[Heard] = []
    for _ in range(most):
        try:
            octets, ancillary, _flags, source = opened.recvmsg(LARGEST, _CONTROL_BYTES)
        except BlockingIOError:
            break
        except OSError:
            continue  # what a router says of an earlier datagram
        ttl, local = 0, b""
        for level, kind, payload in ancillary:
            if level == socket.IPPROTO_IP:
                if kind == socket.IP_TTL:
                    ttl = _INT.unpack_from(payload)[0]
                elif kind == _IP_PKTINFO:
                    local = payload[8:12]
            elif level == socket.IPPROTO_IPV6:
                if kind == socket.IPV6_HOPLIMIT:
                    ttl = _INT.unpack_from(payload)[0]
                elif kind == _IPV6_PKTINFO:
                    local = payload[:16]
        heard.append((octets, ttl, socket.inet_pton(opened.family, source[0].partition("%")[0]), local))
    return heard
