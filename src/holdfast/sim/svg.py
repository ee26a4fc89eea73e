"""Trials as one picture: SVG that needs nothing else, and is as readable on a dark page as on a light one."""

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds, span_text
from holdfast.sim.report import Row, Simulation
from holdfast.sim.timeline import meaning, tick_ns, window
from holdfast.sim.trial import Track

WIDTH = 920
LEFT, RIGHT = 150, 24
LANE, LANE_GAP = 14, 7
LETTERS = 132
"""So many letters of a verdict go into one line."""

STYLE = """
text { font: 13px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #24292f }
.head { font-size: 17px; font-weight: 600 }
.name { font-size: 14px; font-weight: 600 }
.note, .tick { fill: #57606a; font-size: 12px }
.tick { font-size: 11px }
.page { fill: #ffffff }
.panel { fill: #f6f8fa; stroke: #d0d7de }
.line { stroke: #afb8c1; stroke-width: 1 }
.mark { stroke: #9a6700; stroke-width: 1.5; stroke-dasharray: 4 3 }
.said { fill: #9a6700; font-size: 12px }
.MASTER { fill: #1a7f5a }
.BACKUP { fill: #b6c7d9 }
.INIT { fill: #dfe5eb }
.FAULT { fill: #bc4c00 }
.off { fill: none; stroke: #afb8c1; stroke-dasharray: 2 3 }
.frozen { fill: #8250df }
.one { fill: #1f6feb }
.several { fill: #bf8700 }
.nobody { fill: #cf222e }
.outage { fill: #ffffff; font-size: 11px; font-weight: 600 }
.good { fill: #1a7f37 } .odd, .split { fill: #9a6700 } .bad { fill: #cf222e } .none { fill: #57606a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note, .tick { fill: #9da7b3 }
  .page { fill: #0d1117 }
  .panel { fill: #161b22; stroke: #30363d }
  .line, .off { stroke: #484f58 }
  .mark { stroke: #d29922 }
  .said { fill: #e3b341 }
  .MASTER { fill: #2ea97a }
  .BACKUP { fill: #3d4f63 }
  .INIT { fill: #2a323c }
  .FAULT { fill: #db6d28 }
  .frozen { fill: #a371f7 }
  .one { fill: #388bfd }
  .several { fill: #d29922 }
  .nobody { fill: #f85149 }
  .outage { fill: #ffffff }
  .good { fill: #3fb950 } .odd, .split { fill: #d29922 } .bad { fill: #f85149 } .none { fill: #9da7b3 }
}
"""

LEGEND = (
    ("MASTER", "master"),
    ("BACKUP", "backup"),
    ("FAULT", "fault"),
    ("frozen", "stalled"),
    ("off", "off"),
    ("one", "address served"),
    ("several", "by two"),
    ("nobody", "by nobody"),
)


def picture(simulation: Simulation) -> str:
    """The SVG document: a panel for each single fault (or each one asked for), and a legend."""
    body: list[str] = []
    names = ", ".join(node.name for node in simulation.cluster.nodes)
    body.append(_text(24, 34, f"holdfast simulate: {names}", "head"))
    top = 50.0
    body += _legend(top)
    top += 30
    for _, rows in simulation.singles:
        for row in rows:
            panel, height = _panel(row, top)
            body += panel
            top += height + 14
    height = round(top + 6)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="What faults do to {escape(names)}">'
    )
    page = f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", page, *body, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    anchor = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}{anchor}>{escape(words)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str, round_by: int = 2, title: str = "") -> str:
    inside = f"<title>{escape(title)}</title>" if title else ""
    shape = f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{round_by}"'
    return f"{shape}>{inside}</rect>" if inside else f"{shape}/>"


def _legend(top: float) -> Iterator[str]:
    x = 24.0
    for kind, word in LEGEND:
        yield _rect(x, top, 22, 11, kind)
        yield _text(x + 28, top + 10, word, "note")
        x += 46 + 6.6 * len(word)


