"""What a process costs, and how numbers are summed up."""

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

ALL_CORES = os.sched_getaffinity(0)


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time used so far by these processes, user and system, by their CPU clocks (to the nanosecond)."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):  # clockid of a process: linux/posix-timers.h, CPUCLOCK_SCHED
            total += time.clock_gettime((~pid << 3) | 2)
    return total


def pss_mb(pids: Iterable[int]) -> float:
    """Proportional set size of these processes together, in MB of 10^6 bytes."""
    total_kb = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total_kb += int(line.split()[1])
    return total_kb * 1024 / 1e6


def median(values: Sequence[float]) -> float:
    """The middle value; nan when there is none."""
    return percentile(values, 50)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` percent lie (nearest rank); nan when there is none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(round(share / 100 * (len(ordered) - 1)), len(ordered) - 1)]


def realtime_scheduling(priority: int = 20) -> None:
    """The measuring process goes before all it measures, where that is allowed, and keeps to the last core.

    For measuring that sleeps between its readings only: in this class it would hold up the measured.
    """
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {max(ALL_CORES)})
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(priority))


def ordinary_scheduling() -> None:
    """Back to the ordinary class: what is started from here on must not inherit an advantage."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, ALL_CORES)
