"""Linux namespaces by direct system calls: joining one, looking into another for a moment, mounts of our own.

Sources: namespaces(7), setns(2), unshare(2), mount(2), ip-netns(8) for where named network namespaces are kept.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator

from holdfast.kernel.errors import KernelRefused

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE, _MS_SLAVE = 0x1000, 0x4000, 1 << 18, 1 << 19

NAMED = "/run/netns"
"""Where `ip netns add NAME` keeps a network namespace."""

FIRST_NETWORK = "/proc/1/ns/net"
"""The network namespace the host began with, as far as process 1 lives there."""

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(outcome: int, what: str) -> None:
    if outcome != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """unshare(2); OSError when refused."""
    _checked(_libc.unshare(flags), "unshare")


def enter(descriptor: int, kind: int) -> None:
    """setns(2): this thread joins the namespace behind `descriptor`; `kind` is its CLONE_ flag."""
    _checked(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str = "") -> None:
    """mount(2); OSError when refused."""
    outcome = _libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, options.encode())
    _checked(outcome, f"mount {kind or ''} on {target}")


def private_mounts() -> None:
    """Nothing mounted from here on is seen outside this mount namespace."""
    mount("none", "/", None, _MS_REC | _MS_PRIVATE)


def join_network(name: str) -> None:
    """Be in the network namespace `name` (as `ip netns` names them, or a path) from now on; KernelRefused when not."""
    path = name if "/" in name else f"{NAMED}/{name}"
    try:
        with _opened(path) as descriptor:
            enter(descriptor, CLONE_NEWNET)
    except OSError as refused:
        raise _refusal(path, refused) from None


@contextlib.contextmanager
def in_network(path: str) -> Iterator[None]:
    """Within the block this thread is in the network namespace behind `path`: sockets opened there stay there.

    KernelRefused when it cannot be entered; nothing of the block has run then.
    """
    with _opened("/proc/self/ns/net") as home:
        try:
            with _opened(path) as other:
                enter(other, CLONE_NEWNET)
        except OSError as refused:
            raise _refusal(path, refused) from None
        try:
            yield
        finally:
            enter(home, CLONE_NEWNET)


def show_directory_as(inside: str, seen_as: str) -> None:
    """In a mount namespace of this process's own, `inside` is found at `seen_as` too; OSError when refused.

    What the host mounts later is still seen; what is mounted here is not seen by the host.
    """
    unshare(CLONE_NEWNS)
    mount("none", "/", None, _MS_REC | _MS_SLAVE)
    mount(inside, seen_as, None, _MS_BIND)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _refusal(path: str, refused: OSError) -> KernelRefused:
    cures = {
        FileNotFoundError: f"make it first: ip netns add {os.path.basename(path)}",
        PermissionError: "grant CAP_SYS_ADMIN (run as root, or AmbientCapabilities= in the unit)",
    }
    cure = cures.get(type(refused), "it must be a network namespace: see `ip netns list`")
    return KernelRefused("join the network namespace", path, refused.errno or 0, cure)