def _panel(row: Row, top: float) -> tuple[list[str], float]:
    """One fault: its name, its verdict, a lane a host and address, the axis; and how high that is."""
    said = _wrapped(row.verdict.text())
    tracks = [track for track in row.trial.tracks if track.router == row.routers[0]]
    begin, end = window(row.trial)
    x_of = _Scale(begin, end)
    body = [
        f'<circle class="{row.verdict.grade}" cx="38" cy="{top + 20:.1f}" r="5"/>',
        _text(50, top + 25, _title(row), "name"),
        *(_text(50, top + 44 + 16 * number, line, "note") for number, line in enumerate(said)),
    ]
    lanes_top = top + 44 + 16 * len(said) + 14
    lanes_end = lanes_top + len(tracks) * (LANE + LANE_GAP)
    for at in _ticks(row.trial.begun_ns, begin, end):
        x = x_of(at)
        body.append(f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{lanes_end:.1f}" y2="{lanes_end + 5:.1f}"/>')
        body.append(_text(x, lanes_end + 18, f"{(at - row.trial.begun_ns) / SECOND:g} s", "tick", "middle"))
    for number, track in enumerate(tracks):
        body += _lane(track, x_of, lanes_top + number * (LANE + LANE_GAP), row.trial.begun_ns)
    body += _marks(row, x_of, lanes_top, lanes_end)
    height = lanes_end + 28 - top
    return [_rect(14, top, WIDTH - 28, height, "panel", 8), *body], height


def _title(row: Row) -> str:
    several = f"  ({', '.join(row.routers[:3])}{' …' if len(row.routers) > 3 else ''})"
    return row.trial.text + (several if len({one.router.name for one in row.trial.outcomes}) > 1 else "")


class _Scale:
    """Where a time stands in the picture."""

    def __init__(self, begin: Nanoseconds, end: Nanoseconds) -> None:
        self.begin, self.end = begin, end

    def __call__(self, at: Nanoseconds) -> float:
        inside = min(max(at, self.begin), self.end)
        return LEFT + (WIDTH - LEFT - RIGHT - 14) * (inside - self.begin) / (self.end - self.begin)


def _ticks(zero: Nanoseconds, begin: Nanoseconds, end: Nanoseconds) -> Iterator[Nanoseconds]:
    step = tick_ns(end - begin, 10)
    at = zero
    while at <= end:
        yield at
        at += step


def _lane(track: Track, x_of: _Scale, y: float, fault_ns: Nanoseconds) -> Iterator[str]:
    """One host, or one address; words come last, so that nothing covers them."""
    said = []
    yield _text(LEFT - 10, y + LANE - 3, _short(track.name), "", "end")
    for begin, end, state in track.spans:
        if end <= x_of.begin or begin >= x_of.end:
            continue
        kind = meaning(track, state)
        left, right = x_of(begin), x_of(end)
        shown = f"{state if kind not in ('one', 'several') else f'served by {state}'}: {span_text(end - begin)}"
        yield _rect(left, y, max(right - left, 1.2), LANE, kind, title=shown)
        if kind == "nobody" and begin >= fault_ns and end - begin >= MILLISECOND:
            words = span_text(end - begin) if end < x_of.end else "nobody"
            if right - left > 8 * len(words):
                said.append(_text((left + right) / 2, y + LANE - 3, words, "outage", "middle"))
            elif right + 8 * len(words) < WIDTH - RIGHT:
                said.append(_text(right + 5, y + LANE - 3, words, "outage"))
    yield from said


def _marks(row: Row, x_of: _Scale, top: float, bottom: float) -> Iterator[str]:
    """What was done, as dashed lines with words; words that would stand on each other are left to the next line."""
    free = 0.0
    for at, words in row.trial.marks:
        if at < x_of.begin:
            continue
        x = x_of(at)
        yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 5:.1f}" y2="{bottom:.1f}"/>'
        width = 6.4 * len(words)
        if x >= free:
            beyond = x + width > WIDTH - RIGHT
            yield _text(x - 2 if beyond else x + 2, top - 8, words, "said", "end" if beyond else "")
            free = x + width + 8


def _short(name: str) -> str:
    return name if len(name) <= 20 else name[:19] + "…"


def _wrapped(words: str) -> Sequence[str]:
    lines: list[str] = [""]
    for word in words.split():
        if len(lines[-1]) + 1 + len(word) > LETTERS and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
