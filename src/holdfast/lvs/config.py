"""What the operator asked of the load balancer, every default settled."""

import msgspec

from holdfast.base.address import Address
from holdfast.base.command import Command
from holdfast.base.ipvs import Forwarding, Service, ServiceKey, Timeouts
from holdfast.base.time import Nanoseconds

HIGHEST_WEIGHT = 2**31 - 1

SLOW_START_STEPS = 10
"""A slow start climbs in so many steps."""


class RealServerConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server of a service.

    `port` is 0 where the service's own counts. `checks` are the numbers of its checks, in the order written, and
    `alpha_checks` those of them that must succeed once before the server is used. `smtp_alert` None: as globally said.
    """

    address: Address
    port: int = 0
    weight: int = 1
    forwarding: Forwarding = Forwarding()
    upper_threshold: int = 0
    lower_threshold: int = 0
    inhibit: bool = False  # inhibit_on_failure: weight 0 instead of removal
    slow_start_ns: Nanoseconds = 0  # over so long the weight of a server that returns climbs
    checks: tuple[int, ...] = ()
    alpha_checks: tuple[int, ...] = ()
    notify_up: Command | None = None
    notify_down: Command | None = None
    smtp_alert: bool | None = None
    virtualhost: str = ""


class SorryServerConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The server of last resort; `inhibit`: there all the time, with weight 0 while it isn't needed."""

    address: Address
    port: int = 0
    forwarding: Forwarding = Forwarding()
    inhibit: bool = False


class VirtualServerConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A balanced service.

    `keys` are the kernel's services that share its pool: one, or those of its group. `service` holds what they have
    in common; its netmask is IPv4's, `netmask6` IPv6's. `quorum` and `hysteresis` are sums of weights, already
    corrected: hysteresis < quorum <= the sum of all weights.
    """

    name: str  # as in status: 192.0.2.1:80, fwmark 3, group web
    label: str  # as in FIFO lines and logs: [192.0.2.1]:tcp:80, FWM 3, [web]:0
    keys: tuple[ServiceKey, ...]
    service: Service
    netmask6: int = 128
    protocol: int = 0  # 0: by mark only
    forwarding: Forwarding = Forwarding()
    servers: tuple[RealServerConfig, ...] = ()
    sorry: SorryServerConfig | None = None
    quorum: int = 1
    hysteresis: int = 0
    omega: bool = False
    ha_suspend: bool = False
    quorum_up: Command | None = None
    quorum_down: Command | None = None
    smtp_alert: bool | None = None


class SyncDaemonConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`lvs_sync_daemon`. With `instance`: master while that instance is, backup otherwise; without: both, always.

    `sync_id` None: the instance's VRID, or 0.
    """

    interface: str
    instance: str = ""
    sync_id: int | None = None
    max_bytes: int = 0
    port: int = 0
    ttl: int = 0
    group: Address | None = None


IPVS, NFTABLES, AUTO = "ipvs", "nftables", "auto"
"""`lvs_backend`; auto: IPVS where the kernel has it, else nftables."""


class LvsPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that the load balancer needs. `flush_on_stop`: "", "all", or "VS" for our services only."""

    services: tuple[VirtualServerConfig, ...] = ()
    backend: str = IPVS
    flush: bool = False
    flush_on_stop: str = ""
    timeouts: Timeouts | None = None
    sync_daemon: SyncDaemonConfig | None = None
    init_notifies: bool = False  # rs_init_notifies
    no_checker_emails: bool = False
    smtp_alert: bool | None = None  # smtp_alert_checker, else smtp_alert
