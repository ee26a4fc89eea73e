"""A balanced service: its servers' checks in, its pool and what to tell out.

A server is alive while none of its checks has failed and each of its alpha checks has succeeded once. The weights of
the servers that are alive, added up, keep the quorum or lose it:

        quorum down ──── live ≥ quorum + hysteresis ───────────► quorum up
                    ◄─── live = 0 or live < quorum − hysteresis ─

While it is down and there is a sorry server, that one stands in the pool instead of all others. The pool, weights
and the quorum are worked out afresh each time, so nothing drifts and a reload needs no undo.

Facts: keepalived(8) and keepalived.conf(5) of keepalived 2.4.3; the pools were compared with those of 2.2.7.
"""

from collections.abc import Mapping

import msgspec

from holdfast.base.ipvs import (
    INET6,
    Destination,
    DestinationKey,
    Destinations,
    Method,
    Pool,
    ServiceKey,
    Table,
)
from holdfast.lvs.config import (
    HIGHEST_WEIGHT,
    SLOW_START_STEPS,
    RealServerConfig,
    SorryServerConfig,
    VirtualServerConfig,
)
from holdfast.lvs.messages import (
    AddressMoved,
    CheckReported,
    ChecksWanted,
    Climbed,
    Effect,
    Event,
    PoolChanged,
    QuorumGained,
    QuorumLost,
    ServerDown,
    ServerUp,
    WeightChanged,
    WeightHeld,
)


class CheckWeight(msgspec.Struct, frozen=True, gc=False):
    """What one check says of its server's weight; see CheckReported."""

    check: int
    weight: int | None
    added: int


FULL = SLOW_START_STEPS
"""All its tenths: there is no slow start, or it is over."""


class ServerState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of a server. `failed` and `unproven` are numbers of checks, in ascending order."""

    failed: tuple[int, ...] = ()
    unproven: tuple[int, ...] = ()  # alpha checks that have not succeeded yet
    weights: tuple[CheckWeight, ...] = ()
    held_weight: int | None = None
    tenths: int = FULL  # of its weight, during a slow start

    @property
    def alive(self) -> bool:
        """Whether it may be used."""
        return not self.failed and not self.unproven


class ServiceState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of a service; `servers` in the order of its configuration."""

    servers: tuple[ServerState, ...] = ()
    quorum_up: bool = False
    here: bool = True  # its address is on this host; asked only with ha_suspend


_FRESH = ServerState()


# -- what follows from a state -----------------------------------------------------------------------------------


