"""Asks this host: the one place of the doctor that touches the machine. What can't be asked is left empty."""

import contextlib
import ctypes
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.base.address import VRRP_GROUP_4, VRRP_GROUP_6, Address
from holdfast.doctor.facts import Facts, Manager, Overheard
from holdfast.doctor.kernel_settings import names
from holdfast.kernel.bpf import AdvertFilter
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.netlink import NetlinkSocket
from holdfast.kernel.ports import LinkSeen
from holdfast.kernel.process import capabilities
from holdfast.vrrp.config import InstanceConfig
from holdfast.vrrp.packet import Malformed, decode_vrrp

_STA_UNSYNC, _TIME_ERROR = 0x40, 5
_SOL_PACKET, _ADD_MEMBERSHIP, _MR_MULTICAST = 263, 1, 0
_OUTGOING = 4
_ALL_PROTOCOLS = 3
_BEHIND_AH = 24  # what stands before the advert when AH carries it with a 96-bit ICV (RFC 2402)


def gather(instances: Sequence[InstanceConfig], listen_s: float) -> Facts:
    """The facts that the checks need for `instances`; listens for `listen_s` seconds on their interfaces."""
    asked = NetlinkSocket()
    links, addresses = tuple(asked.dump_links()), tuple(asked.dump_addresses())
    asked.close()
    interfaces = frozenset(one.network for one in instances if one.interface)
    here = [link for link in links if link.name in interfaces]
    ruleset, refused = _ruleset()
    overheard, not_heard = _listen(here, listen_s) if listen_s and here else ((), ())
    return Facts(
        capabilities=capabilities().effective,
        links=links,
        addresses=addresses,
        sysctls={name: text for name in names(interfaces) if (text := _text(f"/proc/sys/{name}"))},
        ruleset=ruleset,
        ruleset_refused=refused,
        clock_synchronised=_clock(),
        rivals=tuple(_rivals()) if _sees_others() else None,
        managers=tuple(_managers(here)),
        advert_filter=_advert_filter(),
        container=_container(),
        listened_s=listen_s if here else 0.0,
        overheard=overheard,
        not_heard=not_heard,
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _ruleset() -> tuple[tuple[dict[str, object], ...] | None, str]:
    program = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return None, "no `nft` program"
    listed = subprocess.run([program, "-j", "list", "ruleset"], capture_output=True, text=True, check=False)
    if listed.returncode:
        said = listed.stderr.strip().splitlines()
        return None, said[0] if said else f"nft ended with {listed.returncode}"
    try:
        return tuple(json.loads(listed.stdout or '{"nftables": []}')["nftables"]), ""
    except (ValueError, KeyError):
        return None, "nft printed no JSON"


def _clock() -> bool | None:
    timex = ctypes.create_string_buffer(512)  # modes 0: only read
    outcome = ctypes.CDLL(None).adjtimex(timex)
    if outcome < 0:
        return None
    status = struct.unpack_from("=i", timex, 5 * struct.calcsize("@l"))[0]
    return outcome != _TIME_ERROR and not status & _STA_UNSYNC


def _sees_others() -> bool:
    """Whether this process may see what root runs (proc(5): root of the same privileges, or CAP_SYS_PTRACE)."""
    return os.geteuid() == 0 or "SYS_PTRACE" in capabilities().effective


def _rivals() -> Iterator[tuple[int, str]]:
    """Processes whose program is another VRRP daemon's, in this network namespace; a daemon's children aren't told."""
    with contextlib.suppress(OSError):
        here = os.readlink("/proc/self/ns/net")
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError, IndexError, ValueError):
                program = os.path.basename(os.readlink(f"/proc/{entry}/exe")) if entry.isdigit() else ""
                if program not in ("keepalived", "vrrpd", "ucarp") or os.readlink(f"/proc/{entry}/ns/net") != here:
                    continue
                parent = _text(f"/proc/{entry}/stat").rpartition(")")[2].split()[1]
                if _text(f"/proc/{parent}/comm") != _text(f"/proc/{entry}/comm"):
                    yield int(entry), program


