"""Network namespaces for tests: made in this process, gone with their last socket; nothing is left behind."""

import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.kernel import netlink

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def ip(*words: str) -> str:
    """`ip` of iproute2 in the present namespace."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


class Namespace:
    """One network namespace; `with namespace.entered():` runs the body in it."""

    def __init__(self) -> None:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _checked(_libc.unshare(_CLONE_NEWNET))
            try:
                self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                ip("link", "set", "lo", "up")
            finally:
                _checked(_libc.setns(home, _CLONE_NEWNET))
        finally:
            os.close(home)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The body runs in this namespace; sockets made there stay there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _checked(_libc.setns(self.fd, _CLONE_NEWNET))
            try:
                yield
            finally:
                _checked(_libc.setns(home, _CLONE_NEWNET))
        finally:
            os.close(home)

    def close(self) -> None:
        """Give it back; the kernel removes what was in it."""
        os.close(self.fd)


def index_of(name: str) -> int:
    """The index of interface `name` in the present namespace (if_nametoindex asks a socket made now)."""
    index = int(_libc.if_nametoindex(name.encode()))
    assert index, f"no interface {name}"
    return index


def wire(one: Namespace, other: Namespace) -> None:
    """A veth pair: va in `one` (02:00:00:00:00:01), vb in `other` (02:00:00:00:00:02), both up, no IPv6 DAD."""
    with one.entered():
        ip("link", "add", "va", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "vb")
        ip("link", "set", "vb", "address", "02:00:00:00:00:02")
        away = struct.pack("=BxHiII", 0, 0, index_of("vb"), 0, 0) + netlink.attribute(28, struct.pack("=I", other.fd))
        asking = netlink.NetlinkSocket()
        assert asking.request_batch([netlink.message(netlink.RTM_NEWLINK, 0, away)]) == [0]
        asking.close()
    for place, name in ((one, "va"), (other, "vb")):
        with place.entered():
            with open(f"/proc/sys/net/ipv6/conf/{name}/accept_dad", "w") as knob:
                knob.write("0")
            ip("link", "set", name, "up")
