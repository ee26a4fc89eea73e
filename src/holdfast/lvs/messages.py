"""What happens to a balanced service, and what comes of it. Servers are told by their number in its configuration."""

from typing import TypeAlias

import msgspec


class CheckReported(msgspec.Struct, frozen=True, gc=False):
    """A check has a verdict: failed for good (its retries used up) or fine.

    `weight` is what a MISC_CHECK with misc_dynamic asks for (its exit status less 2; None: nothing), `added` what a
    FILE_CHECK adds to the weight.
    """

    check: int
    ok: bool
    weight: int | None = None
    added: int = 0


class WeightHeld(msgspec.Struct, frozen=True, gc=False):
    """An operator's weight for a server, above all others; None gives it back."""

    server: int
    weight: int | None


class Climbed(msgspec.Struct, frozen=True, gc=False):
    """A server in its slow start has so many tenths of its weight from now on."""

    server: int
    tenths: int


class AddressMoved(msgspec.Struct, frozen=True, gc=False):
    """The service's address came to this host, or left it (`ha_suspend`)."""

    here: bool


Event: TypeAlias = CheckReported | WeightHeld | Climbed | AddressMoved


class PoolChanged(msgspec.Struct, frozen=True, gc=False):
    """`machine.wanted_pool` gives something else than before."""


class ServerUp(msgspec.Struct, frozen=True, gc=False):
    """A server may be used: notify_up. `at_start`: it began so, which is told only with rs_init_notifies."""

    server: int
    at_start: bool = False


class ServerDown(msgspec.Struct, frozen=True, gc=False):
    """A server may not be used any more: notify_down. `stopping`: only because we end."""

    server: int
    stopping: bool = False


class WeightChanged(msgspec.Struct, frozen=True, gc=False):
    """The effective weight of a server, whether it is in the pool or not."""

    server: int
    before: int
    after: int


class QuorumGained(msgspec.Struct, frozen=True, gc=False):
    """Enough weight is alive: quorum_up. `live` is that weight."""

    live: int


class QuorumLost(msgspec.Struct, frozen=True, gc=False):
    """Too little weight is alive: quorum_down. `stopping`: only because we end."""

    live: int
    stopping: bool = False


class ChecksWanted(msgspec.Struct, frozen=True, gc=False):
    """The checks of the service are to run, or to rest (`ha_suspend`)."""

    running: bool


Effect: TypeAlias = PoolChanged | ServerUp | ServerDown | WeightChanged | QuorumGained | QuorumLost | ChecksWanted
