"""`use_vmac`, `use_ipvlan` and their relatives: which interfaces are made, and who uses them."""

import re
from typing import Any

import msgspec

from holdfast.base.address import Address, parse
from holdfast.base.problem import Grade
from holdfast.config.build_instance import Draft
from holdfast.config.context import Context, get
from holdfast.config.findings import Trouble
from holdfast.config.tree import Node
from holdfast.vrrp.config import Family, InstanceConfig, VirtualAddress, VirtualDevice

PREFIX = "vrrp"
LONGEST_NAME = 15
_OCTETS = re.compile("[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2}){4,5}")
_MODES = ("bridge", "private", "vepa")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a `use_vmac` or `use_ipvlan` line says."""

    name: str = ""
    mac: bytes = b""  # five octets: the VRID follows
    mode: str = "bridge"
    group: int | None = None
    address: VirtualAddress | None = None


def read_line(context: Context, node: Node) -> Asked:
    """The words of a `use_vmac` or `use_ipvlan` line; what can't be used is told and left aside."""
    ipvlan = node.name == "use_ipvlan"
    words, position = node.line.words, 1
    found: dict[str, Any] = {}
    while position < len(words):
        word, following = words[position], words[position + 1] if position + 1 < len(words) else ""
        if word in ("name", "group") and following:
            position += 1
            if word == "name":
                found["name"] = following
            elif following.isdecimal() and int(following) < 1 << 31:
                found["group"] = int(following)
            else:
                _tell(context, node, f"{following} is no link group", "use a number", position)
        elif not ipvlan and _OCTETS.fullmatch(word):
            found["mac"] = bytes(int(octet, 16) for octet in word.split(":"))
        elif ipvlan and word in _MODES:
            found["mode"] = word
        elif ipvlan and (address := _address(word)) is not None:
            found["address"] = address
        elif word == "netlink_notify_msg" and not ipvlan:
            pass  # the kernel tells us of every change anyway
        elif "name" not in found and "/" not in word and len(word) <= LONGEST_NAME:
            found["name"] = word
        else:
            cure = "use [name] NAME, " + ("IP, bridge, private or vepa" if ipvlan else "MAC") + ", group NUMBER"
            _tell(context, node, f"{word!r} means nothing to {node.name}", cure, position)
        position += 1
    if len(found.get("name", "")) > LONGEST_NAME:
        what = f"{found.pop('name')} is too long for an interface"
        _tell(context, node, what, f"use at most {LONGEST_NAME} characters", 1)
    return Asked(**found)


def _address(word: str) -> VirtualAddress | None:
    where, _, length = word.partition("/")
    try:
        address = parse(where)
    except ValueError:
        return None
    longest = 8 * len(address)
    if length and not (length.isdecimal() and int(length) <= longest):
        return None
    return VirtualAddress(address=address, prefix_length=int(length or longest))


def _tell(context: Context, node: Node, what: str, cure: str, word: int) -> None:
    context.tell(node, Trouble(what, cure, "it is left aside", word=word))


def virtual_mac(vrid: int, six: bool) -> bytes:
    """The MAC of a virtual router (RFC 9568 §7.3)."""
    return bytes((0, 0, 0x5E, 0, 2 if six else 1, vrid))


def expect_devices(context: Context, nodes: list[Node], settings: dict[str, Node]) -> None:
    """Interfaces that will be made are no missing ones: other lines may name them."""
    if context.interfaces is None:
        return
    made = set()
    for node in nodes:
        lines = {line.name: line for line in node.children or []} if node.name == "vrrp_instance" else {}
        for line in (lines.get("use_vmac"), lines.get("use_ipvlan")):
            if line is not None:
                quiet = [word for word in line.line.words[1:] if word != "name"]
                made.add(quiet[0] if quiet else "")
                made.add(f"{get(settings, 'vmac_prefix', PREFIX)}.{get(lines, 'virtual_router_id', 0)}")
    context.interfaces |= made - {""}


