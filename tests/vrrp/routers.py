"""Virtual routers for the machine's tests; every number is written out, in nanoseconds."""

from typing import Any

import msgspec

from holdfast.base.address import parse
from holdfast.vrrp.config import Family, InstanceConfig
from holdfast.vrrp.machine import Backup, Master, Standing, State, Step, step
from holdfast.vrrp.messages import AdvertReceived, Event

S = 1_000_000_000
OURS, PEER, LOWER_PEER = parse("192.0.2.11"), parse("192.0.2.12"), parse("192.0.2.10")

V3 = InstanceConfig(
    name="VI", vrid=51, interface="eth0", family=Family.IPV4, version=3, priority=100, group=parse("224.0.0.18")
)
V2 = msgspec.structs.replace(V3, version=2)
STANDING = Standing(100, OURS)

BACKUP = Backup(12 * S, S)
"""A backup that heard nobody yet and waits until 12 s."""

MASTER = Master(10_200_000_000)
"""A master whose next advert is due at 10.2 s."""


def but(config: InstanceConfig, **changes: Any) -> InstanceConfig:
    """The instance with something else."""
    return msgspec.structs.replace(config, **changes)


def heard(priority: int, source: bytes = PEER, interval_ns: int = S) -> AdvertReceived:
    """An advert."""
    return AdvertReceived(priority, type(PEER)(source), interval_ns)


def at(now: int, state: State, event: Event, config: InstanceConfig = V3, standing: Standing = STANDING) -> Step:
    """One step at `now`."""
    return step(config, standing, state, event, now)
