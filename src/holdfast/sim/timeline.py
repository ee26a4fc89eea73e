"""A trial as a picture of text: a line a host, a line an address, and what happened below."""

from collections.abc import Iterable, Sequence

from holdfast.base.time import SECOND, Nanoseconds, span_text
from holdfast.sim.report import events
from holdfast.sim.trial import Track, Trial

SIGNS = {
    "MASTER": ("█", "#"),
    "BACKUP": ("─", "-"),
    "INIT": ("·", "."),
    "FAULT": ("×", "x"),
    "off": (" ", " "),
    "frozen": ("▒", "%"),
    "one": ("━", "="),
    "several": ("▓", "2"),
    "nobody": (" ", " "),
}
"""How each state is drawn: in Unicode, and in ASCII."""

LEGEND = (
    ("MASTER", "master"),
    ("BACKUP", "backup"),
    ("FAULT", "fault"),
    ("frozen", "stalled"),
    ("several", "two serve"),
)
STEPS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
STEPS_NS = tuple(round(step * SECOND) for step in STEPS_S)


def window(trial: Trial) -> tuple[Nanoseconds, Nanoseconds]:
    """From when to when a picture of the trial should go: from a little before the fault until nothing happens."""
    last = max([entry.at_ns for entry in events(trial)] + [at for at, _ in trial.marks], default=trial.begun_ns)
    last = max([last] + [begin for track in trial.tracks for begin, _, _ in track.spans])
    span_ns = max(last - trial.begun_ns, SECOND // 10)
    return trial.begun_ns - span_ns // 10, last + span_ns // 8


def tick_ns(span_ns: Nanoseconds, room: int) -> Nanoseconds:
    """A round distance between marks on the axis, so that at most `room` of them stand there."""
    return next((step for step in STEPS_NS if span_ns / step <= room), STEPS_NS[-1] * 24)


def meaning(track: Track, state: str) -> str:
    """The state of an address's line (the names of who serves it) as one of SIGNS; a host's is one already."""
    if state in SIGNS:
        return state
    served = len(state.split())
    return "several" if served > 1 else "one" if served else "nobody"


def draw(trial: Trial, routers: Sequence[str], width: int = 100, *, plain: bool = False) -> list[str]:
    """The lines of the picture of some routers; `plain`: in ASCII."""
    begin, end = window(trial)
    tracks = [track for track in trial.tracks if track.router in routers]
    several = len(routers) > 1
    names = [f"{track.router} {track.name}" if several else track.name for track in tracks]
    label = max(map(len, names), default=0) + 2
    room = max(width - label, 30)
    lines = [
        f"{name:<{label}}{_bar(track, begin, end, room, plain)}".rstrip()
        for name, track in zip(names, tracks, strict=True)
    ]
    lines.append(" " * label + _axis(trial.begun_ns, begin, end, room))
    seen = {meaning(track, state) for track in tracks for _, _, state in track.spans}
    legend = [f"{SIGNS[state][plain]} {word}" for state, word in LEGEND if state in seen]
    lines.append(" " * label + "  ".join(legend))
    return lines


def _bar(track: Track, begin: Nanoseconds, end: Nanoseconds, room: int, plain: bool) -> str:
    """One line: each cell shows what held longest in it, but a gap or an overlap always shows."""
    cells = []
    for cell in range(room):
        left = begin + (end - begin) * cell // room
        right = begin + (end - begin) * (cell + 1) // room
        held: dict[str, Nanoseconds] = {}
        for first, last, state in track.spans:
            if first < right and last > left:
                sign = meaning(track, state)
                held[sign] = held.get(sign, 0) + min(last, right) - max(first, left)
        if not held:
            cells.append(" ")
            continue
        notable = [sign for sign in ("several", "nobody") if sign in held]
        cells.append(SIGNS[notable[0] if notable else max(held, key=held.__getitem__)][plain])
    return "".join(cells)


def _axis(zero: Nanoseconds, begin: Nanoseconds, end: Nanoseconds, room: int) -> str:
    step = tick_ns(end - begin, max(room // 10, 2))
    line = [" "] * (room + 12)
    at = zero
    while at < end:
        column = (at - begin) * room // (end - begin)
        for offset, character in enumerate(f"|{(at - zero) / SECOND:g} s"):
            line[column + offset] = character
        at += step
    return "".join(line).rstrip()


def narrate(trial: Trial) -> Iterable[str]:
    """What happened, a line each, with the time since the fault."""
    for entry in events(trial):
        what = " ".join(word for word in (entry.node, entry.instance, entry.state) if word)
        cause = f": {entry.cause}" if entry.cause else ""
        mark = "*" if entry.kind == "event" else " "
        since_ns = entry.at_ns - trial.begun_ns
        yield f"{span_text(since_ns) if since_ns else '0 s':>9} {mark} {what}{cause}"
