"""Virtual servers and what belongs to them: the lines to an `LvsPlan`, every default settled, every problem told."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec

from holdfast.base.address import Address, text
from holdfast.base.command import Command
from holdfast.base.ipvs import (
    HOST_MASK,
    INET,
    INET6,
    PROTOCOL_NAMES,
    PROTOCOL_NUMBERS,
    Forwarding,
    Method,
    Service,
    ServiceFlags,
    ServiceKey,
)
from holdfast.base.problem import Grade
from holdfast.config import values
from holdfast.config.build_lvs_global import read_globals
from holdfast.config.build_lvs_groups import Group, read_group, told_twice
from holdfast.config.check_backend import can_serve, told_settings
from holdfast.config.context import Context, get
from holdfast.config.findings import Condition, Trouble
from holdfast.config.special import Endpoint
from holdfast.config.tree import Node
from holdfast.lvs.config import (
    NFTABLES,
    SLOW_START_STEPS,
    LvsPlan,
    RealServerConfig,
    SorryServerConfig,
    VirtualServerConfig,
)

PERSISTENCE_S = 360
"""How long a client keeps its server where nothing else is said."""

CheckReader: TypeAlias = Callable[[Node, Node, Address, int], Iterable[tuple[int, bool]]]
"""(virtual_server block, real_server block, its address, its port) → each check's number, and whether it is alpha."""


def no_checks(_service: Node, _server: Node, _address: Address, _port: int) -> Iterable[tuple[int, bool]]:
    """Servers without checks."""
    return ()


class Draft:
    """A virtual server while it is being put together."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.endpoint: Endpoint = node.value
        self.settings: dict[str, Node] = {}
        self.servers: list[tuple[Node, Forwarding | None]] = []  # with the lvs_method in force where it stands
        self.scheduler = ""
        self.flags = 0
        self.group: Group | None = None
        self.family: int | None = None  # of a mark
        self.name = endpoint_name(self.endpoint)
        self.label = ""
        self.forwarding = Forwarding()


def endpoint_name(endpoint: Endpoint) -> str:
    """`192.0.2.1:80`, `[2001:db8::1]:80`, `fwmark 3`, `group web`."""
    if endpoint.fwmark is not None:
        return f"fwmark {endpoint.fwmark}"
    if endpoint.address is None:
        return f"group {endpoint.group}"
    where = text(endpoint.address)
    return f"[{where}]:{endpoint.port}" if len(endpoint.address) == 16 else f"{where}:{endpoint.port}"


def endpoint_label(endpoint: Endpoint, protocol: int) -> str:
    """As keepalived's FIFO lines and logs say it: `[192.0.2.1]:tcp:80`, `FWM 3`, `[web]:0`."""
    if endpoint.fwmark is not None:
        return f"FWM {endpoint.fwmark}"
    if endpoint.address is None:
        return f"[{endpoint.group}]:0"
    return f"[{text(endpoint.address)}]:{PROTOCOL_NAMES[protocol]}:{endpoint.port}"


