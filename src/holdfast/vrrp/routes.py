"""A route or policy rule as the kernel wants it, made ready when the configuration was read."""

import msgspec

TABLE_OFFSET = 32
"""Where a route's request has its table (native u32)."""


class RouteEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of `virtual_routes`, `virtual_rules`, `static_routes` or `static_rules`.

    `add` and `delete` are whole rtnetlink requests; each of `devices` is an offset in both where the index of the
    interface of that name (native u32) is to be put before they are sent. `tracked`: of a virtual one, no `no_track`
    was written; of a static one, instances follow it (`track_group`).
    """

    text: str  # as keepalived's dumps write it
    name: str  # as people name it: `route 10.1.0.0/24 via 192.0.2.9 dev eth0`
    add: bytes
    delete: bytes
    devices: tuple[tuple[int, str], ...] = ()
    tracked: bool = True
    vrf: str = ""  # its table is put at TABLE_OFFSET before they are sent

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The interfaces it leads to, once each."""
        names = [name for _offset, name in self.devices]
        return tuple(dict.fromkeys([*names, self.vrf] if self.vrf else names))
