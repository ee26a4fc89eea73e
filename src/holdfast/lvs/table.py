"""The wanted table and the one that is there: what turns one into the other, in as few steps as there are differences.

The steps of a service come in an order that never leaves it emptier than both tables have it: servers are added
before others are removed, a service is added before its servers, and what is no longer wanted goes last.
"""

from collections.abc import Collection, Iterable, Iterator

from holdfast.base.address import parse
from holdfast.base.ipvs import (
    INET,
    INET6,
    PROTOCOL_NUMBERS,
    Action,
    Destinations,
    Operation,
    ServiceKey,
    Table,
)


def difference(wanted: Table, actual: Table, gone: Iterable[ServiceKey] = ()) -> list[Operation]:
    """What turns `actual` into `wanted`, nothing when they agree. Of other services only those of `gone` are removed.

    A service that only `actual` has is somebody else's, unless `gone` names it.
    """
    steps: list[Operation] = []
    for key, pool in wanted.items():
        present = actual.get(key)
        if present is None:
            steps.append(Operation(Action.NEW_SERVICE, key, pool.service))
            steps += _servers(key, pool.destinations, {})
        elif present is not pool:
            if present.service != pool.service:
                steps.append(Operation(Action.SET_SERVICE, key, pool.service))
            if present.destinations is not pool.destinations:
                steps += _servers(key, pool.destinations, present.destinations)
    steps += [Operation(Action.DELETE_SERVICE, key) for key in gone if key in actual and key not in wanted]
    return steps


def _servers(key: ServiceKey, wanted: Destinations, actual: Destinations) -> Iterator[Operation]:
    for where, destination in wanted.items():
        present = actual.get(where)
        if present is None:
            yield Operation(Action.NEW_DESTINATION, key, None, where, destination)
        elif present != destination:
            yield Operation(Action.SET_DESTINATION, key, None, where, destination)
    for where in actual:
        if where not in wanted:
            yield Operation(Action.DELETE_DESTINATION, key, None, where)


# -- which services are ours -------------------------------------------------------------------------------------


def keys_text(keys: Collection[ServiceKey]) -> str:
    """The services as lines, sorted: what a run leaves behind for the next, so that it knows what is ours."""
    return "".join(sorted(f"{key.text()}\n" for key in keys))


def read_keys(lines: str) -> frozenset[ServiceKey]:
    """The services `keys_text` wrote; lines that say nothing usable are passed over."""
    return frozenset(key for line in lines.splitlines() if (key := _key(line.split())) is not None)


def _key(words: list[str]) -> ServiceKey | None:
    try:
        if words[0] == "fwmark":
            family = {"inet": INET, "inet6": INET6}[words[2]]
            return ServiceKey(family, fwmark=int(words[1])) if 0 < int(words[1]) < 2**32 else None
        where, _, port = words[1].rpartition(":")
        address = parse(where.strip("[]"))
        if not 0 <= int(port) <= 65535:
            return None
        return ServiceKey(INET if len(address) == 4 else INET6, PROTOCOL_NUMBERS[words[0]], address, int(port))
    except (IndexError, KeyError, ValueError):
        return None
