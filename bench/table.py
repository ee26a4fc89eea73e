"""The one table at the end."""

import platform
import re
import subprocess
import sys
from collections.abc import Callable
from math import isnan
from pathlib import Path

import msgspec

from bench.sites import cores
from holdfast.lab.daemons import keepalived

HEAD = ("what", "unit", "holdfast", "keepalived", "ratio", "goal", "")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One measured quantity of both; `goal` says what is asked, `met` answers (None: nothing is asked)."""

    what: str
    unit: str
    holdfast: float
    keepalived: float
    goal: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.holdfast / self.keepalived if self.keepalived else float("nan")


Measured = dict[str, list[tuple[str, str, float]]]
"""What one benchmark gave: product → (what, unit, value), the same rows for each product."""

Goal = Callable[[float, float], bool]


def at_most_ratio(limit: float) -> tuple[str, Goal]:
    return f"≤ {limit:g}×", lambda ours, theirs: ours <= theirs * limit


def at_least_ratio(limit: float) -> tuple[str, Goal]:
    return f"≥ {limit:g}×", lambda ours, theirs: ours >= theirs * limit


def at_most(limit: float) -> tuple[str, Goal]:
    return f"≤ {limit:g}", lambda ours, _theirs: ours <= limit


def lines(measured: Measured, goals: dict[str, tuple[str, Goal]]) -> list[Line]:
    """Pair the products' rows."""
    nothing: list[tuple[str, str, float]] = []
    ours, theirs = measured.get("holdfast", nothing), measured.get("keepalived", nothing)
    values = {what: value for what, _unit, value in theirs}
    own = {what: value for what, _unit, value in ours}
    paired = []
    for what, unit, _value in ours or theirs:
        mine, other = own.get(what, float("nan")), values.get(what, float("nan"))
        goal, test = goals.get(what, ("", None))
        met = None if test is None or isnan(mine) else test(mine, other)
        paired.append(Line(what=what, unit=unit, holdfast=mine, keepalived=other, goal=goal, met=met))
    return paired


def _number(value: float) -> str:
    return "–" if isnan(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def shown(rows: list[Line], before: str = "") -> str:
    """The table, in Markdown that reads well as it is; rows of the table `before` that are not among them stay."""
    cells = [
        (
            row.what, row.unit, _number(row.holdfast), _number(row.keepalived),
            "–" if isnan(row.ratio) else f"{row.ratio:.2f}×", row.goal,
            "" if row.met is None else "met" if row.met else "MISSED",
        )
        for row in rows
    ]  # fmt: skip
    fresh = {line[0]: line for line in cells}
    kept = [fresh.pop(line[0], line) for line in _cells(before)]
    table = [HEAD, *kept, *fresh.values()]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    ruled = [table[0], tuple("-" * width for width in widths), *table[1:]]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in ruled)


def _cells(table: str) -> list[tuple[str, ...]]:
    lines = [line.strip("| ").split("|") for line in table.splitlines()[2:] if line.startswith("|")]
    stripped = [[cell.strip() for cell in line] for line in lines]
    return [(*cells, *("",) * len(HEAD))[: len(HEAD)] for cells in stripped]


def renewed(document: str, rows: list[Line], of_section: str = "") -> str:
    """`document` with the rows of one section's table renewed: that under the heading, or the first of all."""
    at = document.index(of_section)
    table = re.compile(r"(?:^\|.*\n)+", re.MULTILINE).search(document, at)
    assert table is not None, f"no table under {of_section!r}"
    return document[: table.start()] + shown(rows, table.group()) + "\n" + document[table.end() :]


def machine() -> str:
    """What it was measured on."""
    version = subprocess.run([keepalived(), "--version"], capture_output=True, text=True, check=False).stderr
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return (
        f"{cores()} × {model}, Linux {platform.release()}, Python {sys.version.split()[0]}, "
        f"{version.splitlines()[0].split(' (')[0] if version else 'keepalived'} with -G"
    )