class LvsBuilder:
    """Makes virtual servers, one block after another."""

    def __init__(self, context: Context, nodes: list[Node], checks: CheckReader) -> None:
        self.context = context
        self.checks = checks
        self.groups: dict[str, Group | None] = {}
        self.taken: dict[ServiceKey, Draft] = {}  # by the kernel's key, whose it is
        for node in nodes:
            if node.name == "virtual_server_group" and node.value is not values.INVALID:
                if node.value in self.groups:
                    told_twice(context, node)
                else:
                    self.groups[node.value] = read_group(context, node)

    def tell(self, node: Node, what: str, cure: str, meanwhile: str, phrase: str = "", **more: Any) -> None:
        """A problem of the load balancer."""
        self.context.tell(node, Trouble(what, cure, meanwhile, phrase=phrase, **more), domain="lvs")

    # -- a virtual server -----------------------------------------------------------------------------------------

    def draft(self, node: Node) -> Draft:
        """The lines of the block, gathered."""
        draft = Draft(node)
        method: Forwarding | None = None
        for line in node.children or []:
            name, value = line.line.keyword.name, line.line.value
            if value is values.INVALID:
                continue
            if name == "real_server":
                draft.servers.append((line, method))
            elif name in ("lvs_sched", "lb_algo"):
                draft.scheduler = value
            elif name in FLAGS:
                self._flag(draft, line)
            elif name in ("lvs_method", "lb_kind"):
                draft.forwarding = method = value
                draft.settings["lvs_method"] = line
            elif name in ("quorum_up", "quorum_down") and name in draft.settings:
                self._script_twice(line)
            else:
                draft.settings[name] = line
        return draft

    def _flag(self, draft: Draft, line: Node) -> None:
        needs, flag = FLAGS[line.name]
        if needs and draft.scheduler != needs:
            phrase = f"{line.name} only applies to {needs} scheduler - ignoring"
            self.tell(
                line, f"{line.name} belongs to the scheduler {needs}", f"write it after lvs_sched {needs}",
                "the line is left aside", phrase,
            )  # fmt: skip
            return
        draft.flags |= flag

    def _script_twice(self, line: Node) -> None:
        self.tell(line, f"{line.name} stands here a second time", "call both from one script", "the first is run",
                  f"{line.name} script already specified - ignoring")  # fmt: skip

    def build(self, node: Node) -> VirtualServerConfig | None:
        """The virtual server of a block; None when it can't be (told)."""
        draft = self.draft(node)
        settings = draft.settings
        protocol = self._protocol(draft)
        draft.label = endpoint_label(draft.endpoint, protocol)
        if not draft.servers and "sorry_server" not in settings:
            phrase = f"Virtual server {draft.name} has no real servers - ignoring"
            self.tell(node, f"virtual_server {draft.name} has no real servers", "add a real_server block",
                      "it is left aside", phrase)  # fmt: skip
            return None
        if draft.endpoint.group and not self._group(draft):
            return None
        self._told_defaults(draft)
        draft.family = self._family(draft)
        sorry = self._sorry(draft)
        servers = self._servers(draft)
        if not servers and sorry is None:
            self.tell(node, f"virtual_server {draft.name} has no server it can use", "correct its real servers",
                      "it is left aside", f"Virtual server {draft.label} has no real servers - ignoring")  # fmt: skip
            return None
        keys = self._keys(draft, protocol)
        if not keys:
            return None
        service, netmask6 = self._service(draft, protocol)
        quorum, hysteresis = self._quorum(draft, servers)
        return VirtualServerConfig(
            name=draft.name,
            label=draft.label,
            keys=keys,
            service=service,
            netmask6=netmask6,
            protocol=0 if draft.endpoint.fwmark is not None else protocol,
            forwarding=draft.forwarding,
            servers=servers,
            sorry=sorry,
            quorum=quorum,
            hysteresis=hysteresis,
            omega="omega" in settings,
            ha_suspend=self._ha_suspend(draft),
            quorum_up=self._command(settings, "quorum_up"),
            quorum_down=self._command(settings, "quorum_down"),
            smtp_alert=get(settings, "smtp_alert", None),
        )

    def _command(self, settings: dict[str, Node], name: str) -> Command | None:
        return self.context.script(settings[name], domain="lvs") if name in settings else None

    def _protocol(self, draft: Draft) -> int:
        return PROTOCOL_NUMBERS[get(draft.settings, "protocol", "UDP").lower()]

    def _told_defaults(self, draft: Draft) -> None:
        """What keepalived warns of when it is not written."""
        settings, node, name, marked = draft.settings, draft.node, draft.name, draft.endpoint.fwmark is not None
        if not draft.scheduler:
            self.tell(node, f"virtual_server {name} names no scheduler", "write lvs_sched wlc", "wlc is taken",
                      f"Virtual server {name}: no scheduler set, setting default 'wlc'",
                      grade=Grade.WARNING)  # fmt: skip
        if "lvs_method" not in settings:
            self.tell(node, f"virtual_server {name} names no forwarding", "write lvs_method NAT", "NAT is taken",
                      f"Virtual server {name}: no forwarding method set, setting default NAT",
                      grade=Grade.WARNING)  # fmt: skip
        if "protocol" not in settings and not marked:
            self.tell(node, f"virtual_server {name} names no protocol", "write protocol TCP or UDP", "UDP is taken",
                      f"Virtual server {name}: no protocol set - defaulting to UDP", grade=Grade.WARNING)  # fmt: skip
        if "protocol" in settings and marked:
            self.tell(settings["protocol"], "a marked service needs no protocol", "remove it", "it is left aside",
                      f"Warning: Virtual server {name}: protocol specified for fwmark - protocol will be ignored",
                      grade=Grade.WARNING, condition=Condition.WARNING)  # fmt: skip

    # -- whom it answers for --------------------------------------------------------------------------------------

    def _group(self, draft: Draft) -> bool:
        name = draft.endpoint.group
        if name not in self.groups:
            self.tell(draft.node, f"there is no virtual_server_group {name}", "define it", "it is left aside")
            return False
        draft.group = self.groups[name]
        return draft.group is not None  # else told where it stands

    def _family(self, draft: Draft) -> int | None:
        """The one family servers that aren't tunnelled to must have; None: both are there (a group)."""
        if draft.endpoint.address is not None:
            return INET if len(draft.endpoint.address) == 4 else INET6
        families = set() if draft.group is None else set(draft.group.families)
        if draft.group is not None:
            families |= {one.family for one in draft.group.marks if one.family is not None}
        if len(families) == 2:
            return None
        if families:
            return families.pop()
        if "ip_family" in draft.settings:
            return INET6 if draft.settings["ip_family"].value == "inet6" else INET
        tunnelled = set()
        for address, forwarding in self._members(draft):
            family = INET if len(address) == 4 else INET6
            if forwarding.method != Method.TUN:
                return family
            tunnelled.add(family)
        return tunnelled.pop() if len(tunnelled) == 1 else INET

    def _members(self, draft: Draft) -> Iterable[tuple[Address, Forwarding]]:
        for line, method in draft.servers:
            own = [inner.value for inner in line.children or [] if inner.name in ("lvs_method", "lb_kind")]
            usable = [one for one in own if one is not values.INVALID]
            yield line.value.address, usable[-1] if usable else method or draft.forwarding
        sorry = draft.settings.get("sorry_server")
        if sorry is not None:
            yield sorry.value.address, get(draft.settings, "sorry_server_lvs_method", draft.forwarding)

    def _keys(self, draft: Draft, protocol: int) -> tuple[ServiceKey, ...]:
        """The kernel's services of this virtual server, less those another has taken (told)."""
        endpoint, group = draft.endpoint, draft.group
        keys: list[ServiceKey] = []
        if endpoint.address is not None:
            keys.append(ServiceKey(draft.family or INET, protocol, endpoint.address, endpoint.port))
        elif endpoint.fwmark is not None:
            keys.append(ServiceKey(draft.family or INET, fwmark=endpoint.fwmark))
        elif group is not None:
            for one in group.ranges:
                family = INET if len(one.first) == 4 else INET6
                keys += [ServiceKey(family, protocol, address, one.port) for address in one.addresses()]
            keys += [ServiceKey(one.family or draft.family or INET, fwmark=one.fwmark) for one in group.marks]
        free = []
        for key in dict.fromkeys(keys):
            other = self.taken.setdefault(key, draft)
            if other is draft:
                free.append(key)
            else:
                left = "this one" if len(keys) == 1 else "that address"
                self.tell(draft.node, f"{key.text()} is already balanced by virtual_server {other.name}",
                          "keep one of them", f"{left} is left aside", condition=Condition.NONE)  # fmt: skip
        return tuple(free)

    def _ha_suspend(self, draft: Draft) -> bool:
        line = draft.settings.get("ha_suspend")
        if line is not None and draft.endpoint.address is None:
            self.tell(line, "ha_suspend needs a service with an address of its own", "remove it",
                      "the checks run all the time", grade=Grade.WARNING)  # fmt: skip
            return False
        return line is not None

    # -- what the kernel is told of it ----------------------------------------------------------------------------

    def _service(self, draft: Draft, protocol: int) -> tuple[Service, int]:
        settings, flags = draft.settings, draft.flags
        timeout_ns = get(settings, "persistence_timeout", None)
        timeout_s = 0
        if "persistence_timeout" in settings or "persistence_granularity" in settings:
            timeout_s = PERSISTENCE_S if timeout_ns is None else timeout_ns // 1_000_000_000
        any_port = draft.group.any_port if draft.group is not None else False
        if draft.endpoint.address is not None:
            any_port = not draft.endpoint.port
        if any_port and not timeout_s:
            phrase = f"Virtual server {draft.label}: zero port only valid for persistent services - setting"
            self.tell(draft.node, f"virtual_server {draft.name} has no port, so its clients must keep their servers",
                      "write a port, or persistence_timeout", f"persistence_timeout {PERSISTENCE_S} is taken", phrase,
                      grade=Grade.WARNING)  # fmt: skip
            timeout_s = PERSISTENCE_S
        if timeout_s:
            flags |= ServiceFlags.PERSISTENT
        if "ops" in settings:
            if protocol == PROTOCOL_NUMBERS["udp"]:
                flags |= ServiceFlags.ONE_PACKET
            else:
                self.tell(settings["ops"], "ops is for UDP only", "remove it, or write protocol UDP",
                          "the line is left aside",
                          f"Virtual server {draft.label}: one packet scheduling requires UDP - resetting")  # fmt: skip
        netmask, netmask6 = self._granularity(draft)
        service = Service(
            scheduler=draft.scheduler or "wlc",
            flags=int(flags),
            timeout_s=timeout_s,
            netmask=netmask if draft.family != INET6 else netmask6,
            engine=self._engine(draft),
        )
        return service, netmask6

    def _engine(self, draft: Draft) -> str:
        line = draft.settings.get("persistence_engine")
        if line is None or line.value == "sip":
            return "" if line is None else "sip"
        self.tell(line, f"there is no persistence engine {line.value!r}", "use sip", "the line is left aside",
                  word=1, condition=Condition.NONE)  # fmt: skip
        return ""

    def _granularity(self, draft: Draft) -> tuple[int, int]:
        """The masks of IPv4 (as a number) and IPv6 (a length)."""
        line = draft.settings.get("persistence_granularity")
        hosts = HOST_MASK[INET], HOST_MASK[INET6]
        if line is None:
            return hosts
        word: str = line.value
        number = int(word) if word.isdecimal() and word.isascii() and len(word) < 4 else None
        if draft.family == INET6:
            if number is not None and 1 <= number <= 128:
                return hosts[0], number
            self.tell(line, f"{word!r} is no prefix length", "use 1 to 128", "each client counts for itself",
                      f"Invalid IPv6 persistence_granularity specified - {word}", word=1)  # fmt: skip
            return hosts
        if number is not None and 1 <= number <= 32:
            mask = 0xFFFFFFFF << (32 - number) & 0xFFFFFFFF
            dotted = text(Address(mask.to_bytes(4)))
            self.tell(line, f"persistence_granularity {word} is taken by keepalived as the mask 0.0.0.{word}",
                      f"write {dotted}", f"{dotted} is taken", grade=Grade.WARNING, word=1,
                      condition=Condition.NONE)  # fmt: skip
            return mask, hosts[1]
        try:
            return int.from_bytes(_dotted(word)), hosts[1]
        except ValueError:
            self.tell(line, f"{word!r} is no netmask", "write one as 255.255.255.0", "each client counts for itself",
                      f"Invalid IPv4 persistence_granularity specified - {word}", word=1)  # fmt: skip
            return hosts

    def _quorum(self, draft: Draft, servers: tuple[RealServerConfig, ...]) -> tuple[int, int]:
        settings = draft.settings
        quorum, hysteresis = get(settings, "quorum", 1), get(settings, "hysteresis", 0)
        total = sum(one.weight for one in servers)
        if quorum > total and servers and "quorum" in settings:
            reduced = max(total, 1)
            self.tell(settings["quorum"], f"quorum {quorum} is more than all weights of {draft.name} together",
                      f"use at most {reduced}", f"{reduced} is taken",
                      f"Warning - quorum {quorum} for {draft.label} exceeds total weight of real servers {total}, "
                      f"reducing quorum to {total}", grade=Grade.WARNING)  # fmt: skip
            quorum = reduced
        if hysteresis >= quorum:
            self.tell(settings["hysteresis"], f"hysteresis {hysteresis} is not below quorum {quorum}",
                      f"use at most {quorum - 1}", f"{quorum - 1} is taken",
                      f"Virtual server {draft.label}: hysteresis {hysteresis} >= quorum {quorum}; "
                      f"setting hysteresis to {quorum - 1}", grade=Grade.WARNING)  # fmt: skip
            hysteresis = quorum - 1
        if hysteresis and quorum + hysteresis > total:
            self.tell(settings["hysteresis"], f"the quorum of {draft.name} can never be gained: that takes quorum + "
                      f"hysteresis = {quorum + hysteresis}, and all weights together are {total}",
                      "lower one of them", "it stays lost until the weights allow it", grade=Grade.WARNING,
                      condition=Condition.NONE)  # fmt: skip
        return quorum, hysteresis

    # -- its servers ----------------------------------------------------------------------------------------------

    def _fits(self, draft: Draft, line: Node, address: Address, forwarding: Forwarding) -> bool:
        """Whether a server may be used by its family; told when not."""
        family = INET if len(address) == 4 else INET6
        if forwarding.method == Method.TUN or draft.family in (None, family):
            return True
        kind = line.name.replace("_", " ")
        self.tell(line, f"{line.name} {text(address)} is not of the family of virtual_server {draft.name}",
                  f"use an IPv{'4' if draft.family == INET else '6'} address, or lvs_method TUN", "it is left aside",
                  f"Address family of virtual server and {kind} {text(address)} don't match - skipping {kind}.",
                  word=1)  # fmt: skip
        return False

    def _port(self, draft: Draft, line: Node, where: Endpoint, forwarding: Forwarding) -> int:
        """The port of a server: its own with NAT, the packet's with DR and TUN."""
        service_port, marked = draft.endpoint.port, draft.endpoint.fwmark is not None
        if forwarding.method == Method.NAT:
            return where.port or (service_port if line.name == "real_server" else 0)
        if where.port and where.port != service_port and draft.group is None:
            written = f"{line.name} {text(where.address or Address(b''))} {where.port}"
            if marked:
                phrase = f"WARNING - fwmark virtual server {draft.label}, real server {written} has port specified"
            else:
                phrase = f"WARNING - virtual server {draft.label} and real server {written} ports don't match"
            self.tell(line, f"{written}: with lvs_method {forwarding.name} packets keep their port",
                      "leave the port out" if marked else f"write {service_port}, or use NAT",
                      "the service's port is taken", phrase, grade=Grade.WARNING, word=2)  # fmt: skip
        return service_port

    def _servers(self, draft: Draft) -> tuple[RealServerConfig, ...]:
        made: dict[tuple[Address, int], RealServerConfig] = {}
        for line, method in draft.servers:
            one = self._server(draft, line, method)
            if one is None:
                continue
            key = one.address, one.port
            if key in made:
                written = " ".join(line.line.words[1:])
                self.tell(line, f"real_server {written} stands here twice", "keep one", "the second is left aside")
                continue
            made[key] = one
        return tuple(made.values())

    def _server(self, draft: Draft, line: Node, method: Forwarding | None) -> RealServerConfig | None:
        where: Endpoint = line.value
        assert where.address is not None
        own: dict[str, Node] = {}
        for inner in line.children or []:
            if inner.children is None and inner.line.value is not values.INVALID:
                name = inner.name
                if name in ("notify_up", "notify_down") and name in own:
                    self._script_twice(inner)
                else:
                    own["lvs_method" if name == "lb_kind" else name] = inner
        forwarding: Forwarding = get(own, "lvs_method", method or draft.forwarding)
        if not self._fits(draft, line, where.address, forwarding):
            return None
        port = self._port(draft, line, where, forwarding)
        checks = tuple(self.checks(draft.node, line, where.address, port))
        upper, lower = get(own, "uthreshold", 0), get(own, "lthreshold", 0)
        if lower > upper:
            self.tell(own["lthreshold"], f"lthreshold {lower} is above uthreshold {upper or '(off)'}",
                      "write a uthreshold above it", "lthreshold is left aside", condition=Condition.NONE)  # fmt: skip
            lower = 0
        weight = get(own, "weight", get(draft.settings, "weight", 1))
        slow_start_ns = get(own, "slow_start", get(draft.settings, "slow_start", 0))
        if slow_start_ns and 0 < weight < SLOW_START_STEPS:
            self.tell(line, f"weight {weight} leaves the slow start of {text(where.address)} few steps",
                      f"write all weights {SLOW_START_STEPS} times as large", "it climbs in whole numbers",
                      condition=Condition.NONE, grade=Grade.WARNING)  # fmt: skip
        return RealServerConfig(
            address=where.address,
            port=port,
            weight=weight,
            slow_start_ns=slow_start_ns,
            forwarding=forwarding,
            upper_threshold=upper,
            lower_threshold=lower,
            inhibit=get(own, "inhibit_on_failure", "inhibit_on_failure" in draft.settings),
            checks=tuple(number for number, _alpha in checks),
            alpha_checks=tuple(number for number, alpha in checks if alpha),
            notify_up=self._command(own, "notify_up"),
            notify_down=self._command(own, "notify_down"),
            smtp_alert=get(own, "smtp_alert", None),
            virtualhost=get(own, "virtualhost", get(draft.settings, "virtualhost", "")),
        )

    def _sorry(self, draft: Draft) -> SorryServerConfig | None:
        line = draft.settings.get("sorry_server")
        if line is None:
            return None
        where: Endpoint = line.value
        forwarding = get(draft.settings, "sorry_server_lvs_method", draft.forwarding)
        assert where.address is not None
        if not self._fits(draft, line, where.address, forwarding):
            return None
        return SorryServerConfig(
            address=where.address,
            port=self._port(draft, line, where, forwarding),
            forwarding=forwarding,
            inhibit="sorry_server_inhibit" in draft.settings,
        )


