"""A readable model of what stands beside the instances: virtual servers, BFD sessions, static entries."""

from typing import Any

import msgspec

from holdfast.base import address
from holdfast.base.ipvs import PROTOCOL_NAMES, endpoint_text
from holdfast.config import values
from holdfast.config.context import Context, entries, get, last_values
from holdfast.config.findings import Trouble
from holdfast.config.tree import Node
from holdfast.lvs.config import LvsPlan

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


def read_others(context: Context, nodes: list[Node], servers: tuple[VirtualServer, ...] = ()) -> Others:
    """The model of all blocks besides VRRP; problems are told. `servers`: the virtual servers, read already."""
    sessions: dict[str, BfdSession] = {}
    counts = {"static_ipaddress": 0, "static_routes": 0, "static_rules": 0}
    for node in nodes:
        if node.value is values.INVALID:
            continue
        if node.name == "bfd_instance":
            if node.value in sessions:
                context.tell(node, Trouble(f"bfd_instance {node.value} stands here a second time", "rename it"))
                continue
            session = _session(context, node)
            if session is not None:
                sessions[node.value] = session
        elif node.name in counts:
            counts[node.name] += len(entries(node))
    return Others(
        virtual_servers=servers,
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


def virtual_servers(plan: LvsPlan, kinds: list[str]) -> tuple[VirtualServer, ...]:
    """The virtual servers of a plan, readable; `kinds` of the checks by number."""
    return tuple(
        VirtualServer(
            one.name,
            PROTOCOL_NAMES.get(one.protocol, "udp").upper(),
            one.forwarding.name,
            one.service.scheduler,
            tuple(
                RealServer(_address_text(real.address), real.port, real.weight, tuple(kinds[n] for n in real.checks))
                for real in one.servers
            ),
            None if one.sorry is None else endpoint_text(one.sorry.address, one.sorry.port),
        )
        for one in plan.services
    )


def _address_text(where: address.Address) -> str:
    if len(where) == 4:
        return "%d.%d.%d.%d" % tuple(where)  # noqa: UP031 - a third of the time of the alternatives
    return address.text(where)
