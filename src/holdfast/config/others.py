"""A readable model of what is checked and not carried out yet: virtual servers, BFD sessions, static entries."""

from typing import Any

import msgspec

from holdfast.base import address
from holdfast.base.problem import Grade
from holdfast.config import values
from holdfast.config.context import Context, entries, get, last_values
from holdfast.config.entry_checks import check_entries
from holdfast.config.findings import Condition, Trouble
from holdfast.config.lines import read_address
from holdfast.config.special import Endpoint
from holdfast.config.tree import Node

CHECKERS = frozenset(
    {
        "TCP_CHECK",
        "PING_CHECK",
        "HTTP_GET",
        "SSL_GET",
        "SMTP_CHECK",
        "DNS_CHECK",
        "UDP_CHECK",
        "MISC_CHECK",
        "FILE_CHECK",
        "BFD_CHECK",
    }
)


class RealServer(msgspec.Struct, frozen=True, gc=False):
    """A pool member as written."""

    address: str
    port: int
    weight: int
    checks: tuple[str, ...]


class VirtualServer(msgspec.Struct, frozen=True, gc=False):
    """A balanced service as written."""

    name: str
    protocol: str
    forwarding: str
    scheduler: str
    real_servers: tuple[RealServer, ...]
    sorry_server: str | None


class BfdSession(msgspec.Struct, frozen=True):
    """A BFD session as written."""

    name: str
    neighbor: str


class Others(msgspec.Struct, frozen=True, kw_only=True):
    """Everything besides VRRP."""

    virtual_servers: tuple[VirtualServer, ...] = ()
    bfd: tuple[BfdSession, ...] = ()
    static_addresses: int = 0
    static_routes: int = 0
    static_rules: int = 0


def read_others(context: Context, nodes: list[Node]) -> Others:
    """The model of all blocks besides VRRP; problems are told."""
    servers: list[VirtualServer] = []
    sessions: dict[str, BfdSession] = {}
    counts = {"static_ipaddress": 0, "static_routes": 0, "static_rules": 0}
    groups = {node.value: node for node in nodes if node.name == "virtual_server_group"}
    for node in groups.values():
        _check_group(context, node)
    for node in nodes:
        if node.value is values.INVALID:
            continue
        if node.name == "virtual_server":
            server = _virtual_server(context, node, groups)
            if server is not None:
                servers.append(server)
        elif node.name == "bfd_instance":
            if node.value in sessions:
                context.tell(node, Trouble(f"bfd_instance {node.value} stands here a second time", "rename it"))
                continue
            session = _session(context, node)
            if session is not None:
                sessions[node.value] = session
        elif node.name in counts:
            counts[node.name] += len(entries(node))
            check_entries(context, node)
            if node.name == "static_ipaddress":
                for entry in entries(node):
                    read_address(entry.line.words, context.teller(entry), static=True)
        elif node.name in ("linkbeat_interfaces", "interface_up_down_delays"):
            check_entries(context, node)
    return Others(
        virtual_servers=tuple(servers),
        bfd=tuple(sessions.values()),
        static_addresses=counts["static_ipaddress"],
        static_routes=counts["static_routes"],
        static_rules=counts["static_rules"],
    )


def _lvs(context: Context, node: Node, what: str, cure: str, meanwhile: str, phrase: str = "", **more: Any) -> None:
    context.tell(node, Trouble(what, cure, meanwhile, phrase=phrase, **more), domain="lvs")


def _session(context: Context, node: Node) -> BfdSession | None:
    neighbor = get(last_values(node.children or []), "neighbor_ip", None) or get(
        last_values(node.children or []), "neighbour_ip", None
    )
    if neighbor is None:
        _lvs(context, node, f"bfd_instance {node.value} has no neighbor_ip", "write one", "it is left aside")
        return None
    return BfdSession(node.value, address.text(neighbor))


def _endpoint_text(endpoint: Endpoint) -> str:
    if endpoint.fwmark is not None:
        return f"fwmark {endpoint.fwmark}"
    if endpoint.address is None:
        return f"group {endpoint.group}"
    where = address.text(endpoint.address)
    return f"[{where}]:{endpoint.port}" if len(endpoint.address) == 16 else f"{where}:{endpoint.port}"


def _check_group(context: Context, node: Node) -> None:
    """The entries of a virtual_server_group."""
    usable = 0
    for entry in entries(node):
        words = entry.line.words
        if words[0] == "fwmark" and len(words) > 1 and words[1].isdecimal():
            usable += 1
            continue
        first = words[0].split("-")[0].split("/")[0]
        try:
            values.parse_address(first)
            usable += 1
        except ValueError:
            port = f" /port/{words[1]}" if len(words) > 1 else " "
            _lvs(
                context,
                entry,
                f"{words[0]!r} is no address, range or fwmark",
                "write IP [PORT], IP-IP [PORT] or fwmark N",
                "the line is left aside",
                f"Invalid virtual server group IP address {words[0]}{port} - skipping",
            )
    if not usable:
        phrase = f"virtual server group {node.value} has no entries - removing"
        what = f"virtual_server_group {node.value} has no entries"
        _lvs(context, node, what, "list some", "it is left aside", phrase)


