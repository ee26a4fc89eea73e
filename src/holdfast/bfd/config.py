"""What an operator asked of a BFD session (`bfd_instance`), every default settled."""

import msgspec

from holdfast.base.address import Address
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds

ANY_TTL = 0
"""The `least_ttl` of a session that does not look at the TTL of what it receives."""


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One session with one neighbour. `source` None: the kernel chooses our address."""

    name: str
    neighbor: Address
    source: Address | None = None
    multihop: bool = False
    min_rx_ns: Nanoseconds = 10 * MILLISECOND
    min_tx_ns: Nanoseconds = 10 * MILLISECOND
    idle_tx_ns: Nanoseconds = SECOND  # between packets while the session is not up
    multiplier: int = 5
    passive: bool = False  # silent until the neighbour begins
    ttl: int = 255  # TTL or hop limit of what is sent
    least_ttl: int = 255  # of what is received; ANY_TTL: not looked at
    weight: int = 0
    reverse: bool = False
    for_vrrp: bool = True
    for_checkers: bool = True

    @property
    def key(self) -> tuple[Address, Address | None, bool]:
        """What makes two sessions one and the same."""
        return self.neighbor, self.source, self.multihop
