"""The clocks. Only the edge reads them; everybody else is told the time."""

import time
from datetime import UTC, datetime

from holdfast.base.time import SECOND, Nanoseconds

monotonic_ns = time.monotonic_ns
wall_ns = time.time_ns
"""The time of day, ns since 1970: it steps when the clock is set."""


def asleep_ns() -> Nanoseconds:
    """How long this machine has been suspended in all since it booted (CLOCK_BOOTTIME less CLOCK_MONOTONIC)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()


def wall_text(at: Nanoseconds) -> str:
    """A point of the monotonic clock as ISO 8601 with milliseconds and the zone."""
    wall = time.time() - (time.monotonic_ns() - at) / SECOND
    return datetime.fromtimestamp(wall, UTC).astimezone().isoformat(timespec="milliseconds")
