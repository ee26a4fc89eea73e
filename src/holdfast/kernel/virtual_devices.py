"""Netlink messages for interfaces that stand on another one: macvlan with a MAC of our choice, and ipvlan.

A macvlan is private: frames between two of one base are kept apart, and one that comes in with our own virtual MAC as
its source (the other router's) is given to it alone. Sources: linux/if_link.h, ip-link(8), Documentation ipvlan.rst.
"""

import struct

from holdfast.kernel.netlink import RTM_DELLINK, RTM_NEWLINK, attribute, message
from holdfast.kernel.ports import IFF_UP, LinkSeen

ALIAS = "holdfast "
"""What the alias of an interface we made begins with; which process of ours follows."""

_NLM_F_EXCL, _NLM_F_CREATE = 0x200, 0x400
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_ALIAS = 1, 3, 5, 10, 18, 20
_IFLA_AF_SPEC, _IFLA_GROUP = 26, 27
_INFO_KIND, _INFO_DATA = 1, 2
_MACVLAN_MODE, _MACVLAN_PRIVATE = 1, 1
_IPVLAN_MODE, _IPVLAN_FLAGS, _IPVLAN_L2 = 1, 2, 0
_IPVLAN_FLAG = {"bridge": 0, "private": 1, "vepa": 2}
_AF_INET6, _INET6_ADDR_GEN_MODE, _GENERATE_NONE, _GENERATE_EUI64 = 10, 8, 1, 0
_IFINFOMSG = struct.Struct("=BxHiII")


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _link(flags: int, index: int, payload: bytes, up: bool = False) -> bytes:
    state = IFF_UP if up else 0
    return message(RTM_NEWLINK, flags, _IFINFOMSG.pack(0, 0, index, state, state) + payload)


def _nature(kind: str, mode: str) -> bytes:
    if kind == "macvlan":
        values = _u32(_MACVLAN_MODE, _MACVLAN_PRIVATE)
    else:
        flag = attribute(_IPVLAN_FLAGS, struct.pack("=H", _IPVLAN_FLAG[mode]))
        values = attribute(_IPVLAN_MODE, struct.pack("=H", _IPVLAN_L2)) + flag
    return attribute(_IFLA_LINKINFO, attribute(_INFO_KIND, kind.encode()) + attribute(_INFO_DATA, values))


def make(name: str, base: LinkSeen, kind: str, mode: str, mac: bytes, group: int | None) -> bytes:
    """The message that makes the interface, down; in the link group of its base unless told another."""
    payload = attribute(_IFLA_IFNAME, name.encode() + b"\0") + _u32(_IFLA_LINK, base.index)
    if mac:
        payload += attribute(_IFLA_ADDRESS, mac)
    payload += _u32(_IFLA_GROUP, base.group if group is None else group)
    return _link(_NLM_F_CREATE | _NLM_F_EXCL, 0, payload + _nature(kind, mode))


def correct(index: int, kind: str, mode: str, mac: bytes) -> list[bytes]:
    """Messages that give an interface found here its MAC and mode."""
    wanted = [_link(0, index, _nature(kind, mode))]
    if mac:
        wanted.append(_link(0, index, attribute(_IFLA_ADDRESS, mac)))
    return wanted


def own(index: int, owner: str, master: int) -> list[bytes]:
    """Messages that mark an interface as ours and put it into the VRF of its base (`master` 0: none)."""
    wanted = [_link(0, index, attribute(_IFLA_ALIAS, f"{ALIAS}{owner}".encode()))]
    if master:
        wanted.append(_link(0, index, _u32(_IFLA_MASTER, master)))
    return wanted


def no_link_local(index: int) -> bytes:
    """The message that has the kernel make no link-local address of the MAC: both routers would have the same."""
    mode = attribute(_INET6_ADDR_GEN_MODE, bytes((_GENERATE_NONE,)))
    return _link(0, index, attribute(_IFLA_AF_SPEC, attribute(_AF_INET6, mode)))


def bring_up(index: int) -> bytes:
    """The message that takes the interface up."""
    return _link(0, index, b"", up=True)


def remove_all(indices: list[int], group: int) -> list[bytes]:
    """Messages that remove interfaces together, as link group `group`: each for itself waits for the whole kernel."""
    moved = [_link(0, index, _u32(_IFLA_GROUP, group)) for index in indices]
    return [*moved, message(RTM_DELLINK, 0, _IFINFOMSG.pack(0, 0, 0, 0, 0) + _u32(_IFLA_GROUP, group))]


def remove(index: int) -> bytes:
    """The message that removes the interface."""
    return message(RTM_DELLINK, 0, _IFINFOMSG.pack(0, 0, index, 0, 0))