def effective_weight(config: RealServerConfig, server: ServerState) -> int:
    """The weight the kernel is told: `full_weight`, or as much of it as a slow start has come to, at least 1."""
    weight = full_weight(config, server)
    if server.tenths < FULL and weight and server.held_weight is None:
        return max(weight * server.tenths // FULL, 1)
    return weight


def full_weight(config: RealServerConfig, server: ServerState) -> int:
    """The configured weight with what the checks make of it, 0 to 2147483647; an operator's, when one is held."""
    if server.held_weight is not None:
        return server.held_weight
    weight = config.weight
    for one in server.weights:
        if one.weight is not None:
            weight += one.weight - config.weight
        weight += one.added
    return min(max(weight, 0), HIGHEST_WEIGHT)


def live_weight(config: VirtualServerConfig, state: ServiceState) -> int:
    """The weights of the servers that are alive, added up; a slow start does not keep the quorum waiting."""
    return sum(
        full_weight(one, server)
        for one, server in zip(config.servers, state.servers, strict=True)
        if server.alive
    )


def sorry_serves(config: VirtualServerConfig, state: ServiceState) -> bool:
    """Whether the sorry server stands in for all others."""
    return config.sorry is not None and not state.quorum_up


def wanted_pool(config: VirtualServerConfig, state: ServiceState, key: ServiceKey) -> Destinations:
    """The servers the kernel is to have for `key`, one of the service's keys.

    Servers of the other family are left out unless they are tunnelled to. DR and TUN keep the packet's port.
    """
    pool: Destinations = {}
    serving = not sorry_serves(config, state)
    for one, server in zip(config.servers, state.servers, strict=True):
        if serving and server.alive:
            weight = effective_weight(one, server)
        elif one.inhibit:
            weight = 0
        else:
            continue
        where = _where(one, key)
        if where is not None:
            pool[where] = Destination(
                weight=weight,
                forwarding=one.forwarding,
                upper_threshold=one.upper_threshold,
                lower_threshold=one.lower_threshold,
            )
    sorry = config.sorry
    if sorry is not None and (not serving or sorry.inhibit):
        where = _where(sorry, key)
        if where is not None and (not serving or where not in pool):
            pool[where] = Destination(weight=0 if serving else 1, forwarding=sorry.forwarding)
    return pool


def wanted_pools(config: VirtualServerConfig, state: ServiceState) -> Table:
    """The kernel's services for this one, with their servers."""
    made: dict[tuple[int, int], Destinations] = {}  # services that differ in their address only share a pool
    table: Table = {}
    six = msgspec.structs.replace(config.service, netmask=config.netmask6)
    for key in config.keys:
        shape = key.family, key.port
        pool = made.get(shape)
        if pool is None:
            pool = made[shape] = wanted_pool(config, state, key)
        table[key] = Pool(six if key.family == INET6 else config.service, pool)
    return table


def _where(server: RealServerConfig | SorryServerConfig, key: ServiceKey) -> DestinationKey | None:
    tunnelled = server.forwarding.method == Method.TUN
    if not tunnelled and (len(server.address) == 16) != (key.family == INET6):
        return None
    port = server.port if server.forwarding.method == Method.NAT else key.port
    return DestinationKey(server.address, port)


# -- what happens ------------------------------------------------------------------------------------------------


def begin(config: VirtualServerConfig) -> tuple[ServiceState, tuple[Effect, ...]]:
    """The state at the start: servers without alpha checks are up; the quorum counts as down until they reach it."""
    servers = tuple(ServerState(unproven=one.alpha_checks) if one.alpha_checks else _FRESH for one in config.servers)
    state = ServiceState(servers=servers, here=not config.ha_suspend)
    effects: list[Effect] = [ServerUp(number, at_start=True) for number, one in enumerate(servers) if one.alive]
    live = live_weight(config, state)
    if live >= _gain(config):
        state = msgspec.structs.replace(state, quorum_up=True)
        effects.append(QuorumGained(live))
    elif config.sorry is not None:
        effects.append(QuorumLost(live))
    if config.ha_suspend:
        effects.append(ChecksWanted(False))
    return state, (*effects, PoolChanged())


def step(config: VirtualServerConfig, state: ServiceState, event: Event) -> tuple[ServiceState, tuple[Effect, ...]]:
    """The state after `event`, and what is to be done, in order. What changes nothing has no effects."""
    if isinstance(event, AddressMoved):
        if event.here == state.here or not config.ha_suspend:
            return state, ()
        return msgspec.structs.replace(state, here=event.here), (ChecksWanted(event.here),)
    servers, effects = list(state.servers), list[Effect]()
    for number, one in enumerate(config.servers):
        before = servers[number]
        after = _after(one, before, number, event)
        if after is before:
            continue
        servers[number] = after
        effects += _server_effects(one, number, before, after)
    if servers == list(state.servers):
        return state, ()
    return _settled(config, msgspec.structs.replace(state, servers=tuple(servers)), effects)


def _after(config: RealServerConfig, server: ServerState, number: int, event: Event) -> ServerState:
    """The server after `event`; itself when nothing changed."""
    if isinstance(event, WeightHeld):
        if event.server != number or event.weight == server.held_weight:
            return server
        return msgspec.structs.replace(server, held_weight=event.weight)
    if isinstance(event, Climbed):
        climbing = event.server == number and server.tenths < FULL
        return msgspec.structs.replace(server, tenths=min(event.tenths, FULL)) if climbing else server
    if not isinstance(event, CheckReported) or event.check not in config.checks:
        return server
    check = event.check
    failed = without(server.failed, check) if event.ok else tuple(sorted({*server.failed, check}))
    unproven = without(server.unproven, check) if event.ok else server.unproven
    weights = server.weights
    if event.ok:  # a failed check says nothing of the weight: what it said stays for the return
        weights = tuple(one for one in weights if one.check != check)
        if event.weight is not None or event.added:
            weights = (*weights, CheckWeight(check, event.weight, event.added))
    after = msgspec.structs.replace(server, failed=failed, unproven=unproven, weights=weights)
    if after.alive != server.alive:
        after = msgspec.structs.replace(after, tenths=1 if after.alive and config.slow_start_ns else FULL)
    return server if after == server else after


def without(checks: tuple[int, ...], check: int) -> tuple[int, ...]:
    """`checks` less `check`."""
    return tuple(one for one in checks if one != check) if check in checks else checks


def _server_effects(
    config: RealServerConfig, number: int, before: ServerState, after: ServerState
) -> list[Effect]:
    effects: list[Effect] = []
    was, now = effective_weight(config, before), effective_weight(config, after)
    if was != now:
        effects.append(WeightChanged(number, was, now))
    if after.alive and not before.alive:
        effects.append(ServerUp(number))
    elif before.alive and not after.alive:
        effects.append(ServerDown(number))
    return effects


def _gain(config: VirtualServerConfig) -> int:
    return config.quorum + config.hysteresis


def _settled(
    config: VirtualServerConfig, state: ServiceState, effects: list[Effect]
) -> tuple[ServiceState, tuple[Effect, ...]]:
    """The quorum that follows from the servers, and whether the pool is another one."""
    live = live_weight(config, state)
    if state.quorum_up and (live == 0 or live < config.quorum - config.hysteresis):
        state = msgspec.structs.replace(state, quorum_up=False)
        effects.append(QuorumLost(live))
    elif not state.quorum_up and live >= _gain(config):
        state = msgspec.structs.replace(state, quorum_up=True)
        effects.append(QuorumGained(live))
    if any(not isinstance(effect, ChecksWanted) for effect in effects):
        effects.append(PoolChanged())
    return state, tuple(effects)


def end(config: VirtualServerConfig, state: ServiceState) -> tuple[Effect, ...]:
    """What is to be told when the service ends with the daemon: nothing without `omega`."""
    if not config.omega:
        return ()
    downs = [ServerDown(number, stopping=True) for number, one in enumerate(state.servers) if one.alive]
    return (*downs, QuorumLost(live_weight(config, state), stopping=True)) if state.quorum_up else tuple(downs)


# -- reload ------------------------------------------------------------------------------------------------------


def reload(
    old: VirtualServerConfig, state: ServiceState, new: VirtualServerConfig, kept: Mapping[int, int]
) -> tuple[ServiceState, tuple[Effect, ...], tuple[RealServerConfig, ...]]:
    """The service goes on with another configuration: (state, effects, servers that are gone and were up).

    `kept` gives the new number of each old check that goes on unchanged, with its verdict. Servers are the same when
    address and port agree. One that was up stays up, whatever new alpha checks it has; a failed one waits for those.
    """
    places = {(one.address, one.port): number for number, one in enumerate(old.servers)}
    servers, effects = [], list[Effect]()
    for number, one in enumerate(new.servers):
        place = places.pop((one.address, one.port), None)
        if place is None:
            fresh = ServerState(unproven=one.alpha_checks) if one.alpha_checks else _FRESH
            servers.append(fresh)
            if fresh.alive:
                effects.append(ServerUp(number, at_start=True))
            continue
        before = state.servers[place]
        after = _kept(one, before, kept)
        servers.append(after)
        was = effective_weight(old.servers[place], before)
        now = effective_weight(one, after)
        if was != now:
            effects.append(WeightChanged(number, was, now))
        if after.alive and not before.alive:
            effects.append(ServerUp(number))
    gone = tuple(old.servers[place] for place in places.values() if state.servers[place].alive)
    here = state.here if old.ha_suspend and new.ha_suspend else not new.ha_suspend
    changed = ServiceState(servers=tuple(servers), quorum_up=state.quorum_up, here=here)
    if here != state.here:
        effects.append(ChecksWanted(here))
    if old == new:
        return changed, tuple(effects), gone
    after_state, told = _settled(new, changed, effects)
    if not any(isinstance(one, PoolChanged) for one in told):
        told = (*told, PoolChanged())
    return after_state, told, gone


def _kept(config: RealServerConfig, server: ServerState, kept: Mapping[int, int]) -> ServerState:
    failed = tuple(sorted(kept[one] for one in server.failed if kept.get(one) in config.checks))
    weights = tuple(
        CheckWeight(kept[one.check], one.weight, one.added)
        for one in server.weights
        if kept.get(one.check) in config.checks
    )
    unproven: tuple[int, ...] = ()
    if not server.alive:
        proven = {kept[one] for one in kept if one not in server.unproven}
        unproven = tuple(one for one in config.alpha_checks if one not in proven)
    tenths = server.tenths if config.slow_start_ns else FULL
    return ServerState(
        failed=failed, unproven=unproven, weights=weights, held_weight=server.held_weight, tenths=tenths
    )
