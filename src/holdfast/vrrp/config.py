"""What an operator asked of one virtual router, in one unit (nanoseconds) and with every default settled."""

from collections.abc import Callable
from enum import IntEnum, StrEnum

import msgspec

from holdfast.base.address import Address, text
from holdfast.base.command import Command
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.carp.config import CarpTerms
from holdfast.vrrp.routes import RouteEntry

OWNER = 255
"""The priority of an address owner (RFC 9568 §5.2.4)."""

RESIGN = 0
"""The priority that says "I am leaving" (RFC 9568 §5.2.4)."""


class Family(IntEnum):
    """The address family of a virtual router."""

    IPV4 = 4
    IPV6 = 6


class AuthType(IntEnum):
    """VRRPv2 authentication, with its value on the wire (RFC 2338 §5.3.6)."""

    NONE = 0
    PASS = 1
    AH = 2


class AuthMode(StrEnum):
    """How `auth_hmac` treats unsigned adverts, and whether we sign. A bad signature is refused in every mode."""

    ENFORCE = "enforce"  # unsigned ones are refused; we sign
    PERMISSIVE = "permissive"  # unsigned ones are taken; we sign
    RECEIVE_ONLY = "receive-only"  # unsigned ones are taken; we don't sign


class HmacKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key: its id on the wire, 1..255, and 32 to 64 octets that are shown nowhere."""

    id: int
    secret: bytes

    def __repr__(self) -> str:
        return f"HmacKey(id={self.id})"


class AuthHmac(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`auth_hmac`: every key counts when receiving, `active_key` (one of them) when sending."""

    keys: tuple[HmacKey, ...]
    active_key: int
    mode: AuthMode = AuthMode.ENFORCE
    monotonic: bool = False  # `anti_replay monotonic`: the sender's clock isn't compared with ours
    time_window_s: int = 5

    @property
    def signs(self) -> bool:
        """Whether our adverts carry a signature."""
        return self.mode is not AuthMode.RECEIVE_ONLY


class OldChecksum(StrEnum):
    """What to do about unicast VRRPv3 checksums made with 224.0.0.18 as destination."""

    AUTO = "auto"  # accept them
    ALWAYS = "always"  # accept and send them
    NEVER = "never"  # refuse them


class VirtualAddress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An address that goes where the master is, with the options of `ip address add`."""

    address: Address
    prefix_length: int
    interface: str | None = None  # None: the instance's own
    scope: int = 0  # as in rtnetlink(7): 0 global, 200 site, 253 link, 254 host, 255 nowhere
    broadcast: Address | None = None
    label: str | None = None
    peer: Address | None = None
    home: bool = False
    nodad: bool = False
    mngtmpaddr: bool = False
    noprefixroute: bool = False
    autojoin: bool = False
    preferred_lft_s: int | None = None  # None: for ever; 0: deprecated, never chosen as a source
    no_track: bool = False
    own_mac: bool = False  # `use_vmac`: on an interface that carries the virtual MAC; `interface` names it


class VirtualDevice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An interface made for instances on top of another one: a macvlan with the virtual MAC, or an ipvlan."""

    name: str
    base: str  # the interface below
    kind: str = "macvlan"  # or ipvlan
    mac: bytes = b""  # macvlan: six octets
    mode: str = "private"  # macvlan: private; ipvlan: bridge, private, vepa
    group: int | None = None  # link group; None: that of the base
    ipv6: bool = False  # whether IPv6 addresses will be on it
    address: VirtualAddress | None = None  # ipvlan: its own address
    joins: tuple[Address, ...] = ()  # groups the base joins for it: reports must not leave with the virtual MAC


class StaticAddress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An address that is there whatever the state (`static_ipaddress`); its interface is always named.

    `tracked`: instances are in FAULT while it can't be kept (`track_group`).
    """

    address: VirtualAddress
    tracked: bool = False

    @property
    def name(self) -> str:
        """`192.0.2.1/24 dev eth0`."""
        return f"{text(self.address.address)}/{self.address.prefix_length} dev {self.address.interface}"


class UnicastPeer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A peer that gets its own copy of each advert; TTL bounds apply to what it sends."""

    address: Address
    min_ttl: int | None = None
    max_ttl: int | None = None


class TrackedUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a `track_…` block: which tracker, and what its verdict does here.

    `kind` is interface, script, file, process or bfd. Weight 0 means FAULT while it is down (`reverse`: while up).
    """

    kind: str
    name: str
    weight: int = 0
    reverse: bool = False


class NotifyCommands(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The scripts of an instance or group, by occasion; `directories` holds the directory for each occasion."""

    master: Command | None = None
    backup: Command | None = None
    fault: Command | None = None
    stop: Command | None = None
    deleted: Command | None = None
    any: Command | None = None  # `notify`: four arguments are appended
    master_rx_lower_pri: Command | None = None
    smtp_alert: bool = False  # mail about changes of state
    notify_deleted: bool = False  # report DELETED, not FAULT, when removed by a reload
    directories: dict[str, str] = {}  # MASTER, BACKUP, FAULT, STOP → directory of executables
    directory_user: tuple[int | None, int | None] = (None, None)  # uid, gid for those executables


class AnnounceConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Gratuitous ARP and unsolicited NA: how many, how often (`garp_…`)."""

    master_delay_ns: Nanoseconds = 5 * SECOND  # second burst; 0: none
    master_repeat: int = 5
    master_refresh_ns: Nanoseconds = 0  # 0: never
    master_refresh_repeat: int = 1
    lower_prio_delay_ns: Nanoseconds = 5 * SECOND
    lower_prio_repeat: int = 5
    garp_interval_ns: Nanoseconds = 0  # least spacing of gratuitous ARPs on one interface
    gna_interval_ns: Nanoseconds = 0
    extra_ns: Nanoseconds = 0  # `garp_extra_if`: how often where no adverts leave; 0: never
    extra_all: bool = False  # on all of them, not on VMACs only


NO_SCRIPTS = NotifyCommands()
USUAL_ANNOUNCE = AnnounceConfig()
"""These very objects are left out of an encoded plan, and shared by all instances of a decoded one."""


class InstanceConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One `vrrp_instance` or `carp_instance`, every default settled.

    With `carp`: `vrid` is the vhid, `version` 2, and `priority` stands for the advskew (`carp/config.py`).
    """

    name: str
    vrid: int
    interface: str  # "" for a unicast instance without an interface; the VMAC or ipvlan where it has one
    base: str = ""  # the interface below the VMAC or ipvlan; "" without one
    sends_on_base: bool = False  # adverts leave and arrive on the base (`vmac_xmit_base`)
    source_on_base: bool = False  # adverts have the base's address
    family: Family
    version: int  # 2 or 3
    priority: int = 100
    state_master: bool = False  # `state MASTER` was written
    starts_as_owner: bool = False  # becomes master at once (priority 255 and not `state BACKUP`)
    adver_interval_ns: Nanoseconds = SECOND
    addresses: tuple[VirtualAddress, ...] = ()
    excluded: tuple[VirtualAddress, ...] = ()
    routes: tuple[RouteEntry, ...] = ()
    rules: tuple[RouteEntry, ...] = ()
    # transport
    unicast_peers: tuple[UnicastPeer, ...] = ()
    source: Address | None = None  # mcast_src_ip or unicast_src_ip
    track_source: bool = False
    group: Address | None = None  # None when unicast
    unicast_ttl: int | None = None
    check_unicast_source: bool = False
    auth_type: AuthType = AuthType.NONE
    auth_pass: bytes = b""  # 8 bytes, zero padded
    auth_hmac: AuthHmac | None = None
    carp: CarpTerms | None = None
    checksum_as_v2: bool = False
    old_checksum: OldChecksum = OldChecksum.AUTO
    receive_buffer_bytes: int | None = None
    # election
    preempt: bool = True
    preempt_delay_ns: Nanoseconds = 0
    start_delay_ns: Nanoseconds = 0
    resign_skew: bool = False  # wait the skew after a priority 0 even where only one peer could race us
    down_timer_adverts: int = 3
    lower_prio_no_advert: bool = False
    higher_prio_send_advert: bool = False
    owner_ignore_adverts: bool = False
    timer_expired_backup: int = 0  # 0: off; else the priority whose skew counts
    strict: bool = False
    skip_check_adv_addr: bool = False
    accept: bool = True
    # faults and trackers
    dont_track_primary: bool = False
    faults: tuple[str, ...] = ()  # reasons known from the configuration for being in FAULT for good
    trackers: tuple[TrackedUse, ...] = ()
    promote_secondaries: bool = False
    # telling others
    announce: AnnounceConfig = USUAL_ANNOUNCE
    notify: NotifyCommands = NO_SCRIPTS
    notify_priority_changes: bool = False

    @property
    def wire(self) -> str:
        """The interface adverts leave and arrive through."""
        return self.base if self.sends_on_base else self.interface

    @property
    def home(self) -> str:
        """The interface whose address adverts have as their source."""
        return self.base if self.source_on_base else self.interface

    @property
    def network(self) -> str:
        """The interface that leads to the other routers: the base of a VMAC, else the instance's own."""
        return self.base or self.interface

    @property
    def unicast(self) -> bool:
        """Whether adverts go to named peers, not to the group."""
        return self.group is None

    @property
    def guarded(self) -> bool:
        """Whether adverts carry more than constant octets: AH, `auth_hmac`, or CARP's counter."""
        return self.auth_hmac is not None or self.auth_type is AuthType.AH or self.carp is not None

    @property
    def protocol(self) -> str:
        """vrrp or carp."""
        return "vrrp" if self.carp is None else "carp"

    @property
    def succeeds_at_once(self) -> bool:
        """Whether a resigned master is succeeded without Skew_Time: with one peer there is nobody to race with."""
        return self.group is None and len(self.unicast_peers) == 1 and not self.strict and not self.resign_skew

    @property
    def key(self) -> str:
        """What makes an instance the same one across a reload (the name may change)."""
        where = self.group.hex() if self.group is not None else f"unicast {self.source.hex() if self.source else ''}"
        peers = "" if self.group is not None else ",".join(sorted(p.address.hex() for p in self.unicast_peers)[:1])
        kind = "" if self.carp is None else "carp/"
        return f"{kind}{self.interface}/{self.family}/{self.vrid}/{where}/{peers}"


def hidden(config: InstanceConfig, stands_for: Callable[[bytes], bytes]) -> InstanceConfig:
    """The same instance, something else in the place of its password and keys."""
    if config.auth_pass:
        config = msgspec.structs.replace(config, auth_pass=stands_for(config.auth_pass))
    if config.carp is not None:
        secret = stands_for(config.carp.password)
        config = msgspec.structs.replace(config, carp=msgspec.structs.replace(config.carp, password=secret))
    if config.auth_hmac is not None:
        keys = tuple(HmacKey(id=key.id, secret=stands_for(key.secret)) for key in config.auth_hmac.keys)
        config = msgspec.structs.replace(config, auth_hmac=msgspec.structs.replace(config.auth_hmac, keys=keys))
    return config


class GroupConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One `vrrp_sync_group`; its trackers are merged into its members when the plan is built."""

    name: str
    members: tuple[str, ...]
    notify: NotifyCommands = NO_SCRIPTS
