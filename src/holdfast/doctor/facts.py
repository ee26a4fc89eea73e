"""What the doctor's checks judge: facts as plain values, and findings as their answer."""

from enum import StrEnum
from typing import Any

import msgspec

from holdfast.base.address import Address
from holdfast.kernel.ports import AddressSeen, LinkSeen
from holdfast.vrrp.packet import Advert


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"  # looked at, nothing wrong
    ADVICE = "advice"  # worth knowing; nothing breaks
    WARNING = "warning"  # breaks something in some circumstances, or could not be looked at
    OBSTACLE = "obstacle"  # fails as it is


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: which check, how bad, in words; what it was seen by; what to do."""

    check: str
    severity: Severity
    what: str
    evidence: str = ""
    cure: str = ""


class Overheard(msgspec.Struct, frozen=True, kw_only=True):
    """An advert that reached an interface of this host, before any firewall."""

    interface: str
    source: Address
    advert: Advert


class Manager(msgspec.Struct, frozen=True, kw_only=True):
    """A network manager that has an interface in its care. `settings`: its file's lines, drop-ins included."""

    name: str  # systemd-networkd or NetworkManager
    interface: str
    seen_in: str
    settings: tuple[str, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """This host, as it was when asked. None or empty: could not be asked, or is not there."""

    capabilities: frozenset[str] = frozenset()  # names less `CAP_`
    links: tuple[LinkSeen, ...] = ()
    addresses: tuple[AddressSeen, ...] = ()
    sysctls: dict[str, str] = {}  # `net/ipv4/conf/eth0/arp_ignore` → its text
    ruleset: tuple[dict[str, Any], ...] | None = None  # the list that `nft -j list ruleset` prints
    ruleset_refused: str = ""  # why there is none
    clock_synchronised: bool | None = None
    rivals: tuple[tuple[int, str], ...] | None = ()  # pid and program of other VRRP daemons in this network namespace
    managers: tuple[Manager, ...] = ()
    advert_filter: str | None = None  # why the kernel refuses it; "" when it is available
    container: str = ""  # what tells that this is one
    listened_s: float = 0.0
    overheard: tuple[Overheard, ...] = ()
    not_heard: tuple[str, ...] = ()  # why an interface could not be listened to
