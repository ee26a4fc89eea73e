"""Time as the machines know it: integer nanoseconds of CLOCK_MONOTONIC, passed in, never read."""

from typing import TypeAlias

Nanoseconds: TypeAlias = int
"""A point on the monotonic clock, or a span; always an integer."""

MICROSECOND: Nanoseconds = 1_000
MILLISECOND: Nanoseconds = 1_000_000
CENTISECOND: Nanoseconds = 10_000_000
SECOND: Nanoseconds = 1_000_000_000


def seconds(value: float) -> Nanoseconds:
    """`value` seconds in nanoseconds, rounded to the nearest."""
    return round(value * SECOND)


def span_text(span_ns: Nanoseconds) -> str:
    """A span as people read it: `350 µs`, `12.5 ms`, `3.609 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`."""
    if span_ns < 0:
        return "-" + span_text(-span_ns)
    # what would round up to 1000 µs, 1000 ms or 60 s is shown in the next unit
    if span_ns < 999_500:
        return f"{span_ns / MICROSECOND:.3g} µs"
    if span_ns < 999_950_000:
        return f"{max(span_ns, MILLISECOND) / MILLISECOND:.4g} ms"
    if span_ns < 59_995_000_000:
        return f"{max(span_ns, SECOND) / SECOND:.4g} s"
    whole = max(span_ns // SECOND, 60)
    for unit, size, lesser, lesser_size in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // lesser_size
            return f"{whole // size} {unit} {rest} {lesser}" if rest else f"{whole // size} {unit}"
    raise AssertionError("unreachable: the span is at least a minute")
