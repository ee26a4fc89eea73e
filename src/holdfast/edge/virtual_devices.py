"""The interfaces made for instances: VMACs (macvlan with the virtual MAC) and ipvlans, from the plan to the kernel.

A want, not steps: `renew` compares what the plan asks for with what is there and makes, corrects or removes, so it may
be called at any time; a device somebody deleted comes back, and one whose base went comes back with it.
"""

import os
import socket
import struct
from _thread import start_new_thread
from collections.abc import Callable, Iterable, Iterator
from errno import EEXIST, EOPNOTSUPP
from typing import TYPE_CHECKING

from holdfast.base.address import Address
from holdfast.config.plan import Settings
from holdfast.edge.interfaces import Interfaces
from holdfast.kernel import virtual_devices as messages
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.netlink import NetlinkSocket, address_messages, patch_ifindex
from holdfast.kernel.ports import LinkSeen, RouteNetlink
from holdfast.kernel.sysctl import Sysctls
from holdfast.vrrp.config import VirtualDevice

if TYPE_CHECKING:
    from holdfast.kernel.firewall import ReportFilter

Say = Callable[[str], None]

_OF_MACVLAN = (("arp_ignore", "1"), ("accept_local", "1"), ("rp_filter", "0"), ("promote_secondaries", "1"))
_OF_BASE = (("arp_ignore", "1"), ("arp_filter", "1"))
_NO_SOLICITATIONS = (("accept_ra", "0"), ("autoconf", "0"), ("router_solicitations", "0"), ("accept_dad", "0"))
_REPORTS = "_vmac"
_CURE = "load the kernel's module of that name"


