"""Services written short."""

from typing import Any

from holdfast.base.address import parse
from holdfast.base.ipvs import (
    INET,
    INET6,
    PROTOCOL_NUMBERS,
    DestinationKey,
    Destinations,
    Forwarding,
    Method,
    Service,
    ServiceKey,
)
from holdfast.lvs.config import RealServerConfig, SorryServerConfig, VirtualServerConfig

DR = Forwarding(method=Method.DR)
TUN = Forwarding(method=Method.TUN)


def key(protocol: str, address: str, port: int) -> ServiceKey:
    """A service by address."""
    where = parse(address)
    return ServiceKey(INET if len(where) == 4 else INET6, PROTOCOL_NUMBERS[protocol], where, port)


def place(address: str, port: int = 80) -> DestinationKey:
    """A server's place."""
    return DestinationKey(parse(address), port)


def real(address: str, port: int = 80, **more: Any) -> RealServerConfig:
    """A real server."""
    return RealServerConfig(address=parse(address), port=port, **more)


def sorry(address: str, port: int = 80, **more: Any) -> SorryServerConfig:
    """A sorry server."""
    return SorryServerConfig(address=parse(address), port=port, **more)


WEB = key("tcp", "192.0.2.1", 80)


def service(*servers: RealServerConfig, **more: Any) -> VirtualServerConfig:
    """A virtual server, 192.0.2.1:80 unless `keys` say otherwise."""
    more.setdefault("keys", (WEB,))
    return VirtualServerConfig(
        name="192.0.2.1:80", label="[192.0.2.1]:tcp:80", service=Service(scheduler="rr"), servers=servers, **more
    )


def weights(pool: Destinations) -> dict[str, int]:
    """A pool as text and weights."""
    return {where.text(): one.weight for where, one in pool.items()}
