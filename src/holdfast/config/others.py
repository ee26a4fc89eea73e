"""A readable model of what stands beside the instances: virtual servers, BFD sessions, static entries."""

import msgspec

from holdfast.base import address
from holdfast.base.ipvs import PROTOCOL_NAMES, endpoint_text
from holdfast.base.time import MILLISECOND
from holdfast.bfd.config import SessionConfig
from holdfast.config import values
from holdfast.config.context import Context, entries
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
    """A BFD session as it would run."""

    name: str
    neighbor: str
    source: str | None
    multihop: bool
    passive: bool
    min_tx_ms: float
    min_rx_ms: float
    multiplier: int


class Others(msgspec.Struct, frozen=True, kw_only=True):
    """Everything besides VRRP."""

    virtual_servers: tuple[VirtualServer, ...] = ()
    bfd: tuple[BfdSession, ...] = ()
    static_addresses: int = 0
    static_routes: int = 0
    static_rules: int = 0


def read_others(
    context: Context, nodes: list[Node], servers: tuple[VirtualServer, ...], sessions: dict[str, SessionConfig]
) -> Others:
    """The model of all blocks besides VRRP; problems are told. `servers`, `sessions`: read already."""
    counts = {"static_ipaddress": 0, "static_routes": 0, "static_rules": 0}
    for node in nodes:
        if node.value is values.INVALID:
            continue
        if node.name in counts:
            counts[node.name] += len(entries(node))
    return Others(
        virtual_servers=servers,
        bfd=tuple(_session(one) for one in sessions.values()),
        static_addresses=counts["static_ipaddress"],
        static_routes=counts["static_routes"],
        static_rules=counts["static_rules"],
    )


def _session(one: SessionConfig) -> BfdSession:
    return BfdSession(
        one.name,
        address.text(one.neighbor),
        None if one.source is None else address.text(one.source),
        one.multihop,
        one.passive,
        one.min_tx_ns / MILLISECOND,
        one.min_rx_ns / MILLISECOND,
        one.multiplier,
    )


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
