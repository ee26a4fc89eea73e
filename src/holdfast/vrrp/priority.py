"""The effective priority: the base and what each tracker says now. Derived each time, never accumulated."""

from collections.abc import Iterable, Mapping

from holdfast.vrrp.config import OWNER, InstanceConfig, TrackedUse

FAULT_FROM = -254
"""A file's share of the priority at which it means FAULT; others are held to ±253."""

AWAITED = frozenset({"file", "process", "bfd"})
"""Kinds whose first verdict comes within moments: the router waits for it even where it is only a weight."""


def _share(use: TrackedUse, number: int) -> int:
    """What the number in a file comes to, before any limit."""
    return number * (-use.weight if use.reverse else use.weight)


def contribution(use: TrackedUse, verdict: int | None) -> int:
    """What one weighted tracker adds to the priority: +w when good, -w when bad, as the sign and `reverse` say.

    A file adds its number times the weight, -253 to 253. A verdict not known yet (None) adds nothing.
    """
    if verdict is None or use.weight == 0:
        return 0
    if use.kind == "file":
        return max(FAULT_FROM + 1, min(_share(use, verdict), -FAULT_FROM - 1))
    weight = -use.weight if use.reverse else use.weight
    # a positive weight rewards "up", a negative one punishes "down"; reverse turns the sign of what counts
    counts = verdict if use.weight > 0 else not verdict
    return weight if counts else 0


def fails(use: TrackedUse, verdict: int | None) -> bool:
    """Whether a tracker means FAULT now."""
    if verdict is None:
        return False
    if use.kind == "file":
        return _share(use, verdict) <= FAULT_FROM if use.weight else bool(verdict) != use.reverse
    return use.weight == 0 and bool(verdict) == use.reverse


def verdict_text(kind: str, verdict: int | None) -> str:
    """`up`, `down`; of a file its number."""
    if verdict is not None and kind == "file":
        return str(int(verdict))
    return "up" if verdict else "down"


def effective_priority(config: InstanceConfig, verdicts: Mapping[tuple[str, str], int | None]) -> int:
    """Base priority plus every contribution, held to 1..254; an address owner (255) stays 255.

    `verdicts` maps (kind, name) to up or down, the number of a file, or not known.
    """
    if config.priority == OWNER:
        return OWNER
    total = config.priority
    for use in config.trackers:
        if use.weight:
            total += contribution(use, verdicts.get((use.kind, use.name)))
    return min(max(total, 1), OWNER - 1)


def failed_trackers(uses: Iterable[TrackedUse], verdicts: Mapping[tuple[str, str], int | None]) -> list[str]:
    """The trackers that mean FAULT now, as text."""
    told = ((use, verdicts.get((use.kind, use.name))) for use in uses)
    return [f"{use.kind} {use.name} is {verdict_text(use.kind, up)}" for use, up in told if fails(use, up)]


def undecided_trackers(uses: Iterable[TrackedUse], verdicts: Mapping[tuple[str, str], int | None]) -> list[str]:
    """The trackers whose first verdict is still awaited: the router does not begin before."""
    return [
        use.name
        for use in uses
        if (use.weight == 0 or use.kind in AWAITED) and verdicts.get((use.kind, use.name)) is None
    ]