FLAGS: dict[str, tuple[str, int]] = {
    "hashed": ("sh", 0),
    "flag-1": ("", ServiceFlags.SCHED1),
    "flag-2": ("", ServiceFlags.SCHED2),
    "flag-3": ("", ServiceFlags.SCHED3),
    "sh-fallback": ("sh", ServiceFlags.SCHED1),
    "sh-port": ("sh", ServiceFlags.SCHED2),
    "mh-fallback": ("mh", ServiceFlags.SCHED1),
    "mh-port": ("mh", ServiceFlags.SCHED2),
}
"""By keyword: the scheduler that must have been named before ("": any), and the flag."""


def _dotted(word: str) -> Address:
    mask = values.parse_address(word)
    if len(mask) != 4 or not any(mask):
        raise ValueError(word)
    return mask


def build_lvs(
    context: Context, nodes: list[Node], settings: dict[str, Node], checks: CheckReader = no_checks
) -> LvsPlan:
    """The load balancer's plan. `settings` are the lines of `global_defs`; `checks` reads the checks of a server."""
    builder = LvsBuilder(context, nodes, checks)
    services = []
    plan = read_globals(context, settings)
    by_nftables = plan.backend == NFTABLES
    if by_nftables:
        told_settings(context, settings)
    for node in nodes:
        if node.name == "virtual_server" and node.value is not values.INVALID and node.children is not None:
            service = builder.build(node)
            if service is not None and (not by_nftables or can_serve(context, node, service)):
                services.append(service)
    if plan.sync_daemon is not None:
        _told_mixed(context, settings["lvs_sync_daemon"], services)
    return msgspec.structs.replace(plan, services=tuple(services))


def _told_mixed(context: Context, line: Node, services: list[VirtualServerConfig]) -> None:
    """The kernel synchronises no service whose servers are of another family than itself."""
    for one in services:
        families = {key.family for key in one.keys} | {INET if len(s.address) == 4 else INET6 for s in one.servers}
        if len(families) == 2:
            what = f"lvs_sync_daemon doesn't go with virtual_server {one.name}, which has servers of the other family"
            trouble = Trouble(what, "keep one of the two", "the kernel refuses those servers", Grade.WARNING,
                              condition=Condition.NONE)  # fmt: skip
            context.tell(line, trouble, domain="lvs")
