"""The effective priority: the base and what each tracker says now. Derived each time, never accumulated."""

from collections.abc import Iterable, Mapping

from holdfast.vrrp.config import OWNER, InstanceConfig, TrackedUse


def contribution(use: TrackedUse, up: bool | None) -> int:
    """What one weighted tracker adds to the priority: +w when good, -w when bad, as the sign and `reverse` say.

    A verdict not known yet (None) adds nothing.
    """
    if up is None or use.weight == 0:
        return 0
    weight = -use.weight if use.reverse else use.weight
    # a positive weight rewards "up", a negative one punishes "down"; reverse turns the sign of what counts
    counts = up if use.weight > 0 else not up
    return weight if counts else 0


def effective_priority(config: InstanceConfig, verdicts: Mapping[tuple[str, str], bool | None]) -> int:
    """Base priority plus every contribution, held to 1..254; an address owner (255) stays 255.

    `verdicts` maps (kind, name) to up, down or not known.
    """
    if config.priority == OWNER:
        return OWNER
    total = config.priority
    for use in config.trackers:
        if use.weight:
            total += contribution(use, verdicts.get((use.kind, use.name)))
    return min(max(total, 1), OWNER - 1)


def failed_trackers(uses: Iterable[TrackedUse], verdicts: Mapping[tuple[str, str], bool | None]) -> list[str]:
    """The unweighted trackers that mean FAULT now, as text."""
    failed = []
    for use in uses:
        if use.weight == 0:
            up = verdicts.get((use.kind, use.name))
            if up is not None and up == use.reverse:
                failed.append(f"{use.kind} {use.name} is {'up' if up else 'down'}")
    return failed


def undecided_trackers(uses: Iterable[TrackedUse], verdicts: Mapping[tuple[str, str], bool | None]) -> list[str]:
    """The unweighted trackers whose first verdict is still awaited: the router does not begin before."""
    return [use.name for use in uses if use.weight == 0 and verdicts.get((use.kind, use.name)) is None]
