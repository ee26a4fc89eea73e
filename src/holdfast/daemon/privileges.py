"""What the daemon may do here, found out by asking the kernel for it: in a container or a user namespace the
capability sets alone don't tell."""

import errno
import os
import socket
import struct

from holdfast.kernel.process import Capabilities, capabilities

_RTM_DELADDR = 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLMSG_ERROR = 1, 4, 2
_NO_SUCH_INTERFACE = 0x7FFFFFFF


def missing_capabilities() -> list[str]:
    """Of what the vrrp worker cannot do without, what is missing: CAP_NET_ADMIN (addresses), CAP_NET_RAW (adverts)."""
    return [name for name, held in (("CAP_NET_ADMIN", _net_admin()), ("CAP_NET_RAW", _net_raw())) if not held]


def missing_line() -> str:
    """One line that names what is missing and how to get it; empty when nothing is."""
    missing = missing_capabilities()
    if not missing:
        return ""
    names = " and ".join(missing)
    return (
        f"holdfast needs {names} here (it runs as user {os.geteuid()}): run it as root, or give it "
        f"AmbientCapabilities={' '.join(missing)} in its systemd unit, or run it in a network namespace of its own "
        "(unshare --user --map-root-user --net)"
    )


def scripts_as_others(held: Capabilities | None = None) -> str:
    """Why scripts can't run as other users, with the cure; empty when they can."""
    held = held or capabilities()
    missing = [f"CAP_{name}" for name in ("SETUID", "SETGID", "KILL") if name not in held.effective]
    if not missing:
        return ""
    return f"scripts can't run as other users: {' and '.join(missing)} missing; run holdfast as root, or grant them"


def _net_raw() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as refused:
        return refused.errno != errno.EPERM
    return True


def _net_admin() -> bool:
    """Whether this network namespace lets us change addresses: asks it to remove one from an interface that no
    machine has, which is answered EPERM without the right and ENODEV with it (rtnetlink(7))."""
    request = struct.pack("=IHHIIBBBBI", 24, _RTM_DELADDR, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0,
                          socket.AF_INET, 32, 0, 0, _NO_SUCH_INTERFACE)  # fmt: skip
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asked:
            asked.settimeout(1)
            asked.send(request)
            answer = asked.recv(4096)
    except OSError as refused:
        return refused.errno != errno.EPERM
    kind, error = struct.unpack_from("=4xH10xi", answer)
    return not (kind == _NLMSG_ERROR and -error == errno.EPERM)
