"""`holdfast status`: who is master here, why, since when, and what is wrong, at one look."""

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from holdfast.base.cure import cure
from holdfast.base.time import SECOND, span_text
from holdfast.cli.drawing import GAP, Sheet, aligned, fitted, widths
from holdfast.control.client import AskError, ask, ask_bytes

STATE_COLOURS = {"MASTER": "green", "BACKUP": "cyan", "FAULT": "red", "INIT": "yellow"}
STATE_ORDER = ("MASTER", "BACKUP", "FAULT", "INIT")
STATE_WORDS = {"MASTER": "master of", "BACKUP": "backup of", "FAULT": "in fault:", "INIT": "not ready:"}
HEADINGS = ("STATE", "INSTANCE", "INTERFACE", "VRID", "PRIORITY", "MASTER", "SINCE", "ADDRESSES")
DETAIL_INDENT = 12
ALWAYS_WHOLE = 6
"""So many addresses are never shortened: where there is no room beside, they get lines of their own."""


def every(context: object, parameter: object, value: str | None) -> float | None:
    """The time of `--every` in seconds, from 0.1 s to an hour; a usage error otherwise."""
    from holdfast.cli.switch import seconds

    found = seconds(context, parameter, value)
    if found is not None and not 0.1 <= found <= 3600:
        raise click.BadParameter(f"{value!r} is out of range: write 0.1s to 1h")
    return found


@click.command("status", short_help="who is master here, why, since when, and what is wrong")
@click.option("--watch", "watched", is_flag=True, help="a live screen with the last events, until Ctrl-C")
@click.option("--every", "every_s", callback=every, metavar="TIME", help="with --watch: how often [default: 1s]")
@click.option("--json", "as_json", is_flag=True, help="one JSON document (with --watch: one a line), for programs")
@click.option("--run-dir", metavar="DIR", help="the daemon's directory [default: HOLDFAST_RUN_DIR, /run/holdfast …]")
def command(watched: bool, every_s: float | None, as_json: bool, run_dir: str | None) -> None:
    """Who is master here, why, since when, and what is wrong.

    \b
    Examples:
      holdfast status
      holdfast status --watch
      holdfast status --run-dir /run/b
      holdfast status --json | jq -r '.instances[] | "\\(.name) \\(.state)"'
    """
    if every_s is not None and not watched:
        raise click.UsageError("--every goes with --watch")
    try:
        if watched and (as_json or sys.stdout.isatty()):
            from holdfast.cli.watch import watch

            watch(run_dir, every_s or 1.0, as_json)
            return
        if as_json:
            sys.stdout.buffer.write(ask_bytes(run_dir, {"command": "status"}) + b"\n")
            sys.stdout.buffer.flush()
            return
        sheet = Sheet()
        draw(ask(run_dir, {"command": "status"}), sheet)
        sheet.flush()
    except AskError as reason:
        click.echo(f"holdfast: {reason}", err=True)
        raise SystemExit(1) from None


def draw(status: dict[str, Any], sheet: Sheet) -> None:
    """The whole page from the JSON document."""
    now = point(status.get("time"))
    instances = status.get("instances") or []
    sheet.line(_headline(status))
    left_s = status.get("reload_returns_in_s")
    if left_s is not None:
        line = f"a reload is on trial: it is taken back in {left_s} s, unless `holdfast reload --confirmed`"
        sheet.line(line, "yellow")
    if instances:
        counts = Counter(str(instance.get("state")) for instance in instances)
        shown = [sheet.paint(f"{STATE_WORDS[s]} {counts[s]}", STATE_COLOURS[s]) for s in STATE_ORDER if counts[s]]
        sheet.line(", ".join(shown))
        sheet.line()
        _instances(instances, now, sheet)
    else:
        sheet.line("no virtual router is configured")
    _incidents(status.get("incidents") or [], sheet)
    _groups(status.get("sync_groups") or [], sheet)
    _trackers(status.get("trackers") or [], now, sheet)
    _services(status.get("virtual_servers") or [], sheet)
    _sessions(status.get("bfd") or [], sheet)


def _headline(status: dict[str, Any]) -> str:
    return f"{status.get('node', '?')}: holdfast {status.get('version', '?')}, pid {status.get('pid', '?')}"


def point(text: object) -> datetime | None:
    """A time as the document gives it; None when it is none."""
    try:
        point = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return point if point.tzinfo else point.replace(tzinfo=UTC)


