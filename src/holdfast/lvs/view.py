"""What an operator sees of the load balancer: `virtual_servers` of `status --json`."""

from collections.abc import Callable, Iterable
from typing import Any

from holdfast.base.address import text
from holdfast.base.ipvs import PROTOCOL_NAMES
from holdfast.lvs.config import RealServerConfig, VirtualServerConfig
from holdfast.lvs.machine import FULL, ServerState, ServiceState, effective_weight, live_weight, sorry_serves

Checks = Callable[[int], dict[str, Any]]
"""A check's row by its number: `kind`, `ok`, `since`, `last_run`, `detail`."""


def service_row(config: VirtualServerConfig, state: ServiceState, checks: Checks) -> dict[str, Any]:
    """One virtual server."""
    sorry = config.sorry
    return {
        "name": config.name,
        "protocol": PROTOCOL_NAMES.get(config.protocol, "").upper(),
        "forwarding": config.forwarding.name,
        "scheduler": config.service.scheduler,
        "label": config.label,
        "quorum": config.quorum,
        "hysteresis": config.hysteresis,
        "live_weight": live_weight(config, state),
        "quorum_met": state.quorum_up,
        "suspended": not state.here,
        "real_servers": [
            server_row(one, server, serving=not sorry_serves(config, state), checks=map(checks, one.checks))
            for one, server in zip(config.servers, state.servers, strict=True)
        ],
        "sorry_server": None
        if sorry is None
        else {"address": text(sorry.address), "port": sorry.port, "active": sorry_serves(config, state)},
    }


def server_row(
    config: RealServerConfig, server: ServerState, *, serving: bool, checks: Iterable[dict[str, Any]]
) -> dict[str, Any]:
    """One real server; `state` says in a word why it does or doesn't get connections.

    up; drained (weight 0 by an operator); idle (weight 0); waiting (alpha); down; aside (the sorry server serves).
    """
    weight = effective_weight(config, server)
    if server.failed:
        word = "down"
    elif server.unproven:
        word = "waiting"
    elif not serving:
        word = "aside"
    elif weight == 0:
        word = "drained" if server.held_weight == 0 else "idle"
    else:
        word = "up"
    return {
        "address": text(config.address),
        "port": config.port,
        "weight": config.weight,
        "effective_weight": weight,
        "held_weight": server.held_weight,
        "inhibit_on_failure": config.inhibit,
        "alive": server.alive,
        "slow_start_percent": None if server.tenths == FULL else server.tenths * 100 // FULL,
        "state": word,
        "checks": list(checks),
    }