class VirtualDevices:
    """All devices of the plan. `say` tells the log; `sysctls` are put back when the worker ends."""

    def __init__(self, netlink: RouteNetlink, interfaces: Interfaces, sysctls: Sysctls, say: Say) -> None:
        self._netlink = netlink
        self._interfaces = interfaces
        self._sysctls = sysctls
        self._say = say
        self._wanted: dict[str, VirtualDevice] = {}
        self._made: dict[str, int] = {}  # name → index of what is there on our behalf
        self._places: dict[str, tuple[str, bytes]] = {}  # name → base and MAC, of the same
        self._kept_in: dict[int, list[bytes]] = {}  # index → the messages that end keeping its reports in
        self._reports: ReportFilter | None = None
        self._reports_refused = False
        self._joined: dict[str, tuple[int, list[socket.socket]]] = {}
        self.refused: dict[str, str] = {}  # name → what the kernel would not do

    def load(self, wanted: Iterable[VirtualDevice], settings: Settings) -> None:
        """Bring the kernel to the devices of a plan; `Interfaces` must know what is there."""
        for _ in self.steps(wanted, settings):
            pass

    def steps(self, wanted: Iterable[VirtualDevice], settings: Settings) -> Iterator[None]:
        """As `load`, a device a step: each takes some milliseconds. `prune` is to follow.

        A device that keeps its name and stands elsewhere, or is of another kind, is made anew.
        """
        self._wanted = {device.name: device for device in wanted}
        if not self._wanted:
            return
        if self._reports is None and not self._reports_refused:
            self._open_reports(settings)
        self._move_reverse_path_filter()
        in_the_way = {(device.base, device.mac) for device in self._wanted.values() if device.mac}
        self._remove([name for name, where in self._places.items() if name not in self._wanted and where in in_the_way])
        self._sweep()
        for device in list(self._wanted.values()):
            self._forget_joins(device.name)
            self._renew_one(device)
            yield

    def prune(self, wait: bool = False) -> None:
        """Remove what is not wanted any more, ours and a dead run's; without `wait` the kernel does it meanwhile."""
        self._sweep()
        self._remove([name for name in self._made if name not in self._wanted], wait)

    def renew(self) -> None:
        """Make what is missing, correct what is wrong."""
        for device in self._wanted.values():
            self._renew_one(device)

    def concerns(self, name: str) -> bool:
        """Whether the interface is one of ours or below one."""
        return bool(self._wanted) and any(name in (one.name, one.base) for one in self._wanted.values())

    def close(self) -> None:
        """Remove what was made; the devices go first, for their reports must be kept in to the last."""
        reports, self._reports = self._reports, None
        self._remove(list(self._made))
        if reports is not None:
            try:
                reports.teardown()
            except KernelRefused as refused:
                self._say(str(refused))
            reports.close()

    # ---- one device -------------------------------------------------------------------------------------------------

    def _renew_one(self, device: VirtualDevice) -> None:
        base, there = self._interfaces.link_of(device.base), self._interfaces.link_of(device.name)
        if base is None:
            self._forget(device.name)
            return
        made = self._made.get(device.name, 0)
        if made and there is None and _index_of(device.name) == made:
            return  # the kernel's word of it is on its way
        if made and there is not None and made == there.index and _fits(device, base, there):
            return
        try:
            self._bring_about(device, base, there)
        except KernelRefused as refused:
            sentence = str(refused)
            if self.refused.get(device.name) != sentence:
                self._say(sentence)
            self.refused[device.name] = sentence
        else:
            self.refused.pop(device.name, None)

    def _bring_about(self, device: VirtualDevice, base: LinkSeen, there: LinkSeen | None) -> None:
        what = f"{device.kind} {device.name} on {device.base}"
        if len(base.mac) != 6:
            raise KernelRefused(f"make {what}", "", EOPNOTSUPP, "run it on an Ethernet interface")
        ours = there is not None and self._made.get(device.name) == there.index
        if there is not None and there.kind != device.kind and not ours:
            cure = f"remove that interface, or name another: {device.name} is there, and is no {device.kind}"
            raise KernelRefused(f"make {what}", "", EEXIST, cure)
        if there is not None and (there.below != base.index or there.kind != device.kind):
            self._demand([messages.remove(there.index)], f"remove {device.name}, to make it anew")
            there = None
        if there is None:
            self._forget(device.name)
            ready = messages.make(device.name, base, device.kind, device.mode, device.mac, device.group)
            self._demand([ready], f"make {what}", _CURE)
        index = socket.if_nametoindex(device.name)
        if there is not None and not _fits(device, base, there):
            self._demand(messages.correct(index, device.kind, device.mode, device.mac), f"correct {what}")
        self._keep_reports_in(index)
        master = 0 if base.master == 0 or not self._is_vrf(base.master) else base.master
        self._demand(messages.own(index, _identity(os.getpid()), master), f"mark {what} as ours")
        self._set_up(device)
        wanted = []
        if device.ipv6 and device.kind == "macvlan":
            wanted.append(messages.no_link_local(index))
        if device.address is not None:
            wanted.append(patch_ifindex(address_messages(device.address, 0).add, index))
        self._demand([*wanted, messages.bring_up(index)], f"bring {device.name} up")
        self._made[device.name] = index
        self._places[device.name] = (device.base, device.mac)
        self._join(device, base.index)

    def _is_vrf(self, index: int) -> bool:
        link = self._interfaces.link_of(self._interfaces.name_of(index))
        return link is not None and link.kind == "vrf"

    def _demand(self, ready: list[bytes], operation: str, cure: str = "") -> None:
        for errno in self._netlink.request_batch(ready):
            if errno:
                raise KernelRefused(operation, "", errno, cure if errno == EOPNOTSUPP else "")

    def _set_up(self, device: VirtualDevice) -> None:
        """The kernel's settings: ARP is answered where the address is, and IPv6 keeps still."""
        own = Sysctls()  # they go with the device: nothing to put back
        if device.kind == "macvlan":
            for name, value in _OF_MACVLAN:
                own.set(f"net/ipv4/conf/{device.name}/{name}", value)
            for name, value in _OF_BASE:
                self._sysctls.set(f"net/ipv4/conf/{device.base}/{name}", value)
        if not os.path.isdir("/proc/sys/net/ipv6"):
            return
        own.set(f"net/ipv6/conf/{device.name}/disable_ipv6", "0" if device.ipv6 else "1")
        if device.ipv6:
            for name, value in _NO_SOLICITATIONS:
                own.set(f"net/ipv6/conf/{device.name}/{name}", value)

    def _move_reverse_path_filter(self) -> None:
        """The kernel takes the greater of `all` and the interface's: what `all` says moves to each of them."""
        if not any(device.kind == "macvlan" for device in self._wanted.values()):
            return
        every = "/proc/sys/net/ipv4/conf"
        try:
            with open(f"{every}/all/rp_filter", encoding="ascii") as setting:
                general = int(setting.read())
            if general == 0:
                return
            for name in os.listdir(every):
                with open(f"{every}/{name}/rp_filter", encoding="ascii") as setting:
                    own = int(setting.read())
                if name != "all" and own < general:
                    self._sysctls.set(f"net/ipv4/conf/{name}/rp_filter", str(general))
            self._sysctls.set("net/ipv4/conf/all/rp_filter", "0")
        except (OSError, KernelRefused) as refused:
            self._say(f"net.ipv4.conf.all.rp_filter stays: adverts to a VMAC may be dropped ({refused})")

    # ---- what must not leave ----------------------------------------------------------------------------------------

    def _open_reports(self, settings: Settings) -> None:
        from holdfast.kernel.firewall import ReportFilter

        table = settings.nftables_table + _REPORTS
        made: ReportFilter | None = None
        try:
            made = ReportFilter(table, settings.nftables_priority, settings.nftables_counters)
            made.setup()
        except KernelRefused as refused:
            self._reports_refused = True
            self._say(f"Group reports may leave with a virtual MAC: {refused}")
            if made is not None:
                made.close()
            return
        self._reports = made

    def _keep_reports_in(self, index: int) -> None:
        if self._reports is None or index in self._kept_in:
            return
        pairs = self._reports.element_messages_for(index)
        self._reports.request_batch([begin for begin, _ in pairs])
        self._kept_in[index] = [end for _, end in pairs]

    def _join(self, device: VirtualDevice, base_index: int) -> None:
        """The base joins the groups, so that switches that listen to reports pass them here."""
        held = self._joined.get(device.name)
        if held is not None and held[0] == base_index:
            return
        self._forget_joins(device.name)
        sockets: list[socket.socket] = []
        for position, group in enumerate(device.joins):
            if position % 16 == 0 or (sockets and sockets[-1].family != _family(group)):
                sockets.append(socket.socket(_family(group), socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))
            try:
                if len(group) == 4:
                    membership = group + struct.pack("=4si", b"", base_index)
                    sockets[-1].setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
                else:
                    sockets[-1].setsockopt(
                        socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("=i", base_index)
                    )
            except OSError as refused:
                self._say(str(KernelRefused("join a group", device.base, refused.errno or 0)))
        self._joined[device.name] = (base_index, sockets)

    def _forget_joins(self, name: str) -> None:
        for opened in self._joined.pop(name, (0, []))[1]:
            opened.close()

    # ---- going ------------------------------------------------------------------------------------------------------

    def _forget(self, name: str) -> None:
        """The device is gone, by whatever hand."""
        index = self._made.pop(name, 0)
        self._places.pop(name, None)
        ends = self._kept_in.pop(index, [])
        if ends and self._reports is not None:
            self._reports.request_batch(ends)
        self._forget_joins(name)

    def _remove(self, names: list[str], wait: bool = True) -> None:
        """Remove devices together: one by one, each would take the kernel tens of milliseconds."""
        indices = [self._made[name] for name in names]
        for name in names:
            self._forget(name)
        if not indices:
            return
        group = 1 << 30 | os.getpid()
        if wait:
            self._netlink.request_batch(messages.remove_all(indices, group))
        else:
            start_new_thread(_remove_apart, (messages.remove_all(indices, group),))

    def _sweep(self) -> None:
        """Remove devices that a dead run of ours left and this plan does not want."""
        for link in self._interfaces.links():
            if link.kind not in ("macvlan", "ipvlan") or not link.alias.startswith(messages.ALIAS):
                continue
            owner = link.alias.removeprefix(messages.ALIAS)
            if link.name in self._wanted or link.name in self._made or _lives(owner):
                continue
            if not any(self._netlink.request_batch([messages.remove(link.index)])):
                self._say(f"Removed {link.name}: left behind by an earlier run")


def _remove_apart(ready: list[bytes]) -> None:
    """Ask the kernel, and wait for it, in a thread: adverts leave meanwhile."""
    try:
        asked = NetlinkSocket()
    except KernelRefused:
        return  # the next start sweeps
    try:
        asked.request_batch(ready)
    except KernelRefused:
        pass
    finally:
        asked.close()


def _fits(device: VirtualDevice, base: LinkSeen, there: LinkSeen) -> bool:
    right = there.kind == device.kind and there.below == base.index
    return right and (not device.mac or there.mac == device.mac)


def _index_of(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6


def _identity(pid: int | str) -> str:
    """`PID START`, with the moment a process began (proc_pid_stat(5)); "" when it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as status:
            state, *rest = status.read().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if state in "ZX" else f"{pid} {rest[18]}"


def _lives(owner: str) -> bool:
    return _identity(owner.partition(" ")[0]) == owner
