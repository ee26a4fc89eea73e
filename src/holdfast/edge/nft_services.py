"""The other backend of the load balancer: the wanted table as an nftables table of our own (lvs/nftables.py).

It answers to what `edge/services.py` asks of IPVS. A run finds the chains of the one before by their names: its first
transaction makes all as it should be, and no established connection notices.
"""

import contextlib
import errno as errno_numbers
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from holdfast.base.ipvs import (
    INET6,
    Action,
    Counts,
    Destination,
    DestinationKey,
    Destinations,
    Operation,
    Pool,
    Service,
    ServiceKey,
    SyncDaemon,
    SyncRole,
    Table,
    Timeouts,
)
from holdfast.kernel.conntrack import ConntrackSocket, Tracked
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.namespaces import in_network
from holdfast.kernel.nft_run import Nft
from holdfast.lvs import nftables

FAMILIES = ("ip", "ip6")

FRESH_S = 0.5
"""What was counted is read again after so long."""

_ONLY_IPVS = "only IPVS has it: lvs_backend ipvs, and modprobe ip_vs"


class _Kept:
    """A service as the kernel has it, so far as was told."""

    def __init__(self) -> None:
        self.service: Service | None = None
        self.destinations: Destinations = {}
        self.dispatched: bool | None = None


class NftTable:
    """Asks nftables of this network namespace, or (`network`, a path) of another."""

    def __init__(self, network: str = "") -> None:
        """KernelRefused, with the cure, where it can't be."""
        self._network = network
        self._nft = Nft()
        self._kept: dict[ServiceKey, _Kept] = {}
        self._objects: dict[str, set[str]] = {}  # family → names of chains and sets that are there
        self._begun: set[str] = set()  # families whose prologue was carried out in this run
        self._said: dict[ServiceKey, str] = {}
        self._connections: tuple[float, list[Tracked]] = 0.0, []
        self._counted: tuple[float, dict[str, int]] = 0.0, {}
        with self._there():
            self._tracking = ConntrackSocket()
            self._look()

    def _there(self) -> AbstractContextManager[None]:
        return in_network(self._network) if self._network else contextlib.nullcontext()

    def _look(self) -> None:
        """Which chains and sets there are; KernelRefused when our table's name is somebody else's."""
        for family in FAMILIES:
            rows = self._nft.listed("table", family, nftables.TABLE)
            if rows and f'comment "{nftables.COMMENT}"' not in self._nft.shown("table", family, nftables.TABLE):
                cure = f"delete it (nft delete table {family} {nftables.TABLE})"
                raise KernelRefused("make the table", nftables.TABLE, errno_numbers.EEXIST, cure)
            self._objects[family] = {row[kind]["name"] for row in rows for kind in ("chain", "set") if kind in row}

    # ---- the table --------------------------------------------------------------------------------------------------

    def services(self) -> dict[ServiceKey, Service]:
        """Every service of ours."""
        return {key: kept.service for key, kept in self._kept.items() if kept.service is not None}

    def table(self, keys: Iterable[ServiceKey] | None = None) -> Table:
        """Those of `keys` that are there; what a run before has left counts as different from anything wanted."""
        found: Table = {}
        for key in self._kept if keys is None else keys:
            kept = self._kept.get(key)
            if kept is not None and kept.service is not None:
                found[key] = Pool(kept.service, dict(kept.destinations))
            elif kept is None and nftables.service_chain(key) in self._objects[nftables.family_of(key)]:
                found[key] = Pool(Service(scheduler=""), {})
        return found

    def apply(self, steps: Sequence[Operation]) -> list[int]:
        """Carry out `steps`, all in one transaction; where that fails, service by service. An errno for each."""
        keys = list(dict.fromkeys(step.key for step in steps))
        before = {key: self._kept.get(key) for key in keys}
        for key in keys:
            self._kept[key] = _copy(before[key])
        for step in steps:
            self._take(step)
        self._said = {}
        said = self._write(keys)
        if said:
            for key in keys:
                alone = self._write([key]) if len(keys) > 1 else said
                if alone:
                    self._said[key] = alone
        for key in keys:
            kept = self._kept[key]
            if key in self._said:
                self._forget(key, before[key])
            elif kept.service is None:
                del self._kept[key]
        return [errno_numbers.EINVAL if step.key in self._said else self._refused(step) for step in steps]

    def _forget(self, key: ServiceKey, before: _Kept | None) -> None:
        if before is None:
            self._kept.pop(key, None)
        else:
            self._kept[key] = before

    @staticmethod
    def _refused(step: Operation) -> int:
        """What nftables can't do, whatever the kernel is."""
        one, where = step.destination, step.destination_key
        if one is not None and where is not None and not nftables.usable(step.key, where, one):
            return errno_numbers.EOPNOTSUPP
        return 0

    def _take(self, step: Operation) -> None:
        kept = self._kept[step.key]
        if step.action is Action.DELETE_SERVICE:
            kept.service, kept.destinations = None, {}
        elif step.service is not None:
            kept.service = step.service
        elif step.action is Action.DELETE_DESTINATION and step.destination_key is not None:
            kept.destinations.pop(step.destination_key, None)
        elif step.destination_key is not None and step.destination is not None:
            kept.destinations[step.destination_key] = step.destination

    def _write(self, keys: Sequence[ServiceKey]) -> str:
        """One transaction for these services; "" or what nft said."""
        lines: list[str] = []
        begun = {nftables.family_of(key) for key in keys} - self._begun
        for family in sorted(begun):
            lines += nftables.prologue(family)
            lines += self._stale(family)
        told = {key: self._service(key, nftables.family_of(key) in begun, lines) for key in keys}
        with self._there():
            said = self._nft.script(lines) if lines else ""
            if not said:
                self._begun |= begun
                for key, dispatched in told.items():
                    self._kept[key].dispatched = dispatched
                self._note(keys, begun)
        return said

    def _service(self, key: ServiceKey, fresh: bool, lines: list[str]) -> bool | None:
        """The lines of one service; how it is dispatched afterwards. `fresh`: the maps were just emptied."""
        kept = self._kept[key]
        before = None if fresh else kept.dispatched
        chains, sets = self._names(key)
        there = nftables.service_chain(key) in self._objects[nftables.family_of(key)]
        if kept.service is None:
            lines += nftables.dispatch(key, None, before)
            lines += nftables.removal_lines(key, chains, sets) if there else []
            return None
        pool = Pool(kept.service, kept.destinations)
        served = nftables.serves(key, pool)
        lines += nftables.service_lines(key, pool, chains, sets)
        lines += nftables.dispatch(key, served, before)
        return served

    def _names(self, key: ServiceKey) -> tuple[list[str], list[str]]:
        """The chains of a service's servers, and their sets, that are there."""
        prefix = f"{nftables.service_chain(key)}/"
        names = [name for name in self._objects[nftables.family_of(key)] if name.startswith(prefix)]
        return [one for one in names if one.count("/") == 1], [one for one in names if one.count("/") == 2]

    def _stale(self, family: str) -> list[str]:
        """What removes the chains of services that nobody wants any more, from a run that left no list of them."""
        known = {nftables.service_chain(key) for key in self._kept}
        left = {name.partition("/")[0] for name in self._objects[family] if name.startswith(_OURS)} - known
        names = [name for name in self._objects[family] if name.partition("/")[0] in left]
        chains = [name for name in names if name.count("/") < 2]
        sets = [name for name in names if name.count("/") == 2]
        lines = [f"flush chain {family} {nftables.TABLE} {name}" for name in chains]
        lines += [f"delete chain {family} {nftables.TABLE} {name}" for name in chains]
        return lines + [f"delete set {family} {nftables.TABLE} {name}" for name in sets]

    def _note(self, keys: Sequence[ServiceKey], begun: set[str]) -> None:
        """What is there now, as it follows from what was written."""
        for family in begun:
            known = {nftables.service_chain(key) for key in self._kept}
            self._objects[family] = {one for one in self._objects[family] if one.partition("/")[0] in known}
        for key in keys:
            kept, names = self._kept[key], self._objects[nftables.family_of(key)]
            name = nftables.service_chain(key)
            names -= {one for one in names if one == name or one.startswith(f"{name}/")}
            if kept.service is None:
                continue
            names.add(name)
            for where, one in kept.destinations.items():
                if nftables.usable(key, where, one):
                    names.add(nftables.server_chain(key, where))
                    if nftables.persistent(kept.service):
                        names.add(nftables.sticky_set(key, where, kept.service))

    def flush(self) -> None:
        """Remove our table; others are not touched."""
        with self._there():
            for family in FAMILIES:
                if self._nft.listed("table", family, nftables.TABLE):
                    self._nft.script([f"delete table {family} {nftables.TABLE}"])
        self._kept, self._begun = {}, set()
        self._objects = {family: set() for family in FAMILIES}

    def forget(self) -> None:
        """Nothing is balanced any more: the empty table goes as well."""
        if not self._kept:
            self.flush()

    def refusal(self, step: Operation, errno: int) -> KernelRefused:
        """What nftables said to `step`, with a cure."""
        if errno == errno_numbers.EOPNOTSUPP:
            cure = "nftables does NAT within one family: make it NAT, or use IPVS (lvs_backend ipvs)"
            return KernelRefused(step.text(), "", errno, cure)
        said = self._said.get(step.key, "")
        return KernelRefused(step.text(), "", errno, f"nft said: {said}; is the kernel's nf_tables complete?")

    # ---- counts -----------------------------------------------------------------------------------------------------

    def service_counts(self) -> dict[ServiceKey, Counts]:
        """Nothing: only servers are counted here."""
        return {}

    def server_counts(self, key: ServiceKey) -> dict[DestinationKey, Counts]:
        """What was counted for the servers of one service; octets only of connections that are there now."""
        kept = self._kept.get(key)
        if kept is None:
            return {}
        begun = self._begun_connections(nftables.family_of(key))
        found: dict[DestinationKey, Counts] = {}
        for where in kept.destinations:
            mine = [one for one in self._tracked() if _is_of(one, key, where)]
            found[where] = Counts(
                connections=begun.get(nftables.server_chain(key, where), 0),
                active=sum(one.established for one in mine),
                inactive=sum(not one.established for one in mine),
                bytes_in=sum(one.bytes_in for one in mine),
                bytes_out=sum(one.bytes_out for one in mine),
            )
        return found

    def _tracked(self) -> list[Tracked]:
        now = time.monotonic()
        if now - self._connections[0] > FRESH_S:
            six = any(key.family == INET6 for key in self._kept)
            found = [*self._tracking.connections(False), *(self._tracking.connections(True) if six else ())]
            self._connections = time.monotonic(), found
        return self._connections[1]

    def _begun_connections(self, family: str) -> dict[str, int]:
        """How many connections were given to each server, by the name of its chain."""
        now = time.monotonic()
        if now - self._counted[0] > FRESH_S:
            with self._there():
                rows = [row for one in FAMILIES for row in self._nft.listed("table", one, nftables.TABLE)]
            counted = {row["rule"]["chain"]: _packets(row["rule"]) for row in rows if "rule" in row}
            self._counted = time.monotonic(), counted
        return self._counted[1]

    # ---- what only IPVS has -----------------------------------------------------------------------------------------

    def timeouts(self) -> Timeouts:
        """KernelRefused."""
        raise KernelRefused("read the timeouts of connections", "", errno_numbers.EOPNOTSUPP, _ONLY_IPVS)

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """KernelRefused."""
        raise KernelRefused("set the timeouts of connections", "", errno_numbers.EOPNOTSUPP, _ONLY_IPVS)

    def daemons(self) -> dict[SyncRole, SyncDaemon]:
        """There are none."""
        return {}

    def start_daemon(self, role: SyncRole, daemon: SyncDaemon) -> None:
        """KernelRefused."""
        raise KernelRefused("synchronise connections", "", errno_numbers.EOPNOTSUPP, _ONLY_IPVS)

    def stop_daemon(self, role: SyncRole) -> None:
        """There is none."""


_OURS = ("tcp_", "udp_", "sctp_", "mark_", "ip")


def _copy(kept: _Kept | None) -> _Kept:
    fresh = _Kept()
    if kept is not None:
        fresh.service, fresh.dispatched = kept.service, kept.dispatched
        fresh.destinations = dict[DestinationKey, Destination](kept.destinations)
    return fresh


def _packets(rule: dict[str, Any]) -> int:
    return sum(int(one["counter"]["packets"]) for one in rule.get("expr", ()) if "counter" in one)


def _is_of(one: Tracked, key: ServiceKey, where: DestinationKey) -> bool:
    """Whether a connection is one of that service's with that server."""
    if one.answering != where.address or one.asked == one.answering:
        return False
    port = where.port or one.asked_port
    if not key.address:
        return one.answering_port == port
    asked = one.asked == key.address and (not key.port or one.asked_port == key.port)
    return asked and one.protocol == key.protocol and one.answering_port == port