class Devices:
    """Makes the devices of all instances, one after another: names are given in the order of the file."""

    def __init__(self, context: Context, settings: dict[str, Node]) -> None:
        self.context = context
        self._prefix: str = get(settings, "vmac_prefix", PREFIX)
        self._address_prefix: str = get(settings, "vmac_addr_prefix", self._prefix)
        self._made: dict[str, VirtualDevice] = {}
        self._for_addresses: dict[tuple[str, bytes], str] = {}  # base, MAC → name
        self._named: set[str] = set()

    def devise(self, instances: list[tuple[Draft, InstanceConfig]]) -> tuple[VirtualDevice, ...]:
        """The devices that are to be made; instances are replaced in the list by ones that use them."""
        asked = [self._asked(draft) for draft, _ in instances]
        self._named = {one.name for one in asked if one is not None and one.name}
        for position, ((draft, config), line) in enumerate(zip(list(instances), asked, strict=True)):
            if line is not None and config.interface:
                config = self._own(draft, config, line)
            elif "vmac_xmit_base" in draft.settings:
                _tell(self.context, draft.settings["vmac_xmit_base"], f"{draft.name} has no VMAC", "add use_vmac", 0)
            instances[position] = (draft, self._addresses(draft, config))
        return tuple(self._made.values())

    def _asked(self, draft: Draft) -> Asked | None:
        settings = draft.settings
        node = settings.get("use_vmac") or settings.get("use_ipvlan")
        if node is None:
            return None
        other = settings.get("use_ipvlan")
        if other is not None and other is not node:
            what = f"{draft.name} cannot run on a VMAC and on an ipvlan"
            self.context.tell(other, Trouble(what, "keep one of the two", "the VMAC is used", Grade.ERROR))
        return read_line(self.context, node)

    def _own(self, draft: Draft, config: InstanceConfig, asked: Asked) -> InstanceConfig:
        settings, six = draft.settings, config.family is Family.IPV6
        name = asked.name or self._free(self._prefix, config.vrid, six)
        clash = self._made.get(name)
        if clash is not None:
            node = settings.get("use_vmac") or settings["use_ipvlan"]
            what = f"{name} is the interface of another instance"
            self.context.tell(node, Trouble(what, "give it another name", "another name is taken", word=1))
            name = self._free(self._prefix, config.vrid, six)
        replaced: dict[str, Any] = {"interface": name, "base": config.interface}
        groups = () if config.group is None else (config.group,)
        if "use_vmac" in settings:
            mac = virtual_mac(config.vrid, six)
            if asked.mac and not config.strict:
                mac = (asked.mac + bytes((config.vrid,)))[:6]
            on_base = config.unicast or ("vmac_xmit_base" in settings and not config.strict)
            self._made[name] = VirtualDevice(
                name=name, base=config.interface, mac=mac, group=asked.group, ipv6=six, joins=groups
            )
            replaced |= {"sends_on_base": on_base, "source_on_base": True}
            return msgspec.structs.replace(config, **replaced)
        address = asked.address
        if address is not None and len(address.address) != (16 if six else 4):
            _tell(self.context, settings["use_ipvlan"], f"{draft.name}: the address is of another family",
                  f"use an IPv{int(config.family)} address", 1)  # fmt: skip
            address = None
        if address is None and not six:
            cure = "write one after use_ipvlan: use_ipvlan 192.0.2.11/24"
            trouble = Trouble(f"{draft.name}: an ipvlan needs an IPv4 address of its own", cure, "it stays in FAULT")
            self.context.tell(settings["use_ipvlan"], trouble)
            replaced["faults"] = (*config.faults, "its ipvlan has no IPv4 address")
        if address is not None and config.source is None:
            replaced["source"] = address.address
        self._made[name] = VirtualDevice(
            name=name, base=config.interface, kind="ipvlan", mode=asked.mode, group=asked.group, ipv6=six,
            address=address,
        )  # fmt: skip
        return msgspec.structs.replace(config, **replaced)

    def _free(self, prefix: str, vrid: int, six: bool) -> str:
        """The first name nobody has: `vrrp.51`, `vrrp1.51` …; for IPv6 `vrrp6.51` first."""
        taken = self._named | self._made.keys()
        names = [f"{prefix}6.{vrid}"] if six else []
        names += [f"{prefix}.{vrid}", *(f"{prefix}{number}.{vrid}" for number in range(1, 256))]
        return next(name for name in names if name not in taken)

    # ---- addresses --------------------------------------------------------------------------------------------------

    def _addresses(self, draft: Draft, config: InstanceConfig) -> InstanceConfig:
        """The instance with its addresses on the devices they are to be on."""
        everywhere = "use_vmac_addr" in draft.settings
        if not everywhere and not config.base and not any(a.own_mac for a in (*config.addresses, *config.excluded)):
            return config
        placed = {
            name: tuple(self._place(config, address, everywhere) for address in getattr(config, name))
            for name in ("addresses", "excluded")
        }
        config = msgspec.structs.replace(config, **placed)
        own = self._made.get(config.interface)
        if own is not None:
            here = [a for a in (*config.addresses, *config.excluded) if a.interface in (None, own.name)]
            self._note(own.name, here)
        return config

    def _place(self, config: InstanceConfig, address: VirtualAddress, everywhere: bool) -> VirtualAddress:
        six = len(address.address) == 16
        base = address.interface or config.network
        elsewhere = base != config.network or six != (config.family is Family.IPV6)
        own_is_vmac = config.source_on_base
        if not base or base in self._made:
            return address
        if not (address.own_mac or (everywhere and elsewhere)):
            return address
        if own_is_vmac and not elsewhere:
            return msgspec.structs.replace(address, interface=None)
        mac = virtual_mac(config.vrid, six)
        name = self._for_addresses.get((base, mac))
        if name is None:
            name = self._free(self._address_prefix, config.vrid, six)
            self._for_addresses[base, mac] = name
            self._made[name] = VirtualDevice(name=name, base=base, mac=mac, ipv6=six)
        placed = msgspec.structs.replace(address, interface=name, own_mac=True)
        self._note(name, [placed])
        return placed

    def _note(self, name: str, addresses: list[VirtualAddress]) -> None:
        """What the addresses on a device need of it."""
        device = self._made[name]
        six = [address.address for address in addresses if len(address.address) == 16]
        solicited = [Address(bytes.fromhex("ff0200000000000000000001ff") + one[13:]) for one in six]
        joins = tuple(dict.fromkeys((*device.joins, *solicited)))
        self._made[name] = msgspec.structs.replace(device, ipv6=device.ipv6 or bool(six), joins=joins)
