"""`python -m bench [--only NAME]… [--quick] [--save]`: every line of the performance budget, beside keepalived."""

import argparse
import compileall
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import balancer, handover, load, page, start, takeover
from bench.table import Goal, Line, Measured, at_least_ratio, at_most, at_most_ratio, lines, machine, renewed, shown

HEALTH = "## Health checks"
RESULTS = Path(__file__).parent / "RESULTS.md"
N = load.COUNT

GOALS: dict[str, tuple[str, Goal]] = {
    f"{N} at 1 s: CPU as master": at_most_ratio(0.5),
    f"{N} at 1 s: CPU as backup": at_most_ratio(0.5),
    f"{N} at 0.1 s: CPU as master": at_most_ratio(0.5),
    f"{N} at 0.1 s: CPU as backup": at_most_ratio(0.5),
    f"{N} at 1 s: latest advert": at_most_ratio(1),
    f"{N} at 0.1 s: latest advert": at_most_ratio(1),
    f"{N} at 1 s: PSS as master": at_most(48),
    "1 instance: PSS of all processes": at_most(32),
    "exec to first advert (owner), median": at_most(250),
    "check of 66,000 lines of virtual servers": at_most(600),
    "check of 100,000 lines of instances": at_most_ratio(1),
    f"{N} fail over together: first to last address": at_most_ratio(0.5),
    f"reload of {N} at 0.1 s: longest gap beyond the interval": at_most(10),
} | {
    f"take-over at {ms} ms: deadline to {sign}, {which}": at_most_ratio(1)
    for ms in (10, 1000)
    for sign in ("address", "first GARP")
    for which in ("median", "p99")
} | {
    page.MASTER_CPU: at_most(0.25),
    page.BACKUP_CPU: at_most(0.25),
    page.MEMORY: at_most(1.05),
    page.LATER: at_most(0.5),
} | {
    "10 ms adverts beside busy cores, 60 s: false take-overs": at_most(0),
} | {
    what: at_most(most)
    for beside in ("", handover.BESIDE)
    for what, most in ((handover.HERE + beside, 2), (handover.AWAY + beside, 2))
} | {what: at_most(3) for what in (handover.STOP, handover.STOP_BESIDE)} | {
    balancer.IN_KERNEL: at_most(0.5),
    f"{balancer.SCALE}: PSS of all processes": at_most(300),
} | {
    f"{balancer.COUNT} {check} checks a second asked: CPU a check": at_most_ratio(1.5) for check in balancer.CHECKS
} | {
    f"{balancer.MORE} {check} checks a second asked: made": at_least_ratio(1) for check in balancer.CHECKS
}


def benchmarks(quick: bool) -> dict[str, Callable[[list[str]], Measured]]:
    """Every benchmark by its name, at the chosen length."""
    seconds = 5.0 if quick else 20.0
    return {
        "steady-1s": lambda p: load.steady(p, 1.0, seconds),
        "steady-100ms": lambda p: load.steady(p, 0.1, seconds / 2),
        "takeover-10ms": lambda p: takeover.deadlines(p, 0.01, 20 if quick else 200),
        "takeover-1s": lambda p: takeover.deadlines(p, 1.0, 3 if quick else 20),
        "handover": lambda p: handover.hand_overs(p, 1 if quick else 5),
        "together": lambda p: load.together(p, 1 if quick else 5, 1.0),
        "busy": lambda p: takeover.false_take_overs(p, 10 if quick else 60),
        "memory": load.memory,
        "start": lambda p: start.first_advert(p, 3 if quick else 15),
        "check": lambda p: start.check(p, 1 if quick else 5),
        "page": lambda p: page.page(p, 10 if quick else 15, 2 if quick else 4),
        "balancer": lambda p: balancer.balancer(p, 6 if quick else 20),
        "reload": lambda p: load.reload(p, 1 if quick else 5, 0.1),
    }


def _run(names: list[str], products: list[str], quick: bool) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for name in names:
        begun = time.monotonic()
        print(f"{name} …", end=" ", file=sys.stderr, flush=True)
        measured: Measured = {}
        for product in products:
            try:
                measured |= benchmarks(quick)[name]([product])
            except Exception as failure:
                print(f"\n{name}, {product}: {type(failure).__name__}: {failure}", file=sys.stderr)
        found[name] = lines(measured, GOALS)
        print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    return found


def main() -> int:
    """0 when every benchmark ran and every goal was met."""
    known = list(benchmarks(False))
    words = argparse.ArgumentParser(prog="bench", description=__doc__)
    words.add_argument("--only", action="append", choices=known, help="run only this one (may be repeated)")
    words.add_argument("--quick", action="store_true", help="short runs: a look, not a measurement")
    words.add_argument("--save", action="store_true", help=f"write {RESULTS.name}; with --only, these rows of it")
    words.add_argument("--product", action="append", choices=("holdfast", "keepalived"), help="only this one")
    chosen = words.parse_args()
    if os.geteuid() != 0:
        print("bench: run as root: real-time scheduling of the measuring process needs it", file=sys.stderr)
        return 1
    if not start.installed():
        print("bench: keepalived is not installed: apt-get install keepalived", file=sys.stderr)
        return 1
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # measured as installed: compiled once, not at every start
    compileall.compile_dir(RESULTS.parents[1] / "src", quiet=1)
    rows = _run(chosen.only or known, chosen.product or ["keepalived", "holdfast"], chosen.quick)
    every = [row for name in rows for row in rows[name]]
    print(f"\n{machine()}\n\n{shown(every)}")
    if chosen.save:
        text = re.sub(r"^\d+ × .*", f"{machine()}.", RESULTS.read_text(), count=1, flags=re.MULTILINE)
        text = renewed(text, [row for name in rows if name != "balancer" for row in rows[name]])
        RESULTS.write_text(renewed(text, rows.get("balancer", []), HEALTH))
    return 0 if all(row.met is not False and row.holdfast == row.holdfast for row in every) else 1


if __name__ == "__main__":
    sys.exit(main())
