"""What Linux refused: the operation, the object, the reason and the cure, in words."""

import errno as errno_numbers
import os

_CURES: dict[int, str] = {
    errno_numbers.EPERM: "grant CAP_NET_ADMIN and CAP_NET_RAW (run as root, or AmbientCapabilities= in the unit)",
    errno_numbers.EACCES: "grant CAP_NET_ADMIN and CAP_NET_RAW; look for a SELinux or AppArmor denial",
    errno_numbers.ENODEV: "the interface does not exist: create it, or correct its name",
    errno_numbers.ENXIO: "the interface is gone: create it, or correct its name",
    errno_numbers.ENETDOWN: "bring the interface up: ip link set dev NAME up",
    errno_numbers.ENETUNREACH: "there is no route to it: give the interface an address, or add a route",
    errno_numbers.EHOSTUNREACH: "the neighbour does not answer: check the link and the peer's address",
    errno_numbers.EADDRNOTAVAIL: "the address is not on this host: correct it, or add it to the interface",
    errno_numbers.EEXIST: "it is there already: remove it, or let holdfast alone manage it",
    errno_numbers.ENOBUFS: "the kernel ran out of buffer: raise net.core.wmem_max or the interface's txqueuelen",
    errno_numbers.ENOMEM: "free memory, or raise the memory limit of the service",
    errno_numbers.EINVAL: "the kernel finds the request senseless: check prefix length, scope, label and lifetimes",
    errno_numbers.EMSGSIZE: "the packet exceeds the interface's MTU: advertise fewer addresses or raise the MTU",
    errno_numbers.EOPNOTSUPP: "this kernel or interface cannot do that: load the module or use another interface",
    errno_numbers.EPROTONOSUPPORT: "the kernel lacks the protocol: load its module or enable it",
    errno_numbers.EAFNOSUPPORT: "the address family is switched off: check ipv6.disable on the kernel command line",
    errno_numbers.ENOENT: "it does not exist (any more)",
    errno_numbers.EBUSY: "somebody else holds it: try again, or find the other program",
    errno_numbers.EMFILE: "raise the limit of open files: LimitNOFILE= in the unit",
    errno_numbers.ENFILE: "raise fs.file-max",
    errno_numbers.ENOSYS: "the kernel is too old or built without it",
    errno_numbers.ENOPROTOOPT: "the kernel is too old or built without it",
    errno_numbers.EAGAIN: "the queue is full for the moment: it is tried again",
}
"""The usual cure for each errno; an operation may know a better one."""


def errno_name(errno: int) -> str:
    """`EPERM` for 1; `errno 4242` for a number this system has no name for."""
    return errno_numbers.errorcode.get(errno, f"errno {errno}")


def cure_for(errno: int) -> str:
    """The usual cure for `errno`, in words; never empty."""
    return _CURES.get(errno, f"look up {errno_name(errno)} in errno(3), and the kernel's log (dmesg)")


class KernelRefused(Exception):
    """Linux refused `operation` on `target`: `cannot add 192.0.2.10/24 to eth0: operation not permitted; grant …`.

    `operation` is a verb phrase (`open a raw socket`), `target` the object, `errno` positive, `cure` words to act on.
    """

    def __init__(self, operation: str, target: str, errno: int, cure: str = "") -> None:
        self.operation = operation
        self.target = target
        self.errno = errno
        self.cure = cure or cure_for(errno)
        super().__init__(operation, target, errno, self.cure)

    def __str__(self) -> str:
        reason = os.strerror(self.errno).lower()
        on = f" on {self.target}" if self.target else ""
        return f"cannot {self.operation}{on}: {reason}; {self.cure}"