def since_text(text: object, now: datetime | None) -> str:
    """How long ago, to the second: `4 min 10 s ago`; the text itself when there is no telling."""
    at = point(text)
    if at is None or now is None:
        return str(text or "-")
    span_s = max(int((now - at).total_seconds()), 0)
    return f"{span_text(span_s * SECOND)} ago" if span_s else "just now"


def _priority(instance: dict[str, Any]) -> str:
    base, effective = instance.get("priority"), instance.get("effective_priority")
    return f"{base}" if effective in (None, base) else f"{effective} of {base}"


def _master(instance: dict[str, Any]) -> str:
    if instance.get("state") == "MASTER":
        return "this node"
    master = instance.get("master")
    return f"{master['address']} ({master['priority']})" if master else "-"


def _instances(instances: list[dict[str, Any]], now: datetime | None, sheet: Sheet) -> None:
    rows = [
        (
            str(instance.get("state")),
            str(instance.get("name")),
            str(instance.get("interface") or "-"),
            str(instance.get("vrid")),
            _priority(instance),
            _master(instance),
            since_text(instance.get("since"), now),
        )
        for instance in instances
    ]
    addresses = [[*(i.get("vips") or []), *(i.get("excluded_vips") or [])] for i in instances]
    columns = widths([HEADINGS[:-1], *rows])
    taken = sum(columns) + len(GAP) * len(columns)
    room = None if sheet.width is None else sheet.width - taken
    own_column = room is None or room >= len(HEADINGS[-1])
    headings = HEADINGS if own_column else HEADINGS[:-1]
    sheet.line(GAP.join(aligned(headings, [*columns, 0])), "faint")
    for row, vips, instance in zip(rows, addresses, instances, strict=True):
        shown = " ".join(vips) if len(vips) <= ALWAYS_WHOLE else fitted(vips, room)
        shown = shown or "-"
        together = own_column and (room is None or len(shown) <= room)
        cells = aligned((*row, shown if together else ""), columns)
        sheet.line((sheet.paint(cells[0], STATE_COLOURS.get(row[0], "")) + GAP + GAP.join(cells[1:])).rstrip())
        if not together:
            sheet.wrapped(" ".join(vips) or "-", DETAIL_INDENT, "  addresses")
        _details(instance, sheet)


def _details(instance: dict[str, Any], sheet: Sheet) -> None:
    faults = [str(fault) for fault in instance.get("faults") or []]
    cause = str(instance.get("cause") or "")
    following = "" if instance.get("state") == "MASTER" else str(instance.get("next") or "")
    if cause and cause not in faults:
        sheet.wrapped(f"{cause}; {following}" if following and following != cause else cause, DETAIL_INDENT, "  why")
    for fault in faults:
        remedy = cure(fault)
        sheet.wrapped(f"{fault}: {remedy}" if remedy else fault, DETAIL_INDENT, "  fault", "red")
    carp = instance.get("carp")
    if carp:
        rank = f"advbase {carp.get('advertised_advbase')}, advskew {carp.get('advertised_advskew')}"
        sheet.wrapped(f"{rank}: an advert every {instance.get('advert_interval_s'):g} s", DETAIL_INDENT, "  carp")
    for name in ("routes", "rules"):
        if instance.get(name):
            sheet.wrapped("; ".join(map(str, instance[name])), DETAIL_INDENT, f"  {name}")
    held = instance.get("held")
    if held:
        until = f" until {held['until']}" if held.get("until") else ""
        sheet.wrapped(f"by {held.get('by')}{until}; `holdfast release {instance.get('name')}` ends it", 12, "  held")


def _incidents(incidents: list[dict[str, Any]], sheet: Sheet) -> None:
    for one in incidents:
        since = span_text(int(one.get("opened_s_ago") or 0) * SECOND)
        sheet.line()
        sheet.wrapped(f"{one.get('instance')}: {one.get('text')}; since {since}", DETAIL_INDENT, "SPLIT BRAIN", "red")
        sheet.wrapped(str(one.get("cure")), DETAIL_INDENT, "  cure")


def _groups(groups: list[dict[str, Any]], sheet: Sheet) -> None:
    if not groups:
        return
    rows = [(str(g.get("state")), str(g.get("name")), " ".join(map(str, g.get("members") or []))) for g in groups]
    _table(("STATE", "SYNC GROUP", "MEMBERS"), rows, [STATE_COLOURS.get(row[0], "") for row in rows], sheet)


