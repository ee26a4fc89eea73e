"""The sockets health checks speak through: TCP, UDP and unprivileged ICMP, from where the operator wants."""

import errno as errno_numbers
import resource
import socket
import struct

from holdfast.kernel.errors import KernelRefused, cure_for, errno_name
from holdfast.kernel.sysctl import Sysctls

_IP_BIND_ADDRESS_NO_PORT = 24
_KINDS = {
    "tcp": (socket.SOCK_STREAM, 0, 0),
    "udp": (socket.SOCK_DGRAM, 0, 0),
    "ping": (socket.SOCK_DGRAM, int(socket.IPPROTO_ICMP), int(socket.IPPROTO_ICMPV6)),
}
_IN_PROGRESS = {0, errno_numbers.EINPROGRESS}
_OURS = {errno_numbers.EMFILE, errno_numbers.ENFILE, errno_numbers.ENOBUFS, errno_numbers.ENOMEM}
_CURES = {
    ("open", errno_numbers.EACCES): "the group range of unprivileged echoes excludes us: net.ipv4.ping_group_range",
    ("mark", errno_numbers.EPERM): "grant CAP_NET_ADMIN",
    ("bind to the device", errno_numbers.EPERM): "grant CAP_NET_RAW",
    ("connect", errno_numbers.EADDRNOTAVAIL): "every local port towards it is taken: widen "
    "net.ipv4.ip_local_port_range",
}

PING_GROUPS = "net/ipv4/ping_group_range"


class CheckRefused(Exception):
    """A socket could not be had. `local`: for want of something on this host, which says nothing of the server."""

    def __init__(self, operation: str, errno: int, local: bool = False) -> None:
        self.errno = errno
        self.local = local
        super().__init__(operation, errno)

    def __str__(self) -> str:
        operation, errno = self.args
        cure = _CURES.get((operation, errno)) or cure_for(errno)
        return f"cannot {operation}: {reason(errno)}; {cure}"


def reason(errno: int) -> str:
    """What went wrong on the way, in words an operator searches for: `connection refused`."""
    return _REASONS.get(errno) or errno_name(errno)


_REASONS = {
    errno_numbers.ECONNREFUSED: "connection refused",
    errno_numbers.ECONNRESET: "connection reset",
    errno_numbers.EPIPE: "connection closed",
    errno_numbers.ETIMEDOUT: "connection timed out",
    errno_numbers.EHOSTUNREACH: "no route to host",
    errno_numbers.ENETUNREACH: "network unreachable",
    errno_numbers.EADDRNOTAVAIL: "address not available",
    errno_numbers.EADDRINUSE: "address in use",
    errno_numbers.EMFILE: "too many open files",
    errno_numbers.ENFILE: "too many open files in the system",
    errno_numbers.ENODEV: "no such device",
    errno_numbers.EPERM: "operation not permitted",
    errno_numbers.EACCES: "permission denied",
    errno_numbers.ENOPROTOOPT: "protocol not available",
    errno_numbers.ECONNABORTED: "connection aborted",
}


def open_towards(
    transport: str, address: bytes, port: int, bind_address: bytes | None, bind_port: int, interface: str, mark: int
) -> socket.socket:
    """A socket on its way to `address`:`port` (not blocking; TCP may not be connected yet). CheckRefused.

    `transport` is `tcp`, `udp` or `ping`; addresses are packed; 0, "" and None leave the choice to the kernel.
    """
    v4 = len(address) == 4
    kind, icmp, icmp6 = _KINDS[transport]
    operation = "open"
    opened: socket.socket | None = None
    try:
        opened = socket.socket(
            socket.AF_INET if v4 else socket.AF_INET6, kind | socket.SOCK_NONBLOCK, icmp if v4 else icmp6
        )
        if mark:
            operation = "mark"
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        scope = 0
        if interface:
            operation = "bind to the device"
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            scope = 0 if v4 else socket.if_nametoindex(interface)
        if bind_address is not None or bind_port:
            operation = "bind"
            _bind(opened, transport, bind_address or bytes(len(address)), bind_port, scope)
        operation = "connect"
        failed = opened.connect_ex(_peer(address, 0 if icmp else port, scope))
        if failed in _IN_PROGRESS:
            return opened
    except OSError as error:
        failed = error.errno or errno_numbers.EIO
    if opened is not None:
        opened.close()
    local = failed in _OURS or (failed == errno_numbers.EADDRNOTAVAIL and operation == "connect" and not bind_port)
    raise CheckRefused(operation, failed, local)


def _peer(address: bytes, port: int, scope: int) -> tuple[str, int] | tuple[str, int, int, int]:
    if len(address) == 4:
        return socket.inet_ntoa(address), port
    return socket.inet_ntop(socket.AF_INET6, address), port, 0, scope


def _bind(opened: socket.socket, transport: str, address: bytes, port: int, scope: int) -> None:
    if port:
        # a connection closed in peace would keep this port from the next check for a minute (TIME_WAIT): so it is reset
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if transport == "tcp":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif transport == "tcp":
        # the port is chosen at connect, so that one serves for many servers
        opened.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, struct.pack("i", 1))
    opened.bind(_peer(address, port, scope))


def allow_descriptors() -> int:
    """Let this process open as many files as its hard limit says, and return that: each check under way is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def allow_pings(sysctls: Sysctls, group: int) -> bool:
    """Widen the group range of unprivileged echoes until `group` is in it; `sysctls` puts it back at the end.

    Whether anything had to be changed; KernelRefused when it can't be.
    """
    try:
        with open(f"/proc/sys/{PING_GROUPS}", encoding="ascii") as setting:
            low, high = (int(word) for word in setting.read().split())
    except (OSError, ValueError) as error:
        errno = getattr(error, "errno", None) or errno_numbers.EIO
        raise KernelRefused("read net.ipv4.ping_group_range", "", errno) from None
    if low <= group <= high:
        return False
    sysctls.set(PING_GROUPS, f"{group} {group}" if low > high else f"{min(low, group)}\t{max(high, group)}")
    return True