def _virtual_server(context: Context, node: Node, groups: dict[Any, Node]) -> VirtualServer | None:
    lines = node.children or []
    settings: dict[str, Node] = {}
    servers: list[RealServer] = []
    seen: set[tuple[Any, int]] = set()
    endpoint: Endpoint = node.value
    for line in lines:
        name = line.name
        if name != "real_server":
            if line.line.value is not values.INVALID:
                settings[name] = line
            continue
        if line.value is values.INVALID:
            continue
        where: Endpoint = line.value
        port = where.port or endpoint.port
        key = (where.address, port)
        if key in seen:
            _lvs(context, line, f"real_server {' '.join(line.line.words[1:])} stands here twice", "keep one",
                 "the second is left aside")  # fmt: skip
            continue
        seen.add(key)
        servers.append(_real_server(context, line, where, port, settings))
    name = _endpoint_text(endpoint)
    if not servers and "sorry_server" not in settings:
        _lvs(
            context,
            node,
            f"virtual_server {name} has no real servers",
            "add a real_server block",
            "it is left aside",
            f"Virtual server {name} has no real servers - ignoring",
        )
        return None
    if endpoint.group and endpoint.group not in groups:
        _lvs(context, node, f"there is no virtual_server_group {endpoint.group}", "define it", "it is left aside")
        return None
    _defaults_told(context, node, name, settings, endpoint)
    for keyword in ("quorum_up", "quorum_down"):
        if keyword in settings:
            context.script(settings[keyword], domain="lvs")
    sorry = settings.get("sorry_server")
    return VirtualServer(
        name,
        get(settings, "protocol", "UDP"),
        get(settings, "lvs_method", None) or get(settings, "lb_kind", None) or "NAT",
        get(settings, "lvs_sched", None) or get(settings, "lb_algo", None) or "wlc",
        tuple(servers),
        None if sorry is None else _endpoint_text(sorry.value),
    )


def _real_server(
    context: Context, node: Node, where: Endpoint, port: int, settings: dict[str, Node]
) -> RealServer:
    weight = get(settings, "weight", 1)
    checks = []
    for line in node.children or []:
        name = line.name
        if name == "weight":
            if line.value is not values.INVALID:
                weight = line.value
        elif name in ("notify_up", "notify_down") and line.value is not values.INVALID:
            context.script(line, domain="lvs")
        elif name in CHECKERS and line.children is not None:
            if name == "MISC_CHECK" and not any(inner.name == "misc_path" for inner in line.children):
                _lvs(context, line, "MISC_CHECK has no misc_path", "name the program", "it is left aside",
                     "No script path has been specified for MISC_CHECKER - skipping")  # fmt: skip
                continue
            if name in ("HTTP_GET", "SSL_GET") and not any(inner.name == "url" for inner in line.children):
                _lvs(context, line, f"{name} has no url", "add url { path / }", "it is left aside")
                continue
            if name == "MISC_CHECK":
                own = last_values(line.children)
                if "misc_path" in own:
                    context.script(own["misc_path"], user=get(own, "user", ()), domain="lvs", tracked=True)
            checks.append(name)
    assert where.address is not None
    return RealServer(_address_text(where.address), port, weight, tuple(checks))


def _address_text(where: address.Address) -> str:
    if len(where) == 4:
        return "%d.%d.%d.%d" % tuple(where)  # noqa: UP031 - a third of the time of the alternatives
    return address.text(where)


def _defaults_told(
    context: Context, node: Node, name: str, settings: dict[str, Node], endpoint: Endpoint
) -> None:
    """What keepalived warns of when it is not written."""
    if "lvs_sched" not in settings and "lb_algo" not in settings:
        _lvs(context, node, f"virtual_server {name} names no scheduler", "write lvs_sched wlc", "wlc is taken",
             f"Virtual server {name}: no scheduler set, setting default 'wlc'", grade=Grade.WARNING)  # fmt: skip
    if "lvs_method" not in settings and "lb_kind" not in settings:
        _lvs(context, node, f"virtual_server {name} names no forwarding", "write lvs_method NAT", "NAT is taken",
             f"Virtual server {name}: no forwarding method set, setting default NAT", grade=Grade.WARNING)  # fmt: skip
    if "protocol" not in settings and endpoint.fwmark is None:
        _lvs(context, node, f"virtual_server {name} names no protocol", "write protocol TCP or UDP", "UDP is taken",
             f"Virtual server {name}: no protocol set - defaulting to UDP", grade=Grade.WARNING)  # fmt: skip
    if "protocol" in settings and endpoint.fwmark is not None:
        _lvs(context, settings["protocol"], "a marked service needs no protocol", "remove it", "it is left aside",
             f"Warning: Virtual server {name}: protocol specified for fwmark - protocol will be ignored",
             grade=Grade.WARNING, condition=Condition.WARNING)  # fmt: skip