def _trackers(trackers: list[dict[str, Any]], now: datetime | None, sheet: Sheet) -> None:
    if not trackers:
        return
    rows, colours = [], []
    for tracker in trackers:
        up = tracker.get("up")
        weight = int(tracker.get("weight") or 0)
        effect = f"{weight:+d}" if weight else "fault" if up is False else "-"
        last = since_text(tracker["last_run"], now) if tracker.get("last_run") else "-"
        word = "waiting" if up is None else "up" if up else "DOWN"
        colours.append("yellow" if up is None else "green" if up else "red")
        named = f"{tracker.get('kind')} {tracker.get('name')}"
        rows.append((word, named, effect, last, str(tracker.get("detail") or "-")))
    _table(("STATE", "TRACKER", "WEIGHT", "LAST RUN", "DETAIL"), rows, colours, sheet)


SERVER_COLOURS = {"up": "green", "down": "red", "waiting": "yellow", "drained": "yellow", "idle": "yellow"}


def _services(services: list[dict[str, Any]], sheet: Sheet) -> None:
    """Virtual servers with their real servers, each with its weight, its connections and what its checks last said."""
    for service in services:
        sheet.line()
        head = f"{service['name']} {service['protocol']} {service['forwarding']} {service['scheduler']}"
        quorum = "quorum met" if service["quorum_met"] else f"NO QUORUM ({service['quorum']} wanted)"
        rest = ", checks rest: its address is not here" if service.get("suspended") else ""
        sheet.line(f"{head}, {quorum}{rest}", "" if service["quorum_met"] else "red")
        rows, colours = [], []
        for server in service["real_servers"]:
            weight = f"{server['effective_weight']}"
            if server["effective_weight"] != server["weight"]:
                weight += f" of {server['weight']}"
            counts = server.get("connections") or {}
            said = "; ".join(f"{one['kind']} {one['detail']}" for one in server["checks"]) or "not checked"
            if server.get("slow_start_percent") is not None:
                said = f"slow start, {server['slow_start_percent']} %; {said}"
            where = f"{server['address']}:{server['port']}" if server["port"] else str(server["address"])
            rows.append((server["state"], where, weight, str(counts.get("active", "-")), said))
            colours.append(SERVER_COLOURS.get(server["state"], ""))
        if rows:
            _table(("STATE", "REAL SERVER", "WEIGHT", "ACTIVE", "CHECKS"), rows, colours, sheet)
        sorry = service.get("sorry_server")
        if sorry:
            word = "serves" if sorry["active"] else "stands by"
            sheet.line(f"sorry server {sorry['address']}:{sorry['port']} {word}", "red" if sorry["active"] else "")


def _sessions(sessions: list[dict[str, Any]], sheet: Sheet) -> None:
    """BFD sessions, each with what it has negotiated and why it is as it is."""
    rows = []
    for one in sessions:
        said = one["state"] if one["up"] else f"{one['state']}, {one['diagnostic']}"
        if one["remote_state"] not in (None, one["state"]):
            said += f"; the neighbour says {one['remote_state']}"
        why = one["trouble"] or said
        times = [f"{one[key]:g} ms" if one[key] else "-" for key in ("transmit_ms", "detection_ms")]
        rows.append(("up" if one["up"] else "down", one["neighbor"], *times, f"{one['name']}: {why}"))
    if rows:
        colours = ["green" if one["up"] else "red" for one in sessions]
        _table(("BFD", "NEIGHBOUR", "SENDS EVERY", "GIVES UP AFTER", "WHY"), rows, colours, sheet)


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], colours: list[str], sheet: Sheet) -> None:
    columns = widths([headings, *rows])
    sheet.line()
    sheet.line(GAP.join(aligned(headings, columns)), "faint")
    room = None if sheet.width is None else sheet.width - sum(columns[:-1]) - len(GAP) * (len(columns) - 1)
    for row, colour in zip(rows, colours, strict=True):
        last = row[-1] if room is None or len(row[-1]) <= room else row[-1][: max(room - 1, 8)] + "…"
        cells = aligned((*row[:-1], last), columns)
        sheet.line((sheet.paint(cells[0], colour) + GAP + GAP.join(cells[1:])).rstrip())