def _managers(links: Sequence[LinkSeen]) -> Iterator[Manager]:
    for link in links:
        state = f"/run/systemd/netif/links/{link.index}"
        said = dict(line.partition("=")[::2] for line in _text(state).splitlines())
        if said.get("ADMIN_STATE") in ("configured", "configuring", "failed"):
            file = said.get("NETWORK_FILE", "")
            files = [file, *said.get("NETWORK_FILE_DROPINS", "").replace('"', "").split()]
            lines = tuple(line for one in files if one for line in _text(one).splitlines())
            yield Manager(name="systemd-networkd", interface=link.name, seen_in=file or state, settings=lines)
        state = f"/run/NetworkManager/devices/{link.index}"
        if "managed=true" in _text(state).splitlines():
            yield Manager(name="NetworkManager", interface=link.name, seen_in=state)


def _advert_filter() -> str | None:
    try:
        listening = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
    except OSError:
        return None
    with listening:
        try:
            AdvertFilter.attach(listening, socket.AF_INET).close()
        except KernelRefused as refused:
            return str(refused)
    return ""


def _container() -> str:
    for path in ("/.dockerenv", "/run/.containerenv", "/run/systemd/container"):
        if os.path.exists(path):
            return path
    found = [word for word in _text("/proc/1/environ").split("\0") if word.startswith("container=")]
    return f"{found[0]} in the environment of process 1" if found else ""


def _listen(links: Sequence[LinkSeen], seconds: float) -> tuple[tuple[Overheard, ...], tuple[str, ...]]:
    """Every advert that arrives within `seconds`, before any firewall; and why an interface can't be listened to."""
    heard: dict[bytes, Overheard] = {}
    refused = []
    with contextlib.ExitStack() as stack:
        ears: dict[socket.socket, str] = {}
        for link in links:
            try:
                ear = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0))
                ear.bind((link.name, _ALL_PROTOCOLS))
                for mac in (b"\x01\x00\x5e" + VRRP_GROUP_4[1:], b"\x33\x33" + VRRP_GROUP_6[12:]):
                    wanted = struct.pack("=iHH8s", link.index, _MR_MULTICAST, 6, mac)
                    ear.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, wanted)
                ears[ear] = link.name
            except OSError as reason:
                refused.append(f"{link.name}: {reason.strerror}")
        until = time.monotonic() + seconds
        while ears and (left := until - time.monotonic()) > 0:
            for ear in select.select(list(ears), [], [], left)[0]:
                try:
                    octets, sender = ear.recvfrom(2048)
                except OSError as reason:
                    refused.append(f"{ears.pop(ear)}: {reason.strerror}")
                    break
                one = advert_in(octets, ears[ear]) if sender[2] != _OUTGOING else None
                if one is not None:
                    heard.setdefault(octets, one)
    return tuple(heard.values()), tuple(refused)


def advert_in(octets: bytes, interface: str) -> Overheard | None:
    """The advert in an IP packet; None when there is none."""
    if len(octets) < 28:
        return None
    if octets[0] >> 4 == 4:
        start, protocol, source, ipv6 = (octets[0] & 15) * 4, octets[9], Address(octets[12:16]), False
        octets = octets[: octets[2] << 8 | octets[3]]
    elif octets[0] >> 4 == 6:
        start, protocol, source, ipv6 = 40, octets[6], Address(octets[8:24]), True
    else:
        return None
    if protocol == 51 and octets[start : start + 1] == bytes((112,)):
        start, protocol = start + _BEHIND_AH, 112
    if protocol != 112:
        return None
    try:
        return Overheard(interface=interface, source=source, advert=decode_vrrp(octets[start:], ipv6))
    except Malformed:
        return None
